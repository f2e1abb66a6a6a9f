# A plugin that traps, spins, grows or takes too much: it is stopped and built anew, rests when it keeps failing, and its requests
# are answered as its policy says.

use t::WASM 'no_plan';

workers(1);

# `--- script` is the plugin's, `--- opts` its options; `call()` runs proxy_on_request_headers and says what came of it;
# `status()` is the plugin's status; `--- lua` runs in the content phase.
add_block_preprocessor(sub {
    my ($block) = @_;
    my ($script, $opts, $lua) = map { $_ ? $_->[0] : '' } map { delete $block->{$_} } qw(script opts lua);
    $block->set_value(config => <<"_EOC_") unless defined $block->config;
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm", {$opts}))
            local ctx = assert(wasm.on_configure(plugin, [==[
$script]==]))
            local function call() ngx.say(wasm.on_http_request_headers(ctx)) end
            local function status() return wasm.status()[1] end
            local function other()
                local res = ngx.location.capture("/other")
                return res.status, res.body
            end
$lua
        }
    }
    location = /call {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            package.loaded.ctx = package.loaded.ctx or assert(wasm.on_configure(
                assert(wasm.load("plugin", "target/guests/script.wasm", {$opts})), [==[
$script]==]))
            ngx.say(wasm.on_http_request_headers(package.loaded.ctx))
        }
    }
_EOC_
});

run_tests();

__DATA__

=== TEST 1: an endless loop is cut, and says where
--- opts
callback_timeout = 100
--- script
request_headers: loop
--- lua
    local before = ngx.now()
    call()
    ngx.update_time()
    ngx.say(ngx.now() - before >= 0.1)
    ngx.say(status().traps.deadline)
--- response_body
nilfailed to run proxy_on_http_request_headers
true
1
--- error_log
plugin "plugin": proxy_on_request_headers was stopped: callback_timeout allows it 100 ms
--- no_error_log
[alert]



=== TEST 2: every callback has a deadline, also those of the plugin context, and the start
--- opts
callback_timeout = 50
--- script
tick: loop
configure: set_tick 1
--- lua
    for _ = 1, 3000 do
        if status().traps.deadline >= 1 then break end
        ngx.sleep(0.005)
    end
    ngx.say(status().traps.deadline >= 1)
--- response_body
true
--- error_log
proxy_on_tick was stopped: callback_timeout allows it 50 ms
--- no_error_log
[alert]



=== TEST 3: memory has a limit
--- opts
memory_limit = 4 * 1024 * 1024
--- script
request_headers: grow 1
request_headers: grow 64
--- lua
    call()
    ngx.say(status().traps.limit, " ", status().memory < 4 * 1024 * 1024)
--- response_body
nilfailed to run proxy_on_http_request_headers
1 true
--- error_log
plugin "plugin": proxy_on_request_headers was stopped: memory_limit allows 4194304 bytes of memory, the guest wants
--- no_error_log
[alert]



=== TEST 4: a module that has more memory, or larger tables, than it may have is not loaded
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            ngx.say(wasm.load("plugin", "target/guests/script.wasm", {memory_limit = 65536}))
            ngx.say(wasm.load("plugin", "target/guests/script.wasm", {table_limit = 1}))
        }
    }
--- response_body
nilfailed to load wasm plugin
nilfailed to load wasm plugin
--- error_log
failed to new instance: memory_limit allows 65536 bytes of memory, the guest wants
failed to new instance: table_limit allows 1 elements of all tables, the guest wants
--- no_error_log
[alert]



=== TEST 5: a plugin that fails is built anew for the next request; one that fails in most of many calls rests
--- script
request_headers: trap
--- lua
    ngx.print(ngx.location.capture("/call").body)
    ngx.print(ngx.location.capture("/call").body)
    ngx.say(wasm.status()[2].rebuilds, " ", wasm.status()[2].state)
    for _ = 3, 150 do ngx.location.capture("/call") end
    ngx.say(wasm.status()[2].rebuilds, " ", wasm.status()[2].traps.unreachable, " ", wasm.status()[2].state)
--- response_body
nilfailed to run proxy_on_http_request_headers
nilfailed to run proxy_on_http_request_headers
1 trapped
99 100 resting
--- grep_error_log eval: qr/plugin "plugin" has failed .*? it is not called for \d+ ms/
--- grep_error_log_out
plugin "plugin" has failed in 100 of its last 101 calls: it is not called for 100 ms
--- no_error_log
[alert]



