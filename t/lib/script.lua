--- Plugins that do what a script says, requests to them, and what the error log says of it.

local wasm = require("resty.proxy-wasm")

local _M = {wasm = wasm}

--- Loads a guest as a plugin of its own and configures it.
-- @param configuration what it is to do
-- @param options as of wasm.load
-- @param guest default `script`
-- @return the plugin context
function _M.configure(configuration, options, guest)
    local plugin = assert(wasm.load("plugin", "target/guests/" .. (guest or "script") .. ".wasm", options))
    return assert(wasm.on_configure(plugin, configuration))
end

--- Runs the callback of the request's headers.
function _M.run(...)
    assert(wasm.on_http_request_headers(_M.configure(...)))
end

--- How often the error log has a text.
function _M.count(text)
    local log = io.open(ngx.config.prefix() .. "logs/error.log"):read("*a")
    local count, from = 0, 0
    repeat
        from = log:find(text, from + 1, true)
        count = count + (from and 1 or 0)
    until not from
    return count
end

--- Waits until the error log has a text so often; default once.
function _M.wait(text, count)
    for _ = 1, 3000 do
        if _M.count(text) >= (count or 1) then
            return
        end
        ngx.sleep(0.005)
    end
    error("the log does not say " .. text, 2)
end

return _M
