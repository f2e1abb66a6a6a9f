--- Moves the bytes of callouts, which the native library speaks, and has requests wait for them.
--
-- Runners do it: timers, for most of what plugins run in can't wait. One runner has many threads, a thread for each callout,
-- and callouts of one location only: a timer has the resolver, the certificates and the timeouts of the location that
-- started it.

local apisix = require("resty.wasm.apisix")
local native_module = require("resty.wasm.native_module")
local pending = require("resty.wasm.pending")
local semaphore = require("ngx.semaphore")

local cast = require("ffi").cast
local exiting = ngx.worker.exiting
local find = string.find
local get_phase = ngx.get_phase
local kill = ngx.thread.kill
local ngx = ngx
local now = ngx.now
local pairs = pairs
local pcall = pcall
local remove = table.remove
local running = coroutine.running
local sleep = ngx.sleep
local spawn = ngx.thread.spawn
local tcp = ngx.socket.tcp
local thread_wait = ngx.thread.wait
local timer_at = ngx.timer.at
local tonumber = tonumber

local _M = {}

-- What on_event and resume return when the request has to wait.
local WAIT = 4

-- What comes next for a callout.
local RECEIVE = 0
local KEEP = 1
local RETRY = 3

-- What sslhandshake says where it does not know ALPN.
local TOO_MANY_ARGUMENTS = "expecting 1 ~ 5 arguments"

-- How much is received at once, in bytes.
local CHUNK = 65536
-- How long a wait lasts at most, in seconds; whoever waits begins anew.
local LONGEST_WAIT = 3600
-- After how long a timer without a delay is started again, in seconds.
local LONGEST_START = 1
-- The longest delay of a timer, in seconds: a million, 11 days.
local LONGEST_TIMER = 1000000

-- How many callouts a runner has at once, and how many threads it starts in its life: nginx looks for a thread in a list, and
-- frees what a timer has used when it ends.
local MOST_AT_ONCE = 64
local MOST_THREADS = 512
-- How many runners there are at once: lua_max_running_timers is 256 by default.
local MOST_RUNNERS = 128

-- Where a request can wait.
local PHASES = {server_rewrite = true, rewrite = true, precontent = true, access = true, content = true, timer = true}

-- By what the native library tells configurations by: the runner that takes on the callouts of a location.
local current = {}
local runner_count = 0
local last_runner = 0

-- By a timer that nginx has not run yet: when it was asked for.
local due = {}

local function begin(_, timer)
    if due[timer] then
        due[timer] = nil
        timer.run(timer.argument)
    end
end

-- Without a configuration it may run with that of any location.
local function start_timer(configuration, run, argument)
    local timer = {configuration = configuration, run = run, argument = argument}
    local ok, err = timer_at(0, begin, timer)
    due[timer] = ok and now() or nil
    return ok, err
end

-- nginx drops a timer that is due while lua_max_running_timers of them run. Returns whether none may have been dropped, of
-- those that run with this configuration.
local function start_dropped_timers(configuration)
    local have_begun = true
    for timer, asked_at in pairs(due) do
        if not timer.configuration or timer.configuration == configuration then
            have_begun = false
            if now() - asked_at >= LONGEST_START then
                due[timer] = now()
                timer_at(0, begin, timer)
            end
        end
    end
    return have_begun
end

-- A semaphore for the native library, which keeps it as long as it may post it.
local function handle(wake)
    return wake, tonumber(cast("uintptr_t", wake.sem))
end

-- In APISIX, an upstream's name may be the id of one of its upstreams. Returns whether there is a server to ask.
local function find_upstream(native, token)
    local name = native.bare_name(token)
    local node, err
    if name then
        node, err = apisix.upstream_node(name)
    end
    -- No host is called by a number alone: resolvers and the C library take it for an address.
    if name and not node and not err and find(name, "^%d+$") then
        err = "no resolver is asked for " .. name .. ": it is no upstream's id"
    end
    if err then
        native.fail_callout(token, "connect", err)
        return false
    end
    if node then
        native.set_server(token, node.host, node.port, node.authority, node.is_encrypted, node.is_http2)
    end
    return true
end

