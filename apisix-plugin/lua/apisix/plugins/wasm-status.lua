--- An optional plugin of APISIX that shows how the wasm plugins fare: as JSON and as metrics for Prometheus, on the control API and on
-- the public API (with the plugin public-api).

local core = require("apisix.core")

local ngx_worker = ngx.worker
local setmetatable = setmetatable

local schema = {type = "object", properties = {}, additionalProperties = false}

local _M = {version = 0.1, priority = 0, name = "wasm-status", schema = schema}

function _M.check_schema(conf)
    return core.schema.check(schema, conf)
end

-- Of the worker that is asked: each has virtual machines of its own.
local function status()
    local plugins, err = require("resty.wasm").status()
    if not plugins then
        return 500, {error_msg = err}
    end
    -- An empty list would be an object.
    return 200, {worker = ngx_worker.id(), pid = ngx_worker.pid(), plugins = setmetatable(plugins, core.json.array_mt)}
end

-- Of all workers.
local function metrics()
    local text, err = require("resty.wasm.metrics").prometheus()
    if not text then
        return 500, {error_msg = err}
    end
    core.response.set_header("Content-Type", "text/plain; version=0.0.4")
    return 200, text
end

--- Routes of the public API, each of which a route with the plugin public-api opens.
function _M.api()
    return {
        {methods = {"GET"}, uri = "/apisix/wasm/status", handler = status},
        {methods = {"GET"}, uri = "/apisix/wasm/metrics", handler = metrics},
    }
end

--- Routes of the control API.
function _M.control_api()
    return {
        {methods = {"GET"}, uris = {"/v1/wasm/status"}, handler = status},
        {methods = {"GET"}, uris = {"/v1/wasm/metrics"}, handler = metrics},
    }
end

return _M
