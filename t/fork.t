# Plugins loaded in the master, used in its workers; reloads; the end of a worker.

use t::WASM 'no_plan';

workers(2);

# `require("client")(URI)` is a request on a connection of its own; it returns the response's body.
# `--- in_master` and `--- in_worker` are Lua code of init_by_lua and init_worker_by_lua with `wasm`, and `load(GUEST)`.
my $error_log = <<'_EOC_';
        package.preload.error_log = function()
            return function() return io.open("$TEST_NGINX_SERVER_ROOT/logs/error.log"):read("*a") end
        end
_EOC_

my $wasm = <<'_EOC_';
        local wasm, plugins = require("resty.proxy-wasm"), package.loaded
        local function load(guest) return assert(wasm.load("plugin", "target/guests/" .. guest .. ".wasm")) end
_EOC_

add_block_preprocessor(sub {
    my ($block) = @_;
    my ($master, $worker) = map { $_ ? $wasm . $_->[0] : '' } map { delete $block->{$_} } qw(in_master in_worker);
    $block->set_value(http_config => "lua_shared_dict shared 1m;\ninit_by_lua_block {\n$error_log$master}\n"
        . "init_worker_by_lua_block {\n$worker}\n" . ($block->http_config // ''));
});

run_tests();

__DATA__

=== TEST 1: what the master loaded and configured runs in each worker, with clock, random numbers and stdout
--- in_master
        plugins.ctx = assert(wasm.on_configure(load("script"), [[
            configure: clock
            configure: random 16
            configure: stdout in the master\n
            request_headers: clock
            request_headers: random 16
            request_headers: stdout in a worker\n
            request_headers: get_property pid
        ]]))
--- config
    location = /run {
        content_by_lua_block {
            assert(require("resty.proxy-wasm").on_http_request_headers(package.loaded.ctx))
            ngx.print(ngx.worker.pid())
        }
    }
    location = /t {
        content_by_lua_block {
            local pids, count, tries = {}, 0, 0
            while count < 2 and tries < 2000 do
                local pid = require("client")("/run")
                ngx.sleep(0.001)
                tries = tries + 1
                if not pids[pid] then
                    pids[pid] = true
                    count = count + 1
                end
            end
            local log = require("error_log")()
            local randoms, different, all = {}, 0, 0
            for random in log:gmatch("random 16 %-> OK (%x+)") do
                all = all + 1
                different = different + (randoms[random] and 0 or 1)
                randoms[random] = true
            end
            local _, clocks = log:gsub("request_headers %d+: clock %-> OK 1%d+", "")
            local _, lines = log:gsub("%[info%][^\n]*: %*%d+ in a worker", "")
            ngx.say(count, " workers")
            ngx.say("as many random numbers as calls: ", different == all and all == tries + 1)
            ngx.say("as many clocks and lines: ", clocks == tries and lines == tries)
        }
    }
--- timeout: 60
--- response_body
2 workers
as many random numbers as calls: true
as many clocks and lines: true
--- error_log eval
["configure 1: clock -> OK 1", qr/\[info\].*in the master/]
--- no_error_log
[error]



=== TEST 2: each worker draws random numbers of its own, one call each
--- in_master
        plugins.ctx = assert(wasm.on_configure(load("script"), "request_headers: random 16\nrequest_headers: clock"))
--- in_worker
        assert(ngx.timer.at(0, function()
            assert(wasm.on_http_request_headers(plugins.ctx))
            ngx.shared.shared:incr("ran", 1, 0)
        end))
--- config
    location = /t {
        content_by_lua_block {
            repeat ngx.sleep(0.001) until ngx.shared.shared:get("ran") == 2
            local randoms = {}
            for random in require("error_log")():gmatch("random 16 %-> OK (%x+)") do table.insert(randoms, random) end
            ngx.say(#randoms, " ", randoms[1] ~= randoms[2])
        }
    }
--- response_body
2 true
--- no_error_log
[error]



=== TEST 3: a worker compiles another plugin after the master compiled one
--- in_master
        plugins.ctx = assert(wasm.on_configure(load("script"), "request_headers: log info of the master"))
--- in_worker
        plugins.second = assert(wasm.on_configure(load("fault-injection"), '{"body": "", "http_status": 200, "percentage": 0}'))
        plugins.third = assert(wasm.on_configure(load("lifecycle"), "of the worker"))
        assert(ngx.timer.at(0, function()
            assert(wasm.on_http_request_headers(plugins.ctx))
            assert(wasm.on_http_request_headers(plugins.third))
            ngx.shared.shared:incr("ran", 1, 0)
        end))
--- config
    location = /t {
        content_by_lua_block {
            repeat ngx.sleep(0.001) until ngx.shared.shared:get("ran") == 2
            local log = require("error_log")()
            local _, first = log:gsub("of the master,", "")
            local _, third = log:gsub("with conf of the worker,", "")
            ngx.say(first, " ", third)
        }
    }
--- response_body
2 2
--- no_error_log
[error]



=== TEST 4: a worker loads the bytes that the master loaded, as a plugin of its own
--- in_master
        plugins.ctx = assert(wasm.on_configure(load("script"), "request_headers: args"))
--- in_worker
        plugins.again = assert(wasm.on_configure(load("script"), "request_headers: trap"))
        assert(ngx.timer.at(0, function()
            assert(not wasm.on_http_request_headers(plugins.again))
            assert(wasm.on_http_request_headers(plugins.ctx))
            assert(plugins.again.ctx == 1 and plugins.ctx.ctx == 1)
            ngx.shared.shared:incr("ran", 1, 0)
        end))
--- config
    location = /t {
        content_by_lua_block {
            repeat ngx.sleep(0.001) until ngx.shared.shared:get("ran") == 2
            ngx.say("ran")
        }
    }
--- response_body
ran
--- error_log
request_headers 2: args -> OK 2



=== TEST 5: a trap in one worker is none in the other
--- in_master
        plugins.ctx = assert(wasm.on_configure(load("script"), [[
            request_headers: args
            response_headers: trap
        ]]))
--- in_worker
        assert(ngx.timer.at(0, function()
            assert(wasm.on_http_request_headers(plugins.ctx))
            if ngx.worker.id() == 0 then
                assert(not wasm.on_http_response_headers(plugins.ctx))
                ngx.shared.shared:set("trapped", true)
            else
                repeat ngx.sleep(0.001) until ngx.shared.shared:get("trapped")
                assert(wasm.on_http_request_headers(plugins.ctx))
                ngx.shared.shared:set("goes on", true)
            end
        end))
--- config
    location = /t {
        content_by_lua_block {
            repeat ngx.sleep(0.001) until ngx.shared.shared:get("goes on")
            ngx.say("goes on")
        }
    }
--- response_body
goes on
--- error_log
failed to call function



=== TEST 6: a worker that was killed is replaced, with the master's plugins
--- in_master
        plugins.ctx = assert(wasm.on_configure(load("script"), "request_headers: clock\nrequest_headers: random 4"))
--- config
    location = /run {
        content_by_lua_block {
            assert(require("resty.proxy-wasm").on_http_request_headers(package.loaded.ctx))
            ngx.print(ngx.worker.pid(), " ", ngx.worker.id())
        }
    }
    location = /t {
        content_by_lua_block {
            local victim
            repeat
                ngx.sleep(0.001)
                victim = require("client")("/run"):match("%d+")
            until victim ~= tostring(ngx.worker.pid())
            os.execute("kill -9 " .. victim)
            local id, pid
            repeat
                local body = require("client")("/run") or ""
                pid, id = body:match("(%d+) (%d+)")
            until pid and pid ~= victim and id ~= tostring(ngx.worker.id())
            ngx.print("replaced")
        }
    }
--- timeout: 60
--- response_body chomp
replaced
--- error_log
exited on signal 9
--- no_error_log
[error]



=== TEST 7: two reloads in a row with a plugin in the master, requests before, between and after
--- in_master
        plugins.generation = ngx.shared.shared:incr("generation", 1, 0)
        plugins.ctx = assert(wasm.on_configure(load("script"), "request_headers: log info generation " .. plugins.generation))
--- in_worker
        plugins.own = assert(wasm.on_configure(load("lifecycle"), "worker of " .. plugins.generation))
--- config
    location = /run {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            assert(wasm.on_http_request_headers(package.loaded.ctx))
            assert(wasm.on_http_request_headers(package.loaded.own))
            ngx.print(package.loaded.generation)
        }
    }
    location = /t {
        content_by_lua_block {
            local client = require("client")
            for generation = 1, 3 do
                repeat ngx.sleep(0.001) until client("/run") == tostring(generation)
                for _ = 1, 10 do client("/run") end
                if generation < 3 then
                    os.execute("kill -HUP $(cat $TEST_NGINX_SERVER_ROOT/logs/nginx.pid)")
                end
            end
            -- in a worker of the first generation, which is about to end
            assert(require("resty.proxy-wasm").on_http_request_headers(package.loaded.ctx))
            ngx.say(package.loaded.generation)
        }
    }
--- timeout: 60
--- response_body
1
--- error_log eval
["generation 1,", "generation 2,", "generation 3,", "with conf worker of 3,", qr/exited with code 0/, "unloaded wasm plugin"]
--- no_error_log
[error]
[alert]
[emerg]
--- shutdown_error_log
unloaded wasm plugin
--- no_shutdown_error_log
[alert]
[error]



=== TEST 8: at the exit of a worker plugins in globals are unloaded
--- in_master
        plugins.plugin = load("script")
        plugins.ctx = assert(wasm.on_configure(plugins.plugin, "plugin_done: args\nplugin_delete: args"))
--- in_worker
        plugins.other = assert(wasm.on_configure(load("lifecycle"), "other"))
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            ngx.print(wasm.on_http_request_headers(package.loaded.ctx), wasm.on_http_request_headers(package.loaded.other))
        }
    }
