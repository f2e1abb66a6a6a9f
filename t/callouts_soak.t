# Thousands of callouts at once, and clients that go away in the middle: nothing is left behind.

use t::WASM 'no_plan';

workers(1);
worker_connections(16384);
log_level('warn');

# `--- aborts`: of so many clients in a row, one goes away while its callouts are under way; 0 is none. `--- http2`: the callouts use
# HTTP/2.
add_block_preprocessor(sub {
    my ($block) = @_;
    my $aborts = (delete $block->{aborts})->[0];
    my $is_http2 = defined delete $block->{http2};
    my ($options, $http2) = $is_http2 ? ('{callout_http2 = {"127.0.0.1"}}', 'http2') : ('nil', '');
    $block->set_value(main_config => 'worker_rlimit_nofile 20000;');
    $block->set_value(timeout => 170);
    $block->set_value(http_config => <<"_EOC_");
    lua_shared_dict resty_wasm 1m;
    lua_check_client_abort on;
    # A client waits for all others.
    lua_socket_read_timeout 100s;
    lua_socket_keepalive_timeout 50ms;

    init_worker_by_lua_block {
        wasm = require("resty.proxy-wasm")
        local plugin = assert(wasm.load("plugin", "target/guests/callouts.wasm", $options))
        ctx = assert(wasm.on_configure(plugin,
            "http 127.0.0.1:1985 GET /first\$path 100000\\nhttp 127.0.0.1:1985 GET /second\$path 100000"))
        semaphore = require("ngx.semaphore")
        get = require("client")
        soak = {}
    }

    # Answers a callout when all that are expected have come.
    server {
        listen 127.0.0.1:1985 backlog=4096 $http2;
        location / {
            content_by_lua_block {
                local n = tonumber(ngx.var.uri:match("%d+\$"))
                soak.arrived[n] = (soak.arrived[n] or 0) + 1
                if soak.arrived[n] == 2 and soak.abort[n] then
                    soak.abort[n]:post(1)
                end
                soak.missing = soak.missing - 1
                if soak.missing == 0 then
                    soak.gate:post(1000000)
                end
                assert(soak.gate:wait(100))
                ngx.print("answer to ", ngx.var.uri)
            }
        }
    }
_EOC_
    $block->set_value(config => <<"_EOC_");
    location /plugin/ {
        access_by_lua_block { assert(wasm.on_http_request_headers(ctx)) }
        content_by_lua_block { ngx.print(table.concat(ngx.req.get_headers()["x-callout"], ", ")) }
    }
    location = /run {
        content_by_lua_block {
            local CLIENTS, ABORTS = 1000, $aborts
_EOC_
    $block->set_value(config => $block->config . <<'_EOC_');

            -- What the client n gets, and whether it is right. One that goes away does so when both callouts have come to the
            -- server.
            local function ask(n)
                local socket = ngx.socket.tcp()
                assert(socket:connect("127.0.0.1", ngx.var.server_port))
                assert(socket:send("GET /plugin/" .. n .. " HTTP/1.0\r\nHost: localhost\r\n\r\n"))
                if soak.abort[n] then
                    assert(soak.abort[n]:wait(100))
                    socket:close()
                    return "aborted"
                end
                local response = assert(socket:receive("*a"))
                socket:close()
                local answers = {response:match("\r\n\r\n(%d) answer to (%S+), (%d) answer to (%S+)$")}
                local of = {}
                for i = 1, #answers, 2 do
                    of[answers[i]] = answers[i + 1]
                end
                return of["0"] == "/first/plugin/" .. n and of["1"] == "/second/plugin/" .. n and "answered" or response
            end

            soak.arrived, soak.abort, soak.gate, soak.missing = {}, {}, semaphore.new(0), 2 * CLIENTS
            for n = 1, CLIENTS do
                soak.abort[n] = ABORTS > 0 and n % ABORTS == 0 and semaphore.new(0) or nil
            end
            local threads, results = {}, {}
            for n = 1, CLIENTS do
                threads[n] = assert(ngx.thread.spawn(ask, n))
            end
            for n = 1, CLIENTS do
                local _, result = assert(ngx.thread.wait(threads[n]))
                results[result] = (results[result] or 0) + 1
            end
            local lines = {}
            for result, count in pairs(results) do
                table.insert(lines, result .. " " .. count)
            end
            table.sort(lines, function(a, b) return a > b end)
            ngx.say(table.concat(lines, ", "))
        }
    }
    location = /t {
        content_by_lua_block {
            local ffi = require("ffi")
            ffi.cdef("int malloc_trim(size_t);")
            local RUNS = 8

            local function wait(what, condition)
                for _ = 1, 3000 do
                    if condition() then return end
                    ngx.sleep(0.01)
                end
                error("waited in vain for " .. what)
            end

            local function counted(name)
                return tonumber(require("resty.wasm.metrics").prometheus():match("\ncallouts_" .. name .. " (%d+)"))
            end

            local function descriptors()
                local list = io.popen("ls /proc/" .. ngx.worker.pid() .. "/fd | wc -l")
                local count = tonumber(list:read("*a"))
                list:close()
                return count
            end

            local function timers()
                return ngx.timer.running_count()
            end

            local function lua_memory()
                collectgarbage()
                collectgarbage()
                return collectgarbage("count")
            end

            -- Without what malloc keeps for later.
            local function resident()
                lua_memory()
                ffi.C.malloc_trim(0)
                local status = io.open("/proc/self/status")
                local size = tonumber(status:read("*a"):match("VmRSS:%s*(%d+)"))
                status:close()
                return size
            end

            -- A timer waits for callouts of the end of a request.
            wait("the first timer", function() return timers() == 1 end)
            local base = descriptors()
            local lua, all = {}, {}
            for n = 1, RUNS do
                ngx.print((get("/run")))
                wait("ends of stream contexts", function() return counted("created") == counted("deleted") end)
                wait("ends of callouts", function() return counted("made") == counted("ended") end)
                wait("timers to end", function() return timers() == 1 end)
                wait("connections to be closed", function() return descriptors() == base end)
                lua[n], all[n] = lua_memory(), resident()
            end
            ngx.say(counted("created"), " stream contexts, ", counted("made"), " callouts")
            -- What is resident goes up and down with what malloc can give back: the least of three runs tells.
            local least = math.min
            local lua_growth = lua[RUNS] - lua[2]
            local growth = least(all[RUNS], all[RUNS - 1], all[RUNS - 2]) - least(all[2], all[3], all[4])
            ngx.say(lua_growth < 64 and "Lua's memory is flat" or "Lua's memory grew by " .. lua_growth .. " kB")
            ngx.say(growth < 1024 and "memory is flat" or "memory grew by " .. growth .. " kB")
        }
    }
_EOC_
});

run_tests();

__DATA__

=== TEST 1: 1,000 requests at once with two callouts each, again and again
--- aborts: 0
--- response_body eval
"answered 1000\n" x 8 . "8000 stream contexts, 16000 callouts\nLua's memory is flat\nmemory is flat\n"



=== TEST 2: half of the clients go away meanwhile
--- aborts: 2
--- response_body eval
"answered 500, aborted 500\n" x 8 . "8000 stream contexts, 16000 callouts\nLua's memory is flat\nmemory is flat\n"



=== TEST 3: the same in HTTP/2
--- aborts: 2
--- http2
--- response_body eval
"answered 500, aborted 500\n" x 8 . "8000 stream contexts, 16000 callouts\nLua's memory is flat\nmemory is flat\n"
