--- Puts what plugins leave of bodies into requests and responses.

local native_module = require("resty.wasm.native_module")

local ngx = ngx
local concat = table.concat

local _M = {}

-- The key of this module's state in ngx.ctx: by plugin context, what of a body has not gone on yet.
local STATE = {}

local function state_of(plugin_ctx, direction)
    local ctx = ngx.ctx
    local states = ctx[STATE]
    if not states then
        states = {request = {}, response = {}}
        ctx[STATE] = states
    end
    local state = states[direction][plugin_ctx]
    if not state then
        state = {parts = {}, changed = false}
        states[direction][plugin_ctx] = state
    end
    return state
end

local function forget(plugin_ctx, direction)
    ngx.ctx[STATE][direction][plugin_ctx] = nil
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
    if is_last and not (states and states.request[plugin_ctx]) then
        if changed then
            set_request_body(part)
        end
        return true
    end
    local state = state_of(plugin_ctx, "request")
    state.parts[#state.parts + 1] = part
    state.changed = state.changed or changed
    if is_last then
        forget(plugin_ctx, "request")
        if state.changed then
            set_request_body(concat(state.parts))
        end
    end
    return true
end

--- Puts what the plugin has left of a chunk of the response body into its place.
--
-- Where the client was told a length, the body keeps it: a change of another length is refused, for everything that comes next
-- on the connection would be read wrongly.
-- @param chunk string: as it was before the plugin
-- @param changed boolean: the plugin left something else
function _M.pass_response(plugin_ctx, chunk, is_last, changed)
    local states = ngx.ctx[STATE]
    if not changed and not (states and states.response[plugin_ctx]) then
        return
    end
    local left = changed and native_module.open().take_body() or chunk
    if not ngx.header.content_length then
        ngx.arg[1] = left
        return
    end
    local state = state_of(plugin_ctx, "response")
    state.parts[#state.parts + 1] = chunk
    if left == "" and not is_last then
        ngx.arg[1] = ""   -- held back, or emptied: what comes next will tell
        return
    end
    forget(plugin_ctx, "response")
    local original = concat(state.parts)
    if #left ~= #original then
        ngx.log(ngx.ERR, "the response body stays as it was: plugin ", plugin_ctx.plugin, " leaves ", #left, " of ", #original,
                " bytes, but the client was told a content-length; proxy_on_response_headers has to remove it")
        left = original
    end
    ngx.arg[1] = left
end

--- Puts the body of a plugin's own answer into the place of what is left of the response's.
function _M.pass_reply(plugin_ctx)
    local length = ngx.header.content_length
    if length then
        error("the response is cut off: plugin " .. plugin_ctx.plugin .. " answers itself, but the client was told the content-length "
              .. length .. "; proxy_on_response_headers has to remove it", 0)
    end
    ngx.arg[1] = native_module.open().take_body()
end

return _M
