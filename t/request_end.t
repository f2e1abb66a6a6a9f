# A stream context ends with its request: proxy_on_done, proxy_on_log, proxy_on_delete, in this order and once.

use t::WASM 'no_plan';

# `require("traced")(NAME, SCRIPT)` gives a plugin context that logs "NAME create", "NAME request" …, each of another VM;
# SCRIPT is added to it. Its functions request(ctx) and response(ctx) run the headers' callbacks.
my $traced = <<'_EOC_';
    init_by_lua_block {
        package.preload.traced = function()
            local wasm = require("resty.proxy-wasm")
            local _M, ctxs = {}, {}
            local callbacks = {stream_create = "create", request_headers = "request", response_headers = "response",
                               done = "done", log = "log", delete = "delete"}
            local function ctx(name, script)
                if not ctxs[name] then
                    local lines = {}
                    for callback, word in pairs(callbacks) do
                        table.insert(lines, callback .. ": log info " .. name .. " " .. word)
                    end
                    local plugin = assert(wasm.load(name, "target/guests/script.wasm"))
                    ctxs[name] = assert(wasm.on_configure(plugin, table.concat(lines, "\n") .. "\n" .. (script or "")))
                end
                return ctxs[name]
            end
            function _M.request(name, script) assert(wasm.on_http_request_headers(ctx(name, script))) end
            function _M.response(name, script) assert(wasm.on_http_response_headers(ctx(name, script))) end
            return _M
        end
    }
_EOC_

# `--- trace`: the lines that the plugins logged, in their order.
add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(http_config => $traced . ($block->http_config // ''));
    my $trace = delete $block->{trace} or return;
    $block->set_value(grep_error_log => qr/\b(?:one|two|three|main|sub) (?:create|request|response|done|log|delete)\b/);
    $block->set_value(grep_error_log_out => $trace->[0]);
});

run_tests();

__DATA__

=== TEST 1: a plain request
--- config
    location = /t {
        access_by_lua_block { require("traced").request("one") }
        content_by_lua_block { ngx.print("ok") }
        header_filter_by_lua_block { require("traced").response("one") }
    }
--- response_body chomp
ok
--- trace
one create
one request
one response
one done
one log
one delete



=== TEST 2: ngx.exec keeps the stream context
--- config
    location = /t {
        access_by_lua_block { require("traced").request("one") }
        content_by_lua_block { ngx.exec("/other") }
    }
    location = /other {
        access_by_lua_block { require("traced").request("one") }
        content_by_lua_block { ngx.print("ok") }
        header_filter_by_lua_block { require("traced").response("one") }
    }
--- response_body chomp
ok
--- trace
one create
one request
one request
one response
one done
one log
one delete



=== TEST 3: an internal redirect by error_page keeps the stream context
--- config
    location = /t {
        error_page 403 /other;
        access_by_lua_block {
            require("traced").request("one")
            ngx.exit(403)
        }
    }
    location = /other {
        access_by_lua_block { require("traced").request("one") }
        content_by_lua_block { ngx.print("ok") }
        header_filter_by_lua_block { require("traced").response("one") }
    }
--- error_code: 403
--- response_body chomp
ok
--- trace
one create
one request
one request
one response
one done
one log
one delete



=== TEST 4: a subrequest has a stream context of its own
--- config
    location = /t {
        access_by_lua_block { require("traced").request("main") }
        content_by_lua_block {
            local body = ngx.location.capture("/sub").body
            ngx.print(body, " of ", ngx.location.capture("/sub").body)
        }
        header_filter_by_lua_block { require("traced").response("main") }
    }
    location = /sub {
        rewrite_by_lua_block { require("traced").request("sub", "request_headers: args\nlog: args") }
        content_by_lua_block { ngx.print("ok") }
        header_filter_by_lua_block { require("traced").response("sub") }
    }
--- response_body chomp
ok of ok
--- grep_error_log eval: qr/request_headers \d: args -> OK|log \d: args -> OK|main \w+/
--- grep_error_log_out eval
qr/\Amain create
main request
request_headers (\d): args -> OK
request_headers (?!\1)(\d): args -> OK
main response
(?=(?:.*\n)*log \1: args -> OK\n)(?=(?:.*\n)*log \2: args -> OK\n)(?:log \d: args -> OK\n|main (?:done|log|delete)\n){5}\z/



=== TEST 5: the same plugin context in a subrequest and in its parent
--- config
    location = /t {
        access_by_lua_block { require("traced").request("one", "request_headers: get_header request :path") }
        content_by_lua_block {
            ngx.location.capture("/sub?a=1")
            require("traced").request("one")
            ngx.print("ok")
        }
    }
    location = /sub {
        rewrite_by_lua_block { require("traced").request("one") }
        content_by_lua_block { ngx.print("ok") }
    }
