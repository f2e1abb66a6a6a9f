--- The metrics of all plugins in all workers.

local native_module = require("resty.wasm.native_module")

local _M = {}

--- All metrics in Prometheus' text format, for a response with `Content-Type: text/plain; version=0.0.4`.
-- @return string, empty when there is no metric; or nil and an error
function _M.prometheus()
    local native, err = native_module.open()
    if not native then
        return nil, err
    end
    return native.prometheus()
end

return _M
