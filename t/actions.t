# What a callback asks of the proxy: its action value, local replies in every phase, callouts.

use t::WASM 'no_plan';

# `require("plugin_ctx")(CONF, GUEST)` gives a plugin context. `--- conf` is the script of a plugin whose callbacks all run in /t.
my $plugin_ctx = <<'_EOC_';
    init_by_lua_block {
        package.preload.plugin_ctx = function()
            local wasm = require("resty.proxy-wasm")
            local ctxs = {}
            return function(conf, guest)
                guest = guest or "script"
                local key = guest .. conf
                if not ctxs[key] then
                    local plugin = assert(wasm.load("plugin", "target/guests/" .. guest .. ".wasm"))
                    ctxs[key] = assert(wasm.on_configure(plugin, conf))
                end
                return ctxs[key]
            end
        end
    }
_EOC_

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(http_config => $plugin_ctx . ($block->http_config // ''));
    my $conf = delete $block->{conf} or return;
    $block->set_value(config => all_callbacks("[==[\n$conf->[0]]==]"));
});

sub all_callbacks {
    my ($arguments) = @_;
    my $wasm = qq{local wasm, ctx = require("resty.proxy-wasm"), require("plugin_ctx")($arguments)};
    return <<"_EOC_";
    location /t {
        access_by_lua_block {
            $wasm
            assert(wasm.on_http_request_headers(ctx))
            assert(wasm.on_http_request_body(ctx, "body", true))
        }
        content_by_lua_block { ngx.print("ok") }
        header_filter_by_lua_block {
            $wasm
            assert(wasm.on_http_response_headers(ctx))
        }
        body_filter_by_lua_block {
            $wasm
            assert(wasm.on_http_response_body(ctx))
        }
    }
_EOC_
}

run_tests();

__DATA__

=== TEST 1: whatever action a callback returns, the request goes on
--- config eval: main::all_callbacks('ngx.var.arg_action, "action-values"')
--- request eval
[map { "GET /t?action=$_" } 0 .. 5, 99, 100, 200, 404, 503, 65536, 2147483647, -1, -2147483648]
--- response_body eval
[("ok") x 15]



=== TEST 2: Pause with nothing pending, for a client and for a subrequest
--- conf
request_headers: return 1
request_body: return 1
response_headers: return 1
response_body: return 1
response_body: args
--- response_body chomp
ok
--- error_log
args -> OK 2 2 0
args -> OK 2 2 1



=== TEST 3: Pause and a local reply: the reply is sent
--- conf
request_headers: send_local_response 403 denied
request_headers: return 1
--- error_code: 403
--- response_body chomp
denied



=== TEST 4: a local reply in proxy_on_request_headers ends the request
--- conf
request_headers: send_local_response 403 denied x-one=1 x-two=2 x-one=3
request_headers: get_header request host
request_body: log info not reached
--- error_code: 403
--- response_headers
x-one: 1, 3
x-two: 2
--- response_body chomp
denied
--- error_log
get_header request host -> OK localhost
--- no_error_log
not reached
[error]



=== TEST 5: a local reply in proxy_on_request_body ends the request
--- conf
request_body: send_local_response 413 "too large" content-type=text/odd
--- error_code: 413
--- response_headers
Content-Type: text/odd
--- response_body chomp
too large



=== TEST 6: a local reply in proxy_on_response_headers is the response
--- conf
response_headers: send_local_response 403 denied x-one=1
--- error_code: 403
--- response_headers
x-one: 1
content-type: text/plain
--- response_body chomp
denied



=== TEST 7: a local reply in proxy_on_response_body takes the place of the body; for the status it is too late
--- conf
response_body: send_local_response 403 denied x-one=1
--- response_headers
!x-one
--- response_body chomp
denied
--- error_log eval
qr/\[warn\].*the status 403 of a local reply comes too late, its body does not/



=== TEST 8: a local reply in proxy_on_context_create, done, log and delete is not sent
--- conf
stream_create: send_local_response 403 denied
done: send_local_response 403 denied
log: send_local_response 403 denied
delete: send_local_response 403 denied
--- response_body chomp
ok
--- error_log
stream_create 2: send_local_response 403 denied -> OK
delete 2: send_local_response 403 denied -> OK
--- no_error_log
[alert]



=== TEST 9: a reply of one request's end is not that of the next request
--- conf
delete: send_local_response 403 denied
log: send_local_response 403 denied
--- request eval
["GET /t", "GET /t", "GET /t"]
--- response_body eval
["ok", "ok", "ok"]



