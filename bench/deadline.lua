-- Has a plugin loop in each of its callbacks, and says how long that took beyond its deadline.

local ffi = require("ffi")
local wasm = require("resty.proxy-wasm")

ffi.cdef("struct deadline_time { long s; long ns; }; int clock_gettime(int clock, struct deadline_time *time);")

local DEADLINE = tonumber(ngx.var.arg_deadline)

local time = ffi.new("struct deadline_time")
local function now()
    ffi.C.clock_gettime(1, time)
    return tonumber(time.s) * 1e3 + tonumber(time.ns) / 1e6
end

local function load(name, file)
    return assert(wasm.load(name, ngx.var.arg_project .. "/target/guests/" .. file .. ".wasm", {callback_timeout = DEADLINE}))
end

-- Milliseconds that a call took.
local function took(call, ...)
    local before = now()
    local ok, err = call(...)
    local after = now()
    assert(not ok or ok == 0, err or "it did not fail")
    return after - before
end

local function nothing() end

-- By the callback: what runs it, in a plugin context whose script is `CALLBACK: loop`.
local CALLS = {
    {"_initialize", function(name)
        return took(wasm.load, name, ngx.var.arg_project .. "/target/guests/endless-start.wasm", {callback_timeout = DEADLINE})
    end},
    {"configure", function(name)
        return took(wasm.on_configure, load(name, "script"), "configure: loop")
    end},
    {"tick", function(name)
        local ctx = assert(wasm.on_configure(load(name, "script"), "configure: set_tick 1\ntick: loop"))
        local before = now()
        ngx.sleep(0.005)
        return now() - before - 5, ctx
    end},
    {"plugin_done", function(name)
        local ctx = assert(wasm.on_configure(load(name, "script"), "plugin_done: loop"))
        collectgarbage()
        ctx = nil
        return took(collectgarbage)
    end},
}
for _, callback in ipairs({"stream_create", "request_headers", "request_body", "response_headers", "response_body"}) do
    CALLS[#CALLS + 1] = {callback, function(name)
        local ctx = assert(wasm.on_configure(load(name, "script"), callback .. ": loop"))
        local event = callback == "stream_create" and "request_headers" or callback
        return took(wasm["on_http_" .. event], ctx, "body", true), ctx
    end}
end
CALLS[#CALLS + 1] = {"foreign_function", function(name)
    local ctx = assert(wasm.on_configure(load(name, "script"), "foreign_function: loop"))
    return took(require("resty.wasm").on_foreign_function, ctx, 1), ctx
end}

ngx.arg = setmetatable({}, {__index = nothing})
ngx.say(("%-18s %8s %8s %8s"):format("callback", "least", "median", "most"))
for _, case in ipairs(CALLS) do
    local over = {}
    -- The first load compiles.
    case[2](case[1])
    collectgarbage()
    for round = 1, tonumber(ngx.var.arg_rounds) do
        over[round] = case[2](case[1]) - DEADLINE
        collectgarbage()
    end
    table.sort(over)
    ngx.say(("%-18s %8.1f %8.1f %8.1f"):format(case[1], over[1], over[math.ceil(#over / 2)], over[#over]))
    ngx.flush()
end
