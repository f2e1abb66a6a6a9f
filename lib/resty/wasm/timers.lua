--- Runs proxy_on_tick and proxy_on_queue_ready, and publishes metrics.

local native_module = require("resty.wasm.native_module")
local pending = require("resty.wasm.pending")

local timer_at = ngx.timer.at

local on_timer

local function start(period, index, number)
    local ok, err = timer_at(period / 1000, on_timer, period, index, number)
    if not ok and native_module.open().give_up_timer(index) and not ngx.worker.exiting() then
        ngx.log(ngx.ERR, "proxy_on_tick or proxy_on_queue_ready is not called any more: failed to create a timer: ", err)
    end
end

function on_timer(premature, period, index, number)
    if premature then
        native_module.open().publish()
        return
    end
    local goes_on = native_module.open().on_timer(index, number)
    pending.run()
    if goes_on then
        start(period, index, number)
    end
end

pending.on_pending(function(native)
    local period, index, number = native.next_timer()
    while period do
        start(period, index, number)
        period, index, number = native.next_timer()
    end
end)
