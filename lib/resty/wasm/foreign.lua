--- The Lua functions that plugins can call by proxy_call_foreign_function.

local error = error
local tostring = tostring
local type = type

local _M = {}

-- Those that the library has itself.
local BUILT_IN = {
    clear_route_cache = true,
    compress = true,
    sign = true,
    uncompress = true,
    verify_signature = true,
}

local functions = {}

--- Lets plugins call a function. It is given a string and returns a string; nil or "" when it has no result; nil and an error
-- when it fails. It runs where the plugin was called, and may not yield.
-- @param name string: replaces the function that was registered under it
-- @param fn function, or nil: there is none any more
function _M.register(name, fn)
    if type(name) ~= "string" or name == "" then
        error("bad name: a string expected that is not empty, got " .. (name == "" and "an empty one" or type(name)), 2)
    end
    if BUILT_IN[name] then
        error("bad name: the foreign function " .. name .. " is built in", 2)
    end
    if fn ~= nil and type(fn) ~= "function" then
        error("bad function: a function or nil expected, got " .. type(fn), 2)
    end
    functions[name] = fn
end

--- Calls a function for the library.
-- @return its result; nil and an error when it failed; nil when there is none of this name
function _M.call(name, arguments)
    local fn = functions[name]
    if not fn then
        return nil
    end
    local result, err = fn(arguments)
    if result == nil then
        if err ~= nil then
            return nil, tostring(err)
        end
        return ""
    end
    if type(result) ~= "string" then
        return nil, "it returned a " .. type(result) .. ", not a string"
    end
    return result
end

return _M
