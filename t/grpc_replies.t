# Local replies to gRPC requests: a response of trailers only, in whatever place, and no other trailers.

use t::WASM 'no_plan';
use t::Http2;
use t::Servers;

start_clients();
start_servers();

# --- script is the configuration of a plugin whose callbacks all run in /svc, which goes to a gRPC server that answers one message and
# `grpc-status: 0`, and in /test.Echo/, which goes to tonic's (t/servers). --- calls is Lua code: there call(CONTENT_TYPE) says what nghttp
# gets, and tonic(KIND, METHOD, MESSAGE) what tonic's client does.
add_block_preprocessor(sub {
    my ($block) = @_;
    my ($script, $calls, $body) = map { (delete $block->{$_} // [])->[0] } qw(script calls body);
    $calls //= 'call("application/grpc")';
    $body //= 'body_filter_by_lua_block { assert(wasm.on_http_response_body(ctx)) }';
    $block->set_value(http_config => <<"_EOC_" . ($block->http_config // ''));
    init_worker_by_lua_block {
        wasm = require("resty.proxy-wasm")
        local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
        ctx = assert(wasm.on_configure(plugin, [[
$script
        ]]))
        server_ctx = assert(wasm.on_configure(plugin,
            "response_headers: add_header response_trailers grpc-status 0\\nresponse_headers: add_header response_trailers x-of-server yes"))
        function call(content_type, ...)
            ngx.print(require("http2").get("http://127.0.0.1:1985/svc", "-H", "te: trailers", "-H", "content-type: " .. content_type, ...))
        end
        function tonic(kind, method, message)
            ngx.print(require("http2").grpc(kind, "http://127.0.0.1:1985", "/test.Echo/" .. method, message))
        end
        function configure(script)
            ctx = assert(wasm.on_configure(plugin, script))
        end
    }
    server {
        listen 127.0.0.1:1986 http2;
        location / {
            content_by_lua_block {
                ngx.header["content-type"] = "application/grpc"
                ngx.print("\\0\\0\\0\\0\\2hi")
            }
            header_filter_by_lua_block { assert(wasm.on_http_response_headers(server_ctx)) }
        }
    }
_EOC_
    $block->set_value(config => <<"_EOC_");
    listen 127.0.0.1:1985 http2;
    location = /svc {
        grpc_pass grpc://127.0.0.1:1986;
        access_by_lua_block { assert(wasm.on_http_request_headers(ctx)) }
        header_filter_by_lua_block { assert(wasm.on_http_response_headers(ctx)) }
        $body
    }
    location /test.Echo/ {
        grpc_pass grpc://$t::Servers::GRPC;
        access_by_lua_block { assert(wasm.on_http_request_headers(ctx)) }
        header_filter_by_lua_block { assert(wasm.on_http_response_headers(ctx)) }
        $body
    }
    location = /t { content_by_lua_block { $calls } }
_EOC_
});

run_tests();

__DATA__

=== TEST 1: without a reply the server's message and trailers come
--- script
request_headers: log info nothing
--- response_body eval
":status: 200\ncontent-type: application/grpc\nbody \0\0\0\0\2hi\ntrailer grpc-status: 0\ntrailer x-of-server: yes\nend\n"



=== TEST 2: a reply is trailers only: 200, application/grpc, the status that the plugin gives, its body as the message
--- script
request_headers: send_grpc_response 403 7 details "denied" x-meta=data
--- response_body
:status: 200
content-type: application/grpc
x-meta: data
grpc-status: 7
grpc-message: denied
content-length: 0
end



=== TEST 3: the same in the response's place, without the server's message and trailers
--- script
response_headers: send_grpc_response 403 7 details "denied" x-meta=data
--- response_body
:status: 200
content-type: application/grpc
content-length: 0
x-meta: data
grpc-status: 7
grpc-message: denied
end



=== TEST 4: nor do they come where the location calls nothing for the body
--- script
response_headers: send_grpc_response 403 7 details "denied"
--- body
--- response_body
:status: 200
content-type: application/grpc
content-length: 0
grpc-status: 7
grpc-message: denied
end
--- error_log
the body of a local reply was not sent, but the response's own
--- no_error_log
[alert]



=== TEST 5: once the response has begun the status comes in the place of the server's trailers
--- script
response_body: send_grpc_response 403 7 details "denied"
--- response_body
:status: 200
content-type: application/grpc
trailer grpc-status: 7
trailer grpc-message: denied
end



=== TEST 6: without a status of gRPC's own it follows from that of HTTP
--- script
request_headers: log info nothing
--- calls
for _, status in ipairs({400, 401, 403, 404, 429, 500, 502, 503, 504, 200, 418}) do
    configure("request_headers: send_local_response " .. status .. ' ""')
    local text = require("http2").get("http://127.0.0.1:1985/svc", "-H", "content-type: application/grpc+proto")
    ngx.say(status, " ", text:match(":status: (%d+)"), " ", text:match("grpc%-status: (%d+)"), " ", (text:match("body")))
end
--- response_body
400 200 13 nil
401 200 16 nil
403 200 7 nil
404 200 12 nil
429 200 14 nil
500 200 2 nil
502 200 14 nil
503 200 14 nil
504 200 14 nil
200 200 2 nil
418 200 2 nil



=== TEST 7: the message is percent-encoded; with a status of gRPC's own and no body it is the details
--- script
request_headers: log info nothing
--- calls
for _, reply in ipairs({ [[send_local_response 403 "no good%\xe4\r\n"]], [[send_grpc_response 200 5 "not here" ""]], [[send_grpc_response 404 -1 "internal" ""]], [[send_grpc_response 404 0 "" "" grpc-status=9]] }) do
    configure("request_headers: " .. reply)
    local text = require("http2").get("http://127.0.0.1:1985/svc", "-H", "content-type: application/grpc")
    ngx.say((text:gsub("\n", ", ")))
end
--- response_body
:status: 200, content-type: application/grpc, grpc-status: 7, grpc-message: no good%25%E4%0D%0A, content-length: 0, end, 
:status: 200, content-type: application/grpc, grpc-status: 5, grpc-message: not here, content-length: 0, end, 
:status: 200, content-type: application/grpc, grpc-status: 12, content-length: 0, end, 
:status: 200, content-type: application/grpc, grpc-status: 9, content-length: 0, end, 



=== TEST 8: other requests get an ordinary reply, also those of gRPC-Web, and none of the server's trailers
--- script
response_headers: send_grpc_response 403 7 details denied
--- calls
call("text/plain")
call("application/grpc-web")
call("application/grpcx")
--- response_body
:status: 403
content-type: text/plain
body denied
end
:status: 403
content-type: text/plain
body denied
end
:status: 403
content-type: text/plain
body denied
end



=== TEST 9: so it is over HTTP/1.1, where a body that nobody replaces has no length either
--- script
response_headers: send_grpc_response 403 7 details denied
--- body
--- calls
local socket = ngx.socket.tcp()
socket:settimeout(3000)
assert(socket:connect("127.0.0.1", ngx.var.server_port))
assert(socket:send("POST /svc HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n\r\nGET /none HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
local all = assert(socket:receive("*a"))
ngx.say(all:match("^HTTP/1.1 (%d+)"), " ", all:match("grpc%-status: (%d+)"), " ", all:match("Transfer%-Encoding: (%a+)"), " ", all:match("7\r\n.-\r\n0\r\n.-\r\n\r\n(HTTP/1.1 %d+)"))
--- response_body
200 7 chunked HTTP/1.1 404
--- error_log
the body of a local reply was not sent, but the response's own



=== TEST 10: a client made with tonic gets the server's messages and status through a plugin that sends no reply
--- script
request_headers: log info nothing
--- calls
tonic("unary", "Unary", "hello")
tonic("streaming", "ServerStream", "2 message")
tonic("streaming", "FailLater", "9 of the server")
--- response_body
message hello
status 0
message message 0
message message 1
status 0
message first
status 9 of the server



=== TEST 11: it gets a reply's status, message and metadata, of calls of either kind
--- script
request_headers: send_grpc_response 403 7 details "denied" x-meta=data
--- calls
tonic("unary", "Unary", "hello")
tonic("streaming", "ServerStream", "2 message")
--- response_body
status 7 denied
metadata x-meta: data
status 7 denied
metadata x-meta: data



=== TEST 12: in the response's place also, without the server's messages and status
--- script
response_headers: send_grpc_response 403 7 details "denied" x-meta=data
--- calls
tonic("unary", "Unary", "hello")
tonic("streaming", "ServerStream", "2 message")
tonic("streaming", "FailLater", "9 of the server")
tonic("unary", "Fail", "9 of the server")
--- response_body
status 7 denied
metadata x-meta: data
status 7 denied
metadata x-meta: data
status 7 denied
metadata x-meta: data
status 7 denied
metadata x-meta: data



=== TEST 13: once the response has begun it gets the reply's status, not the server's
--- script
response_body: send_grpc_response 403 7 details "denied"
--- calls
tonic("unary", "Unary", "hello")
tonic("streaming", "FailLater", "9 of the server")
--- response_body
status 7 denied
status 7 denied



=== TEST 14: what it takes for the status where the plugin gives that of HTTP alone
--- script
request_headers: log info nothing
--- calls
for _, status in ipairs({400, 401, 403, 404, 429, 500, 502, 503, 504, 200, 418}) do
    configure("request_headers: send_local_response " .. status .. ' ""')
    ngx.print(status, " ")
    tonic("unary", "Unary", "hello")
end
--- response_body
400 status 13
401 status 16
403 status 7
404 status 12
429 status 14
500 status 2
502 status 14
503 status 14
504 status 14
200 status 2
418 status 2



=== TEST 15: any message comes to it as the plugin wrote it
--- script
request_headers: log info nothing
--- calls
for _, message in ipairs({ [[100% Größe ✓]], [[a b%20c]], [[\x01\t"\r\nx-injected: 1\x7f]] }) do
    for _, callback in ipairs({"request_headers", "response_headers"}) do
        configure(callback .. ': send_grpc_response 403 7 "" "' .. message:gsub('"', '\\"') .. '"')
        ngx.print((require("http2").grpc("unary", "http://127.0.0.1:1985", "/test.Echo/Unary", "hello"):gsub("%c", function(c) return ("<%02x>"):format(c:byte()) end)), "\n")
    end
end
--- response_body
status 7 100% Größe ✓<0a>
status 7 100% Größe ✓<0a>
status 7 a b%20c<0a>
status 7 a b%20c<0a>
status 7 <01><09>"<0d><0a>x-injected: 1<7f><0a>
status 7 <01><09>"<0d><0a>x-injected: 1<7f><0a>
