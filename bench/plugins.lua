--- The plugins that are compared: each in Lua, and in wasm behind the same two functions.

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