--- response_body chomp
ok
--- grep_error_log eval: qr/one \w+/
--- grep_error_log_out eval
"one create\none request\none create\none request\none request\n" . "one done\none log\none delete\n" x 2



=== TEST 6: a client that goes away while the upstream sleeps
--- config
    location = /t {
        access_by_lua_block { require("traced").request("one") }
        proxy_pass http://127.0.0.1:1980/sleep;
        header_filter_by_lua_block { require("traced").response("one") }
    }
--- timeout: 100ms
--- abort
--- ignore_response
--- trace
one create
one request
one done
one log
one delete



=== TEST 7: a client that goes away while Lua waits
--- config
    lua_check_client_abort on;
    location = /t {
        content_by_lua_block {
            require("traced").request("one")
            ngx.sleep(5)
        }
    }
--- timeout: 100ms
--- abort
--- ignore_response
--- trace
one create
one request
one done
one log
one delete



=== TEST 8: a client that goes away in the middle of its request's body
--- config
    location = /t {
        access_by_lua_block {
            require("traced").request("one")
            ngx.req.read_body()
            require("traced").request("one")
        }
        content_by_lua_block { ngx.print("not reached") }
    }
--- raw_request eval
"POST /t HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf"
--- timeout: 100ms
--- abort
--- ignore_response
--- trace
one create
one request
one done
one log
one delete



=== TEST 9: a local reply
--- config
    location = /t {
        access_by_lua_block { require("traced").request("one", "request_headers: send_local_response 403 no") }
        content_by_lua_block { ngx.print("not reached") }
        header_filter_by_lua_block { require("traced").response("one") }
    }
--- error_code: 403
--- response_body chomp
no
--- trace
one create
one request
one response
one done
one log
one delete



=== TEST 10: requests of a keep-alive connection, one after the other
--- config
    location = /t {
        access_by_lua_block { require("traced").request("one", "request_headers: args\ndelete: args") }
        content_by_lua_block { ngx.print("ok") }
    }
    location = /end {
        content_by_lua_block {
            local socket = ngx.socket.tcp()
            assert(socket:connect("127.0.0.1", ngx.var.server_port))
            for _ = 1, 3 do
                assert(socket:send("GET /t HTTP/1.1\r\nHost: localhost\r\n\r\n"))
                assert(socket:receiveuntil("0\r\n\r\n")())
            end
            socket:close()
            ngx.print("three")
        }
    }
--- request
GET /end
--- response_body chomp
three
--- grep_error_log eval: qr/\w+ \d: args -> OK \d/
--- grep_error_log_out eval
"request_headers 2: args -> OK 2\ndelete 2: args -> OK 2\n" x 3



=== TEST 11: pipelined requests
--- config
    location /t {
        access_by_lua_block { require("traced").request("one") }
        content_by_lua_block { ngx.print(ngx.var.uri) }
        header_filter_by_lua_block { require("traced").response("one") }
    }
    location = /ended {
        content_by_lua_block {
            local log, count = io.open("$TEST_NGINX_SERVER_ROOT/logs/error.log"):read("*a"), {}
            for word in log:gmatch(" one (%w+)[, ]") do count[word] = (count[word] or 0) + 1 end
            ngx.print(count.create, " ", count.done, " ", count.log, " ", count.delete)
        }
    }
--- pipelined_requests eval
["GET /t/1", "GET /t/2", "GET /t/3", "GET /ended"]
--- response_body eval
["/t/1", "/t/2", "/t/3", "3 3 3 3"]



=== TEST 12: callbacks that first run in log_by_lua
--- config
    location = /t {
        content_by_lua_block { ngx.print("ok") }
        log_by_lua_block { require("traced").request("one") }
    }
--- response_body chomp
ok
--- trace
one create
one request
one done
one log
one delete



=== TEST 13: callbacks in log_by_lua have a stream context of their own: nginx ends the request before
--- config
    location = /t {
        access_by_lua_block { require("traced").request("one") }
        content_by_lua_block { ngx.print("ok") }
        log_by_lua_block { require("traced").response("one") }
    }
--- response_body chomp
ok
--- trace
one create
one request
one done
one log
one delete
one create
one response
one done
one log
one delete



=== TEST 14: response callbacks without a request callback before
--- config
    location = /t {
        return 401;
        header_filter_by_lua_block { require("traced").response("one", "response_headers: get_header response :status") }
        body_filter_by_lua_block { }
    }
--- error_code: 401
--- response_body_like: 401 Authorization Required
--- error_log
get_header response :status -> OK 401
--- trace
one create
one response
one done
one log
one delete



