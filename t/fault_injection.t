# The example plugin examples/fault-injection.

use t::WASM 'no_plan';

# --- conf is the plugin's configuration.
add_block_preprocessor(sub {
    my ($block) = @_;
    my $conf = delete $block->{conf} or return;
    $block->set_value(config => <<"_EOC_");
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("fault-injection", "target/guests/fault-injection.wasm"))
            local ctx, err = wasm.on_configure(plugin, [[$conf->[0]]])
            if not ctx then
                return ngx.say(err)
            end
            assert(wasm.on_http_request_headers(ctx))
            ngx.say("passed")
        }
    }
_EOC_
});

run_tests();

__DATA__

=== TEST 1: the client gets the status and the body
--- conf: {"http_status": 403, "body": "powered by wasm"}
--- error_code: 403
--- response_body chomp
powered by wasm



=== TEST 2: without a body the client gets nginx's page
--- conf: {"http_status": 401}
--- error_code: 401
--- response_body_like: <title>401 Authorization Required</title>



=== TEST 3: with percentage 0 every request passes
--- conf: {"http_status": 401, "percentage": 0}
--- request eval
[("GET /t") x 5]
--- error_code eval
[(200) x 5]
--- response_body eval
[("passed\n") x 5]



=== TEST 4: with percentage 50 some requests pass
--- config
    location = /t {
        content_by_lua_block {
            local passed = 0
            for i = 1, 200 do
                local response = ngx.location.capture("/fault")
                passed = passed + (response.status == 200 and 1 or 0)
            end
            ngx.say(passed > 50 and passed < 150 and "some" or passed)
        }
    }
    location = /fault {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local loaded = package.loaded
            loaded.plugin = loaded.plugin or assert(wasm.load("fault-injection", "target/guests/fault-injection.wasm"))
            loaded.ctx = loaded.ctx or assert(wasm.on_configure(loaded.plugin, '{"http_status": 503, "percentage": 50}'))
            assert(wasm.on_http_request_headers(loaded.ctx))
        }
    }
--- response_body
some



=== TEST 5: a status that is none is refused
--- conf: {"http_status": 600}
--- response_body
failed to run proxy_on_configure
--- error_log eval
[
    qr/\[error\] \d+#\d+: fault-injection: http_status is 600, but has to be an integer from 100 to 599$/,
    "failed to configure plugin context 1, rc: 0",
]



=== TEST 6: a configuration without a status is refused
--- conf: {"body": "sorry"}
--- response_body
failed to run proxy_on_configure
--- error_log
fault-injection: http_status is missing, but has to be an integer from 100 to 599



=== TEST 7: a body of the wrong type is refused
--- conf: {"http_status": 503, "body": 1}
--- response_body
failed to run proxy_on_configure
--- error_log
fault-injection: body is 1, but has to be a string



=== TEST 8: a percentage above 100 is refused
--- conf: {"http_status": 503, "percentage": 101}
--- response_body
failed to run proxy_on_configure
--- error_log
fault-injection: percentage is 101, but has to be an integer from 0 to 100



=== TEST 9: an unknown field is refused
--- conf: {"http_status": 503, "precentage": 50}
--- response_body
failed to run proxy_on_configure
--- error_log
fault-injection: precentage is 50, but only http_status, body, percentage are known



=== TEST 10: what is not JSON is refused
--- conf: blah
--- response_body
failed to run proxy_on_configure
--- error_log
fault-injection: the configuration is not JSON
