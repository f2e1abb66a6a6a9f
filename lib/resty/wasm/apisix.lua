--- What APISIX knows of a request, for plugins' properties.

local ngx = ngx
local package = package
local tostring = tostring
local type = type

local _M = {}

-- The field at the end of a path of keys; nil when there is no such path.
local function field(value, ...)
    for n = 1, select("#", ...) do
        if type(value) ~= "table" then
            return nil
        end
        value = value[(select(n, ...))]
    end
    return value
end

-- The first value that is a name or an id. nil is not an end.
local function first(...)
    for n = 1, select("#", ...) do
        local value = select(n, ...)
        if type(value) == "number" or type(value) == "string" and value ~= "" then
            return tostring(value)
        end
    end
    return nil
end

-- By name. Before APISIX has chosen an upstream, the cluster is the route's; APISIX has merged the service's into it.
local ATTRIBUTES = {
    consumer_name = function(ctx)
        return first(ctx.consumer_name)
    end,
    route_id = function(ctx)
        return first(ctx.route_id, field(ctx, "matched_route", "value", "id"))
    end,
    route_name = function(ctx)
        return first(ctx.route_name, field(ctx, "matched_route", "value", "name"), ctx.route_id,
                     field(ctx, "matched_route", "value", "id"))
    end,
    service_id = function(ctx)
        return first(ctx.service_id, field(ctx, "matched_route", "value", "service_id"))
    end,
    service_name = function(ctx)
        return first(ctx.service_name)
    end,
    cluster_name = function(ctx)
        local route = field(ctx, "matched_route", "value")
        return first(field(ctx, "upstream_conf", "id"), ctx.upstream_id, field(ctx, "matched_upstream", "id"),
                     field(ctx, "upstream_conf", "name"), field(ctx, "matched_upstream", "name"),
                     field(route, "upstream_id"), field(route, "upstream", "name"))
    end,
    node_id = function()
        local get = field(package.loaded["apisix.core"], "id", "get")
        return type(get) == "function" and first(get()) or nil
    end,
}

--- Looks up an attribute of the running request.
-- @param name string: a key of ATTRIBUTES
-- @return a string, empty when APISIX has no such thing; nil where there is no APISIX
function _M.attribute(name)
    local ctx = ngx.ctx.api_ctx
    if type(ctx) ~= "table" then
        return nil
    end
    return ATTRIBUTES[name](ctx) or ""
end

return _M
