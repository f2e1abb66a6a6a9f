--- What the library can't ask lua_shared_dict resty_wasm itself.

local concat = table.concat
local ipairs = ipairs
local ngx = ngx

local _M = {}

--- The keys that begin with a prefix.
-- @return all of them in one string, each behind its length: "3:key"
function _M.keys(prefix)
    local found = {}
    for _, key in ipairs(ngx.shared.resty_wasm:get_keys(0)) do
        if key:sub(1, #prefix) == prefix then
            found[#found + 1] = #key .. ":" .. key
        end
    end
    return concat(found)
end

return _M
