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

--- Makes a call of gRPC with tonic: t/servers/src/bin/grpc-client.rs
-- @param kind `unary` or `streaming`
-- @return messages, status and metadata, a line each
function _M.grpc(kind, origin, path, message)
    return ask("tonic", kind, origin, path, message)
end

return _M
