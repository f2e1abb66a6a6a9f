# Local replies from the response's callbacks, and streams that a plugin closes.

use t::WASM 'no_plan';

# --- script is the configuration of a plugin whose callbacks all run in /t; --- second is that of a second one, whose response
# callbacks come after it. --- content is the Lua code that answers, default a response with many headers and a length.
add_block_preprocessor(sub {
    my ($block) = @_;
    my ($script, $second, $content) = map { (delete $block->{$_} // [])->[0] } qw(script second content);
    $content //= <<'_EOC_';
            ngx.header["x-upstream"], ngx.header.etag, ngx.header["set-cookie"] = "yes", '"tag"', {"a=1", "b=2"}
            ngx.header.content_length = 8
            ngx.print("up", "stream")
_EOC_
    $second //= '';
    $block->set_value(http_config => ($block->http_config // '') . <<"_EOC_");
    init_worker_by_lua_block {
        wasm = require("resty.proxy-wasm")
        local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
        one = assert(wasm.on_configure(plugin, [[
$script
        ]]))
        two = assert(wasm.on_configure(plugin, [[
#
$second
        ]]))
    }
_EOC_
    $block->set_value(config => <<"_EOC_") unless defined $block->config;
    location = /t {
        access_by_lua_block {
            assert(wasm.on_http_request_headers(one))
            assert(wasm.on_http_request_body(one, "body", true))
        }
        content_by_lua_block {
$content
        }
        header_filter_by_lua_block {
            assert(wasm.on_http_response_headers(one))
            assert(wasm.on_http_response_headers(two))
        }
        body_filter_by_lua_block {
            assert(wasm.on_http_response_body(one))
            assert(wasm.on_http_response_body(two))
        }
    }
_EOC_
});

run_tests();

__DATA__

=== TEST 1: status, headers and body of the response are the reply's
--- script
response_headers: send_local_response 403 "denied by the plugin" x-reason=test set-cookie=c=3 set-cookie=d=4
--- error_code: 403
--- response_headers
x-reason: test
set-cookie: c=3, d=4
content-type: text/plain
!x-upstream
!etag
!content-length
--- response_body chomp
denied by the plugin



=== TEST 2: the reply's own content-type, and a content-length that is not its own to say
--- script
response_headers: send_local_response 418 {} content-type=application/json content-length=99
--- error_code: 418
--- response_headers
content-type: application/json
!content-length
--- response_body chomp
{}



=== TEST 3: a reply without a body empties the response
--- script
response_headers: send_local_response 503 ""
--- error_code: 503
--- response_headers
!x-upstream
!content-type
--- response_body chomp



=== TEST 4: no callback sees the response that was replaced
--- script
response_headers: send_local_response 403 denied
response_body: log warn seen by the first
--- second
response_headers: log warn seen by the second
response_body: log warn seen by the second
--- error_code: 403
--- response_body chomp
denied
--- no_error_log
seen by
[error]



=== TEST 5: the end of the stream sees the reply
--- script
response_headers: send_local_response 403 denied x-reason=test
log: get_header response :status
log: get_header response x-reason
log: get_header response x-upstream
--- error_code: 403
--- response_body chomp
denied
--- grep_error_log eval: qr/get_header response .*?(?=, client|$)/
--- grep_error_log_out
get_header response :status -> OK 403
get_header response x-reason -> OK test
get_header response x-upstream -> NOT_FOUND



=== TEST 6: a reply to a body that was held back: nothing of it is sent
--- script
response_headers: remove_header response content-length
response_body: return 1
--- second
response_body: send_local_response 403 denied
--- response_body chomp
denied
--- error_log
the status 403 of a local reply comes too late



=== TEST 7: what was sent before stays, the rest is dropped
--- script
response_headers: remove_header response content-length
--- content
            ngx.print("secret ")
            ngx.flush(true)
            ngx.print("more")
            ngx.flush(true)
            ngx.print("end")
--- second
response_body: get_body response 0 100
response_body: send_local_response 403 denied
--- response_body chomp
denied
--- grep_error_log eval: qr/get_body response 0 100 -> OK \w+/
--- grep_error_log_out
get_body response 0 100 -> OK secret



=== TEST 8: where the client was told a length the response is cut off, not sent
--- script
response_body: send_local_response 403 denied
--- ignore_response
--- error_log
the response is cut off: plugin "plugin" answers itself, but the client was told the content-length 8
--- no_error_log
[alert]



=== TEST 9: a stream that is closed in a request callback has no answer
--- script
request_headers: call proxy_close_stream 0
request_body: log warn not reached
--- ignore_response
--- error_log
call proxy_close_stream 0 -> OK
--- no_error_log
not reached
[error]
[alert]



=== TEST 10: the same in the body's callback; the stream's context ends
--- script
request_body: call proxy_close_stream 0
--- ignore_response
--- error_log
free http context 3
--- no_error_log
[error]
[alert]



=== TEST 11: a client whose stream is closed gets nothing, and the next is served
--- script
request_headers: call proxy_close_stream 0
--- config
    location = /t {
        content_by_lua_block {
            local function get(uri)
                local socket = ngx.socket.tcp()
                assert(socket:connect("127.0.0.1", ngx.var.server_port))
                assert(socket:send("GET " .. uri .. " HTTP/1.0\r\n\r\n"))
                local response = socket:receive("*a")
                socket:close()
                return response
            end
            ngx.say("got ", #(get("/closed") or ""))
            ngx.say(get("/open"):match("\r\n\r\n(.*)"))
        }
    }
    location = /closed {
        access_by_lua_block { assert(wasm.on_http_request_headers(one)) }
        content_by_lua_block { ngx.print("not reached") }
    }
    location = /open {
        access_by_lua_block { assert(wasm.on_http_request_headers(two)) }
        content_by_lua_block { ngx.print("served") }
    }
--- response_body
got 0
served



=== TEST 12: a stream that is closed in a response callback gets no response, or no more of it
--- script
request_headers: log info one
--- config
    location = /t {
        content_by_lua_block {
            local function get(uri)
                local socket = ngx.socket.tcp()
                assert(socket:connect("127.0.0.1", ngx.var.server_port))
                assert(socket:send("GET " .. uri .. " HTTP/1.0\r\n\r\n"))
                local response, err, part = socket:receive("*a")
                socket:close()
                return response or part
            end
            ngx.say((get("/headers"):find("secret")))
            ngx.say((get("/body"):find("secret")))
        }
    }
    location = /headers {
        content_by_lua_block { ngx.print("secret") }
        header_filter_by_lua_block {
            closing = closing or assert(wasm.on_configure(assert(wasm.load("plugin", "target/guests/script.wasm")),
                "response_headers: call proxy_close_stream 1"))
            wasm.on_http_response_headers(closing)
        }
    }
    location = /body {
        content_by_lua_block { ngx.print("secret") }
        body_filter_by_lua_block {
            closing2 = closing2 or assert(wasm.on_configure(assert(wasm.load("plugin", "target/guests/script.wasm")),
                "response_body: call proxy_close_stream 1"))
            wasm.on_http_response_body(closing2)
        }
    }
--- response_body
nil
nil
--- error_log
the plugin closes the stream
--- no_error_log
[alert]



=== TEST 13: in a plugin context there is nothing to close
--- script
configure: call proxy_close_stream 0
request_headers: log info goes on
--- response_body chomp
upstream
--- error_log
proxy_close_stream: there is no stream in a plugin context
--- no_error_log
[alert]



=== TEST 14: get_status without a callout, clear_route_cache, continue_stream
--- script
request_headers: call proxy_get_status $out $out2 $out3
request_headers: call proxy_continue_stream 0
request_headers: call proxy_continue_stream 99
--- response_body chomp
upstream
--- grep_error_log eval: qr/call .*?-> .*?(?=, client|$)/
--- grep_error_log_out
call proxy_get_status $out $out2 $out3 -> OK
call proxy_continue_stream 0 -> OK
call proxy_continue_stream 99 -> OK



=== TEST 15: where nothing replaces the body, the error log says that the response's own was sent
--- script
response_headers: send_local_response 403 denied
--- config
    location = /t {
        content_by_lua_block { ngx.print("upstream") }
        header_filter_by_lua_block { assert(wasm.on_http_response_headers(one)) }
    }
--- error_code: 403
--- response_body chomp
upstream
--- error_log
the body of a local reply was not sent, but the response's own: body_filter_by_lua* has to call on_http_response_body
--- no_error_log
[alert]



=== TEST 16: a response to HEAD, and one with 204, have no body to replace
--- script
response_headers: send_local_response 403 denied
--- second
response_headers: send_local_response 204 ""
--- config
    location = /t {
        content_by_lua_block { ngx.print("upstream") }
        header_filter_by_lua_block { assert(wasm.on_http_response_headers(ngx.var.arg_second and two or one)) }
    }
--- request eval
["HEAD /t", "GET /t?second=1"]
--- error_code eval
[403, 204]
--- response_body eval
["", ""]
