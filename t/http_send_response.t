# A plugin answers the request itself.

use t::WASM 'no_plan';

# --- script runs in the access phase, as the configuration of `script`; the content phase must not be reached.
add_block_preprocessor(sub {
    my ($block) = @_;
    my $script = delete $block->{script} or return;
    $block->set_value(config => <<"_EOC_");
    location = /t {
        access_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            local ctx = assert(wasm.on_configure(plugin, [[
$script->[0]
            ]]))
            wasm.on_http_request_headers(ctx)
            ngx.log(ngx.ERR, "the plugin's caller goes on")
        }
        content_by_lua_block {
            ngx.log(ngx.ERR, "the content phase is reached")
        }
    }
_EOC_
});

run_tests();

__DATA__

=== TEST 1: a status, a header and a body
--- script
request_headers: send_local_response 403 "should not pass" powered-by=proxy-wasm-go-sdk!!
--- error_code: 403
--- response_headers
powered-by: proxy-wasm-go-sdk!!
--- response_body chomp
should not pass



=== TEST 2: without a body the client gets nginx's page
--- script
request_headers: send_local_response 502 ""
--- error_code: 502
--- response_headers
Content-Type: text/html
--- response_body_like: <title>502 Bad Gateway</title>



=== TEST 3: headers of one name are all sent
--- script
request_headers: send_local_response 401 "" hi=spacewander hello=spacewander hello=world
--- error_code: 401
--- response_headers
hi: spacewander
hello: spacewander, world
--- raw_response_headers_like: hello: spacewander\r\nhello: world\r\n



=== TEST 4: the content phase can be answered in, too
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            local ctx = assert(wasm.on_configure(plugin, 'request_headers: send_local_response 403 "no entry" a=b'))
            assert(wasm.on_http_request_headers(ctx))
            ngx.log(ngx.ERR, "the plugin's caller goes on")
        }
    }
--- error_code: 403
--- response_headers
a: b
--- response_body chomp
no entry
