--- Sends the response that a plugin asked for.

local native_module = require("resty.wasm.native_module")

local ngx = ngx

local _M = {}

local CLOSE_CONNECTION = 444   -- nginx's own status for it

-- Where ngx.exit ends a request with a status.
local PHASES = {server_rewrite = true, rewrite = true, precontent = true, access = true, content = true}

--- Ends the request with this status and the body that the plugin gave; with nginx's own page when it gave none.
-- @return nil and an error where a request can't be ended; else it does not return
function _M.send(status)
    local phase = ngx.get_phase()
    if not PHASES[phase] then
        return nil, "a local reply can't be sent in phase " .. phase
    end
    local body = native_module.open().take_reply()
    if not body then
        return ngx.exit(status)
    end
    -- As with nginx's own answers. Else a 100 Continue would come behind the response, when the body is discarded.
    if not ngx.is_subrequest then
        ngx.req.clear_header("Expect")
    end
    ngx.status = status
    local sent, err = ngx.print(body)
    if not sent and err ~= "header only" then
        return ngx.exit(CLOSE_CONNECTION)   -- a filter has given it up
    end
    -- Not with the status: for 408, 444 and 499 nginx would close the connection.
    return ngx.exit(ngx.HTTP_OK)
end

--- Closes the connection without an answer, or without the rest of it.
function _M.close()
    if PHASES[ngx.get_phase()] then
        return ngx.exit(CLOSE_CONNECTION)
    end
    error("the plugin closes the stream", 0)   -- what makes nginx give up a response that has begun
end

return _M
