# Queues that plugins share: in one worker and between workers, and who is told of messages.

use t::WASM 'no_plan';

workers(3);

# `--- script` is a configuration of `script`, run at once by one request. `require("run")(SCRIPT, VM_ID, OPTIONS)` does the same.
# `require("client")(URI)` is a request on a connection of its own; it returns the response's body.
# `--- in_master` is Lua code of init_by_lua; `--- dict` is the directive, by default `lua_shared_dict resty_wasm 1m;`.
add_block_preprocessor(sub {
    my ($block) = @_;
    my $dict = delete $block->{dict};
    $dict = $dict ? $dict->[0] : 'lua_shared_dict resty_wasm 1m; lua_shared_dict test 1m;';
    my $master = (delete $block->{in_master} // [''])->[0];
    $block->set_value(http_config => "$dict\ninit_by_lua_block {\n$master}\n" . ($block->http_config // ''));
    my $script = delete $block->{script} or return;
    $block->set_value(config => <<"_EOC_");
    location = /t { content_by_lua_block { assert(require("run")([[$script->[0]]])) } }
_EOC_
    $block->set_value(grep_error_log => qr/\b(?:\w+_queue |enqueue |dequeue |call proxy_).*?(?=, client|$)/) unless defined $block->grep_error_log;
});

run_tests();

__DATA__

=== TEST 1: messages come out in their order
--- script
configure: register_queue q
configure: dequeue $queue
request_headers: resolve_queue "" q
request_headers: enqueue $queue one
request_headers: enqueue $queue "two\0\xff"
request_headers: enqueue $queue ""
request_headers: dequeue $queue
request_headers: dequeue $queue
request_headers: dequeue $queue
request_headers: dequeue $queue
--- grep_error_log eval: qr/\b(?:enqueue|dequeue) .*?(?=, client|$)/
--- grep_error_log_out
dequeue $queue -> EMPTY
enqueue $queue one -> OK
enqueue $queue "two\0\xff" -> OK
enqueue $queue "" -> OK
dequeue $queue -> OK one
dequeue $queue -> OK two\0\xff
dequeue $queue -> OK
dequeue $queue -> EMPTY



=== TEST 2: what does not exist is not found
--- script
request_headers: resolve_queue "" q
request_headers: resolve_queue other q
request_headers: resolve_queue "\xff" q
request_headers: enqueue 0 message
request_headers: enqueue 4711 message
request_headers: dequeue 0
request_headers: dequeue -1
--- grep_error_log_out
resolve_queue "" q -> NOT_FOUND
resolve_queue other q -> NOT_FOUND
resolve_queue "\xff" q -> NOT_FOUND
enqueue 0 message -> NOT_FOUND
enqueue 4711 message -> NOT_FOUND
dequeue 0 -> NOT_FOUND
dequeue -1 -> NOT_FOUND



=== TEST 3: a queue belongs to a vm_id, and others find it by that
--- config
    location = /t {
        content_by_lua_block {
            local run = require("run")
            assert(run("request_headers: register_queue q\nrequest_headers: enqueue $queue of-one", "one"))
            assert(run("request_headers: register_queue q\nrequest_headers: enqueue $queue of-two", "two"))
            assert(run("request_headers: resolve_queue one q\nrequest_headers: dequeue $queue", "two"))
            assert(run("request_headers: resolve_queue \"\" q\nrequest_headers: dequeue $queue", "two"))
            assert(run("request_headers: register_queue q\nrequest_headers: dequeue $queue", "one"))
        }
    }
--- grep_error_log eval: qr/dequeue .*?(?=, client|$)/
--- grep_error_log_out
dequeue $queue -> OK of-one
dequeue $queue -> OK of-two
dequeue $queue -> EMPTY



=== TEST 4: pointers outside of the memory trap, and the message that could not be handed over is still there
--- config
    location = /t {
        content_by_lua_block {
            local run = require("run")
            assert(run("request_headers: register_queue q\nrequest_headers: enqueue $queue message"))
            for _, call in ipairs({
                "proxy_register_shared_queue $end 1 $out", "proxy_register_shared_queue 0 1 $end-3",
                "proxy_resolve_shared_queue -1 1 0 0 $out", "proxy_enqueue_shared_queue $queue $end 1",
                "proxy_dequeue_shared_queue $queue $end $out", "proxy_dequeue_shared_queue $queue $out $end",
            }) do
                ngx.say(run("request_headers: register_queue q\nrequest_headers: call " .. call))
            end
            assert(run("request_headers: register_queue q\nrequest_headers: dequeue $queue\nrequest_headers: dequeue $queue"))
        }
    }
--- response_body
nilfailed to run proxy_on_http_request_headers
nilfailed to run proxy_on_http_request_headers
nilfailed to run proxy_on_http_request_headers
nilfailed to run proxy_on_http_request_headers
nilfailed to run proxy_on_http_request_headers
nilfailed to run proxy_on_http_request_headers
--- grep_error_log eval: qr/dequeue .*?(?=, client|$)/
--- grep_error_log_out
dequeue $queue -> OK message
dequeue $queue -> EMPTY
--- error_log
failed to call function



=== TEST 5: a full queue takes no more, and says so
--- config
    location = /t {
        content_by_lua_block {
            local run, dict = require("run"), ngx.shared.resty_wasm
            assert(run("request_headers: register_queue q\nrequest_headers: enqueue $queue first"))
            for _, key in ipairs(dict:get_keys()) do
                if key:find("^queue:") then
                    -- as if 65536 messages had come, of which all but the first are lost
                    dict:set(key, ("\0"):rep(8) .. "\0\0\1" .. ("\0"):rep(13) .. dict:get(key):sub(25))
                end
            end
            assert(run("request_headers: register_queue q\nrequest_headers: enqueue $queue more\nrequest_headers: dequeue $queue"))
            assert(run("request_headers: register_queue q\nrequest_headers: enqueue $queue more\nrequest_headers: dequeue $queue"))
        }
    }
--- grep_error_log eval: qr/(?:a message of .*?|\b(?:enqueue|dequeue) .*?)(?=, client|$)/
--- grep_error_log_out
enqueue $queue first -> OK
a message of 4 bytes is not put into queue 2078821053: the queue is full: it has 65536 messages
enqueue $queue more -> OK
dequeue $queue -> OK first
enqueue $queue more -> OK
dequeue $queue -> OK more
--- error_log
[error]



=== TEST 6: a plugin that has registered a queue is told of each message, in its plugin context
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            package.loaded.ctx = assert(wasm.on_configure(plugin, [[
                configure: register_queue q
                request_headers: enqueue $queue one
                request_headers: enqueue $queue two
                queue_ready: dequeue $queue
            ]]))
            assert(wasm.on_http_request_headers(package.loaded.ctx))
        }
    }
--- error_log
queue_ready 1: dequeue $queue -> OK one
queue_ready 1: dequeue $queue -> OK two
--- no_error_log
[error]
EMPTY
--- no_shutdown_error_log
[error]
[alert]



=== TEST 7: registered in a stream context it is the plugin context that is told
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            package.loaded.ctx = assert(wasm.on_configure(plugin, [[
                request_headers: register_queue q
                response_headers: resolve_queue "" q
                response_headers: enqueue $queue message
                queue_ready: dequeue $queue
            ]]))
            assert(wasm.on_http_request_headers(package.loaded.ctx))
            assert(wasm.on_http_response_headers(package.loaded.ctx))
        }
    }
