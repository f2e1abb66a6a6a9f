--- Makes a request to this server, on a connection of its own.
-- @return the response's body
return function(uri)
    local socket = ngx.socket.tcp()
    assert(socket:connect("127.0.0.1", ngx.var.server_port))
    assert(socket:send("GET " .. uri .. " HTTP/1.0\r\nHost: localhost\r\n\r\n"))
    local response = socket:receive("*a")
    socket:close()
    return response and response:match("\r\n\r\n(.*)")
end