-- Encrypts a connection. HTTP/2 is offered where this ngx_lua can: the third result is whether it was.
local function handshake(sock, server_name, is_http2)
    if is_http2 then
        local is_done, session, err = pcall(sock.sslhandshake, sock, nil, server_name, true, false, {"h2"})
        if is_done or not find(session, TOO_MANY_ARGUMENTS, 1, true) then
            return is_done and session, err, true
        end
    end
    -- resty.core asserts that a handshake has succeeded when it need not wait for it.
    local is_done, session, err = pcall(sock.sslhandshake, sock, nil, server_name, true)
    return is_done and session, err, false
end

-- Connects for a callout. Returns the socket, and for a stream the semaphore that wakes it; nil when it failed, or was
-- cancelled.
local function connect(native, token, runner)
    local host, port, pool, server_name, is_http2, is_stream, remaining =
        native.open_callout(token, runner.number, handle(runner.wake))
    if not host then
        return nil
    end
    local sock = tcp()
    if remaining then
        sock:settimeouts(remaining, remaining, remaining)
    end
    local options = {pool = pool, pool_size = is_http2 and 1 or nil}
    local ok, err
    if port then
        ok, err = sock:connect(host, port, options)
    else
        ok, err = sock:connect(host, options)
    end
    if not ok then
        native.fail_callout(token, "connect", err)
        return nil
    end
    local is_reused = sock:getreusedtimes() > 0
    local lacks_alpn = false
    if server_name and not is_reused then
        local is_offered
        ok, err, is_offered = handshake(sock, server_name, is_http2)
        lacks_alpn = is_http2 and not is_offered
        if not ok then
            native.fail_callout(token, "handshake", err or "failed")
            sock:close()
            return nil
        end
    end
    local wake = is_stream and semaphore.new(0) or nil
    if wake then
        native.begin_callout(token, is_reused, lacks_alpn, handle(wake))
    else
        native.begin_callout(token, is_reused, lacks_alpn)
    end
    return sock, wake
end

-- Sends the request and receives the answer. Returns what is to be done with the connection.
local function exchange(native, token, sock)
    local what, output, remaining = native.step_callout(token)
    while true do
        if remaining then
            sock:settimeout(remaining)
        end
        if output then
            local sent, err = sock:send(output)
            if not sent then
                return native.fail_callout(token, "transfer", err)
            end
        end
        if what ~= RECEIVE then
            return what
        end
        local data, err = sock:receiveany(CHUNK)
        what, output, remaining = native.step_callout(token, data, err)
    end
end

-- Receives what comes on a stream until it ends. `wake` has the other thread send, or end.
local function receive_stream(native, token, sock, wake)
    sock:settimeouts(nil, nil, LONGEST_WAIT * 1000)
    local what = RECEIVE
    while what == RECEIVE do
        local data, err = sock:receiveany(CHUNK)
        what = native.receive_callout(token, data, err ~= "timeout" and err or nil)
        native.deliver(token)
        pending.run()
        wake:post(1)
    end
end

-- As exchange, for a stream: it may be sent and received on at any time.
local function exchange_stream(native, token, sock, wake)
    local reader = spawn(receive_stream, native, token, sock, wake)
    local what, output
    repeat
        what, output = native.step_callout(token)
        if output then
            local sent, err = sock:send(output)
            if not sent then
                what = native.fail_callout(token, "transfer", err)
            end
        end
        if what == RECEIVE then
            wake:wait(LONGEST_WAIT)
        end
    until what ~= RECEIVE
    kill(reader)
    return what
end

-- Sends a callout and receives its answer.
local function run_callout(native, token, runner)
    local has_server = find_upstream(native, token)
    local what
    repeat
        local sock, wake
        if has_server then
            sock, wake = connect(native, token, runner)
        end
        if not sock then
            -- What failed at once may be asked again at once, for ever: others have their turn first. nginx runs timers without
            -- a delay before it looks for anything else.
            sleep(0.001)
            break
        end
        if wake then
            runner.threads[token] = nil   -- it is not killed, but ends by itself
            what = exchange_stream(native, token, sock, wake)
        else
            what = exchange(native, token, sock)
        end
        local is_kept = what == KEEP and sock:setkeepalive() ~= nil
        if not is_kept then
            sock:close()
        end
        native.close_callout(token, is_kept)
    until what ~= RETRY
    native.deliver(token)
    pending.run()
end

-- A thread of a runner: one callout after the other, as long as there are any.
local function work(native, runner)
    local token = remove(runner.queue, 1)
    while token do
        runner.threads[token] = running()
        local ok, err = pcall(run_callout, native, token, runner)
        if not ok then
            ngx.log(ngx.ERR, "a callout failed: ", err)
            native.fail_callout(token, "transfer", "internal error")
            native.close_callout(token, false)
            native.deliver(token)
        end
        runner.threads[token] = nil
        token = remove(runner.queue, 1)
    end
    runner.busy = runner.busy - 1
    runner.wake:post(1)