=== TEST 10: a local reply in proxy_on_configure is refused in the log, the configuration is not
--- conf
configure: send_local_response 403 denied
--- response_body chomp
ok
--- error_log eval
qr/\[error\].*proxy_send_local_response: there is no stream in a plugin context/



=== TEST 11: a status that is none is not sent
--- config
    location = /t {
        access_by_lua_block {
            local ctx = require("plugin_ctx")("request_headers: send_local_response " .. ngx.var.arg_status .. " denied x-one=1")
            assert(require("resty.proxy-wasm").on_http_request_headers(ctx))
        }
        content_by_lua_block { ngx.print("ok") }
    }
--- request eval
[map { "GET /t?status=$_" } 0, 1, 99, 100, 199, 1000, 65736, 2147483647, -1]
--- response_headers eval
[("!x-one") x 9]
--- response_body eval
[("ok") x 9]
--- error_log eval
qr/\[error\].*proxy_send_local_response: status \d+ is not sent, it must be in 200..=999/



=== TEST 12: a status that is one is sent
--- config
    location = /t {
        access_by_lua_block {
            local ctx = require("plugin_ctx")("request_headers: send_local_response " .. ngx.var.arg_status .. " reply x-one=1")
            assert(require("resty.proxy-wasm").on_http_request_headers(ctx))
        }
        content_by_lua_block { ngx.print("ok") }
    }
--- request eval
[map { "GET /t?status=$_" } 200, 201, 299, 302, 400, 404, 418, 500, 503, 599, 999]
--- error_code eval
[200, 201, 299, 302, 400, 404, 418, 500, 503, 599, 999]
--- response_headers eval
[("x-one: 1") x 11]
--- response_body eval
[("reply") x 11]



=== TEST 13: a reply without a body is nginx's own page, or empty
--- config
    location = /t {
        access_by_lua_block {
            local ctx = require("plugin_ctx")("request_headers: send_local_response " .. ngx.var.arg_status .. ' "" x-one=1')
            assert(require("resty.proxy-wasm").on_http_request_headers(ctx))
        }
        content_by_lua_block { ngx.print("not reached") }
    }
--- request eval
["GET /t?status=403", "GET /t?status=503", "GET /t?status=200", "GET /t?status=204"]
--- error_code eval
[403, 503, 200, 204]
--- response_headers eval
[("x-one: 1") x 4]
--- response_body eval
[qr/403 Forbidden/, qr/503 Service/, "", ""]



=== TEST 14: replies that have no body, whatever the plugin gives
--- config
    location = /t {
        access_by_lua_block {
            local ctx = require("plugin_ctx")("request_headers: send_local_response " .. ngx.var.arg_status .. " surplus")
            assert(require("resty.proxy-wasm").on_http_request_headers(ctx))
        }
        content_by_lua_block { ngx.print("not reached") }
    }
--- request eval
["GET /t?status=204", "GET /t?status=304", "HEAD /t?status=403"]
--- error_code eval
[204, 304, 403]
--- response_body eval
["", "", ""]
--- raw_response_headers_unlike eval
[("surplus") x 3]



