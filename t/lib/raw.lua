--- Talks to this server in bytes.

local ngx = ngx

--- Sends bytes on a connection of its own, and waits until the server closes it.
-- @param parts a string, or a list of strings that are sent each after the answers to those before have begun to come
-- @param port default this server's own
-- @return all that came, without carriage returns
return function(parts, port)
    if type(parts) == "string" then
        parts = {parts}
    end
    local socket = ngx.socket.tcp()
    socket:settimeouts(5000, 5000, 5000)
    assert(socket:connect("127.0.0.1", port or ngx.var.server_port))
    local answers = ""
    for number, part in ipairs(parts) do
        if number > 1 then
            answers = answers .. assert(socket:receiveany(65536))
        end
        assert(socket:send(part))
    end
    local rest, err, partial = socket:receive("*a")
    socket:close()
    if not rest then
        partial = partial .. " [" .. err .. "]"
    end
    return ((answers .. (rest or partial)):gsub("\r", ""))
end