--- response_body chomp
truetrue
--- shutdown_error_log
plugin_done 1: args
plugin_delete 1: args
proxy_on_done 1
free plugin context 1
unloaded wasm plugin
exited with code 0
--- no_shutdown_error_log
[alert]
[error]



=== TEST 9: at the exit of a worker, many plugins and contexts in any order, some without their plugin's handle
--- in_worker
        plugins.kept = {}
        for i = 1, 20 do
            local plugin = load(i % 2 == 0 and "script" or "empty")
            local first = assert(wasm.on_configure(plugin, "plugin_delete: args"))
            local second = assert(wasm.on_configure(plugin, "plugin_delete: args"))
            if i % 3 == 0 then plugins.kept[i] = {plugin} end
            if i % 3 == 1 then plugins.kept[i] = {first, second} end
            if i % 3 == 2 then plugins.kept[i] = {[{}] = second, plugin, first} end
        end
        -- a cycle, and a finalizer that uses a plugin when Lua closes
        local proxy = newproxy(true)
        local ctx = assert(wasm.on_configure(load("script"), "request_headers: args"))
        getmetatable(proxy).__gc = function()
            wasm.on_http_request_headers(ctx)
            wasm.on_configure(load("script"), "request_headers: args")
            wasm.on_configure(load("script"), "configure: set_tick 1")
        end
        plugins.proxy = proxy
        ctx.itself = ctx
