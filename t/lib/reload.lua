--- Has nginx reload, and waits until another generation of its workers answers.
-- @param uri string: its response begins with the generation, which ngx.shared.test has as `generation`, or is 1
-- @return the response of generation 2
return function(uri)
    ngx.shared.test:set("generation", 2)
    os.execute("kill -HUP $(cat " .. ngx.config.prefix() .. "logs/nginx.pid)")
    local text
    repeat
        ngx.sleep(0.001)
        text = require("client")(uri)
    until text and text:sub(1, 1) == "2"
    return text
end
