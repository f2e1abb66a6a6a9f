--- Runs proxy-wasm plugins. The six functions, their results and their error texts are those of wasm-nginx-module.

local base = require("resty.core.base")
base.allows_subsystem("http")

local native_module = require("resty.wasm.native_module")
local bodies = require("resty.wasm.bodies")
local callouts = require("resty.wasm.callouts")
local foreign = require("resty.wasm.foreign")
local local_reply = require("resty.wasm.local_reply")
local options = require("resty.wasm.options")
local pending = require("resty.wasm.pending")
local plugin_file = require("resty.wasm.plugin_file")
require("resty.wasm.timers")

local error = error
local getmetatable = getmetatable
local process_type = require("ngx.process").type
local rawget = rawget
local setmetatable = setmetatable
local tostring = tostring
local type = type

local _M = {}

-- Handles are tables, so that a configuration that holds one can be serialised. What they stand for is in their metatables
-- under these keys, which nobody else has.
local PLUGIN = {}
local CONTEXT = {}
local UNCOMPILED = {}

local REQUEST_HEADERS = 0
local REQUEST_BODY = 1
local RESPONSE_HEADERS = 2
local RESPONSE_BODY = 3

-- What on_event returns, besides the status of a local reply.
local CONTINUE = 0
local BODY = 1
local REPLY_BODY = 2
local CLOSE = 3
local WAIT = 4
local CUT_OFF = 5
local FAILED = -1
local NO_REQUEST = -2

local on_event   -- set by load: without a plugin there is no handle to call it with

local function held(handle, key)
    if type(handle) ~= "table" then
        return nil
    end
    local metatable = getmetatable(handle)
    return type(metatable) == "table" and rawget(metatable, key) or nil
end

local function is_u32(value)
    return type(value) == "number" and value >= 0 and value <= 4294967295 and value % 1 == 0
end

local function failed(result, callback)
    if result == NO_REQUEST then
        return nil, "bad request"
    end
    return nil, "failed to run " .. callback
end

-- Runs a callback. Returns what on_event returned, and an error when it failed.
local function run(plugin_ctx, event, callback, body, end_of_stream)
    local context = held(plugin_ctx, CONTEXT)
    if not context then
        return nil, "bad plugin ctx"
    end
    local result, is_pending = on_event(context, event, body, end_of_stream)
    if is_pending then
        pending.run()
    end
    if result == WAIT then
        result = callouts.wait(context)
        if result == FAILED then
            return failed(result, "proxy_on_http_call_response")
        end
    end
    if result < 0 then
        return failed(result, callback)
    end
    return result
end

-- A file that can't be read is no reason to open the library.
local function compile(name, path, opts)
    local ok, err = plugin_file.is_readable(path)
    if not ok then
        return nil, err
    end
    local native
    native, err = native_module.open()
    if not native then
        return nil, err
    end
    on_event = native.on_event
    local plugin
    plugin, err = native.load(name, path, opts)
    if not plugin then
        return nil, err or "failed to load wasm plugin"
    end
    return plugin
end

-- APISIX loads every plugin in the privileged agent as well, which serves no request.
local function is_privileged_agent()
    return process_type() == "privileged agent"
end

-- What a plugin's handle stands for: in the privileged agent it is compiled only now.
local function plugin_of(handle)
    local plugin = held(handle, PLUGIN)
    if plugin then
        return plugin
    end
    local later = held(handle, UNCOMPILED)
    if not later then
        return nil, "bad plugin"
    end
    local err
    plugin, err = compile(later.name, later.path, later.opts)
    getmetatable(handle)[PLUGIN] = plugin
    return plugin, err
end

--- Loads a plugin. In the privileged agent the file is only looked at: it is compiled when the plugin is configured.
-- @param name string: what the plugin sees as its root id
-- @param path string: the .wasm file, a regular one; a relative path starts at nginx's working directory
-- @param opts table or nil: see resty.wasm.options; in APISIX, nil stands for what config.yaml has
-- @return the plugin, or nil and an error; the error log says more
function _M.load(name, path, opts)
    if opts == nil then
        opts = options.of_apisix(name)
    end
    local err = options.check(opts)
    if err then
        return nil, err
    end
    if is_privileged_agent() then
        local ok
        ok, err = plugin_file.has_magic(path)
        if not ok then
            return nil, err
        end
        return setmetatable({plugin = name}, {[UNCOMPILED] = {name = name, path = path, opts = opts}})
    end
    local plugin
    plugin, err = compile(name, path, opts)
    if not plugin then
        return nil, err
    end
    return setmetatable({plugin = name}, {[PLUGIN] = plugin})
end

