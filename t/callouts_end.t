# What becomes of callouts when somebody goes away: the client, the server under test at a reload, a stop.

use t::WASM 'no_plan';
use t::Servers;

workers(1);
start_servers();

# At 127.0.0.1:1985 /hold answers when release() is called; it logs when its caller has gone.
my $init = <<'_EOC_';
    server {
        listen 127.0.0.1:1985;
        location = /hold {
            lua_check_client_abort on;
            content_by_lua_block {
                assert(ngx.on_abort(function()
                    ngx.log(ngx.WARN, "the caller has gone")
                    ngx.exit(499)
                end))
                package.loaded.held = require("ngx.semaphore").new(0)
                ngx.log(ngx.WARN, "holds an answer")
                assert(package.loaded.held:wait(30))
                ngx.print("held")
            }
        }
    }
    init_by_lua_block {
        -- Sends a request to this server. Returns what closes the connection, and what waits for the answer.
        package.preload.open_client = function()
            return function(uri)
                local socket = ngx.socket.tcp()
                assert(socket:connect("127.0.0.1", ngx.var.server_port))
                assert(socket:send("GET " .. uri .. " HTTP/1.0\r\nHost: localhost\r\n\r\n"))
                return function() socket:close() end, function()
                    local response = assert(socket:receive("*a"))
                    return response:match("\r\n\r\n(.*)")
                end
            end
        end
        -- Sends a signal to this worker, or to the master.
        package.preload.signal = function()
            local ffi = require("ffi")
            ffi.cdef("int kill(int pid, int signal);")
            local numbers = {HUP = 1, QUIT = 3, TERM = 15}
            return function(name, pid)
                assert(ffi.C.kill(pid, numbers[name]) == 0)
            end
        end
    }
_EOC_