=== TEST 15: response callbacks of another plugin context than the request's
--- config
    location = /t {
        access_by_lua_block { require("traced").request("one") }
        content_by_lua_block { ngx.print("ok") }
        header_filter_by_lua_block { require("traced").response("two") }
    }
--- response_body chomp
ok
--- trace
one create
one request
two create
two response
one done
one log
one delete
two done
two log
two delete



=== TEST 16: two contexts of one plugin in one request
--- config
    location = /t {
        access_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            ngx.ctx.one = assert(wasm.on_configure(plugin, "request_headers: args\nresponse_headers: args\ndelete: args"))
            ngx.ctx.two = assert(wasm.on_configure(plugin, "response_headers: args\ndelete: args"))
            assert(wasm.on_http_request_headers(ngx.ctx.one))
        }
        content_by_lua_block { ngx.print("ok") }
        header_filter_by_lua_block { assert(require("resty.proxy-wasm").on_http_response_headers(ngx.ctx.two)) }
    }
--- response_body chomp
ok
--- grep_error_log eval: qr/\w+ \d: args -> OK \d/
--- grep_error_log_out
request_headers 3: args -> OK 3
response_headers 4: args -> OK 4
delete 3: args -> OK 3
delete 4: args -> OK 4



=== TEST 17: three plugins end in the order of their creation
--- config
    location = /t {
        access_by_lua_block {
            require("traced").request("two")
            require("traced").request("one")
            require("traced").request("three")
            require("traced").request("one")
        }
        content_by_lua_block { ngx.print("ok") }
    }
--- response_body chomp
ok
--- trace
two create
two request
one create
one request
three create
three request
one request
two done
two log
two delete
one done
one log
one delete
three done
three log
three delete



=== TEST 18: proxy_on_log can read the headers of request and response
--- config
    location = /t {
        access_by_lua_block {
            require("traced").request("one", [[
                request_headers: add_header request x-plugin in
                response_headers: add_header response x-plugin out
                log: get_header request x-client
                log: get_header request x-plugin
                log: get_header request :path
                log: get_header response x-answer
                log: get_header response x-plugin
                log: get_header response content-type
                log: get_header response :status
                log: get_headers request
                log: get_headers response
                log: get_property status
            ]])
        }
        content_by_lua_block {
            ngx.status = 201
            ngx.header["X-Answer"] = "yes"
            ngx.print("ok")
        }
        header_filter_by_lua_block { require("traced").response("one") }
    }
--- more_headers
X-Client: hello
--- error_code: 201
--- response_body chomp
ok
--- error_log
log 2: get_header request x-client -> OK hello
log 2: get_header request x-plugin -> OK in
log 2: get_header request :path -> OK /t
log 2: get_header response x-answer -> OK yes
log 2: get_header response x-plugin -> OK out
log 2: get_header response content-type -> OK text/plain
log 2: get_header response :status -> OK 201
log 2: header x-plugin: in
log 2: header x-answer: yes
log 2: header :status: 201
log 2: get_property status -> OK 201
--- no_error_log
[error]



=== TEST 19: proxy_on_log can read them after ngx.exec to a location without Lua
--- config
    location = /t {
        access_by_lua_block {
            require("traced").request("one", [[
                log: get_header request x-client
                log: get_header response x-answer
                log: get_header response :status
                log: get_headers response
            ]])
        }
        content_by_lua_block { ngx.exec("/other") }
    }
    location = /other {
        add_header X-Answer yes;
        return 200 "ok";
    }
--- more_headers
X-Client: hello
--- response_body chomp
ok
--- error_log
log 2: get_header request x-client -> OK hello
log 2: get_header response x-answer -> OK yes
log 2: get_header response :status -> OK 200
log 2: header x-answer: yes
--- no_error_log
[error]



=== TEST 20: what proxy_on_log changes has no effect and does no harm
--- config
    location = /t {
        access_by_lua_block {
            require("traced").request("one", [[
                log: add_header request x-late 1
                log: add_header response x-late 1
                log: replace_header request :path /late
                log: replace_header request :method LATE
                log: set_property args late
                log: send_local_response 500 late
                done: send_local_response 500 late
                delete: send_local_response 500 late
                delete: get_header request host
            ]])
        }
        content_by_lua_block { ngx.print("ok") }
    }
--- response_headers
!x-late
--- response_body chomp
ok
--- trace
one create
one request
one done
one log
one delete
--- no_error_log
[alert]



=== TEST 21: a timer's request ends with the timer
--- config
    location = /t {
        content_by_lua_block {
            assert(ngx.timer.at(0, function() require("traced").request("one") end))
            ngx.print("ok")
        }
    }
--- response_body chomp
ok
--- trace
one create
one request
one done
one log
one delete
--- no_error_log
[alert]



