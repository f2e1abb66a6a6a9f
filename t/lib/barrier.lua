-- `require("barrier")(COUNT)` returns when COUNT requests of the worker have called it, in their order.
local semaphore = assert(require("ngx.semaphore").new())
local arrived = 0

return function(count)
    arrived = arrived + 1
    if arrived % count == 0 then
        semaphore:post(count)
    end
    assert(semaphore:wait(60))
end
