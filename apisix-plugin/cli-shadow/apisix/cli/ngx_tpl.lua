-- Stands before the file of this name in Apache APISIX, whose template of nginx.conf it returns without the directive wasm_vm, which
-- nginx only knows with wasm-nginx-module.

local function read(path)
    local file = io.open(path, "rb")
    if not file then
        return nil
    end
    local text = file:read("*a")
    file:close()
    return text
end

local own_text = read(debug.getinfo(1, "S").source:sub(2))

-- This file may stand in package.path under more than one name.
for pattern in package.path:gmatch("[^;]+") do
    local path = pattern:gsub("%?", "apisix/cli/ngx_tpl")
    local text = read(path)
    if text and text ~= own_text then
        local template = assert(loadstring(text, "@" .. path))(...)
        return (template:gsub("wasm_vm%s+%S+;", ""))
    end
end
error("no apisix/cli/ngx_tpl.lua of APISIX in " .. package.path)