--- config
    location = /t { return 200 "ok"; }
--- response_body chomp
ok
--- shutdown_error_log
unloaded wasm plugin
exited with code 0
--- no_shutdown_error_log
[alert]
[emerg]



=== TEST 10: a plugin that traps when the worker exits
--- in_worker
        plugins.ctx = assert(wasm.on_configure(load("script"), "plugin_done: trap"))
        plugins.other = assert(wasm.on_configure(load("script"), "plugin_done: args"))
--- config
    location = /t { return 200 "ok"; }
--- response_body chomp
ok
--- shutdown_error_log
failed to call function
plugin_done 1: args
exited with code 0
--- no_shutdown_error_log
[alert]



=== TEST 11: a worker that exits while a request is open
--- in_worker
        plugins.ctx = assert(wasm.on_configure(load("script"), "done: args\nplugin_done: args"))
--- config
    lua_check_client_abort on;
    location = /run {
        content_by_lua_block {
            assert(require("resty.proxy-wasm").on_http_request_headers(package.loaded.ctx))
            ngx.print(ngx.worker.pid())
            ngx.flush(true)
            repeat ngx.sleep(0.01) until ngx.shared.shared:get("end")
        }
    }
    location = /t {
        content_by_lua_block {
            local socket, victim
            repeat
                if socket then socket:close() end
                ngx.sleep(0.001)
                socket = ngx.socket.tcp()
                assert(socket:connect("127.0.0.1", ngx.var.server_port))
                assert(socket:send("GET /run HTTP/1.1\r\nHost: localhost\r\n\r\n"))
                assert(socket:receiveuntil("\r\n\r\n")())
                victim = socket:receive(tonumber(socket:receive(), 16))
            until victim ~= tostring(ngx.worker.pid())
            os.execute("kill -TERM " .. victim)
            repeat
                local stat = io.open("/proc/" .. victim .. "/stat")
                local gone = not stat
                if stat then
                    local text = stat:read("*a")   -- nil when it goes right now
                    gone = not text or text:find(") Z ", 1, true) ~= nil
                    stat:close()
                end
                ngx.sleep(0.001)
            until gone
            ngx.shared.shared:set("end", true)
            ngx.print("gone")
        }
    }
