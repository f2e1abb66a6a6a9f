--- What the library can't ask lua_shared_dict resty_wasm itself.

local ipairs = ipairs
local ngx = ngx
local type = type

local _M = {}

--- How many bytes the values have whose keys begin with a prefix, with the rest of their keys.
-- @return the number in digits
function _M.size(prefix)
    local dict = ngx.shared.resty_wasm
    local size = 0
    for _, key in ipairs(dict:get_keys(0)) do
        if key:sub(1, #prefix) == prefix then
            local value = dict:get(key)
            if type(value) == "string" then
                size = size + #key - #prefix + #value
            end
        end
    end
    return ("%d"):format(size)
end

return _M
