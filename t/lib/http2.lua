--- Asks t/Http2.pm for real clients of HTTP/2.

local ngx = ngx

local _M = {}

local function ask(...)
    local socket = ngx.socket.tcp()
    assert(socket:connect("127.0.0.1", 1959))
    assert(socket:send(table.concat({...}, "\0") .. "\n"))
    local answer = assert(socket:receive("*a"))
    socket:close()
    return answer
end

--- Sends a request with nghttp; further arguments are its own.
-- @return what came, as t/Http2.pm explains
function _M.get(uri, ...)
    return ask("nghttp", uri, ...)
end

--- Sends a request with curl; further arguments are its own.
-- @return what curl writes: headers, body, trailers, errors
function _M.curl(uri, ...)
    return ask("curl", uri, ...)
end

return _M
