--- For tests of plugins that act on their own: what they have done is in the error log.

local _M = {wasm = require("resty.proxy-wasm")}

--- Configures a plugin of its own.
-- @return its plugin context
function _M.configure(script, options, guest)
    local file = "target/guests/" .. (guest or "script") .. ".wasm"
    local plugin = assert(_M.wasm.load("plugin", file, options))
    return assert(_M.wasm.on_configure(plugin, script))
end

--- How often the error log has a pattern.
function _M.count(pattern)
    local log = io.open(ngx.config.prefix() .. "logs/error.log"):read("*a")
    return select(2, log:gsub(pattern, ""))
end

--- Waits until the error log has a pattern.
-- @param count how often; default once
function _M.wait(pattern, count)
    for _ = 1, 3000 do
        if _M.count(pattern) >= (count or 1) then return true end
        ngx.sleep(0.005)
    end
    error("the log does not say " .. pattern)
end

return _M
