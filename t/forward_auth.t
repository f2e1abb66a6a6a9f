# The example plugin examples/forward-auth.

use t::WASM 'no_plan';
use t::Servers;

# The auth server answers by the request's Authorization, or its query; what it was asked is in the error log.
my $auth_server = <<'_EOC_';
    server {
        listen 127.0.0.1:1985;
        location / {
            content_by_lua_block {
                local headers = ngx.req.get_headers()
                local authorization = headers.authorization
                ngx.log(ngx.INFO, "asked ", ngx.var.request, ", host ", headers.host, ", proto ", headers["x-forwarded-proto"],
                        ", method ", headers["x-forwarded-method"], ", host ", headers["x-forwarded-host"], ", uri ",
                        headers["x-forwarded-uri"], ", for ", headers["x-forwarded-for"], ", authorization ",
                        tostring(authorization), ", other ", tostring(headers["x-other"]), ".")
                ngx.header["Location"] = "http://login.test/"
                ngx.header["Set-Cookie"] = {"a=1", "b=2"}
                ngx.header["X-Secret"] = "secret"
                if authorization == "bytes" then
                    ngx.header["X-User-ID"] = "\xe9"
                elseif authorization == "many" then
                    ngx.header["X-User-ID"] = {"one", "two"}
                elseif authorization and authorization ~= "nobody" then
                    ngx.header["X-User-ID"] = "user of " .. authorization
                end
                ngx.status = tonumber(ngx.var.arg_status) or authorization and 200 or 401
                ngx.print(ngx.var.arg_empty and "" or "says the auth server")
            }
        }
    }
_EOC_

