--- What Apache APISIX does with wasm plugins, for tests: it loads them in every process, makes a plugin context for each configuration
-- when a request first needs it, merges configurations, and calls plugins by their priority, those of global rules first.

local cjson = require("cjson")
local lrucache = require("resty.lrucache")
local loaded, wasm = pcall(require, "resty.proxy-wasm")

local _M = {routes = {}, services = {}, consumers = {}, global_rules = {}}

local plugins = {}
local merged = lrucache.new(512)

--- Loads the plugins of `wasm.plugins`, at the start of each process and at each reload of plugins.
-- @param entries list of tables with name, file, priority, http_request_phase
function _M.load(entries)
    assert(loaded, wasm)
    plugins = {}
    for _, entry in ipairs(entries) do
        local plugin, err = wasm.load(entry.name, entry.file)
        if plugin then
            plugins[#plugins + 1] = {entry = entry, plugin = plugin}
        else
            ngx.log(ngx.ERR, "failed to load plugin [", entry.name, "] err: ", err)
        end
    end
    table.sort(plugins, function(one, other) return one.entry.priority > other.entry.priority end)
end

-- A plugin context lives with the configuration that it was made for.
local function context_of(plugin, conf, ctx)
    conf.plugin_ctxs = conf.plugin_ctxs or {}
    local key = ctx.conf_type .. "#" .. ctx.conf_id
    local plugin_ctx = conf.plugin_ctxs[key]
    if plugin_ctx then
        return plugin_ctx
    end
    local text = type(conf.conf) == "table" and cjson.encode(conf.conf) or conf.conf
    local err
    plugin_ctx, err = wasm.on_configure(plugin.plugin, text)
    conf.plugin_ctxs[key] = plugin_ctx
    return plugin_ctx, err
end

local function request_body()
    ngx.req.read_body()
    local body = ngx.req.get_body_data()
    local name = not body and ngx.req.get_body_file()
    if not name then
        return body
    end
    local file = assert(io.open(name, "rb"))
    body = file:read("*a")
    file:close()
    return body
end

-- Calls one of the module's functions in the plugin context of a configuration. Returns whether it succeeded; why not is in the log.
local function call(name, plugin, conf, ctx, ...)
    local plugin_ctx, err = context_of(plugin, conf, ctx)
    if not plugin_ctx then
        ngx.log(ngx.ERR, plugin.entry.name, ": failed to fetch wasm plugin ctx: ", err)
        return false
    end
    local ok
    ok, err = wasm[name](plugin_ctx, ...)
    if not ok then
        ngx.log(ngx.ERR, plugin.entry.name, ": failed to run wasm plugin: ", err)
    end
    return ok
end

-- Whether a plugin has asked for a body, by the variable that it sets for that.
local function takes_body(variable)
    local asks = ngx.var[variable] ~= ""
    if asks then
        ngx.var[variable] = ""
    end
    return asks
end

local function on_request(plugin, conf, ctx)
    if not call("on_http_request_headers", plugin, conf, ctx) then
        return 503
    end
    if takes_body("wasm_process_req_body") and not call("on_http_request_body", plugin, conf, ctx, request_body(), true) then
        return 503
    end
end

local function on_response_headers(plugin, conf, ctx)
    if call("on_http_response_headers", plugin, conf, ctx) and takes_body("wasm_process_resp_body") then
        ctx["wasm_" .. plugin.entry.name .. "_process_resp_body"] = true
    end
end

local function on_response_body(plugin, conf, ctx)
    if ctx["wasm_" .. plugin.entry.name .. "_process_resp_body"] then
        call("on_http_response_body", plugin, conf, ctx)
    end
end

-- Calls the plugins that a set of configurations names.
local function run(confs, phase, handle, ctx)
    for _, plugin in ipairs(plugins) do
        local conf = confs[plugin.entry.name]
        if conf and (not phase or (plugin.entry.http_request_phase or "access") == phase) then
            local status = handle(plugin, conf, ctx)
            if status then
                return ngx.exit(status)
            end
        end
    end
end

local function run_global_rules(phase, handle, ctx)
    local conf_type, conf_id = ctx.conf_type, ctx.conf_id
    for _, rule in ipairs(_M.global_rules) do
        ctx.conf_type, ctx.conf_id = "global_rule", rule.id
        run(rule.plugins, phase, handle, ctx)
    end
    ctx.conf_type, ctx.conf_id = conf_type, conf_id
end

-- The configurations of one in the place of those of the other; merged once, as long as there is room.
local function merge(ctx, conf_type, conf_id, one, other)
    ctx.conf_type, ctx.conf_id = conf_type, conf_id
    local key = conf_type .. "#" .. conf_id
    local both = merged:get(key)
    if not both then
        both = {}
        for _, confs in ipairs({one, other}) do
            for name, conf in pairs(confs) do
                both[name] = {conf = conf.conf}
            end
        end
        merged:set(key, both)
    end
    return both
end

--- access_by_lua
function _M.access()
    local route = assert(_M.routes[ngx.var.uri:match("^/[^/]*")], "no such route")
    local ctx = {conf_type = "route", conf_id = route.id, plugins = route.plugins, route_id = route.id}
    ngx.ctx.api_ctx = ctx
    local service = _M.services[route.service_id]
    if service then
        ctx.plugins = merge(ctx, "route&service", route.id .. "&" .. service.id, service.plugins, route.plugins)
    end
    run_global_rules("rewrite", on_request, ctx)
    run_global_rules("access", on_request, ctx)
    run(ctx.plugins, "rewrite", on_request, ctx)
    if route.needs_consumer then
        local consumer = _M.consumers[ngx.req.get_headers()["apikey"]]
        if not consumer then
            return ngx.exit(401)
        end
        ctx.consumer_name = consumer.name
        ctx.plugins = merge(ctx, ctx.conf_type .. "&consumer", ctx.conf_id .. "&" .. consumer.name, ctx.plugins, consumer.plugins)
    end
    run(ctx.plugins, "access", on_request, ctx)
end

local function response_phase(handle)
    return function()
        local ctx = ngx.ctx.api_ctx
        if ctx then
            run_global_rules(nil, handle, ctx)
            run(ctx.plugins, nil, handle, ctx)
        end
    end
end

--- header_filter_by_lua
_M.header_filter = response_phase(on_response_headers)

--- body_filter_by_lua
_M.body_filter = response_phase(on_response_body)

--- The control API's list of routes: what they hold has to be serialisable.
function _M.list_routes()
    return cjson.encode(_M.routes)
end

return _M
