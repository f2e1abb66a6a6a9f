# Several calls at once, which wasm-nginx-module refuses.

use t::WASM 'no_plan';

workers(1);

run_tests();

__DATA__

=== TEST 1: the request waits for the answers of both
--- config
    location = /t {
        content_by_lua_block {
            assert(require("run")([[
request_headers: http_call[a] 127.0.0.1:1980 20000 "" :path=/?body=a
request_headers: http_call[b] 127.0.0.1:1980 20000 "" :path=/?body=b
call_response[a]: get_body call_response 0 10
call_response[b]: get_body call_response 0 10
            ]]))
            ngx.print("ok")
        }
    }
--- response_body chomp
ok
--- error_log
register http callout callout id: 0, host: 127.0.0.1:1980
register http callout callout id: 1, host: 127.0.0.1:1980
call_response[a] 1: get_body call_response 0 10 -> OK a
call_response[b] 1: get_body call_response 0 10 -> OK b
--- no_error_log
[error]
