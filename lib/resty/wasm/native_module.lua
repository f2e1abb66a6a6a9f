--- Finds and opens the shared library, at the first use: a library that the master has opened is never replaced by a reload.

local apisix = require("resty.wasm.apisix")
local dict = require("resty.wasm.dict")
local foreign = require("resty.wasm.foreign")

local package = package

local _M = {}

local native

--- Finds the library: beside this file, or else on package.cpath, as resty/wasm/native.so.
-- @return its path, or nil and an error
function _M.find()
    local directory = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
    local path = directory .. "native.so"
    local file = io.open(path, "rb")
    if file then
        file:close()
        return path
    end
    local found, tried = package.searchpath("resty.wasm.native", package.cpath)
    if found then
        return found
    end
    return nil, "resty.wasm: the native library is missing: no file '" .. path .. "'" .. tried
end

--- Opens the library.
-- @return its functions, or nil and an error
function _M.open()
    if native then
        return native
    end
    local path, err = _M.find()
    if not path then
        return nil, err
    end
    local entry
    entry, err = package.loadlib(path, "luaopen_resty_wasm_native")
    if not entry then
        return nil, "resty.wasm: can't open '" .. path .. "': " .. err
    end
    local ok, opened = pcall(entry)
    if not ok then
        return nil, "resty.wasm: can't use '" .. path .. "': " .. tostring(opened)
    end
    opened.set_function("apisix_attribute", apisix.attribute)
    opened.set_function("dict_keys", dict.keys)
    opened.set_function("foreign_function", foreign.call)
    native = opened
    return native
end

return _M
