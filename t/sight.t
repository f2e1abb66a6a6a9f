# What operators see of plugins: metrics of the library's own, and where a plugin failed.

use t::WASM 'no_plan';

workers(2);

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(http_config => "    lua_shared_dict resty_wasm 1m; lua_shared_dict test 1m;\n" . ($block->http_config // ''));
});

run_tests();

__DATA__

=== TEST 1: calls, traps by kind and rebuilds of all workers, what each worker has
--- http_config
    init_worker_by_lua_block {
        assert(ngx.timer.at(0, function()
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            local ctx = assert(wasm.on_configure(plugin, "request_headers: trap\nresponse_headers: args"))
            assert(wasm.on_http_response_headers(ctx))
            wasm.on_http_request_headers(ctx)
            local other = assert(wasm.load("other", "target/guests/empty.wasm"))
            package.loaded.contexts = {ctx, assert(wasm.on_configure(plugin, "configure: args")), assert(wasm.on_configure(other, "conf"))}
            -- When the stream of this timer has ended. Whoever is asked publishes what it has itself.
            assert(ngx.timer.at(0, function()
                require("resty.wasm.metrics").prometheus()
                ngx.shared.test:incr("complete", 1, 0)
            end))
        end))
    }
--- config
    location = /t {
        content_by_lua_block {
            repeat ngx.sleep(0.001) until ngx.shared.test:get("complete") == 2
            local text = require("resty.wasm.metrics").prometheus()
            ngx.print((text:gsub("(memory_bytes{[^\n]*} )(%d+)", function(name, value) return name .. (tonumber(value) >= 65536 and "pages" or value) end)))
        }
    }
--- timeout: 60
--- response_body
# TYPE resty_wasm_callouts gauge
resty_wasm_callouts{plugin="other",worker="0"} 0
resty_wasm_callouts{plugin="other",worker="1"} 0
resty_wasm_callouts{plugin="plugin",worker="0"} 0
resty_wasm_callouts{plugin="plugin",worker="1"} 0
# TYPE resty_wasm_calls_total counter
resty_wasm_calls_total{plugin="other"} 4
resty_wasm_calls_total{plugin="plugin"} 22
# TYPE resty_wasm_memory_bytes gauge
resty_wasm_memory_bytes{plugin="other",worker="0"} pages
resty_wasm_memory_bytes{plugin="other",worker="1"} pages
resty_wasm_memory_bytes{plugin="plugin",worker="0"} pages
resty_wasm_memory_bytes{plugin="plugin",worker="1"} pages
# TYPE resty_wasm_plugin_contexts gauge
resty_wasm_plugin_contexts{plugin="other",worker="0"} 1
resty_wasm_plugin_contexts{plugin="other",worker="1"} 1
resty_wasm_plugin_contexts{plugin="plugin",worker="0"} 2
resty_wasm_plugin_contexts{plugin="plugin",worker="1"} 2
# TYPE resty_wasm_rebuilds_total counter
resty_wasm_rebuilds_total{plugin="plugin"} 2
# TYPE resty_wasm_running gauge
resty_wasm_running{plugin="other",worker="0"} 1
resty_wasm_running{plugin="other",worker="1"} 1
resty_wasm_running{plugin="plugin",worker="0"} 1
resty_wasm_running{plugin="plugin",worker="1"} 1
# TYPE resty_wasm_stream_contexts gauge
resty_wasm_stream_contexts{plugin="other",worker="0"} 0
resty_wasm_stream_contexts{plugin="other",worker="1"} 0
resty_wasm_stream_contexts{plugin="plugin",worker="0"} 0
resty_wasm_stream_contexts{plugin="plugin",worker="1"} 0
# TYPE resty_wasm_traps_total counter
resty_wasm_traps_total{plugin="plugin",kind="unreachable"} 2
--- no_error_log
[alert]



=== TEST 2: another worker sees what a worker has counted, after a while
--- http_config
    init_worker_by_lua_block {
        local wasm = require("resty.proxy-wasm")
        package.loaded.ctx = assert(wasm.on_configure(assert(wasm.load("plugin", "target/guests/empty.wasm")), "conf"))
    }
--- config
    location = /call {
        content_by_lua_block { ngx.say(require("resty.proxy-wasm").on_http_request_headers(package.loaded.ctx)) }
    }
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            for _ = 1, 20 do require("client")("/call") end
            -- Twice on_context_create and on_configure; 20 times request headers and those of a stream's life.
            for _ = 1, 3000 do
                local calls = require("resty.wasm.metrics").prometheus():match('calls_total{plugin="plugin"} (%d+)')
                if calls == "104" then return ngx.say(calls) end
                ngx.sleep(0.01)
            end
            ngx.print(require("resty.wasm.metrics").prometheus())
        }
    }
--- timeout: 60
--- response_body
104



=== TEST 3: a plugin that is gone has nothing; one that trapped does not run
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            local ctx = assert(wasm.on_configure(plugin, "foreign_function: trap"))
            local function gauges()
                local text = require("resty.wasm.metrics").prometheus()
                for _, name in ipairs({"running", "plugin_contexts", "memory_bytes"}) do
                    local value = tonumber(text:match("_" .. name .. "{[^\n]* (%d+)"))
                    ngx.say(name, " ", value > 1 and "many" or value)
                end
            end
            gauges()
            assert(not require("resty.wasm").on_foreign_function(ctx, 1))
            gauges()
            plugin, ctx = nil, nil
            collectgarbage()
            collectgarbage()
            gauges()
        }
    }
--- response_body
running 1
plugin_contexts 1
memory_bytes many
running 0
plugin_contexts 1
memory_bytes many
running 0
plugin_contexts 0
memory_bytes 0
--- no_error_log
[alert]



=== TEST 4: counters survive a reload and are exact after it
--- http_config
    init_worker_by_lua_block { package.loaded.generation = ngx.shared.test:get("generation") or 1 }
--- config
    location = /run {
        content_by_lua_block {
            ngx.print(package.loaded.generation, " ", require("resty.wasm.metrics").prometheus():match('calls_total{plugin="plugin"} (%d+)'))
        }
    }
    location = /t {
        content_by_lua_block {
            require("run")("request_headers: args")
            -- Whoever is asked publishes: else this worker may do so after the new one was asked.
            require("resty.wasm.metrics").prometheus()
            ngx.say(require("reload")("/run"))
        }
    }
--- timeout: 60
--- response_body
2 5



=== TEST 5: a Rust plugin's panic, with the names of its functions
--- config
    location = /t { content_by_lua_block { ngx.say(require("run")("request_headers: panic ouch")) } }
--- response_body
nilfailed to run proxy_on_http_request_headers
--- error_log eval
[qr/failed to call function: error while executing at wasm backtrace:/,
 qr/\d+: +0x[0-9a-f]+ - script.wasm!script::commands::/,
 qr/script.wasm!proxy_on_request_headers/]
--- no_error_log
[alert]



=== TEST 6: a C plugin with debug information: the file and the line
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local ctx = assert(wasm.on_configure(assert(wasm.load("plugin", "target/guests/divide.wasm")), "conf"))
            ngx.say(wasm.on_http_request_headers(ctx))
        }
    }
--- response_body
nilfailed to run proxy_on_http_request_headers
--- error_log eval
[qr/- (?:\S+!)?share\b/, qr{t/guests/c/divide\.c:14:\d+}, qr/- (?:\S+!)?proxy_on_request_headers\b/, qr{t/guests/c/divide\.c:19:\d+}, qr/wasm trap: wasm `unreachable` instruction executed/]
--- no_error_log
[alert]