=== TEST 22: an error in Lua after the callback
--- config
    location = /t {
        access_by_lua_block {
            require("traced").request("one")
            error("in Lua")
        }
        content_by_lua_block { ngx.print("not reached") }
        header_filter_by_lua_block { require("traced").response("one") }
    }
--- error_code: 500
--- error_log
in Lua
--- trace
one create
one request
one response
one done
one log
one delete



=== TEST 23: ngx.exit(444) closes the connection
--- config
    location = /t {
        access_by_lua_block {
            require("traced").request("one")
            ngx.exit(444)
        }
        content_by_lua_block { ngx.print("not reached") }
    }
--- ignore_response
--- trace
one create
one request
one done
one log
one delete



=== TEST 24: a stream context whose VM trapped ends without callbacks, those of others with all of them
--- config
    location = /t {
        access_by_lua_block {
            require("traced").request("one")
            local wasm = require("resty.proxy-wasm")
            ngx.ctx.plugin = assert(wasm.load("traps", "target/guests/script.wasm"))
            ngx.ctx.traps = assert(wasm.on_configure(ngx.ctx.plugin, "request_headers: trap\ndone: log info two done"))
            assert(not wasm.on_http_request_headers(ngx.ctx.traps))
            require("traced").request("three")
        }
        content_by_lua_block { ngx.print("ok") }
    }
--- response_body chomp
ok
--- trace
one create
one request
three create
three request
one done
one log
one delete
three done
three log
three delete
--- no_error_log
[alert]



=== TEST 25: a trap in proxy_on_log, proxy_on_done or proxy_on_delete hits nobody else
--- config
    location = /t {
        access_by_lua_block {
            require("traced").request("one", "done: trap")
            require("traced").request("two", "log: trap")
            require("traced").request("three", "delete: trap")
            require("traced").request("main")
        }
        content_by_lua_block { ngx.print("ok") }
    }
--- request eval
["GET /t", "GET /t"]
--- response_body eval
["ok", "ok"]
--- trace
one create
one request
two create
two request
three create
three request
main create
main request
one done
two done
two log
three done
three log
three delete
main done
main log
main delete
--- no_error_log
[alert]



=== TEST 26: callbacks in a light thread
--- config
    location = /t {
        content_by_lua_block {
            local traced = require("traced")
            local thread = ngx.thread.spawn(function()
                traced.request("one")
                ngx.sleep(0.001)
                traced.request("one")
            end)
            local co = coroutine.wrap(function() traced.request("two", "request_headers: replace_header request :path /t2") end)
            co()
            ngx.thread.wait(thread)
            ngx.print(ngx.var.uri)
        }
    }
--- response_body chomp
/t2
--- trace
one create
one request
two create
two request
one request
one done
one log
one delete
two done
two log
two delete



=== TEST 27: the body of a callback in log_by_lua is there in no other callback
--- config
    location = /t {
        content_by_lua_block { ngx.print("ok") }
        log_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            local ctx = assert(wasm.on_configure(plugin, [[
                stream_create: get_body request 0 9
                request_body: get_body request 0 9
                log: get_body request 0 9
            ]]))
            assert(wasm.on_http_request_body(ctx, "AAA", true))
        }
    }
--- response_body chomp
ok
--- grep_error_log eval: qr/\w+ 2: get_body .*?(?= while|, client)/
--- grep_error_log_out
stream_create 2: get_body request 0 9 -> NOT_FOUND
request_body 2: get_body request 0 9 -> OK AAA
log 2: get_body request 0 9 -> NOT_FOUND



=== TEST 28: a plugin can't set the path of another request than the one that is running
--- config
    location = /other {
        content_by_lua_block {
            require("traced").response("one", [[
                request_headers: set_effective_context 2
                request_headers: replace_header request :path /stolen
            ]])
            package.loaded.other_is_open = true
            repeat ngx.sleep(0.001) until package.loaded.other_may_go
            ngx.print(ngx.var.uri)
        }
    }
    location = /t {
        content_by_lua_block {
            local other = ngx.thread.spawn(function()
                local socket = ngx.socket.tcp()
                assert(socket:connect("127.0.0.1", ngx.var.server_port))
                assert(socket:send("GET /other HTTP/1.0\r\nHost: localhost\r\n\r\n"))
                return socket:receive("*a"):match("\r\n\r\n(.*)")
            end)
            repeat ngx.sleep(0.001) until package.loaded.other_is_open
            require("traced").request("one")
            package.loaded.other_may_go = true
            ngx.say(select(2, ngx.thread.wait(other)), " ", ngx.var.uri)
        }
    }
--- response_body
/other /t
--- error_log
failed to set request header :path: it can't be changed when no Lua code of the request runs