--- timeout: 60
--- response_body chomp
gone
--- error_log
exited with code 0
--- no_error_log
[emerg]
signal 11
signal 6



=== TEST 12: the library is never unmapped: handlers of signals and finalizers in it outlive the Lua VM that opened it
--- config
    location = /t {
        content_by_lua_block {
            local ffi = require("ffi")
            ffi.cdef("void *dlopen(const char *, int); int dlclose(void *);")
            local function mapped()
                return assert(io.open("/proc/self/maps")):read("*a"):find("wasm/native.so", 1, true) ~= nil
            end
            local path = package.searchpath("resty.wasm", package.path):gsub("%.lua$", "/native.so")
            ngx.say("before: ", mapped())
            local library = ffi.C.dlopen(path, 2)
            assert(library ~= nil)
            ngx.say("open: ", mapped())
            assert(ffi.C.dlclose(library) == 0)
            ngx.say("closed: ", mapped())
        }
    }
--- response_body
before: false
open: true
closed: true
--- no_error_log
[error]



=== TEST 13: deadlines end loops in each worker, also where a clock ticked at the fork
--- in_master
        plugins.ctx = assert(wasm.on_configure(
            assert(wasm.load("plugin", "target/guests/script.wasm", {callback_timeout = 50})), "request_headers: loop"))
        assert(wasm.on_configure(load("script"), "configure: args"))
--- in_worker
        assert(ngx.timer.at(0, function()
            assert(not wasm.on_http_request_headers(plugins.ctx))
            -- system(3) forks while the clock of this worker ticks.
            os.execute("true")
            assert(not wasm.on_http_request_headers(plugins.ctx))
            ngx.shared.shared:incr("cut", 1, 0)
        end))
--- config
    location = /t {
        content_by_lua_block {
            repeat ngx.sleep(0.001) until ngx.shared.shared:get("cut") == 2
            ngx.say("cut in both")
        }
    }
--- timeout: 60
--- response_body
cut in both
--- error_log
proxy_on_request_headers was stopped: callback_timeout allows it 50 ms
--- no_error_log
[alert]