=== TEST 6: with fail = "open" a request goes on as if the plugin were not there
--- opts
fail = "open"
--- script
request_headers: trap
--- lua
    for _ = 1, 3 do ngx.print(ngx.location.capture("/call").body) end
    for _ = 4, 150 do assert(ngx.location.capture("/call").body == "true\n") end
    ngx.say(wasm.status()[2].state)
--- response_body
true
true
true
resting
--- error_log
failed to call function
--- no_error_log
[alert]



=== TEST 7: other plugins notice nothing
--- script
request_headers: trap
--- lua
    local other = assert(wasm.on_configure(assert(wasm.load("other", "target/guests/script.wasm")), "request_headers: args"))
    call()
    ngx.say(wasm.on_http_request_headers(other))
    local statuses = wasm.status()
    ngx.say(statuses[1].name, " ", statuses[1].state, ", ", statuses[2].name, " ", statuses[2].state)
--- response_body
nilfailed to run proxy_on_http_request_headers
true
plugin trapped, other running
--- error_log
failed to call function
--- no_error_log
[alert]



=== TEST 8: what status says
--- script
request_headers: panic so
--- lua
    call()
    local cjson = require("cjson")
    local now = status()
    ngx.say(now.name, " ", now.state, " ", now.rebuilds, " ", now.plugin_contexts, " ", now.stream_contexts, " ", now.callouts)
    ngx.say(now.memory > 65536, " ", now.calls >= 4, " ", now.traps.unreachable)
    assert(wasm.on_configure(plugin, "configure: args"))
    now = status()
    ngx.say(now.state, " ", now.rebuilds)
--- response_body
nilfailed to run proxy_on_http_request_headers
plugin trapped 0 1 1 0
true true 1
running 1
--- error_log
so
--- no_error_log
[alert]



=== TEST 9: unknown options are refused with the nearest known name
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            for _, name in ipairs({"memory_limits", "fial", "callback_timout", "xyz"}) do
                ngx.say(select(2, wasm.load("plugin", "target/guests/script.wasm", {[name] = 1})))
            end
            for name, value in pairs({fail = "shut"}) do
                ngx.say(select(2, wasm.load("plugin", "target/guests/script.wasm", {[name] = value})))
            end
            ngx.say(select(2, wasm.load("plugin", "target/guests/script.wasm", {memory_limit = 1})))
            ngx.say(select(2, wasm.load("plugin", "target/guests/script.wasm", {env = {1}})))
        }
    }
--- response_body
bad options: there is no option memory_limits, did you mean memory_limit?
bad options: there is no option fial, did you mean fail?
bad options: there is no option callback_timout, did you mean callback_timeout?
bad options: there is no option xyz
bad options: fail must be "closed" or "open", got shut
bad options: memory_limit must be a number of bytes, at least 65536, got 1
bad options: env must be a list of strings, got a table



=== TEST 10: a plugin sees the environment variables that it may see, and no others
--- main_config
env SEEN=1;
env UNSEEN=2;
--- opts
env = {"SEEN", "UNSET"}
--- script
request_headers: environ
--- lua
    call()
--- response_body
true
--- error_log
environ -> OK 1



=== TEST 11: an idle worker does not wake up for the clock of guests
--- script
request_headers: args
--- lua
    call()
    local function switches()
        local count = 0
        for task in io.popen("ls /proc/" .. ngx.worker.pid() .. "/task"):lines() do
            local name = io.open("/proc/" .. ngx.worker.pid() .. "/task/" .. task .. "/comm"):read()
            if name == "resty-wasm" then
                local status = io.open("/proc/" .. ngx.worker.pid() .. "/task/" .. task .. "/status"):read("*a")
                count = count + tonumber(status:match("\nvoluntary_ctxt_switches:%s*(%d+)"))
            end
        end
        return count
    end
    -- It goes to sleep after some ticks; from then on nothing changes.
    local last, same = switches(), 0
    for _ = 1, 600 do
        ngx.sleep(0.05)
        local now = switches()
        same, last = now == last and same + 1 or 0, now
        if same == 20 then break end
    end
    ngx.say(last > 0, " ", same)
--- timeout: 60
--- response_body
true
true 20



=== TEST 12: hostcalls that are denied, by name
--- opts
denied_capabilities = {"proxy_get_header_map_value", "proxy_http_call"}
--- script
request_headers: get_header request host
request_headers: get_header request host
request_headers: http_call 127.0.0.1:1980 100 ""
request_headers: get_headers request
--- lua
    call()
