--- What a plugin can be loaded with, besides its name and its file.

local _M = {}

local function is_text(value)
    return type(value) == "string"
end

local function is_boolean(value)
    return type(value) == "boolean"
end

local function is_limit(value)
    return type(value) == "number" and value >= 1 and value <= 2147483647 and value % 1 == 0
end

local function is_list_of_texts(value)
    if type(value) ~= "table" then
        return false
    end
    for key, text in pairs(value) do
        if type(key) ~= "number" or type(text) ~= "string" then
            return false
        end
    end
    return true
end

local function in_words(value)
    return type(value) == "table" and "a table" or tostring(value)
end

-- By name: what a value has to be, in words, and whether it is.
local KNOWN = {
    vm_id = {"a string", is_text},
    vm_configuration = {"a string", is_text},
    request_body = {"a boolean", is_boolean},
    response_body = {"a boolean", is_boolean},
    escape_invalid_utf8 = {"a boolean", is_boolean},
    callout_http2 = {"a list of strings", is_list_of_texts},
    callout_response_size = {"a number of bytes, at least 1", is_limit},
    callout_upstreams = {"a list of strings", is_list_of_texts},
    body_limit = {"a number of bytes, at least 1", is_limit},
    capabilities = {"a list of strings", is_list_of_texts},
    denied_capabilities = {"a list of strings", is_list_of_texts},
    log_rate = {"an integer, at least 1", is_limit},
    background_cpu = {"a number of milliseconds, from 1 to 1000", function(value)
        return type(value) == "number" and value >= 1 and value <= 1000 and value % 1 == 0
    end},
    callback_timeout = {"a number of milliseconds, at least 1", is_limit},
    env = {"a list of strings", is_list_of_texts},
    fail = {'"closed" or "open"', function(value)
        return value == "closed" or value == "open"
    end},
    memory_limit = {"a number of bytes, at least 65536", function(value)
        return type(value) == "number" and value >= 65536 and value <= 4294967296 and value % 1 == 0
    end},
    table_limit = {"an integer, at least 1", is_limit},
    header_limit = {"a number of bytes, at least 1", is_limit},
    pool_limit = {"a number of bytes, at least 1", is_limit},
    callouts_in_flight = {"an integer, at least 1", is_limit},
    callouts_per_request = {"an integer, at least 1", is_limit},
    callout_bytes_in_flight = {"a number of bytes, at least 1", is_limit},
    wait_only_when_paused = {"a boolean", is_boolean},
    shared_data_limit = {"a number of bytes, at least 1", is_limit},
    shared_queue_limit = {"a number of bytes, at least 1", is_limit},
    metric_limit = {"a number of bytes, at least 1", is_limit},
    shared_data_ttl = {"a number of seconds, more than 0 and at most 10 years", function(value)
        return type(value) == "number" and value > 0 and value <= 315360000
    end},
}

