# A semaphore of ngx_lua that the library may post stays a semaphore of the library, however the Lua code that waited for it ends.

use t::WASM 'no_plan';

workers(1);

# At 127.0.0.1:1985 /hold answers when release() is called. `delivered` is set when an answer has been delivered.
my $init = <<'_EOC_';
    server {
        listen 127.0.0.1:1985;
        location = /hold {
            content_by_lua_block {
                package.loaded.held = require("ngx.semaphore").new(0)
                assert(package.loaded.held:wait(30))
                ngx.print("held")
            }
        }
    }
    init_by_lua_block {
        -- Returns a table of functions: `held` waits until the callout of `script` is held; `answer` has it answered, and waits
        -- until the library has been told; `strangers` creates semaphores that the library does not know, after a collection,
        -- and returns a function that counts those that were posted.
        package.preload.semaphores = function()
            local native = require("resty.wasm.native_module").open()
            local semaphore = require("ngx.semaphore")
            local deliver, delivered = native.deliver, 0
            function native.deliver(token)
                deliver(token)
                delivered = delivered + 1
            end
            return {
                held = function()
                    repeat ngx.sleep(0.001) until package.loaded.held
                end,
                answer = function()
                    local before = delivered
                    package.loaded.held:post(1)
                    repeat ngx.sleep(0.001) until delivered > before
                end,
                strangers = function()
                    for _ = 1, 3 do collectgarbage() end
                    local strangers = {}
                    for i = 1, 5000 do strangers[i] = semaphore.new(0) end
                    return function()
                        local posted = 0
                        for _, stranger in ipairs(strangers) do posted = posted + stranger:count() end
                        return posted
                    end
                end,
            }
        end
    }
_EOC_

# --- access and --- content run in these phases of /t, with `wasm`, `ctx` (of --- script) and `semaphores`.
add_block_preprocessor(sub {
    my ($block) = @_;
    my ($access, $content, $script, $more) = map { $_ ? $_->[0] : '' } map { delete $block->{$_} } qw(access content script more);
    $script ||= "request_headers: http_call 127.0.0.1:1985 20000 \"\" :path=/hold\nrequest_headers: return 1\ncall_response: args\ncall_response: resume\n";
    $block->set_value(http_config => $init . <<"_EOC_");
    init_worker_by_lua_block {
        local wasm = require("resty.proxy-wasm")
        package.loaded.ctx = assert(wasm.on_configure(assert(wasm.load("plugin", "target/guests/script.wasm")), [[
$script
        ]]))
    }
_EOC_
    my $locals = 'local wasm, ctx, semaphores = require("resty.proxy-wasm"), package.loaded.ctx, require("semaphores")';
    $block->set_value(config => <<"_EOC_");
    location = /t {
        access_by_lua_block {
            $locals
$access
        }
        content_by_lua_block {
            $locals
$content
        }
    }
$more
_EOC_
});

no_long_string();
run_tests();

__DATA__

=== TEST 1: a light thread that is killed while it waits for a callout
--- access
            local waits = ngx.thread.spawn(wasm.on_http_request_headers, ctx)
            semaphores.held()
            assert(ngx.thread.kill(waits))
--- content
            local posted = semaphores.strangers()
            semaphores.answer()
            ngx.say(posted(), " posted")
--- response_body
0 posted
--- error_log
call_response 1: args -> OK 1 0
--- no_error_log
[error]
[alert]



=== TEST 2: a phase that ends while a light thread of it waits
--- access
            ngx.thread.spawn(wasm.on_http_request_headers, ctx)
            semaphores.held()
            ngx.exit(ngx.OK)
--- content
            local posted = semaphores.strangers()
            semaphores.answer()
            ngx.say(posted(), " posted")
--- response_body
0 posted
--- no_error_log
[error]
[alert]



=== TEST 3: a client that goes away while a light thread waits
--- more
    location = /one {
        lua_check_client_abort on;
        access_by_lua_block {
            assert(ngx.on_abort(function()
                package.loaded.aborted = true
                ngx.exit(499)
            end))
            ngx.thread.wait(ngx.thread.spawn(require("resty.proxy-wasm").on_http_request_headers, package.loaded.ctx))
        }
        content_by_lua_block { ngx.print("one") }
    }
--- content
            local socket = ngx.socket.tcp()
            assert(socket:connect("127.0.0.1", ngx.var.server_port))
            assert(socket:send("GET /one HTTP/1.0\r\nHost: localhost\r\n\r\n"))
            semaphores.held()
            socket:close()
            repeat ngx.sleep(0.001) until package.loaded.aborted
            local posted = semaphores.strangers()
            package.loaded.held:post(1)
            ngx.sleep(0)
            ngx.say(posted(), " posted")
--- response_body
0 posted
--- no_error_log
[alert]



=== TEST 4: a timer that ends while a light thread of it waits
--- content
            assert(ngx.timer.at(0, function()
                ngx.thread.spawn(wasm.on_http_request_headers, ctx)
                semaphores.held()
                package.loaded.exited = true
                ngx.exit(0)
            end))
            semaphores.held()
            repeat ngx.sleep(0.001) until package.loaded.exited
            local posted = semaphores.strangers()
            package.loaded.held:post(1)
            ngx.sleep(0)
            ngx.say(posted(), " posted")
--- response_body
0 posted
--- no_error_log
[alert]



=== TEST 5: semaphores that are not waited for any more are collected
--- script
request_headers: http_call 127.0.0.1:1980 20000 "" :path=/echo_body
request_headers: return 1
call_response: resume
--- content
            local semaphore = require("ngx.semaphore")
            local alive = setmetatable({}, {__mode = "k"})
            local new = semaphore.new
            function semaphore.new(...)
                local made = new(...)
                alive[made] = true
                return made
            end
            local client = require("client")
            for _ = 1, 100 do client("/one") end
            for _ = 1, 3 do collectgarbage() end
            local count = 0
            for _ in pairs(alive) do count = count + 1 end
            ngx.say(count < 10)
--- more
    location = /one {
        access_by_lua_block { require("resty.proxy-wasm").on_http_request_headers(package.loaded.ctx) }
        content_by_lua_block { ngx.print("one") }
    }
--- response_body
true
--- no_error_log
[alert]
