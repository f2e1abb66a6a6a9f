--- Runs proxy_on_tick and proxy_on_queue_ready.

local native_module = require("resty.wasm.native_module")

local get_phase = ngx.get_phase
local timer_at = ngx.timer.at

local _M = {}

local on_timer

local function start(period, index, number)
    local ok, err = timer_at(period / 1000, on_timer, period, index, number)
    if not ok and not ngx.worker.exiting() then
        ngx.log(ngx.ERR, "proxy_on_tick or proxy_on_queue_ready is not called any more: failed to create a timer: ", err)
    end
end

function on_timer(premature, period, index, number)
    if premature then
        return
    end
    local goes_on = native_module.open().on_timer(index, number)
    _M.start_pending()
    if goes_on then
        start(period, index, number)
    end
end

--- Starts the timers that plugins asked for, if any did. In init_by_lua* there are none: there it is left to the workers.
function _M.start_pending()
    local native = native_module.open()
    if not native.is_pending() or get_phase() == "init" then
        return
    end
    while true do
        local period, index, number = native.next_timer()
        if not period then
            return
        end
        start(period, index, number)
    end
end

return _M
