# A plugin reads and changes the response's headers and :status.

use t::WASM 'no_plan';

# --- script runs in header_filter_by_lua, as the configuration of `script`, after --- header_filter, in Lua.
# The response itself comes from --- response, by default `return 200`.
# --- grep_error_log_out is what the script logged.
add_block_preprocessor(sub {
    my ($block) = @_;
    my $script = delete $block->{script} or return;
    my $response = delete $block->{response} // ['return 200;'];
    my $header_filter = delete $block->{header_filter} // [''];
    $block->set_value(config => ($block->config // '') . <<"_EOC_");
    location = /t {
        $response->[0]
        header_filter_by_lua_block {
            $header_filter->[0]
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            local ctx = assert(wasm.on_configure(plugin, [[
$script->[0]
            ]]))
            assert(wasm.on_http_response_headers(ctx))
        }
    }
_EOC_
    $block->set_value(grep_error_log => qr/(?<=response_headers 2: ).*?(?= while sending|, client)/)
        if defined $block->grep_error_log_out;
});

run_tests();

__DATA__

=== TEST 1: a header is added to one that is there
--- script
response_headers: add_header response add foo
response_headers: add_header response add bar
--- response_headers
add: foo, bar
--- raw_response_headers_like: add: foo\r\nadd: bar\r\n



=== TEST 2: replace a header
--- script
response_headers: add_header response add foo
response_headers: replace_header response add bar
--- response_headers
add: bar



=== TEST 3: a header that is replaced by nothing is gone
--- script
response_headers: add_header response add foo
response_headers: replace_header response add ""
--- response_headers
!add



=== TEST 4: a header is read
--- script
response_headers: add_header response add foo
response_headers: get_header response add
--- response_headers
add: foo
--- grep_error_log_out
add_header response add foo -> OK
get_header response add -> OK foo



=== TEST 5: a missing header is not found, nor is one without a name
--- script
response_headers: get_header response add
response_headers: get_header response ""
--- grep_error_log_out
get_header response add -> NOT_FOUND
get_header response "" -> NOT_FOUND



=== TEST 6: of repeated headers the first is read
--- script
response_headers: add_header response add foo
response_headers: add_header response add bar
response_headers: get_header response add
--- response_headers
add: foo, bar
--- grep_error_log_out
add_header response add foo -> OK
add_header response add bar -> OK
get_header response add -> OK foo



=== TEST 7: remove a header
--- script
response_headers: add_header response add foo
response_headers: remove_header response add
--- response_headers
!add



=== TEST 8: remove all headers of a name
--- script
response_headers: add_header response add foo
response_headers: add_header response add bar
response_headers: remove_header response add
--- response_headers
!add



=== TEST 9: removing a missing header leaves the others alone
--- script
response_headers: add_header response add foo
response_headers: remove_header response del
--- response_headers
add: foo
--- grep_error_log_out
add_header response add foo -> OK
remove_header response del -> OK



=== TEST 10: all headers, also those that nginx keeps apart, then the pseudo header
--- script
response_headers: get_headers response
--- grep_error_log_out
header content-type: text/plain
header content-length: 0
header connection: close
header :status: 200
get_headers response -> OK 4



=== TEST 11: all headers, other ones first and in their order
--- response: return 200 "body";
--- header_filter
ngx.header["X-WASM"] = "true"
ngx.header["X-foo"] = "bar"
--- script
response_headers: get_headers response
--- grep_error_log_out
header x-wasm: true
header x-foo: bar
header content-type: text/plain
header content-length: 4
header connection: close
header :status: 200
get_headers response -> OK 6



=== TEST 12: all headers, repeated ones among them
--- response: return 200 "body";
--- header_filter
ngx.header["Content-Type"] = "text/html"
ngx.header["X-WASM"] = {"true", "false"}
--- script
response_headers: get_headers response
--- grep_error_log_out
header x-wasm: true
header x-wasm: false
header content-type: text/html
header content-length: 4
header connection: close
header :status: 200
get_headers response -> OK 6



=== TEST 13: all headers of a response on a connection that is kept
--- config
    location = /keepalive {
        content_by_lua_block {
            local socket = ngx.socket.tcp()
            assert(socket:connect("127.0.0.1", $TEST_NGINX_SERVER_PORT))
            assert(socket:send("GET /t HTTP/1.1\r\nHost: localhost\r\n\r\n"))
            ngx.print(assert(socket:receiveuntil("\r\n\r\n")()))
        }
    }
--- script
response_headers: get_headers response
--- request
GET /keepalive
--- response_body_like: \r\nConnection: keep-alive
--- grep_error_log_out
header content-type: text/plain
header content-length: 0
header connection: keep-alive
header :status: 200
get_headers response -> OK 4



=== TEST 14: an empty name is not found
--- script
response_headers: get_header response ""
--- grep_error_log_out
get_header response "" -> NOT_FOUND



=== TEST 15: setting a header without a name is no error
--- script
response_headers: replace_header response "" ""
--- grep_error_log_out
replace_header response "" "" -> OK



=== TEST 16: :status 200
--- script
response_headers: get_header response :status
--- grep_error_log_out
get_header response :status -> OK 200



=== TEST 17: :status 404
--- response: return 404;
--- script
response_headers: get_header response :status
--- error_code: 404
--- grep_error_log_out
get_header response :status -> OK 404



=== TEST 18: :status 502, of an upstream that is not there
--- response: proxy_pass http://127.0.0.1:1;
--- script
response_headers: get_header response :status
--- error_code: 502
--- grep_error_log_out
get_header response :status -> OK 502
--- error_log
Connection refused



=== TEST 19: set :status
--- script
response_headers: replace_header response :status 501
response_headers: get_header response :status
--- error_code: 501
--- grep_error_log_out
replace_header response :status 501 -> OK
get_header response :status -> OK 501



=== TEST 20: :status has to be a number
--- script
response_headers: replace_header response :status ""
response_headers: replace_header response :status 20x
--- grep_error_log_out
replace_header response :status "" -> OK
replace_header response :status 20x -> OK
--- error_log eval
qr/\[error\] \d+#\d+: \*\d+ failed to set response header :status: invalid value, client/



=== TEST 21: :status can't be removed
--- script
response_headers: remove_header response :status
response_headers: get_header response :status
--- grep_error_log_out
remove_header response :status -> OK
get_header response :status -> OK 200
--- error_log eval
qr/\[error\] \d+#\d+: \*\d+ failed to set response header :status: can't remove pseudo header, client/



=== TEST 22: a header that was removed is not in the list, nor counted
--- header_filter
            ngx.header["X-Lua"] = "lua"
            ngx.header["X-Lua"] = nil
            ngx.header["X-Plugin"] = "plugin"
--- script
response_headers: add_header response x-kept kept
response_headers: remove_header response x-plugin
response_headers: get_headers response
response_headers: args
--- response
content_by_lua_block { ngx.header["Content-Type"] = "text/plain" ngx.send_headers() }
--- grep_error_log_out
add_header response x-kept kept -> OK
remove_header response x-plugin -> OK
header x-kept: kept
header content-type: text/plain
header connection: close
header :status: 200
get_headers response -> OK 4
args -> OK 2 4 1



=== TEST 23: :status has to be digits alone
--- script
response_headers: replace_header response :status +201
response_headers: replace_header response :status -1
response_headers: replace_header response :status ""
--- error_code: 200
--- grep_error_log_out
replace_header response :status +201 -> OK
replace_header response :status -1 -> OK
replace_header response :status "" -> OK
--- error_log eval
[("failed to set response header :status: invalid value") x 3]



=== TEST 24: :status has to be one that ends a response
--- script
response_headers: replace_header response :status 100
response_headers: replace_header response :status 99999
response_headers: replace_header response :status 0
--- error_code: 200
--- error_log eval
[map { "failed to set response header :status: invalid value $_, it must be in 200..=999" } 100, 99999, 0]
