--- Puts what plugins leave of bodies into requests and responses.

local native_module = require("resty.wasm.native_module")

local ngx = ngx
local concat = table.concat

local _M = {}

-- The key of this module's state in ngx.ctx: by plugin context, what of a body has not gone on yet.
local STATE = {}

local function state_of(plugin_ctx)
    local ctx = ngx.ctx
    local states = ctx[STATE]
    if not states then
        states = {}
        ctx[STATE] = states
    end
    local state = states[plugin_ctx]
    if not state then
        state = {parts = {}, changed = false}
        states[plugin_ctx] = state
    end
    return state
end

local function set_request_body(body)
    ngx.req.read_body()
    ngx.req.set_body_data(body)
end

--- Passes a part of the request body on; with the last one the request has the body that the plugin has left of it.
-- @param part string: as it was before the plugin
-- @param changed boolean: the plugin left something else
-- @return true
function _M.pass_request(plugin_ctx, part, is_last, changed)
    if changed then
        part = native_module.open().take_body()
    end
    local states = ngx.ctx[STATE]
    if is_last and not (states and states[plugin_ctx]) then
        if changed then
            set_request_body(part)
        end
        return true
    end
    local state = state_of(plugin_ctx)
    state.parts[#state.parts + 1] = part
    state.changed = state.changed or changed
    if is_last then
        ngx.ctx[STATE][plugin_ctx] = nil
        if state.changed then
            set_request_body(concat(state.parts))
        end
    end
    return true
end

-- Whether the response has a head only. What a filter makes of its body nginx would send all the same.
local function has_no_body()
    local status = ngx.status
    return status == 204 or status == 304 or ngx.req.get_method() == "HEAD"
end

--- Puts what the last callback has left of a chunk of the response body into its place.
function _M.pass_response()
    local body = native_module.open().take_body()
    ngx.arg[1] = has_no_body() and "" or body
end

return _M