--- error_log
queue_ready 1: dequeue $queue -> OK message



=== TEST 8: of several workers exactly one is told of each message
--- http_config
    init_worker_by_lua_block {
        local wasm = require("resty.proxy-wasm")
        local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
        package.loaded.ctx = assert(wasm.on_configure(plugin, [[
            configure: register_queue q
            configure: set_shared told 0 0
            queue_ready: dequeue $queue
            queue_ready: increment_shared told 1
        ]]))
        ngx.shared.test:incr("ready", 1, 0)
    }
--- config
    location = /t {
        content_by_lua_block {
            local run, dict = require("run"), ngx.shared.resty_wasm
            local function told(count)
                repeat ngx.sleep(0.001) until tonumber((dict:get("data:6:plugin:told"))) >= count
                return (dict:get("data:6:plugin:told"))
            end
            repeat ngx.sleep(0.001) until ngx.shared.test:get("ready") == 3
            local lines = {"request_headers: resolve_queue \"\" q"}
            for message = 1, 300 do
                table.insert(lines, "request_headers: enqueue $queue m" .. message)
            end
            assert(run(table.concat(lines, "\n"), "plugin"))
            ngx.say(told(300))
            -- The last to be told of: whoever was told twice has shown by now.
            assert(run("request_headers: resolve_queue \"\" q\nrequest_headers: enqueue $queue last", "plugin"))
            ngx.say(told(301))
            local seen, twice, count = {}, 0, 0
            for message in io.open("$TEST_NGINX_SERVER_ROOT/logs/error.log"):read("*a"):gmatch("queue_ready 1: dequeue %$queue %-> OK (%w+)") do
                twice = twice + (seen[message] and 1 or 0)
                count = count + 1
                seen[message] = true
            end
            ngx.say(count, " ", twice)
        }
    }
