--- What nginx runs for t/framing: one script at a time, which a request installs.

local wasm = require("resty.proxy-wasm")

local _M = {}

local GUEST = "target/guests/script.wasm"

local plugin, plugin_ctx, phases

--- Loads the guest, at the start of a worker.
function _M.start()
    plugin = assert(wasm.load("plugin", GUEST))
end

--- Makes a plugin context of the script in the request's body. The query has the functions to call from now on, and how:
-- `read_first` reads the request's body before the first of them, `in_parts` passes it on in two parts, `own_plugin` loads the guest
-- anew, for a script that ends its instance.
function _M.install()
    ngx.req.read_body()
    phases = ngx.req.get_uri_args()
    local its_plugin = phases.own_plugin and assert(wasm.load("plugin", GUEST)) or plugin
    plugin_ctx = assert(wasm.on_configure(its_plugin, assert(ngx.req.get_body_data())))
    ngx.print("installed")
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

--- rewrite_by_lua, access_by_lua
function _M.on_request()
    if phases.read_first then
        ngx.req.read_body()
    end
    if phases.request_headers and not wasm.on_http_request_headers(plugin_ctx) then
        return ngx.exit(503)
    end
    if not phases.request_body then
        return
    end
    local body = request_body()
    if phases.in_parts and body then
        local half = math.floor(#body / 2)
        if not wasm.on_http_request_body(plugin_ctx, body:sub(1, half), false) then
            return ngx.exit(503)
        end
        body = body:sub(half + 1)
    end
    if not wasm.on_http_request_body(plugin_ctx, body, true) then
        return ngx.exit(503)
    end
end

--- header_filter_by_lua
function _M.on_response_headers()
    if phases and phases.response_headers then
        wasm.on_http_response_headers(plugin_ctx)
    end
end

--- body_filter_by_lua
function _M.on_response_body()
    if phases and phases.response_body then
        wasm.on_http_response_body(plugin_ctx)
    end
end

return _M