# --- conf is the plugin's configuration; the answer to /t, of /t/..., is what the upstream sees of the request.
add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(http_config => $auth_server . ($block->http_config // ''));
    my $conf = delete $block->{conf} or return;
    $block->set_value(config => ($block->config // '') . <<"_EOC_");
    location /t {
        access_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local loaded = package.loaded
            if not loaded.ctx then
                loaded.plugin = loaded.plugin or assert(wasm.load("forward-auth", "target/guests/forward-auth.wasm"))
                local err
                loaded.ctx, err = wasm.on_configure(loaded.plugin, [==[$conf->[0]]==])
                if not loaded.ctx then
                    return ngx.say(err)
                end
            end
            assert(wasm.on_http_request_headers(loaded.ctx))
        }
        content_by_lua_block {
            local headers = ngx.req.get_headers()
            local user = headers["x-user-id"]
            ngx.say(ngx.var.request_uri, " of ", type(user) == "table" and table.concat(user, ",") or tostring(user),
                    headers["x-secret"] and ", secret" or "")
        }
    }
_EOC_
});

start_servers();
run_tests();

__DATA__

=== TEST 1: a request that the auth server allows goes on, with the chosen headers of its answer
--- conf
{"uri": "http://127.0.0.1:1985/auth", "request_headers": ["Authorization"], "upstream_headers": ["X-User-ID"]}
--- more_headers
Authorization: me
--- response_body
/t of user of me
--- response_headers
!Location
!Set-Cookie
!X-User-ID



=== TEST 2: a request that it denies gets its status, its body and the chosen headers of its answer
--- conf
{"uri": "http://127.0.0.1:1985/auth", "request_headers": ["Authorization"], "client_headers": ["Location", "Set-Cookie"]}
--- error_code: 401
--- response_headers
Location: http://login.test/
!X-Secret
--- raw_response_headers_like
(?s)set-cookie: a=1\r.*set-cookie: b=2\r
--- response_body chomp
says the auth server



=== TEST 3: without client_headers the client gets none
--- conf
{"uri": "http://127.0.0.1:1985/auth"}
--- error_code: 401
--- response_headers
!Location
!Set-Cookie
!X-Secret
--- response_body chomp
says the auth server



=== TEST 4: only headers in request_headers are sent
--- conf
{"uri": "http://127.0.0.1:1985/auth", "request_headers": ["X-Other"]}
--- more_headers
Authorization: me
X-Other: mine
--- error_code: 401
--- error_log
authorization nil, other mine.



=== TEST 5: what the auth server is asked: its own path and host, and what the client asked for
--- conf
{"uri": "http://127.0.0.1:1985/auth?status=200&b", "request_headers": ["Authorization"]}
--- request
PUT /t/a%20b?c=d%26e&f
body
--- more_headers
Host: front.test:8000
Authorization: me
--- response_body
/t/a%20b?c=d%26e&f of nil
--- error_log
asked GET /auth?status=200&b HTTP/1.1, host 127.0.0.1:1985, proto http, method PUT, host front.test:8000, uri /t/a%20b?c=d%26e&f, for 127.0.0.1, authorization me, other nil.



=== TEST 6: what the client says of X-Forwarded-* does not count
--- conf
{"uri": "http://127.0.0.1:1985/auth", "request_headers": ["Authorization", "X-Forwarded-Uri", "X-Forwarded-For"]}
--- more_headers
Authorization: me
X-Forwarded-Uri: /public
X-Forwarded-For: 10.0.0.1
X-Forwarded-Method: OPTIONS
--- response_body
/t of nil
--- error_log
method GET, host localhost, uri /t, for 127.0.0.1,



=== TEST 7: a header that the auth server may set is never the client's
--- conf
{"uri": "http://127.0.0.1:1985/auth", "request_headers": ["Authorization"], "upstream_headers": ["X-User-ID"]}
--- request eval
["GET /t", "GET /t", "GET /t"]
--- more_headers eval
["Authorization: me\nX-User-ID: root", "Authorization: nobody\nX-User-ID: root\nx-user-id: root", "Authorization: many\nX-User-ID: root"]
--- response_body eval
["/t of user of me\n", "/t of nil\n", "/t of one,two\n"]



=== TEST 8: without upstream_headers a request keeps its headers, and gets no others
--- conf
{"uri": "http://127.0.0.1:1985/auth", "request_headers": ["Authorization"]}
--- more_headers
Authorization: me
X-User-ID: mine
--- response_body
/t of mine



=== TEST 9: headers that are no UTF-8 are no reason to fail
--- conf
{"uri": "http://127.0.0.1:1985/auth", "request_headers": ["Authorization", "X-Other"], "upstream_headers": ["X-User-ID"]}
--- more_headers eval
"Authorization: bytes\nX-Other: \xff"
--- response_body eval
"/t of \xe9\n"
--- error_log eval
"other \xef\xbf\xbd."



=== TEST 10: 299 allows
--- conf
{"uri": "http://127.0.0.1:1985/auth?status=299"}
--- response_body
/t of nil



=== TEST 11: 300 denies
--- conf
{"uri": "http://127.0.0.1:1985/auth?status=300"}
--- error_code: 300
--- response_body chomp
says the auth server



=== TEST 12: a redirection is the client's to follow
--- conf
{"uri": "http://127.0.0.1:1985/auth?status=302", "request_headers": ["Authorization"], "client_headers": ["location"]}
--- more_headers
Authorization: me
--- error_code: 302
--- response_headers
Location: http://login.test/
--- response_body chomp
says the auth server



=== TEST 13: the status of a failing auth server is the client's
--- conf
{"uri": "http://127.0.0.1:1985/auth?status=500&empty=1"}
--- error_code: 500



=== TEST 14: an auth server that does not answer in time denies
--- conf
{"uri": "http://127.0.0.1:2002/auth", "timeout": 10}
--- error_code: 403
--- error_log
http call failed: timeout, uri: http://127.0.0.1:2002/auth
--- no_error_log
[alert]



=== TEST 15: one that is not there denies
--- conf
{"uri": "http://127.0.0.1:1/auth"}
--- error_code: 403
--- error_log
http call failed: connection refused, uri: http://127.0.0.1:1/auth
--- no_error_log
[alert]



=== TEST 16: one that closes the connection denies
--- conf
{"uri": "http://127.0.0.1:2001/auth"}
--- error_code: 403
--- error_log
, uri: http://127.0.0.1:2001/auth
--- no_error_log
[alert]



=== TEST 17: one that speaks no HTTP denies
--- conf
{"uri": "http://127.0.0.1:2003/auth"}
--- error_code: 403
--- error_log
uri: http://127.0.0.1:2003/auth
--- no_error_log
[alert]



=== TEST 18: the status for that is status_on_error
--- conf
{"uri": "http://127.0.0.1:1/auth", "status_on_error": 503}
--- error_code: 503
--- error_log
http call failed: connection refused
--- no_error_log
[alert]



=== TEST 19: with allow_degradation the request goes on, but not with what the client says of itself
--- conf
{"uri": "http://127.0.0.1:1/auth", "allow_degradation": true, "upstream_headers": ["X-User-ID"]}
--- more_headers
X-User-ID: root
--- response_body
/t of nil
--- error_log
http call failed: connection refused
--- no_error_log
[alert]



=== TEST 20: allow_degradation is not about the auth server's word
--- conf
{"uri": "http://127.0.0.1:1985/auth?status=503", "allow_degradation": true}
--- error_code: 503
--- response_body chomp
says the auth server



=== TEST 21: an auth server that is no URI is refused
--- conf
{"uri": "http://no host/auth"}
--- response_body
failed to run proxy_on_configure
--- error_log
forward-auth: uri is "http://no host/auth", but has to be an http or https URI
failed to configure plugin context 1, rc: 0



=== TEST 22: an auth server that can't be asked denies
--- conf
{"uri": "http://no+host/auth", "status_on_error": 500}
--- error_code: 500
--- error_log
forward-auth: the auth server can't be asked: BadArgument
--- no_error_log
[alert]



=== TEST 23: an auth server whose certificate is not to be trusted denies
--- http_config eval: $t::Servers::BACKENDS
--- config
    lua_ssl_trusted_certificate $TEST_NGINX_TLS/ca.pem;
--- conf
{"uri": "https://127.0.0.1:1974/auth"}
--- error_code: 403
--- error_log
, uri: https://127.0.0.1:1974/auth
--- no_error_log
hit with
[alert]



=== TEST 24: requests at the same time get each its own answer
--- conf
{"uri": "http://127.0.0.1:1985/auth", "request_headers": ["Authorization"], "upstream_headers": ["X-User-ID"]}
--- config
    location = /all {
        content_by_lua_block {
            local function ask(n)
                local socket = ngx.socket.tcp()
                assert(socket:connect("127.0.0.1", ngx.var.server_port))
                local authorization = n % 5 == 0 and "" or "Authorization: " .. n .. "\r\n"
                assert(socket:send("GET /t/" .. n .. " HTTP/1.0\r\nHost: localhost\r\n" .. authorization .. "\r\n"))
                local response = assert(socket:receive("*a"))
                local status, body = response:match("^HTTP/1.1 (%d+) .*\r\n\r\n(.*)")
                local expected = n % 5 == 0 and {"401", "says the auth server"}
                    or {"200", "/t/" .. n .. " of user of " .. n .. "\n"}
                assert(status == expected[1] and body == expected[2], response)
                return 1
            end
            local threads, answers = {}, 0
            for n = 1, 200 do
                threads[n] = ngx.thread.spawn(ask, n)
            end
            for n = 1, 200 do
                local ok, one = ngx.thread.wait(threads[n])
                answers = answers + (ok and one or 0)
            end
            ngx.say(answers)
        }
    }
--- request
GET /all
--- response_body
200



=== TEST 25: a configuration without an auth server is refused
--- conf
{"timeout": 3000}
--- response_body
failed to run proxy_on_configure
--- error_log
forward-auth: uri is missing, but has to be an http or https URI



=== TEST 26: a timeout above a minute is refused
--- conf
{"uri": "http://127.0.0.1:1985/auth", "timeout": 60001}
--- response_body
failed to run proxy_on_configure
--- error_log
forward-auth: timeout is 60001, but has to be an integer from 1 to 60000



=== TEST 27: names of headers that are none are refused
--- conf
{"uri": "http://127.0.0.1:1985/auth", "request_headers": ["Authorization", ":path"]}
--- response_body
failed to run proxy_on_configure
--- error_log
forward-auth: request_headers has ":path", but this is not the name of a header



=== TEST 28: headers that frame a message are not copied
--- conf
{"uri": "http://127.0.0.1:1985/auth", "client_headers": ["Transfer-Encoding"]}
--- response_body
failed to run proxy_on_configure
--- error_log
forward-auth: client_headers has "Transfer-Encoding", but



=== TEST 29: a status that is none is refused
--- conf
{"uri": "http://127.0.0.1:1985/auth", "status_on_error": 0}
--- response_body
failed to run proxy_on_configure
--- error_log
forward-auth: status_on_error is 0, but has to be an integer from 200 to 599



=== TEST 30: an unknown field is refused
--- conf
{"uri": "http://127.0.0.1:1985/auth", "time_out": 1}
--- response_body
failed to run proxy_on_configure
--- error_log
forward-auth: time_out is 1, but only uri, timeout, request_headers, upstream_headers, client_headers, allow_degradation, status_on_error are known



=== TEST 31: what is not JSON is refused
--- conf: blah
--- response_body
failed to run proxy_on_configure
--- error_log
forward-auth: the configuration is not JSON