--- Configures a plugin.
-- @param plugin what load returned
-- @param conf string: the configuration, not empty
-- @return a plugin context, or nil and an error; the error log says more
function _M.on_configure(plugin, conf)
    local native_plugin, err = plugin_of(plugin)
    if not native_plugin then
        return nil, err
    end
    if type(conf) ~= "string" or conf == "" then
        return nil, "bad conf"
    end
    local context, index, id = native_module.open().on_configure(native_plugin, conf)
    pending.run()
    if not context then
        return nil, "failed to run proxy_on_configure"
    end
    return setmetatable({plugin = plugin.plugin, ctx = id}, {[CONTEXT] = index, anchor = context})
end

--- How the plugins of this worker fare.
-- @return a list of tables, one for each loaded plugin: `name`; `state`, "running", "trapped" (the next call builds it anew) or
-- "resting" (it keeps failing); `calls`, `rebuilds`; `traps` by kind; `memory` in bytes; `plugin_contexts`, `stream_contexts`,
-- `callouts` that live. Or nil and an error.
function _M.status()
    local native, err = native_module.open()
    if not native then
        return nil, err
    end
    return native.status()
end

--- Lets plugins call a Lua function by its name: see resty.wasm.foreign.
_M.register_foreign_function = foreign.register

--- Runs proxy_on_foreign_function, in the plugin context: the plugin may act on no request there.
-- @param plugin_ctx what on_configure returned
-- @param function_id number: which function; the caller and the plugin agree on what it means
-- @param arguments string or nil: what the plugin finds in its buffer FOREIGN_FUNCTION_ARGUMENTS during the call
-- @return true, or nil and an error; the error log says more
function _M.on_foreign_function(plugin_ctx, function_id, arguments)
    local context = held(plugin_ctx, CONTEXT)
    if not context then
        return nil, "bad plugin ctx"
    end
    if not is_u32(function_id) then
        error("bad function id: an integer from 0 to 4294967295 expected, got " .. tostring(function_id), 2)
    end
    if arguments ~= nil and type(arguments) ~= "string" then
        error("bad arguments: a string or nil expected, got " .. type(arguments), 2)
    end
    local succeeded = native_module.open().on_foreign_function(context, function_id, arguments or "")
    pending.run()
    if not succeeded then
        return nil, "failed to run proxy_on_foreign_function"
    end
    return true
end

--- Runs proxy_on_request_headers. Does not return when the plugin answers the request itself.
-- @return true, or nil and an error
function _M.on_http_request_headers(plugin_ctx)
    local result, err = run(plugin_ctx, REQUEST_HEADERS, "proxy_on_http_request_headers")
    if result == CONTINUE then
        return true
    end
    if not result then
        return nil, err
    end
    if result == CLOSE then
        return local_reply.close()
    end
    return local_reply.send(result)
end

--- Runs proxy_on_request_body. Does not return when the plugin answers the request itself. A body that the plugin has changed
-- is the request's when its end has come.
-- @param body string or nil: the body, or a part of it
-- @param end_of_body boolean: no more will come
-- @return true, or nil and an error
function _M.on_http_request_body(plugin_ctx, body, end_of_body)
    if body ~= nil and type(body) ~= "string" then
        error("bad body: a string or nil expected, got " .. type(body), 2)
    end
    local result, err = run(plugin_ctx, REQUEST_BODY, "proxy_on_http_request_body", body, end_of_body)
    if not result then
        return nil, err
    end
    if result <= BODY then
        return bodies.pass_request(plugin_ctx, body or "", end_of_body, result == BODY)
    end
    if result == CLOSE then
        return local_reply.close()
    end
    return local_reply.send(result)
end

--- Runs proxy_on_response_headers. When the plugin answers itself, its answer is the response; its body takes the place of the
-- response's in on_http_response_body.
-- @return true, or nil and an error
function _M.on_http_response_headers(plugin_ctx)
    local result, err = run(plugin_ctx, RESPONSE_HEADERS, "proxy_on_http_response_headers")
    if not result then
        return nil, err
    end
    if result == CLOSE then
        return local_reply.close()
    end
    return true
end

--- Runs proxy_on_response_body with the chunk of body_filter_by_lua*, which becomes what the plugin leaves of it.
-- @return true, or nil and an error
function _M.on_http_response_body(plugin_ctx)
    local result, err = run(plugin_ctx, RESPONSE_BODY, "proxy_on_http_response_body", ngx.arg[1], ngx.arg[2])
    if not result then
        return nil, err
    end
    if result == CLOSE then
        return local_reply.close()
    end
    if result == CUT_OFF then
        error(native_module.open().take_body(), 0)   -- what makes nginx give up a response that has begun
    end
    if result == BODY or result == REPLY_BODY then
        bodies.pass_response()
    end
    return true
end

return _M