--- response_body
true
--- grep_error_log eval: qr/plugin "plugin" may not call \w+: it is answered \w+|(?:get_header|http_call) [^,]*-> \w+/
--- grep_error_log_out
plugin "plugin" may not call proxy_get_header_map_value: it is answered NotFound
get_header request host -> NOT_FOUND
get_header request host -> NOT_FOUND
plugin "plugin" may not call proxy_http_call: it is answered InternalFailure
http_call 127.0.0.1:1980 100 "" -> INTERNAL_FAILURE



=== TEST 13: a capability that is no hostcall
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            ngx.say(wasm.load("plugin", "target/guests/script.wasm", {capabilities = {"proxy_loog"}}))
        }
    }
--- response_body
nilfailed to load wasm plugin
--- error_log
bad options: there is no hostcall "proxy_loog"
--- no_error_log
[alert]



=== TEST 14: messages above the rate are counted, not logged
--- opts
log_rate = 5
--- script
request_headers: log info one
request_headers: log info two
request_headers: log info three
request_headers: log info four
request_headers: log info five
request_headers: log info six
request_headers: log info seven
--- lua
    local count = require("plugins").count
    -- Until a second has passed in which there were too many.
    local calls = 0
    repeat
        assert(wasm.on_http_request_headers(ctx))
        calls = calls + 1
        ngx.sleep(0.001)
    until count("messages until proxy_on_request_headers were not logged: log_rate allows 5 a second") > 0
    ngx.say(count(" seven,") < calls and "some are not logged" or "all are logged")
--- response_body
some are not logged
--- error_log eval
qr/plugin "plugin": \d+ messages until proxy_on_request_headers were not logged: log_rate allows 5 a second/
--- no_error_log
[error]



=== TEST 15: a body that is held back is limited
--- http_config
    lua_shared_dict resty_wasm 1m;
--- config
    location = /t {
        content_by_lua_block {
            for _ = 1, 4 do ngx.print(("x"):rep(40)) ngx.flush(true) end
        }
        header_filter_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            ngx.ctx.plugin = assert(wasm.on_configure(assert(wasm.load("plugin", "target/guests/script.wasm", {body_limit = 100})),
                "response_headers: remove_header response content-length\nresponse_body: return 1"))
            assert(wasm.on_http_response_headers(ngx.ctx.plugin))
        }
        body_filter_by_lua_block { assert(require("resty.proxy-wasm").on_http_response_body(ngx.ctx.plugin)) }
    }
--- response_body eval
"x" x 160
--- error_log
plugin "plugin": proxy_on_response_body holds back 120 bytes, body_limit allows 100: they go on
--- no_error_log
[alert]



=== TEST 16: an endless loop in each callback is cut, and the worker goes on
--- config
    location = /callback {
        access_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local name = ngx.var.arg_name
            local plugin = assert(wasm.load(name, "target/guests/script.wasm", {callback_timeout = 20}))
            local before = {
                tick = "configure: set_tick 1\ntick: set_tick 0\n",
                queue_ready = "configure: register_queue q\nrequest_headers: enqueue $queue message\n",
                call_response = 'request_headers: http_call 127.0.0.1:1980 5000 ""\n',
            }
            ngx.ctx.plugin = wasm.on_configure(plugin, (before[name] or "") .. name .. ": loop")
            if name == "configure" then return ngx.exit(204) end
            if name == "foreign_function" then require("resty.wasm").on_foreign_function(ngx.ctx.plugin, 1) end
            wasm.on_http_request_headers(ngx.ctx.plugin)
            if name == "stream_create" then return ngx.exit(204) end
            ngx.req.read_body()
            wasm.on_http_request_body(ngx.ctx.plugin, "body", true)
        }
        content_by_lua_block {
            local name = ngx.var.arg_name
            if name == "tick" or name == "queue_ready" then require("plugins").wait("proxy_on_" .. name .. " was stopped") end
            ngx.header["trailer"] = "x"
            ngx.say("ok")
        }
        header_filter_by_lua_block { require("resty.proxy-wasm").on_http_response_headers(ngx.ctx.plugin) }
        body_filter_by_lua_block { require("resty.proxy-wasm").on_http_response_body(ngx.ctx.plugin) }
    }
    location = /t {
        content_by_lua_block {
            local client = require("client")
            for name in ("configure tick queue_ready foreign_function stream_create request_headers request_body response_headers response_body"
                    .. " log done delete plugin_done plugin_delete call_response"):gmatch("%S+") do
                client("/callback?name=" .. name)
                collectgarbage()
                collectgarbage()
            end
            ngx.say((client("/other")))
        }
    }
    location = /other { return 200 "other"; }
