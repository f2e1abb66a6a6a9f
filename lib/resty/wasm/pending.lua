--- What plugins have asked for and only Lua can do.

local native_module = require("resty.wasm.native_module")

local get_phase = ngx.get_phase

local _M = {}

-- Where there are no timers.
local NOTHING_TO_DO_IT_WITH = {init = true, exit_worker = true}

local handlers = {}

--- Has a function called whenever something may be pending.
function _M.on_pending(handler)
    handlers[#handlers + 1] = handler
end

--- Does what is pending, if anything is. In init_by_lua* it is left to the workers, in exit_worker_by_lua* to nobody.
function _M.run()
    local native = native_module.open()
    -- In this order: when a worker ends nothing is pending, and finalizers may not ask for the phase.
    if not native.is_pending() or NOTHING_TO_DO_IT_WITH[get_phase()] then
        return
    end
    native.take_pending()
    repeat
        for n = 1, #handlers do
            handlers[n](native)
        end
    until not native.take_pending()
end

return _M