# --- lua runs in the content phase of /t and answers "passed" at its end. /one runs the callback for request headers of
# package.loaded.one in the access phase, and sees when its client goes away.
add_block_preprocessor(sub {
    my ($block) = @_;
    my ($lua, $config) = map { $_ ? $_->[0] : '' } map { delete $block->{$_} } qw(lua more);
    $block->set_value(http_config => $init . ($block->http_config // ''));
    $block->set_value(config => <<"_EOC_");
    $config
    location = /one {
        lua_check_client_abort on;
        access_by_lua_block {
            local ok, err = require("plugins").wasm.on_http_request_headers(package.loaded.one)
            if not ok then ngx.log(ngx.ERR, err) end
        }
        content_by_lua_block { ngx.print("went on") }
    }
    location = /alive { return 200 alive; }
    location = /t {
        content_by_lua_block {
            local plugins, open_client, signal = require("plugins"), require("open_client"), require("signal")
            local wasm, configure, count, wait = plugins.wasm, plugins.configure, plugins.count, plugins.wait
            local function release() package.loaded.held:post(1) end
$lua
            ngx.say("passed")
        }
    }
_EOC_
    $block->set_value(response_body => "passed\n")
        unless defined $block->response_body || defined $block->ignore_response;
});

run_tests();

__DATA__

=== TEST 1: the client goes away: the plugin is told before its stream context ends, and the server sees it
--- lua
    package.loaded.one = configure([[
request_headers: http_call 127.0.0.1:1985 20000 "" :path=/hold
request_headers: return 1
call_response: args
call_response: get_header call_response :dispatch_status
call_response: get_headers call_response
call_response: get_body call_response 0 100
call_response: get_status
call_response: set_effective_context $stream
call_response: set_effective_context 2
done: get_status
log: log info the log
delete: log info the end
    ]])
    local close = open_client("/one")
    wait("holds an answer")
    close()
    wait("free http context 2")
    wait("the caller has gone")
--- grep_error_log eval: qr/(?:(?:call_response|done) \d: .*?|the log|the end|free http context 2)(?=, client|$)/
--- grep_error_log_out
call_response 1: args -> OK 1 0 0 0 0
call_response 1: get_header call_response :dispatch_status -> OK cancelled
call_response 1: get_headers call_response -> OK 0
call_response 1: get_body call_response 0 100 -> NOT_FOUND
call_response 1: get_status -> OK 11 cancelled
call_response 1: set_effective_context $stream -> OK
call_response 1: set_effective_context 2 -> OK
done 2: get_status -> OK 0
the log
the end
free http context 2



=== TEST 2: nothing of it stays: another callout may be made, and the plugin context ends
--- lua
    package.loaded.one = configure([[
request_headers: http_call 127.0.0.1:1985 20000 "" :path=/hold
request_headers: return 1
call_response: get_status
    ]], {callouts_in_flight = 1})
    for n = 1, 5 do
        local close = open_client("/one")
        wait("holds an answer", n)
        close()
        wait("free http context 2", n)
        wait("the caller has gone", n)
    end
    local _, answer = open_client("/one")
    wait("holds an answer", 6)
    release()
    assert(answer() == "went on")
    package.loaded.one = nil
    collectgarbage()
    collectgarbage()
    wait("free plugin context 1")
--- grep_error_log eval: qr/get_status -> .*|unloaded wasm plugin/
--- grep_error_log_out eval
"get_status -> OK 11 cancelled\n" x 5 . "get_status -> OK 0\nunloaded wasm plugin\n"



=== TEST 3: several callouts, some of which are answered already
--- lua
    package.loaded.one = configure([[
request_headers: http_call[a] 127.0.0.1:1980 20000 ""
request_headers: http_call[b] 127.0.0.1:1985 20000 "" :path=/hold
request_headers: http_call[c] 127.0.0.1:2002 20000 ""
request_headers: return 1
call_response: args
call_response: get_status
    ]])
    local close = open_client("/one")
    wait("holds an answer")
    wait("call_response 1: get_status")
    close()
    wait("free http context 2")
    wait("the caller has gone")
--- grep_error_log eval: qr/(?:args|get_status) -> .*/
--- grep_error_log_out
args -> OK 1 0 6 5 0
get_status -> OK 0
args -> OK 1 1 0 0 0
get_status -> OK 11 cancelled
args -> OK 1 2 0 0 0
get_status -> OK 11 cancelled



=== TEST 4: before the connection stands
--- http_config
    resolver 127.0.0.1:1;
    resolver_timeout 2s;   # ngx_lua leaves the timer behind, and nginx waits for it at its end
--- lua
    package.loaded.one = configure([[
request_headers: http_call some.example.com 20000 ""
request_headers: return 1
call_response: get_status
    ]])
    local close = open_client("/one")
    wait("send http request to http://some.example.com")
    close()
    wait("free http context 2")
--- grep_error_log eval: qr/get_status -> .*/
--- grep_error_log_out
get_status -> OK 11 cancelled
--- no_error_log
[alert]



=== TEST 5: what the plugin does then is of no use, and does no harm
--- lua
    package.loaded.one = configure([[
request_headers: http_call[a] 127.0.0.1:1985 20000 "" :path=/hold
request_headers: return 1
call_response[a]: set_effective_context $stream
call_response[a]: add_header request x-answer yes
call_response[a]: send_local_response 403 denied
call_response[a]: continue_stream 0
call_response[a]: http_call[b] 127.0.0.1:1980 5000 "" :path=/late
call_response[b]: get_body call_response 0 100
    ]])
    local close = open_client("/one")
    wait("holds an answer")
    close()
    wait("free http context 2")
    wait("call_response%[b%] 1: get_body call_response 0 100 %-> ")
    local _, answer = open_client("/alive")
    assert(answer() == "alive")



=== TEST 6: a trap then
--- lua
    package.loaded.one = configure([[
request_headers: http_call[a] 127.0.0.1:1985 20000 "" :path=/hold
request_headers: return 1
call_response: trap
done: log info an end that does not come
    ]])
    local close = open_client("/one")
    wait("holds an answer")
    close()
    wait("free http context 2")
    assert(count("an end that does not come") == 0)
    local _, answer = open_client("/one")
    wait("holds an answer", 2)
    release()
    answer()
--- error_log
failed to call function
--- no_error_log
[alert]



=== TEST 7: what a request does not wait for goes on when its client goes away
--- more
    location = /later {
        lua_check_client_abort on;
        content_by_lua_block {
            assert(require("plugins").wasm.on_http_request_headers(package.loaded.one))
            ngx.log(ngx.WARN, "sleeps")
            ngx.sleep(20)
        }
    }
--- lua
    package.loaded.one = configure([[
request_headers: http_call 127.0.0.1:1985 20000 "" :path=/hold
call_response: get_body call_response 0 100
    ]], {wait_only_when_paused = true})
    local close = open_client("/later")
    wait("holds an answer")
    wait("sleeps")
    close()
    wait("free http context 2")
    release()
    wait("get_body call_response 0 100 %-> OK held")



=== TEST 8: without lua_check_client_abort the request finishes
--- more
    location = /unchecked {
        content_by_lua_block {
            assert(require("plugins").wasm.on_http_request_headers(package.loaded.one))
            ngx.log(ngx.WARN, "goes on")
        }
    }
--- lua
    package.loaded.one = configure([[
request_headers: http_call 127.0.0.1:1985 20000 "" :path=/hold
request_headers: return 1
call_response: get_body call_response 0 100
    ]])
    local close = open_client("/unchecked")
    wait("holds an answer")
    close()
    release()
    wait("goes on")
    wait("get_body call_response 0 100 %-> OK held")



=== TEST 9: a reload: the request that waits finishes in the old worker, the new one has plugins of its own
--- lua
    package.loaded.one = configure([[
request_headers: http_call 127.0.0.1:1985 20000 "" :path=/hold
request_headers: return 1
call_response: get_body call_response 0 100
    ]])
    local _, answer = open_client("/one")
    wait("holds an answer")
    signal("HUP", require("ngx.process").get_master_pid())
    wait("gracefully shutting down")
    release()
    assert(answer() == "went on")
    assert(count("get_body call_response 0 100 %-> OK held") == 1)
--- no_error_log
[error]
exited on



=== TEST 10: a worker that ends gracefully: the request finishes, and what it asks then is answered
--- lua
    package.loaded.one = configure([[
request_headers: http_call[a] 127.0.0.1:1985 20000 "" :path=/hold
request_headers: return 1
call_response[a]: get_body call_response 0 100
call_response[a]: set_effective_context $stream
call_response[a]: http_call[b] 127.0.0.1:2000 5000 "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate" :method=POST
call_response[b]: get_body call_response 0 100
    ]])
    local _, answer = open_client("/one")
    wait("holds an answer")
    signal("QUIT", ngx.worker.pid())
    wait("gracefully shutting down")
    release()
    assert(answer() == "went on")
    assert(count("get_body call_response 0 100 %-> OK held") == 1)
    assert(count("get_body call_response 0 100 %-> OK late") == 1)
--- no_error_log
[error]
exited on



=== TEST 11: a worker that ends gracefully waits for a callout that nobody waits for
--- lua
    package.loaded.one = configure([[
configure: http_call 127.0.0.1:1985 20000 "" :path=/hold
call_response: get_body call_response 0 100
    ]])
    wait("holds an answer")
    signal("QUIT", ngx.worker.pid())
    wait("gracefully shutting down")
    release()
    wait("get_body call_response 0 100 %-> OK held")
--- no_error_log
[error]
exited on



=== TEST 12: a worker that ends at once: nothing is told to the plugins but their end
--- lua
    package.loaded.one = configure([[
request_headers: http_call 127.0.0.1:1985 20000 "" :path=/hold
request_headers: return 1
configure: http_call 127.0.0.1:2002 20000 ""
done: log info the stream is done
plugin_done: log info the plugin is done
    ]])
    local _, answer = open_client("/one")
    wait("holds an answer")
    signal("TERM", ngx.worker.pid())
    answer()
--- ignore_response
--- error_log
holds an answer
exited with code 0
--- no_error_log
[error]
exited on



=== TEST 13: and the next one serves
--- lua
    package.loaded.one = configure([[
request_headers: http_call 127.0.0.1:1980 5000 "" :path=/?body=x
request_headers: return 1
call_response: get_body call_response 0 100
    ]])
    local _, answer = open_client("/one")
    assert(answer() == "went on")
    assert(count("get_body call_response 0 100 %-> OK x") == 1)



=== TEST 14: a worker that ends gracefully sends what plugins ask at the end of its last requests
--- lua
    package.loaded.one = configure([[
request_headers: http_call[a] 127.0.0.1:1985 20000 "" :path=/hold
request_headers: return 1
log: http_call[l] 127.0.0.1:2000 5000 "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlast" :method=POST
call_response[l]: get_body call_response 0 100
    ]])
    local _, answer = open_client("/one")
    wait("holds an answer")
    signal("QUIT", ngx.worker.pid())
    wait("gracefully shutting down")
    release()
    assert(answer() == "went on")
    wait("get_body call_response 0 100 %-> OK last")
--- no_error_log
[error]
exited on



=== TEST 15: a plugin that asks again for ever when nobody listens does not stop the worker
--- lua
    package.loaded.one = configure([[
request_headers: http_call unix:/no/such/socket 1000 ""
request_headers: return 1
call_response: set_effective_context $stream
call_response: http_call unix:/no/such/socket 1000 ""
    ]], {callout_upstreams = {"unix:/no/such/socket"}})
    local close = open_client("/one")
    package.loaded.two = configure("configure: http_call unix:/no/such/socket 1000 \"\"\ncall_response: http_call unix:/no/such/socket 1000 \"\"",
        {callout_upstreams = {"unix:/no/such/socket"}})
    for _ = 1, 20 do
        local _, answer = open_client("/alive")
        assert(answer() == "alive")
    end
    close()
    signal("TERM", ngx.worker.pid())
--- error_log
no such file or directory
--- no_error_log
exited on



=== TEST 16: nor one that asks again for ever when there is no timer to send it with
--- http_config
    lua_max_pending_timers 1;
--- lua
    package.loaded.one = configure([[
request_headers: http_call 127.0.0.1:1985 1000 ""
request_headers: return 1
call_response: get_header call_response :dispatch_status
call_response: set_effective_context $stream
call_response: http_call 127.0.0.1:1985 1000 ""
    ]])
    -- The one that ends the wait for callouts of the end of a request.
    repeat ngx.sleep(0.001) until ngx.timer.pending_count() == 1 and ngx.timer.running_count() == 1
    local _, answer = open_client("/one")
    assert(answer() == "went on")
--- grep_error_log eval: qr/http_call [^,]* -> \w+|get_header call_response :dispatch_status -> [\w ]+|failed to create a timer: too many pending timers|a callout is not sent: the one before it could not be started/
--- grep_error_log_out
http_call 127.0.0.1:1985 1000 "" -> OK
failed to create a timer: too many pending timers
get_header call_response :dispatch_status -> OK broken connection
a callout is not sent: the one before it could not be started
http_call 127.0.0.1:1985 1000 "" -> INTERNAL_FAILURE
--- no_error_log
[alert]
