# proxy_set_tick_period_milliseconds, proxy_on_tick, and plugin contexts that wait for proxy_done.

use t::WASM 'no_plan';

workers(1);

# `require("ticks")` has wasm; configure(SCRIPT), which returns a plugin context of a plugin of its own; count(PATTERN), how often
# the error log has it; wait(PATTERN, N), until it has it N times; clock(N), until a plugin has had N ticks of 1 ms.
my $ticks = <<'_EOC_';
        package.preload.ticks = function()
            local _M = {wasm = require("resty.proxy-wasm")}
            function _M.configure(script, options)
                local plugin = assert(_M.wasm.load("plugin", "target/guests/script.wasm", options))
                return assert(_M.wasm.on_configure(plugin, script))
            end
            function _M.count(pattern)
                local log = io.open("$TEST_NGINX_SERVER_ROOT/logs/error.log"):read("*a")
                return select(2, log:gsub(pattern, ""))
            end
            function _M.wait(pattern, count)
                for _ = 1, 3000 do
                    if _M.count(pattern) >= count then return true end
                    ngx.sleep(0.005)
                end
                error("the log does not say " .. pattern)
            end
            function _M.clock(count)
                local before = _M.count("clock goes")
                _M.of_the_clock = _M.of_the_clock or _M.configure("configure: set_tick 1\ntick: log info clock goes")
                return _M.wait("clock goes", before + count)
            end
            return _M
        end
_EOC_