--- timeout: 60
--- response_body
other
--- grep_error_log eval: qr/plugin "\w+": \w+ was stopped: callback_timeout allows it 20 ms/
--- grep_error_log_out
plugin "configure": proxy_on_configure was stopped: callback_timeout allows it 20 ms
plugin "tick": proxy_on_tick was stopped: callback_timeout allows it 20 ms
plugin "queue_ready": proxy_on_queue_ready was stopped: callback_timeout allows it 20 ms
plugin "foreign_function": proxy_on_foreign_function was stopped: callback_timeout allows it 20 ms
plugin "stream_create": proxy_on_context_create was stopped: callback_timeout allows it 20 ms
plugin "stream_create": proxy_on_context_create was stopped: callback_timeout allows it 20 ms
plugin "request_headers": proxy_on_request_headers was stopped: callback_timeout allows it 20 ms
plugin "request_body": proxy_on_request_body was stopped: callback_timeout allows it 20 ms
plugin "response_headers": proxy_on_response_headers was stopped: callback_timeout allows it 20 ms
plugin "response_body": proxy_on_response_body was stopped: callback_timeout allows it 20 ms
plugin "log": proxy_on_log was stopped: callback_timeout allows it 20 ms
plugin "done": proxy_on_done was stopped: callback_timeout allows it 20 ms
plugin "delete": proxy_on_delete was stopped: callback_timeout allows it 20 ms
plugin "plugin_done": proxy_on_done was stopped: callback_timeout allows it 20 ms
plugin "plugin_delete": proxy_on_delete was stopped: callback_timeout allows it 20 ms
plugin "call_response": proxy_on_http_call_response was stopped: callback_timeout allows it 20 ms
--- no_error_log
[alert]



=== TEST 17: a guest whose call of Lua has called another guest is cut as well
--- opts
callback_timeout = 400
--- script
request_headers: call_foreign other
request_headers: loop
--- lua
    local other = assert(wasm.on_configure(assert(wasm.load("other", "target/guests/script.wasm")), "request_headers: args"))
    wasm.register_foreign_function("other", function() assert(wasm.on_http_request_headers(other)) end)
    call()
--- response_body
nilfailed to run proxy_on_http_request_headers
--- error_log
proxy_on_request_headers was stopped: callback_timeout allows it 400 ms
--- no_error_log
[alert]



=== TEST 18: a guest that adds headers, or bytes to a body, without end is stopped
--- config
    location ~ ^/(headers|body)$ {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/without-end.wasm", {
                callback_timeout = 600000, header_limit = 1000, body_limit = 100000,
            }))
            ngx.say(wasm["on_http_request_" .. ngx.var[1]](assert(wasm.on_configure(plugin, "conf")), "body", true))
        }
    }
    location = /t {
        content_by_lua_block {
            for _, path in ipairs({"/headers", "/body"}) do ngx.print(ngx.location.capture(path).body) end
        }
    }
--- response_body
nilfailed to run proxy_on_http_request_headers
nilfailed to run proxy_on_http_request_body
--- grep_error_log eval: qr/plugin "plugin": .*? was stopped: .*/
--- grep_error_log_out
plugin "plugin": proxy_on_request_headers was stopped: header_limit allows 1000 bytes of headers and properties in a callback, the guest wants 1040
plugin "plugin": proxy_on_request_body was stopped: body_limit allows 100000 bytes of a body, the guest wants 131076
--- no_error_log
[alert]



=== TEST 19: a request that traps, sent again and again, fails no other
--- config
    location ~ ^/(trap|serve)$ {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = package.loaded.plugin or assert(wasm.load("plugin", "target/guests/script.wasm"))
            package.loaded.plugin = plugin
            for _, name in ipairs({"trap", "serve"}) do
                local script = "request_headers: " .. (name == "trap" and "trap" or "args")
                package.loaded[name .. "_ctx"] = package.loaded[name .. "_ctx"] or assert(wasm.on_configure(plugin, script))
            end
            ngx.say(wasm.on_http_request_headers(package.loaded[ngx.var[1] .. "_ctx"]))
        }
    }
    location = /t {
        content_by_lua_block {
            local client, served = require("client"), 0
            for _ = 1, 20 do
                for _ = 1, 3 do client("/trap") end
                if client("/serve") == "true\n" then served = served + 1 end
            end
            ngx.say(served, " of 20")
        }
    }
--- response_body
20 of 20
--- error_log
failed to call function
--- no_error_log
it is not called for
[alert]
