# Lua's garbage collector runs whenever Lua allocates, also while a guest runs: what it finalizes has to wait.

use t::WASM 'no_plan';

# A plugin that changes :path runs the whole collector in that hostcall.
# `require("counted")()` counts what the error log says about contexts and plugins that came and went.
my $counted = <<'_EOC_';
    init_by_lua_block {
        collectgarbage("setpause", 0)
        collectgarbage("setstepmul", 10000)
        local set_uri = ngx.req.set_uri
        ngx.req.set_uri = function(...)
            collectgarbage()
            collectgarbage()
            return set_uri(...)
        end
        package.preload.counted = function()
            return function(of_many_plugins)
                collectgarbage()
                collectgarbage()
                collectgarbage()
                local log = io.open("$TEST_NGINX_SERVER_ROOT/logs/error.log"):read("*a")
                local function count(pattern)
                    local _, found = log:gsub(pattern, "")
                    return found
                end
                local alive = {}
                for verb, id in log:gmatch(": (%w+) plugin context (%d+)") do
                    if verb == "create" then
                        assert(of_many_plugins or not alive[id], "created twice: " .. id)
                        alive[id] = true
                    elseif verb == "free" then
                        assert(of_many_plugins or alive[id], "freed twice: " .. id)
                        alive[id] = nil
                    end
                end
                return {created = count(": create plugin context %d+"), freed = count(": free plugin context %d+"),
                        deleted = count(": plugin_delete %d+: args"),
                        loaded = count(": loaded wasm plugin"), unloaded = count(": unloaded wasm plugin")}
            end
        end
    }
_EOC_

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(http_config => $counted . ($block->http_config // ''));
});

run_tests();

__DATA__

=== TEST 1: plugin contexts that are dropped while their plugin calls Lua are freed once
--- config
    location = /t {
        rewrite_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            local script = {}
            for i = 1, 5 do
                script[i] = "request_headers: replace_header request :path /" .. i
            end
            local ctx = assert(wasm.on_configure(plugin, table.concat(script, "\n")))
            for i = 1, 300 do
                assert(wasm.on_configure(plugin, "plugin_delete: args"))
                if i % 5 == 0 then assert(wasm.on_http_request_headers(ctx)) end
            end
        }
        content_by_lua_block {
            local counts = require("counted")()
            ngx.say(counts.created, " created, ", counts.freed, " freed, ", counts.deleted, " deleted")
        }
    }
--- timeout: 60
--- response_body
301 created, 300 freed, 300 deleted
--- no_error_log
[error]
[alert]



=== TEST 2: what is finalized inside of a hostcall goes when the guest has returned
--- config
    location = /t {
        rewrite_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            local ctx = assert(wasm.on_configure(plugin, [[
                request_headers: log info enter
                request_headers: replace_header request :path /t2
                request_headers: log info leave
            ]]))
            collectgarbage("stop")
            assert(wasm.on_configure(plugin, "plugin_delete: args"))
            assert(wasm.on_configure(assert(wasm.load("other", "target/guests/script.wasm")), "plugin_delete: log info other"))
            assert(wasm.on_http_request_headers(ctx))
        }
        content_by_lua_block { ngx.print(ngx.var.uri) }
    }
--- response_body chomp
/t2
--- grep_error_log eval: qr/enter|leave|other|path.*OK|plugin_delete \d/
--- grep_error_log_out eval
qr/\Aenter
(?:other
)?path \/t2 -> OK
leave
plugin_delete 2
(?:other
)?\z/



=== TEST 3: whole plugins that are dropped while another one calls Lua
--- config
    location = /t {
        rewrite_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local function load(guest) return assert(wasm.load("plugin", "target/guests/" .. guest .. ".wasm")) end
            local script = {}
            for i = 1, 5 do
                script[i] = "request_headers: replace_header request :path /" .. i
            end
            package.loaded.ctx = assert(wasm.on_configure(load("script"), table.concat(script, "\n")))
            for i = 1, 50 do
                assert(wasm.on_configure(load(i % 2 == 0 and "script" or "empty"), "plugin_delete: args"))
                assert(wasm.on_http_request_headers(package.loaded.ctx))
            end
        }
        content_by_lua_block {
            local counts = require("counted")(true)
            ngx.say(counts.created - counts.freed, " and ", counts.loaded - counts.unloaded, " left, ", counts.deleted, " deleted")
        }
    }