# `--- lua` runs in the content phase; with `passed` it is answered.
add_block_preprocessor(sub {
    my ($block) = @_;
    my ($init, $lua) = map { $_ ? $_->[0] : '' } map { delete $block->{$_} } qw(init lua);
    $block->set_value(http_config => "init_by_lua_block {\n$ticks$init}\n" . ($block->http_config // ''));
    $block->set_value(config => <<"_EOC_") unless defined $block->config;
    location = /t {
        content_by_lua_block {
            local ticks = require("ticks")
            local wasm, configure, count, wait, clock = ticks.wasm, ticks.configure, ticks.count, ticks.wait, ticks.clock
$lua
            ngx.say("passed")
        }
    }
_EOC_
    $block->set_value(response_body => "passed\n") unless defined $block->response_body;
});

run_tests();

__DATA__

=== TEST 1: ticks come again and again, in the plugin context
--- lua
    local ctx = configure("configure: set_tick 1\ntick: args")
    wait("tick 1: args %-> OK 1\n", 3)



=== TEST 2: a stream context sets the tick of its plugin context
--- lua
    local ctx = configure("request_headers: set_tick 1\ntick: args")
    assert(wasm.on_http_request_headers(ctx))
    wait("tick 1: args %-> OK 1\n", 2)



=== TEST 3: a period of 0 stops it
--- lua
    local ctx = configure("configure: set_tick 1\ntick: log info once\ntick: set_tick 0")
    wait("once", 1)
    clock(20)
    assert(count("tick 1: set_tick 0 %-> OK") == 1)



=== TEST 4: what a callback sets twice counts once
--- lua
    local ctx = configure("configure: set_tick 60000\nconfigure: set_tick 1\ntick: set_tick 0")
    wait("tick 1: set_tick 0", 1)
    clock(20)
    assert(count("tick 1: set_tick 0") == 1)



=== TEST 5: a period that is set anew in each tick leaves one timer
--- lua
    local ctx = configure("configure: set_tick 1\ntick: set_tick 1")
    wait("tick 1: set_tick 1", 10)
    -- One more ends the wait for callouts when the worker ends, and one may be about to publish metrics.
    assert(ngx.timer.pending_count() <= 3, ngx.timer.pending_count())



=== TEST 6: ticks end with the plugin context
--- lua
    local ctx = configure("configure: set_tick 1\ntick: log info mine")
    wait("mine", 1)
    ctx = nil
    collectgarbage()
    wait("free plugin context 1", 1)
    local before = count("mine")
    clock(20)
    assert(count("mine") == before)
    assert(count("unloaded wasm plugin") == 1)



=== TEST 7: an id that is used again has none of the ticks of its predecessor
--- lua
    local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
    local ctx = assert(wasm.on_configure(plugin, "configure: set_tick 1\ntick: log info first"))
    wait("first", 1)
    ctx = nil
    collectgarbage()
    ctx = assert(wasm.on_configure(plugin, "tick: log info second"))
    assert(ctx.ctx == 1)
    clock(20)
    assert(count("second") == 0)



=== TEST 8: two plugin contexts of one plugin have ticks of their own
--- lua
    local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
    local one = assert(wasm.on_configure(plugin, "configure: set_tick 1\ntick: args"))
    local two = assert(wasm.on_configure(plugin, "configure: set_tick 1\ntick: args"))
    wait("tick 1: args %-> OK 1\n", 2)
    wait("tick 2: args %-> OK 2\n", 2)



=== TEST 9: of a plugin that is configured in the master, ticks come in the worker, from its first callback on
--- init
    configured = require("ticks").configure("configure: set_tick 1\ntick: log info in a worker")
--- lua
    assert(wasm.on_http_request_headers(configured))
    wait("in a worker", 2)



=== TEST 10: set at the end of a request, where no Lua code runs, they begin with the next callback
--- config
    location = /t {
        content_by_lua_block {
            local ticks = require("ticks")
            package.loaded.ctx = package.loaded.ctx or ticks.configure("log: set_tick 1\ntick: log info late")
            assert(ticks.wasm.on_http_request_headers(package.loaded.ctx))
            if ngx.var.arg_wait then ticks.wait("late", 1) end
            ngx.say("passed")
        }
    }
--- request eval
["GET /t", "GET /t?wait=1"]
--- response_body eval
["passed\n", "passed\n"]



=== TEST 11: after a trap the new instance ticks as the old one did
--- lua
    local ctx = configure("configure: set_tick 1\ntick: log info before\ntick: trap")
    wait("before", 2)
--- error_log
failed to call function
--- no_error_log
[alert]



=== TEST 12: a tick has no request: maps are empty, properties not found, a reply is not sent
--- lua
    local ctx = configure([[
configure: set_tick 1
tick: get_header request host
tick: get_headers response
tick: get_property uri
tick: get_property plugin_root_id
tick: send_local_response 403 denied
tick: set_tick 0
]])
    wait("tick 1: set_tick 0", 1)
--- grep_error_log eval: qr/tick 1: .*?(?=, context|$)/
--- grep_error_log_out
tick 1: get_header request host -> NOT_FOUND
tick 1: get_headers response -> OK 0
tick 1: get_property uri -> NOT_FOUND
tick 1: get_property plugin_root_id -> OK plugin
tick 1: send_local_response 403 denied -> OK
tick 1: set_tick 0 -> OK
--- no_error_log
[alert]



=== TEST 13: when a worker ends no tick comes any more
--- lua
    package.loaded.ctx = configure("configure: set_tick 60000\ntick: log info too late")
--- no_shutdown_error_log
too late
--- shutdown_error_log
free plugin context 1



=== TEST 14: a plugin context whose proxy_on_done returns false waits for proxy_done, and ticks meanwhile
--- lua
    local ctx = configure("configure: set_tick 1\nplugin_done: return 0\nplugin_done: log info not yet\ntick: done\nplugin_delete: log info now")
    wait("tick 1: done", 1)
    ctx = nil
    collectgarbage()
    wait("unloaded wasm plugin", 1)
--- grep_error_log eval: qr/not yet|waits for proxy_done|now|free plugin context 1|unloaded wasm plugin/
--- grep_error_log_out
not yet
waits for proxy_done
now
free plugin context 1
unloaded wasm plugin



=== TEST 15: proxy_done in proxy_on_done itself ends it at once
--- lua
    local ctx = configure("plugin_done: done\nplugin_done: return 0\nplugin_delete: log info now")
    ctx = nil
    collectgarbage()
    assert(count("free plugin context 1") == 1)
--- no_error_log
waits for
[error]



=== TEST 16: a context that waits for ever ends with the worker
--- lua
    local ctx = configure("plugin_done: return 0\nplugin_delete: log info now")
    ctx = nil
    collectgarbage()
    assert(count("plugin context 1 waits for proxy_done") == 1)
    assert(count("free plugin context 1") == 0)
--- shutdown_error_log
free plugin context 1



=== TEST 17: a stream context is not waited for
--- config
    location = /t {
        content_by_lua_block {
            local ticks = require("ticks")
            package.loaded.ctx = package.loaded.ctx or ticks.configure("done: return 0\ndelete: log info deleted")
            assert(ticks.wasm.on_http_request_headers(package.loaded.ctx))
            ngx.say("passed")
        }
    }
--- request eval
["GET /t", "GET /t"]
--- response_body eval
["passed\n", "passed\n"]
--- error_log
failed to mark context 2 as done
free http context 2
--- no_error_log
[alert]



=== TEST 18: one timer drives the ticks of all plugin contexts, and there is none when none of them ticks
--- lua
    local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
    local contexts = {}
    for n = 1, 1502 do
        contexts[n] = assert(wasm.on_configure(plugin, "configure: set_tick 1\ntick: log info ticked\ntick: set_tick 0"))
    end
    -- One more ends the wait for callouts when the worker ends.
    assert(ngx.timer.pending_count() <= 3, ngx.timer.pending_count())
    wait(" ticked", 1502)
    repeat ngx.sleep(0.001) until ngx.timer.pending_count() == 1
    assert(count(" ticked") == 1502)
--- timeout: 60
--- no_error_log
[alert]



=== TEST 19: ticks come also when nginx refuses timers, and nobody calls the library
--- http_config
    lua_max_pending_timers 8;
--- lua
    local first = configure("configure: args")
    repeat ngx.sleep(0.001) until ngx.timer.running_count() == 1   -- it waits for what no request brings about
    repeat until not ngx.timer.at(60, function() end)
    local ctx = configure("configure: set_tick 1\ntick: log info ticked")
    wait(" ticked", 3)
    assert(not ngx.timer.at(60, function() end))
--- error_log
ticks, queues and metrics may be late: there is no timer for them: too many pending timers
--- no_error_log
[alert]



=== TEST 20: ticks come again after nginx has dropped a timer, without a call of the library
--- http_config
    lua_max_running_timers 2;
--- lua
    local first = configure("configure: args")
    repeat ngx.sleep(0.001) until ngx.timer.running_count() == 1
    local has_to_end = false
    assert(ngx.timer.at(0, function() repeat ngx.sleep(0.001) until has_to_end end))
    repeat ngx.sleep(0.001) until ngx.timer.running_count() == 2
    local ctx = configure("configure: set_tick 1\ntick: log info ticked")
    wait("lua_max_running_timers are not enough", 1)
    has_to_end = true
    wait(" ticked", 3)
--- error_log
lua_max_running_timers are not enough
--- no_error_log
[error]



=== TEST 21: the wait for what no request brings about begins later when nginx refuses its timer
--- http_config
    lua_max_pending_timers 4;
--- lua
    local has_to_end = false
    repeat until not ngx.timer.at(0, function() repeat ngx.sleep(0.001) until has_to_end end)
    local ctx = configure("configure: args\nlog: set_tick 1\ntick: log info ticked")
    has_to_end = true
    repeat ngx.sleep(0.001) until ngx.timer.running_count() == 0
    assert(wasm.on_http_request_headers(ctx))
    repeat ngx.sleep(0.001) until ngx.timer.running_count() == 1
--- error_log
there is no timer for them: too many pending timers
--- no_error_log
[alert]



=== TEST 22: ticks that use up the plugin's time wait, and neither its requests nor other plugins do
--- http_config
    lua_shared_dict resty_wasm 1m;
--- lua
    local ctx = configure([[
configure: set_tick 1
configure: set_shared counter 0 0
tick: log info begun
tick: increment_shared counter 20000
request_headers: args
]], {background_cpu = 1})
    wait(" begun", 1)
    clock(200)
    assert(count(" begun") < 20, count(" begun"))
    assert(wasm.on_http_request_headers(ctx))
--- timeout: 60
--- error_log
plugin "plugin": background_cpu allows it 1 ms a second in ticks, for queues and for callouts that no request waits for: they wait
--- no_error_log
[error]
[alert]



=== TEST 23: answers that no request waits for wait when the plugin's time is used up, and come
--- http_config
    lua_shared_dict resty_wasm 1m;
    server { listen 127.0.0.1:1985; location / { return 200 "ok"; } }
--- lua
    local ctx = configure([[
configure: set_tick 1
configure: set_shared counter 0 0
tick: set_tick 0
tick: increment_shared counter 20000
tick: http_call 127.0.0.1:1985 5000 "" :method=GET :path=/ :authority=localhost
call_response: log info answered
]], {background_cpu = 20})
    wait("they wait", 1)
    wait(" answered", 1)
--- timeout: 60
--- error_log
background_cpu allows it 20 ms a second
--- no_error_log
[error]
[alert]
