--- What is compared: plugins, each in Lua, and in wasm behind the same two functions; and ways to ask another server.

local wasm = require("resty.proxy-wasm")

local _M = {lua = {}, wasm = {}}

_M.lua.noop = {
    request_headers = function() end,
    response_headers = function() end,
}

-- What t/guests/wat/headers.wat does, as a Lua programmer writes it.
_M.lua.headers = {
    request_headers = function()
        local headers = ngx.req.get_headers()
        local read = headers["host"] and headers["user-agent"] and headers["x-bench"]
        ngx.req.set_header("x-a", "1")
        ngx.req.set_header("x-b", "2")
        return read
    end,
    response_headers = function()
        ngx.header["x-plugin"] = "wasm"
        ngx.header["x-remove"] = nil
    end,
}

local function configured(file)
    local plugin = assert(wasm.load("bench", "target/guests/" .. file .. ".wasm"))
    local ctx = assert(wasm.on_configure(plugin, "bench"))
    return {
        ctx = ctx,
        request_headers = function()
            assert(wasm.on_http_request_headers(ctx))
        end,
        response_headers = function()
            assert(wasm.on_http_response_headers(ctx))
        end,
    }
end

_M.wasm.noop = configured("empty")
_M.wasm.headers = configured("headers")

-- Where bench/upstream.conf listens.
local PORT = tonumber(os.getenv("BENCH_PORT"))
local UPSTREAM, HTTP2_UPSTREAM = "127.0.0.2:" .. PORT, "127.0.0.3:" .. PORT

local function asking(upstream, options)
    local plugin = assert(wasm.load("bench", "target/guests/callout.wasm", options))
    local ctx = assert(wasm.on_configure(plugin, upstream))
    return function()
        assert(wasm.on_http_request_headers(ctx))
    end
end

--- By name: functions that ask the upstream for / and check what it answers. Each keeps its connections.
_M.callouts = {
    wasm = asking(UPSTREAM),
    ["wasm-http2"] = asking(HTTP2_UPSTREAM, {callout_http2 = {HTTP2_UPSTREAM}}),
}

-- The upstream is behind a location with proxy_pass.
function _M.callouts.subrequest()
    local answer = ngx.location.capture("/upstream")
    assert(answer.status == 200 and #answer.body == 43)
end

-- The least that Lua can do: the answer's shape is known.
function _M.callouts.cosocket()
    local socket = ngx.socket.tcp()
    socket:settimeouts(10000, 10000, 10000)
    assert(socket:connect("127.0.0.2", PORT))
    assert(socket:send("GET / HTTP/1.1\r\nHost: bench\r\n\r\n"))
    local status = assert(socket:receive())
    local length
    repeat
        local line = assert(socket:receive())
        length = length or line:match("^Content%-Length: (%d+)")
    until line == ""
    local body = assert(socket:receive(tonumber(length)))
    assert(status == "HTTP/1.1 200 OK" and #body == 43)
    assert(socket:setkeepalive())
end

local has_http, http = pcall(require, "resty.http")
if has_http then
    _M.callouts["resty-http"] = function()
        local client = http.new()
        client:set_timeouts(10000, 10000, 10000)
        local answer = assert(client:request_uri("http://" .. UPSTREAM .. "/"))
        assert(answer.status == 200 and #answer.body == 43)
    end
end

--- Asks the upstream in one of these ways; 404 when it is not installed.
function _M.ask(way)
    local ask = _M.callouts[way] or ngx.exit(404)
    ask()
end

--- Nanoseconds of CPU for one on_http_request_headers of a plugin that does nothing, warm.
function _M.time_of_entry(calls)
    local ctx, call = _M.wasm.noop.ctx, wasm.on_http_request_headers
    for _ = 1, calls / 10 do
        call(ctx)
    end
    local start = os.clock()
    for _ = 1, calls do
        call(ctx)
    end
    return (os.clock() - start) / calls * 1e9
end

return _M
