--- Makes a request to this server, on a connection of its own.
-- @param uri string
-- @param request table or nil: method, default GET; headers by name; body
-- @return the response's body, and its status as a string
return function(uri, request)
    request = request or {}
    local head = {(request.method or "GET") .. " " .. uri .. " HTTP/1.0", "Host: localhost"}
    for name, value in pairs(request.headers or {}) do
        head[#head + 1] = name .. ": " .. value
    end
    if request.body then
        head[#head + 1] = "Content-Length: " .. #request.body
    end
    local socket = ngx.socket.tcp()
    assert(socket:connect("127.0.0.1", ngx.var.server_port))
    assert(socket:send(table.concat(head, "\r\n") .. "\r\n\r\n" .. (request.body or "")))
    local response = socket:receive("*a")
    socket:close()
    if not response then
        return nil
    end
    return response:match("\r\n\r\n(.*)"), response:match("^HTTP/%S+ (%d+)")
end