=== TEST 15: the reply's body has the length that the client is told, whatever the plugin says
--- config
    location = /t {
        access_by_lua_block {
            local ctx = require("plugin_ctx")("request_headers: send_local_response 403 denied content-length=" .. ngx.var.arg_length)
            assert(require("resty.proxy-wasm").on_http_request_headers(ctx))
        }
        content_by_lua_block { ngx.print("not reached") }
    }
    location = /client {
        content_by_lua_block {
            for _, length in ipairs({"6", "3", "999", "none"}) do
                local socket = ngx.socket.tcp()
                assert(socket:connect("127.0.0.1", ngx.var.server_port))
                assert(socket:send("GET /t?length=" .. length .. " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
                local head, body = socket:receive("*a"):match("(.-\r\n)\r\n(.*)")
                local told = head:match("\r\n[Cc]ontent%-[Ll]ength: (%w+)")
                if told then
                    ngx.say(tonumber(told) == #body and body == "denied")
                else
                    ngx.say(body == "6\r\ndenied\r\n0\r\n\r\n")
                end
            end
        }
    }
--- request
GET /client
--- response_body
true
true
true
true
--- no_error_log
[alert]



=== TEST 16: of two replies in one callback the last counts
--- conf
request_headers: send_local_response 401 first x-first=1
request_headers: send_local_response 403 second x-second=1
--- error_code: 403
--- response_headers
!x-first
x-second: 1
--- response_body chomp
second



=== TEST 17: a reply that is not sent leaves the one before it
--- conf
request_headers: send_local_response 401 first
request_headers: send_local_response 99 second
--- error_code: 401
--- response_body chomp
first
--- error_log
status 99 is not sent



=== TEST 18: a trap wins over the reply
--- config
    location = /t {
        access_by_lua_block {
            local wasm, plugin_ctx = require("resty.proxy-wasm"), require("plugin_ctx")
            ngx.ctx.results = {wasm.on_http_request_headers(plugin_ctx("request_headers: send_local_response 403 no x-one=1\nrequest_headers: trap"))}
            -- nor is the reply kept for the next callback
            assert(wasm.on_http_request_headers(plugin_ctx("request_headers: args")))
        }
        content_by_lua_block { ngx.say(unpack(ngx.ctx.results, 1, 2)) }
    }
--- response_headers
!x-one
--- response_body
nilfailed to run proxy_on_http_request_headers
--- error_log
failed to call function



=== TEST 19: request callbacks in a phase that can't answer
--- config
    location = /t {
        content_by_lua_block { ngx.print("ok") }
        header_filter_by_lua_block {
            local wasm, plugin_ctx = require("resty.proxy-wasm"), require("plugin_ctx")
            local ok, err = wasm.on_http_request_headers(plugin_ctx("request_headers: send_local_response 403 no"))
            ngx.header["X-Result"] = tostring(ok) .. " " .. tostring(err)
        }
        body_filter_by_lua_block {
            local wasm, plugin_ctx = require("resty.proxy-wasm"), require("plugin_ctx")
            local ok, err = wasm.on_http_request_body(plugin_ctx("request_body: send_local_response 403 no"))
            ngx.log(ngx.WARN, "result: ", ok, " ", err)
        }
        log_by_lua_block {
            local wasm, plugin_ctx = require("resty.proxy-wasm"), require("plugin_ctx")
            local ok, err = wasm.on_http_request_headers(plugin_ctx("request_headers: send_local_response 403 no"))
            ngx.log(ngx.WARN, "result: ", ok, " ", err)
        }
    }
--- response_headers
X-Result: nil a local reply can't be sent in phase header_filter
--- response_body chomp
ok
--- error_log
result: nil a local reply can't be sent in phase body_filter
result: nil a local reply can't be sent in phase log
--- no_error_log
[error]



=== TEST 20: request callbacks in the rewrite and content phases answer
--- config
    location = /rewrite {
        rewrite_by_lua_block {
            require("resty.proxy-wasm").on_http_request_headers(require("plugin_ctx")("request_headers: send_local_response 403 rewrite"))
        }
        content_by_lua_block { ngx.print("not reached") }
    }
    location = /content {
        content_by_lua_block {
            require("resty.proxy-wasm").on_http_request_headers(require("plugin_ctx")("request_headers: send_local_response 403 content"))
            ngx.print("not reached")
        }
    }
    location = /thread {
        content_by_lua_block {
            ngx.thread.wait(ngx.thread.spawn(function()
                require("resty.proxy-wasm").on_http_request_headers(require("plugin_ctx")("request_headers: send_local_response 403 thread"))
            end))
            ngx.print("not reached")
        }
    }
--- request eval
["GET /rewrite", "GET /content", "GET /thread"]
--- error_code eval
[403, 403, 403]
--- response_body eval
["rewrite", "content", "thread"]



=== TEST 21: a local reply when the headers have been sent
--- config
    location = /t {
        content_by_lua_block {
            ngx.print("begun ")
            ngx.flush(true)
            require("resty.proxy-wasm").on_http_request_body(require("plugin_ctx")("request_body: send_local_response 403 late x-late=1"))
            ngx.print("not reached")
        }
    }
--- response_headers
!x-late
--- response_body_like: ^begun
--- error_log
attempt to set
--- no_error_log
[alert]



=== TEST 22: a local reply has the response callbacks that follow
--- conf
request_headers: send_local_response 403 denied
response_headers: get_header response :status
response_headers: add_header response x-seen 1
response_body: get_body response 0 100
--- error_code: 403
--- response_headers
x-seen: 1
--- response_body chomp
denied
--- error_log
get_header response :status -> OK 403
get_body response 0 100 -> OK denied



=== TEST 23: a local reply of binary data, and one of 200 KB
--- config
    location = /binary {
        access_by_lua_block {
            require("resty.proxy-wasm").on_http_request_headers(require("plugin_ctx")([[request_headers: send_local_response 200 a\0b\xff\r\n\r\n%s]]))
        }
        content_by_lua_block { ngx.print("not reached") }
    }
    location = /large {
        access_by_lua_block {
            require("resty.proxy-wasm").on_http_request_headers(
                require("plugin_ctx")("request_headers: send_local_response 200 " .. ("0123456789"):rep(20000)))
        }
        content_by_lua_block { ngx.print("not reached") }
    }
--- request eval
["GET /binary", "GET /large"]
--- response_body eval
["a\0b\xff\r\n\r\n%s", "0123456789" x 20000]



=== TEST 24: Pause with a callout that could not be made goes on
--- conf
request_headers: http_call a::1] 20000 "" :path=/
request_headers: return 1
--- response_body chomp
ok
--- error_log
http call gets invalid host: a::1]
http_call a::1] 20000 "" :path=/ -> BAD_ARGUMENT