--- timeout: 60
--- response_body
1 and 1 left, 25 deleted
--- no_error_log
[error]
[alert]



=== TEST 4: a plugin context that is dropped in the middle of its request goes after the stream context
--- config
    location = /t {
        access_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            local ctx = assert(wasm.on_configure(plugin, [[
                request_headers: args
                done: args
                delete: args
                plugin_done: args
                plugin_delete: args
            ]]))
            assert(wasm.on_http_request_headers(ctx))
            plugin, ctx = nil, nil
            collectgarbage()
            collectgarbage()
            ngx.log(ngx.INFO, "dropped")
        }
        content_by_lua_block { ngx.print("ok") }
    }
--- response_body chomp
ok
--- grep_error_log eval: qr/\w+ \d: args -> OK [\d ]+|free \w+ context \d|(?:un)?loaded wasm plugin|dropped/
--- grep_error_log_out
loaded wasm plugin
request_headers 2: args -> OK 2 6 1
dropped
done 2: args -> OK 2
delete 2: args -> OK 2
free http context 2
plugin_done 1: args -> OK 1
plugin_delete 1: args -> OK 1
free plugin context 1
unloaded wasm plugin



=== TEST 5: a new context in the place of one that was dropped in the middle of a request is not taken for it
--- config
    location = /t {
        access_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            for i = 1, 3 do
                local ctx = assert(wasm.on_configure(plugin, "request_headers: log info this is " .. i .. "\nlog: log info end of " .. i))
                assert(wasm.on_http_request_headers(ctx))
                ctx = nil
                collectgarbage()
                collectgarbage()
            end
        }
        content_by_lua_block { ngx.print("ok") }
    }
--- response_body chomp
ok
--- grep_error_log eval: qr/this is \d|end of \d/
--- grep_error_log_out
this is 1
this is 2
this is 3
end of 1
end of 2
end of 3



=== TEST 6: a plugin context that nobody holds goes at once, and its id is used again
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            local ids = {}
            for i = 1, 3 do
                ids[i] = assert(wasm.on_configure(plugin, "plugin_delete: args")).ctx
                collectgarbage()
                collectgarbage()
            end
            local counts = require("counted")()
            ngx.say(table.concat(ids, " "), ", ", counts.created, " created, ", counts.freed, " freed")
        }
    }
--- response_body
1 1 1, 3 created, 3 freed



=== TEST 7: contexts of a plugin that trapped are dropped as well
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            for _ = 1, 20 do
                assert(wasm.on_configure(plugin, "plugin_delete: args"))
                local ctx = assert(wasm.on_configure(plugin, "request_headers: trap"))
                assert(not wasm.on_http_request_headers(ctx))
            end
            ngx.print("trapped")
        }
    }
    location = /count {
        content_by_lua_block {
            local counts = require("counted")()
            ngx.print(counts.created, " ", counts.freed, " ", counts.unloaded)
        }
    }
--- request eval
["GET /t", "GET /count"]
--- response_body eval
["trapped", "40 40 1"]
--- no_error_log
[alert]



=== TEST 8: a finalizer that runs callbacks itself is refused, or served, and never crashes
--- config
    location = /t {
        rewrite_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            local ctx = assert(wasm.on_configure(plugin, "request_headers: replace_header request :path /" .. ("x"):rep(100)))
            local other = assert(wasm.on_configure(assert(wasm.load("other", "target/guests/script.wasm")), "request_headers: args"))
            local results = {}
            for _ = 1, 300 do
                local proxy = newproxy(true)
                getmetatable(proxy).__gc = function()
                    local ok, err = wasm.on_http_request_headers(ctx)
                    results[tostring(ok) .. " " .. tostring(err)] = true
                    ok, err = wasm.on_configure(plugin, "nothing: ")
                    assert(ok or err == "failed to run proxy_on_configure")
                    assert(wasm.on_http_request_headers(other))
                end
                proxy = nil
                local ok, err = wasm.on_http_request_headers(ctx)
                assert(ok, err)
            end
            collectgarbage()
            for result in pairs(results) do
                assert(result == "true nil" or result == "nil failed to run proxy_on_http_request_headers", result)
            end
        }
        content_by_lua_block { ngx.print("ok") }
    }
--- timeout: 60
--- response_body chomp
ok
--- no_error_log
panicked
[alert]
