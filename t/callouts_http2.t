# HTTP calls by HTTP/2: the option callout_http2.

use t::WASM 'no_plan';
use t::Servers;

workers(1);
start_servers();

my $pages = <<'_EOC_';
        location /connection { return 200 "connection $connection request $connection_requests"; }
        location /body {
            client_body_buffer_size 2m;
            client_max_body_size 2m;
            content_by_lua_block {
                ngx.req.read_body()
                local body = ngx.req.get_body_data() or ""
                ngx.print(#body, " ", ngx.md5(body), " ", ngx.var.http_content_length)
            }
        }
        location /large { content_by_lua_block { for _ = 1, 160 do ngx.print(("x"):rep(65536)) end ngx.print("end") } }
        location /trailers {
            add_trailer x-first one;
            add_trailer x-second two;
            content_by_lua_block { ngx.print("hello") }
        }
        location /reset { return 444; }
        location /empty { return 204; }
_EOC_

# At 127.0.0.1:1985 and :1986 by HTTP/2; the latter closes its connections after two requests.
my $servers = <<"_EOC_";
    server {
        listen 127.0.0.1:1985 http2;
$pages
    }
    server {
        listen 127.0.0.1:1986 http2;
        keepalive_requests 2;
$pages
    }
_EOC_

# `--- lua` runs in the content phase; with `passed` it is answered.
add_block_preprocessor(sub {
    my ($block) = @_;
    my ($lua) = map { $_->[0] } delete $block->{lua};
    $block->set_value(http_config => <<"_EOC_");
$t::Servers::BACKENDS
$servers
    init_by_lua_block {
        script = require("script")
        local options = {callout_http2 = {"127.0.0.1", "unix:$t::Servers::FOLDER/http2.sock"},
            callout_upstreams = {"127.0.0.1", "unix:$t::Servers::FOLDER/http2.sock", "unix:$t::Servers::FOLDER/http.sock"}}
        -- A plugin context that asks an upstream for each request, and looks at the answer as `commands` say.
        function asking(upstream, path, commands, request)
            request = request or {}
            local pattern = "request_headers: http_call %s %d \\"%s\\" :method=%s :scheme=%s :path=%s :authority=localhost\\n"
            return script.configure(pattern:format(upstream, request.timeout or 20000, request.body or "",
                request.method or "GET", request.scheme or "http", path)
                .. (commands or "get_body call_response 0 100"):gsub("[^\\n]+", "call_response: %0"), options)
        end
        function ask(...)
            assert(script.wasm.on_http_request_headers(asking(...)))
        end
    }
_EOC_
    $block->set_value(config => <<"_EOC_");
    location = /t {
        lua_ssl_trusted_certificate $t::Servers::TLS/ca.pem;
        lua_ssl_protocols TLSv1.2 TLSv1.3;
        content_by_lua_block {
            local count, wait = script.count, script.wait
$lua
            ngx.say("passed")
        }
    }
_EOC_
    $block->set_value(response_body => "passed\n") unless defined $block->response_body;
    $block->set_value(grep_error_log => qr/http call failed: .*?(?=, uri)|call_response \d+: .*?(?=, context|, client|$)/m)
        if defined $block->grep_error_log_out;
});

run_tests();

__DATA__

=== TEST 1: GET
--- lua
    ask("127.0.0.1:1972", "/?body=bye", "get_header call_response :status\nget_body call_response 0 100")
--- grep_error_log_out
call_response 1: get_header call_response :status -> OK 200
call_response 1: get_body call_response 0 100 -> OK bye
--- error_log
hit with [GET http://localhost/?body=bye]
hit with headers {"host":"localhost"}



=== TEST 2: at a unix socket
--- lua
    ask("unix:$TEST_NGINX_SOCKETS/http2.sock", "/")
--- grep_error_log_out
call_response 1: get_body call_response 0 100 -> OK hello



=== TEST 3: upstreams that the option does not name are asked by HTTP/1.1
--- lua
    ask("unix:$TEST_NGINX_SOCKETS/http.sock", "/")
--- grep_error_log_out
call_response 1: get_body call_response 0 100 -> OK hello



=== TEST 4: POST of 1 MiB
--- lua
    ask("127.0.0.1:1985", "/body", nil, {method = "POST", body = ("0123456789abcdef"):rep(65536)})
    assert(count("1048576 " .. ngx.md5(("0123456789abcdef"):rep(65536)) .. " 1048576") == 1)



=== TEST 5: an answer of 10 MiB
--- lua
    ask("127.0.0.1:1985", "/large", "buffer_status call_response\nget_body call_response 10485755 100")
--- grep_error_log_out
call_response 1: buffer_status call_response -> OK 10485763 0
call_response 1: get_body call_response 10485755 100 -> OK xxxxxend



=== TEST 6: headers that are there twice
--- lua
    ask("127.0.0.1:1972", "/repeated_headers", "get_headers call_response")
--- grep_error_log_out eval
qr/header foo: bar\n.*header foo: baz\n/s



=== TEST 7: trailers
--- lua
    ask("127.0.0.1:1985", "/trailers", "get_headers call_trailers\nget_body call_response 0 100")
--- grep_error_log_out
call_response 1: header x-first: one
call_response 1: header x-second: two
call_response 1: get_headers call_trailers -> OK 2
call_response 1: get_body call_response 0 100 -> OK hello



=== TEST 8: HEAD, and an answer without a body
--- lua
    ask("127.0.0.1:1985", "/connection", "get_header call_response :status\nbuffer_status call_response", {method = "HEAD"})
    ask("127.0.0.1:1985", "/empty", "get_header call_response :status\nbuffer_status call_response")
--- grep_error_log_out
call_response 1: get_header call_response :status -> OK 200
call_response 1: buffer_status call_response -> OK 0 0
call_response 1: get_header call_response :status -> OK 204
call_response 1: buffer_status call_response -> OK 0 0



=== TEST 9: a connection is used again
--- lua
    for _ = 1, 20 do
        ask("127.0.0.1:1985", "/connection")
    end
    for n = 1, 20 do
        assert(count(" request " .. n .. "\n") == 1, n)
    end



=== TEST 10: calls at the same time have connections of their own, which are used again
--- lua
    local function ask_twice()
        local one, two = ngx.thread.spawn(ask, "127.0.0.1:1985", "/connection"), ngx.thread.spawn(ask, "127.0.0.1:1985", "/connection")
        assert(ngx.thread.wait(one))
        assert(ngx.thread.wait(two))
    end
    ask_twice()
    assert(count(" request 1\n") == 2)
    ask_twice()
    assert(count(" request 2\n") == 2)



=== TEST 11: a server that ends its connections by GOAWAY
--- lua
    for _ = 1, 6 do
        ask("127.0.0.1:1986", "/connection")
    end
    assert(count(" request 1\n") == 3)
    assert(count(" request 2\n") == 3)
    assert(count("http call failed") == 0)



=== TEST 12: a reset in the middle of an answer
--- lua
    ask("127.0.0.1:1990", "/test.Echo/Reset", "get_header call_response :status\nget_header call_response :dispatch_status", {method = "POST"})
--- grep_error_log_out
http call failed: the peer reset the stream with code 2
call_response 1: get_header call_response :status -> NOT_FOUND
call_response 1: get_header call_response :dispatch_status -> OK reader failure
--- error_log
uri: http://127.0.0.1:1990/test.Echo/Reset



=== TEST 13: a reset before an answer
--- lua
    ask("127.0.0.1:1985", "/reset", "get_header call_response :dispatch_status")
    ask("127.0.0.1:1985", "/connection", "get_header call_response :dispatch_status")
--- grep_error_log_out
http call failed: the peer reset the stream with code 1
call_response 1: get_header call_response :dispatch_status -> OK reader failure
call_response 1: get_header call_response :dispatch_status -> NOT_FOUND
--- error_log
uri: http://127.0.0.1:1985/reset



=== TEST 14: servers that speak HTTP/1.1
--- lua
    ask("127.0.0.1:2007", "/", "get_header call_response :dispatch_status")
    ask("127.0.0.1:1980", "/", "get_header call_response :dispatch_status")
--- grep_error_log_out
http call failed: the peer speaks HTTP/1.1, not HTTP/2
call_response 1: get_header call_response :dispatch_status -> OK reader failure
http call failed: the peer speaks HTTP/1.1, not HTTP/2
call_response 1: get_header call_response :dispatch_status -> OK reader failure
--- error_log
uri: http://127.0.0.1:2007/



=== TEST 15: servers that do not speak HTTP at all
--- lua
    ask("127.0.0.1:2008", "/", "get_header call_response :dispatch_status")
    ask("127.0.0.1:2003", "/", "get_header call_response :dispatch_status")
    ask("127.0.0.1:2002", "/", "get_header call_response :dispatch_status", {timeout = 50})
--- grep_error_log_out
http call failed: the answer is malformed: http2 error: connection error detected: frame with invalid size
call_response 1: get_header call_response :dispatch_status -> OK reader failure
http call failed: the answer is malformed: http2 error: connection error detected: frame with invalid size
call_response 1: get_header call_response :dispatch_status -> OK reader failure
http call failed: timeout
call_response 1: get_header call_response :dispatch_status -> OK timeout
--- error_log
uri: http://127.0.0.1:2008/



=== TEST 16: a server may need ALPN, which this ngx_lua may not have
--- lua
    local methods = getmetatable(ngx.socket.tcp()).__index
    local handshake = methods.sslhandshake
    function methods.sslhandshake(sock, session, name, is_verified, sends_status, ...)
        assert(select("#", ...) == 0, "ngx.socket sslhandshake: expecting 1 ~ 5 arguments (including the object), but seen 6")
        return handshake(sock, session, name, is_verified, sends_status)
    end
    ask("127.0.0.1:1971", "/", "get_header call_response :dispatch_status", {scheme = "https"})
--- grep_error_log_out
http call failed: the peer speaks HTTP/1.1, not HTTP/2; HTTP/2 was not offered by ALPN, which this ngx_lua does not have
call_response 1: get_header call_response :dispatch_status -> OK tls handshake failure
--- error_log
uri: https://127.0.0.1:1971/



=== TEST 17: HTTP/2 is offered by ALPN where this ngx_lua has it
--- lua
    local methods = getmetatable(ngx.socket.tcp()).__index
    local handshake = methods.sslhandshake
    local handshakes = 0
    function methods.sslhandshake(...)
        local sock, session, name, is_verified, sends_status, protocols = ...
        assert(select("#", ...) == 6)
        assert(session == nil and name == "localhost" and is_verified == true and sends_status == false)
        assert(#protocols == 1 and protocols[1] == "h2")
        handshakes = handshakes + 1
        return handshake(sock, session, name, is_verified)
    end
    ask("127.0.0.1:1991", "/test.Echo/HttpStatus", "get_header call_response :status", {scheme = "https", method = "POST"})
    ask("127.0.0.1:1991", "/test.Echo/HttpStatus", "get_header call_response :status", {scheme = "https", method = "POST"})
    assert(handshakes == 1)
    -- That nginx is not asked by this handshake after all.
    ask("127.0.0.1:1971", "/", "get_header call_response :dispatch_status", {scheme = "https"})
    assert(handshakes == 2)
--- grep_error_log_out
call_response 1: get_header call_response :status -> OK 400
call_response 1: get_header call_response :status -> OK 400
http call failed: the peer speaks HTTP/1.1, not HTTP/2
call_response 1: get_header call_response :dispatch_status -> OK reader failure
--- error_log
uri: https://127.0.0.1:1971/



=== TEST 18: HTTP/1.1 by TLS is not asked by ALPN
--- lua
    local methods = getmetatable(ngx.socket.tcp()).__index
    local handshake = methods.sslhandshake
    function methods.sslhandshake(...)
        assert(select("#", ...) == 4)
        return handshake(...)
    end
    assert(script.wasm.on_http_request_headers(script.configure(
        'request_headers: http_call 127.0.0.1:1971 20000 "" :scheme=https :authority=localhost :path=/\ncall_response: get_body call_response 0 10')))
--- grep_error_log_out
call_response 1: get_body call_response 0 10 -> OK hello