=== TEST 25: a callout, then a local reply in one callback
--- conf
request_headers: http_call 127.0.0.1:1980 20000 "" :path=/
request_headers: send_local_response 403 denied
request_headers: return 1
--- error_code: 403
--- response_body chomp
denied



=== TEST 26: 408, 444 and 499, with which nginx closes a connection, are statuses like any other
--- config
    location = /t {
        access_by_lua_block {
            local ctx = require("plugin_ctx")("request_headers: send_local_response " .. ngx.var.arg_status .. " reply x-one=1")
            assert(require("resty.proxy-wasm").on_http_request_headers(ctx))
        }
        content_by_lua_block { ngx.print("ok") }
    }
--- request eval
[map { "GET /t?status=$_" } 408, 444, 499]
--- error_code eval
[408, 444, 499]
--- response_headers eval
[("x-one: 1") x 3]
--- response_body eval
[("reply") x 3]



=== TEST 27: a reply's Content-Length is the host's, and a plugin can't give it a Transfer-Encoding
--- config
    keepalive_timeout 10;
    location = /t {
        access_by_lua_block {
            local ctx = require("plugin_ctx")("request_headers: send_local_response " .. ngx.unescape_uri(ngx.var.args))
            assert(require("resty.proxy-wasm").on_http_request_headers(ctx))
        }
    }
    location = /client {
        content_by_lua_block {
            for _, reply in ipairs({
                '403 denied', '200 denied Transfer-Encoding=gzip', '200 denied transfer-encoding=chunked',
                '200 "" content-length=5', '204 "" Content-Length=5', '403 "" content-length=5',
            }) do
                local socket = ngx.socket.tcp()
                socket:settimeout(2000)
                assert(socket:connect("127.0.0.1", ngx.var.server_port))
                local request = "GET /t?" .. ngx.escape_uri(reply) .. " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                assert(socket:send(request))
                local head, body = socket:receive("*a"):match("(.-\r\n)\r\n(.*)")
                local framing = {}
                for name, value in head:gmatch("([^\r\n:]+): ([^\r\n]*)") do
                    name = name:lower()
                    if name == "content-length" or name == "transfer-encoding" then
                        table.insert(framing, name .. ": " .. value)
                    end
                end
                ngx.say(reply, " | ", table.concat(framing, ", "), " | ", #body)
            end
        }
    }
--- request
GET /client
--- response_body
403 denied | content-length: 6 | 6
200 denied Transfer-Encoding=gzip | content-length: 6 | 6
200 denied transfer-encoding=chunked | content-length: 6 | 6
200 "" content-length=5 | content-length: 0 | 0
204 "" Content-Length=5 |  | 0
403 "" content-length=5 | content-length: 153 | 153
--- no_error_log
[alert]



=== TEST 28: request callbacks in the phase before the location is found answer
--- http_config
    server {
        listen 127.0.0.1:1986;
        server_rewrite_by_lua_block {
            assert(require("resty.proxy-wasm").on_http_request_headers(require("plugin_ctx")("request_headers: send_local_response 403 denied")))
        }
        location / { return 200 "not reached"; }
    }
--- config
    location = /t { proxy_pass http://127.0.0.1:1986/; }
--- error_code: 403
--- response_body chomp
denied



=== TEST 29: pseudo headers of a reply are left out
--- config
    location = /t {
        access_by_lua_block {
            local ctx = require("plugin_ctx")("request_headers: send_local_response 403 denied :status=200 x-one=1 :odd=2")
            assert(require("resty.proxy-wasm").on_http_request_headers(ctx))
        }
    }
--- error_code: 403
--- response_headers
x-one: 1
--- response_body chomp
denied
--- no_error_log
[error]