-- How many letters have to be put in, taken out or changed to make one word the other.
local function distance(one, other)
    local row = {}
    for column = 0, #other do
        row[column] = column
    end
    for line = 1, #one do
        local diagonal = row[0]
        row[0] = line
        for column = 1, #other do
            local cost = one:byte(line) == other:byte(column) and 0 or 1
            diagonal, row[column] = row[column], math.min(row[column] + 1, row[column - 1] + 1, diagonal + cost)
        end
    end
    return row[#other]
end

-- The option that was meant, most likely, for an error's text; "" when none is near.
local function nearest(name)
    local found, least = nil, math.max(2, #name / 2)
    for known in pairs(KNOWN) do
        local far = distance(name, known)
        if far < least or far == least and not (found and found < known) then
            found, least = known, far
        end
    end
    return found and ", did you mean " .. found .. "?" or ""
end

--- Checks options.
--
-- `vm_id` string: plugins with the same id share their data and find each other's queues; default the plugin's name.
-- `vm_configuration` string: what proxy_on_vm_start is given; default none.
-- `request_body`, `response_body` boolean: in APISIX, the plugin's body callbacks are called without its asking for them by
-- setting wasm_process_req_body and wasm_process_resp_body; default false.
-- `escape_invalid_utf8` boolean: bytes of header values that are no UTF-8 reach the plugin as %XX; default false.
-- `shared_data_ttl` number: after how many seconds shared data is forgotten; default never.
-- `shared_data_limit` number: how many bytes of the dict keys and values may take that plugins with this `vm_id` share; default a
-- quarter of it. More are not set.
-- `shared_queue_limit` number: how many bytes of the dict the queues of this `vm_id` may take, with their messages; default an
-- eighth of it. More are not put into them.
-- `metric_limit` number: how many bytes of the dict the metrics may take that plugins with this `vm_id` define; default a
-- sixteenth of it. More are not defined.
-- `callback_timeout` number: how many milliseconds a callback may run; default 5000.
-- `background_cpu` number: how many milliseconds of each second it may run, in each worker, where no request waits for it: ticks,
-- messages of queues, answers of callouts. When they are used up these wait; default 500.
-- `memory_limit` number: how many bytes of memory the plugin may have in a worker; default 256 MiB.
-- `table_limit` number: how many elements its tables may have in all; default 1048576.
-- `header_limit` number: how many bytes of headers and properties a callback may set, where each counts 32 bytes more than its name
-- and its value; default 4 MiB.
-- `pool_limit` number: how many bytes nginx may keep until a request ends for what the plugin reads and sets in it: variables, headers
-- and properties, counted likewise; default 64 MiB.
-- `body_limit` number: how many bytes of a response body the plugin may hold back by Pause; more go on. Also how long it may make
-- a body, or a local reply; with more it traps. Default 64 MiB.
-- `log_rate` number: how many messages it may log in a second, in each worker; default 10000. A long one counts as several. The log
-- says how many it lacks.
-- `capabilities` list of strings: the hostcalls that it may make (`proxy_http_call` …); default all.
-- `denied_capabilities` list of strings: hostcalls that it may not make; default none. The answer to those is as if there were
-- nothing, or a status that SDKs expect.
-- `fail` "closed" or "open": what a request comes to when the plugin fails: the error is the caller's, with which APISIX answers
-- 503; or the request goes on as if the plugin were not there. Default "closed".
-- `env` list of strings: the environment variables that the plugin sees; default none.
-- `callout_upstreams` list of strings: whom the plugin may ask: upstreams as it names them (`auth.example.com:8080`), hosts
-- (`auth.example.com`), or all hosts of a domain (`*.example.com`); default everyone but unix sockets, link-local addresses and
-- metadata services.
-- `callout_http2` list of strings, of the same kind: who is asked in HTTP/2, also by HTTP calls; default nobody.
-- `callout_response_size` number: how many bytes the body of an answer, or one gRPC message, may have; default 64 MiB.
-- `callouts_in_flight` number: how many callouts the plugin may have at once, in each worker; default a quarter of
-- `worker_connections`. All plugins together have half of them at most.
-- `callouts_per_request` number: how many of these may have been made for one request; default 64.
-- `callout_bytes_in_flight` number: how many bytes of headers, bodies and messages they may have that are not sent, together;
-- default 256 MiB. A callout that wants more is not made.
-- `wait_only_when_paused` boolean: a request goes on at once when the plugin did not pause it, and its HTTP calls go on by
-- themselves, as in Envoy; default false: it waits for them, as with wasm-nginx-module.
-- @return nil, or what is wrong with them
function _M.check(opts)
    if opts == nil then
        return nil
    end
    if type(opts) ~= "table" then
        return "bad options: a table expected, got " .. type(opts)
    end
    for name, value in pairs(opts) do
        local known = KNOWN[name]
        if not known then
            return "bad options: there is no option " .. tostring(name) .. nearest(tostring(name))
        end
        if not known[2](value) then
            return "bad options: " .. name .. " must be " .. known[1] .. ", got " .. in_words(value)
        end
    end
    return nil
end

-- What an entry under wasm.plugins of APISIX's configuration has for APISIX itself.
local OF_APISIX = {name = true, file = true, priority = true, http_request_phase = true}

-- The entry of a plugin under wasm.plugins; nil when there is none.
local function entry_of(conf, name)
    local plugins = type(conf.wasm) == "table" and conf.wasm.plugins
    for _, entry in ipairs(type(plugins) == "table" and plugins or {}) do
        if entry.name == name then
            return entry
        end
    end
    return nil
end

--- The options of a plugin in APISIX: those under plugin_attr, and in their place what its entry under wasm.plugins has besides
-- APISIX's own keys.
-- @return a table, or nil where there is no APISIX or no options
function _M.of_apisix(name)
    local config = package.loaded["apisix.core.config_local"]
    local conf = type(config) == "table" and config.local_conf and config.local_conf()
    if type(conf) ~= "table" then
        return nil
    end
    local attributes = type(conf.plugin_attr) == "table" and conf.plugin_attr[name]
    local opts = {}
    for key, value in pairs(type(attributes) == "table" and attributes or {}) do
        opts[key] = value
    end
    for key, value in pairs(entry_of(conf, name) or {}) do
        if not OF_APISIX[key] then
            opts[key] = value
        end
    end
    return next(opts) and opts
end

return _M