--- timeout: 60
--- response_body
300
301
301 0
--- no_error_log
[error]
EMPTY



=== TEST 9: a plugin that the master has configured is told in its workers
--- in_master
        local wasm = require("resty.proxy-wasm")
        local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
        package.loaded.ctx = assert(wasm.on_configure(plugin, [[
            configure: register_queue q
            request_headers: enqueue $queue message
            queue_ready: dequeue $queue
        ]]))
--- config
    location = /t {
        content_by_lua_block { assert(require("resty.proxy-wasm").on_http_request_headers(package.loaded.ctx)) }
    }
--- error_log
queue_ready 1: dequeue $queue -> OK message



=== TEST 10: messages survive a reload, and a consumer that comes later is told of them
--- http_config
    init_worker_by_lua_block { package.loaded.generation = ngx.shared.test:get("generation") or 1 }
--- config
    location = /run {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            if package.loaded.generation == 2 and not package.loaded.ctx then
                local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
                package.loaded.ctx = assert(wasm.on_configure(plugin, "configure: register_queue q\nqueue_ready: dequeue $queue\nqueue_ready: dequeue $queue"))
            end
            ngx.print(package.loaded.generation)
        }
    }
    location = /t {
        content_by_lua_block {
            local run = require("run")
            assert(run("request_headers: register_queue q\nrequest_headers: enqueue $queue before"))
            ngx.shared.test:set("generation", 2)
            os.execute("kill -HUP $(cat $TEST_NGINX_SERVER_ROOT/logs/nginx.pid)")
            repeat ngx.sleep(0.001) until ngx.worker.exiting()
            -- There are no timers in this worker any more.
            assert(run("request_headers: register_queue q\nrequest_headers: enqueue $queue after"))
            repeat ngx.sleep(0.001) until require("client")("/run") == "2"
        }
    }
--- timeout: 60
--- error_log
queue_ready 1: dequeue $queue -> OK before
queue_ready 1: dequeue $queue -> OK after



=== TEST 11: nothing is polled when no plugin waits for a queue any more
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            local other = assert(wasm.on_configure(plugin, "configure: args"))
            -- Two timers wait for callouts: one runs, one ends it when the worker ends.
            repeat ngx.sleep(0.001) until ngx.timer.running_count() == 1
            local function count() return ngx.timer.pending_count() - 1 end
            -- One more publishes metrics, a second after the plugin was loaded.
            repeat ngx.sleep(0.01) until count() == 0
            ngx.say(count())
            local ctx = assert(wasm.on_configure(plugin, "configure: register_queue q"))
            ngx.say(count())
            ctx = nil
            collectgarbage()
            collectgarbage()
            local deadline = ngx.now() + 20
            repeat ngx.sleep(0.01) until count() == 0 or ngx.now() > deadline
            ngx.say(count())
            ctx = assert(wasm.on_configure(plugin, "configure: register_queue q"))
            ngx.say(count())
        }
    }
--- timeout: 30
--- response_body
0
1
0
1



