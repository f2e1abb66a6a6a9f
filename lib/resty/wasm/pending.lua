--- What plugins have asked for and only Lua can do.

local native_module = require("resty.wasm.native_module")

local get_phase = ngx.get_phase

local _M = {}

local handlers = {}

--- Has a function called whenever something may be pending.
function _M.on_pending(handler)
    handlers[#handlers + 1] = handler
end

--- Does what is pending, if anything is. In init_by_lua* there is nothing to do it with: there it is left to the workers.
function _M.run()
    local native = native_module.open()
    -- In this order: when a worker ends nothing is pending, and finalizers may not ask for the phase.
    if not native.is_pending() or get_phase() == "init" then
        return
    end
    while native.take_pending() do
        for n = 1, #handlers do
            handlers[n](native)
        end
    end
end

return _M
