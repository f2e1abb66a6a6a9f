--- What APISIX knows of a request, for plugins' properties.

local ipairs = ipairs
local ngx = ngx
local package = package
local random = math.random
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

-- The nodes of an upstream's configuration: its own, or those that APISIX has discovered.
local function nodes_of(conf)
    if type(conf.nodes) == "table" then
        return conf.nodes
    end
    local discovery = field(package.loaded["apisix.discovery.init"], "discovery", conf.discovery_type)
    local nodes = type(discovery) == "table" and discovery.nodes
    return type(nodes) == "function" and conf.service_name and nodes(conf.service_name, conf.discovery_args) or {}
end

-- One of the nodes, as often as their weights say; nil when there is none.
local function choose(nodes)
    local total = 0
    for _, node in ipairs(nodes) do
        total = total + (node.weight or 1)
    end
    local at = random() * total
    for _, node in ipairs(nodes) do
        at = at - (node.weight or 1)
        if at < 0 then
            return node
        end
    end
    return nil
end

--- Looks up an upstream of APISIX's.
-- @param id string
-- @return one of its nodes, as a table with host, port, authority, is_encrypted, is_http2; nil where there is no APISIX or no such
-- upstream; nil and an error when it has no node
function _M.upstream_node(id)
    local fetch = field(package.loaded["apisix.core"], "config", "fetch_created_obj")
    local upstreams = type(fetch) == "function" and fetch("/upstreams")
    local upstream = upstreams and upstreams:get(id)
    if not upstream then
        return nil
    end
    -- It resolves the names of nodes as APISIX does.
    local get_by_id = field(package.loaded["apisix.upstream"], "get_by_id")
    local conf = type(get_by_id) == "function" and get_by_id(id) or upstream.value
    local node = choose(nodes_of(conf))
    if not node then
        return nil, "upstream " .. id .. " has no node"
    end
    local scheme = conf.scheme or "http"
    local is_encrypted = scheme == "https" or scheme == "grpcs"
    local port = node.port or (is_encrypted and 443 or 80)
    local is_rewritten = conf.pass_host == "rewrite" and type(conf.upstream_host) == "string"
    return {
        host = node.host,
        port = port,
        authority = is_rewritten and conf.upstream_host or node.host .. ":" .. port,
        is_encrypted = is_encrypted,
        is_http2 = scheme == "grpc" or scheme == "grpcs",
    }
end

return _M