=== TEST 12: a plugin that traps when it is told is told of the next message, in a new instance
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            package.loaded.ctx = assert(wasm.on_configure(plugin, [[
                configure: register_queue q
                request_headers: enqueue $queue one
                request_headers: enqueue $queue two
                queue_ready: dequeue $queue
                queue_ready: trap
            ]]))
            assert(wasm.on_http_request_headers(package.loaded.ctx))
        }
    }
--- error_log
queue_ready 1: dequeue $queue -> OK one
failed to call function
queue_ready 1: dequeue $queue -> OK two



=== TEST 13: without the dict a queue is the worker's, and the log says so once
--- dict
lua_shared_dict test 1m;
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            package.loaded.ctx = assert(wasm.on_configure(plugin, [[
                configure: register_queue q
                request_headers: enqueue $queue message
                queue_ready: dequeue $queue
            ]]))
            assert(wasm.on_http_request_headers(package.loaded.ctx))
            local deadline = ngx.now() + 20
            repeat
                ngx.sleep(0.01)
                local log = io.open("$TEST_NGINX_SERVER_ROOT/logs/error.log"):read("*a")
            until log:find("queue_ready 1", 1, true) or ngx.now() > deadline
        }
    }
--- timeout: 30
--- grep_error_log eval: qr/kept for each worker alone: .*|queue_ready 1: dequeue \$queue -> .*/
--- grep_error_log_out
kept for each worker alone: the http block lacks "lua_shared_dict resty_wasm 10m;"
queue_ready 1: dequeue $queue -> OK message



=== TEST 14: a plugin waits for no more than 4096 queues, and keeps those that it has
--- dict
lua_shared_dict resty_wasm 10m; lua_shared_dict test 1m;
--- config
    location = /t {
        content_by_lua_block {
            local lines = {}
            for n = 1, 4096 do lines[n] = "configure: register_queue q" .. n end
            lines[#lines + 1] = "configure: register_queue one-more"
            lines[#lines + 1] = "configure: log info the last:"
            lines[#lines + 1] = "configure: register_queue q4096"
            lines[#lines + 1] = "configure: resolve_queue \"\" q4096"
            lines[#lines + 1] = "configure: resolve_queue \"\" one-more"
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            package.loaded.ctx = assert(wasm.on_configure(plugin, table.concat(lines, "\n")))
        }
    }
--- timeout: 30
--- grep_error_log eval: qr/proxy_register_shared_queue: plugin .*?allowed|register_queue one-more -> \w+ \w+|resolve_queue "" one-more -> \w+/
--- grep_error_log_out
proxy_register_shared_queue: plugin "plugin" waits for 4096 queues, 4096 are allowed
register_queue one-more -> OK 0
resolve_queue "" one-more -> NOT_FOUND
--- no_error_log
[alert]



=== TEST 15: the queues of a vm_id take no more of the dict than its shared_queue_limit, whoever puts messages into them
--- config
    location = /t {
        content_by_lua_block {
            local run = require("run")
            run("request_headers: register_queue q", "small", {shared_queue_limit = 256})
            run("request_headers: resolve_queue small q\nrequest_headers: enqueue $queue 1\nrequest_headers: enqueue $queue 2", "other")
            run("request_headers: register_queue q\nrequest_headers: register_queue r", "small", {shared_queue_limit = 256})
            run("request_headers: resolve_queue small q\nrequest_headers: dequeue $queue\nrequest_headers: enqueue $queue 3\nrequest_headers: dequeue $queue", "other")
        }
    }
--- grep_error_log eval: qr/plugin "plugin": (?:a message|shared).*? would be \d+|(?:enqueue |dequeue |register_queue r).*?(?=, client|$)/
--- grep_error_log_out
enqueue $queue 1 -> OK
plugin "plugin": a message of 1 bytes is not put into queue 1808642354: shared_queue_limit allows 256 bytes, with it there would be 384
enqueue $queue 2 -> OK
plugin "plugin": shared_queue_limit allows 256 bytes, with it there would be 384
register_queue r -> OK 0
dequeue $queue -> OK 1
enqueue $queue 3 -> OK
dequeue $queue -> OK 3
--- error_log
[error]