end

local function stop_cancelled(native, runner)
    local token = native.next_cancelled(runner.number)
    while token do
        local thread = runner.threads[token]
        if thread then
            runner.threads[token] = nil
            runner.busy = runner.busy - 1
            kill(thread)
        end
        token = native.next_cancelled(runner.number)
    end
end

local function run(runner)
    local native = native_module.open()
    repeat
        while runner.queue[1] do
            runner.busy = runner.busy + 1
            runner.spawned = runner.spawned + 1
            spawn(work, native, runner)
        end
        stop_cancelled(native, runner)
        if runner.busy > 0 then
            runner.wake:wait(LONGEST_WAIT)
        end
    until runner.busy == 0 and not runner.queue[1]
    runner_count = runner_count - 1
    if current[runner.configuration] == runner then
        current[runner.configuration] = nil
    end
end

local function start_runner(configuration)
    if runner_count >= MOST_RUNNERS then
        return nil, "there are " .. MOST_RUNNERS .. " timers with callouts already"
    end
    last_runner = last_runner + 1
    local runner = {
        number = last_runner,
        configuration = configuration,
        wake = semaphore.new(0),
        queue = {},   -- tokens
        threads = {},   -- by token
        busy = 0,   -- threads that live
        spawned = 0,   -- threads that there have been
    }
    local ok, err = start_timer(configuration, run, runner)
    if not ok then
        return nil, "failed to create a timer: " .. err
    end
    runner_count = runner_count + 1
    current[configuration] = runner
    return runner
end

-- The runner that takes on a further callout of a location; nil and an error when there is none.
local function find_runner(configuration)
    local runner = current[configuration]
    if runner and runner.spawned < MOST_THREADS
        and (runner.busy + #runner.queue < MOST_AT_ONCE or runner_count >= MOST_RUNNERS) then
        return runner
    end
    return start_runner(configuration)
end

local function start_callouts(native)
    local configuration = native.configuration()
    local token, uri, method, timeout = native.next_callout()
    while token do
        ngx.log(ngx.NOTICE, "send http request to ", uri, ", method: ", method, ", timeout in ms: ", timeout)
        local runner, err = find_runner(configuration)
        if runner then
            runner.queue[#runner.queue + 1] = token
            runner.wake:post(1)
        else
            native.fail_callout(token, "start", err)
            native.deliver(token)
        end
        token, uri, method, timeout = native.next_callout()
    end
end

-- Waits for what comes up when no Lua code runs: callouts that plugins make at the end of a request, and what is due when nginx
-- has refused or dropped the timer for it. When the worker is to end it goes on as long as there are requests, and then ends the streams that none of them needs: they may have no end of their own.
local function watch()
    local native = native_module.open()
    local wake = semaphore.new(0)
    -- nginx calls it early when the worker is to end.
    timer_at(LONGEST_TIMER, function()
        wake:post(1)
        ngx.sleep(0.001)   -- nginx looks at its events again only when there is a timer
    end)
    native.watch(handle(wake))
    while not exiting() or native.has_requests() do
        pending.run()
        wake:wait(native.before_watch_sleeps())
    end
    pending.run()
    native.watch(nil)
    native.end_streams()
end

pending.on_pending(function(native)
    if native.wants_watch() and not start_timer(nil, watch) then
        native.watch_refused()
    end
    start_dropped_timers(native.configuration())
    start_callouts(native)
end)

--- Has the request wait for its callouts, if it can wait in this phase.
-- @param context the index of the plugin context
-- @return what on_event returns, but never that the request has to wait
function _M.wait(context)
    local native = native_module.open()
    local wake = PHASES[get_phase()] and semaphore.new(0)
    if wake then
        native.wait(context, handle(wake))
    end
    local configuration = native.configuration()
    local is_over = not wake
    while true do
        local result, is_pending = native.resume(context, is_over)
        if is_pending then
            pending.run()
        end
        if result ~= WAIT then
            return result
        end
        local ok, err = wake:wait(start_dropped_timers(configuration) and LONGEST_WAIT or LONGEST_START)
        is_over = not ok and err ~= "timeout"
    end
end

return _M
