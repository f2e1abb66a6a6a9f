--- The timer that does what is due without a request: proxy_on_tick, proxy_on_queue_ready, the publication of metrics.

local native_module = require("resty.wasm.native_module")
local pending = require("resty.wasm.pending")

local timer_at = ngx.timer.at

local was_refused = false

local function on_timer(premature, number)
    local native = native_module.open()
    if premature then
        native.publish()
        return
    end
    native.on_timer(number)
    pending.run()
end

-- A refusal is logged when timers were not refused before.
local function refused(native, number, err)
    native.timer_refused(number)
    if not was_refused and not ngx.worker.exiting() then
        ngx.log(ngx.ERR, "ticks, queues and metrics may be late: there is no timer for them: ", err)
    end
    was_refused = true
end

pending.on_pending(function(native)
    local delay, number = native.next_timer()
    if not delay then
        return
    end
    local ok, err = timer_at(delay, on_timer, number)
    if ok then
        was_refused = false
    else
        refused(native, number, err)
    end
end)
