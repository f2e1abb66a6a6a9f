-- Runs as init_by_lua_file of an nginx that install.sh starts for it, says what a worker would find there, and ends that nginx. A line of
-- its output is a word and what it is about.

local ffi = require("ffi")

local function say(word, about)
    io.stdout:write(word, " ", tostring(about):match("[^\n]*"), "\n")
end

local function dotted(number)
    return string.format("%d.%d.%d", number / 1000000, number / 1000 % 1000, number % 1000)
end

local function read(path)
    local file, err = io.open(path, "rb")
    if not file then
        return nil, err
    end
    local text
    text, err = file:read("*a")
    file:close()
    return text, err
end

-- Goes on as the worker's user.
local function become(uid, gid)
    ffi.cdef("int setgroups(size_t, const unsigned *); int setgid(unsigned); int setuid(unsigned);")
    local C = ffi.C
    if C.setgroups(0, nil) ~= 0 or C.setgid(gid) ~= 0 or C.setuid(uid) ~= 0 then
        error("can't become the user " .. uid .. ": errno " .. ffi.errno())
    end
end

local function say_versions()
    say("nginx", dotted(ngx.config.nginx_version))
    say("ngx_lua", dotted(ngx.config.ngx_lua_version))
    say("luajit", jit.version)
end

local function say_modules()
    for _, name in ipairs({"resty.proxy-wasm", "resty.wasm"}) do
        say(name, package.searchpath(name, package.path) or "nothing")
    end
end

local function say_native()
    local loaded, native_module = pcall(require, "resty.wasm.native_module")
    if not loaded then
        return say("failed", native_module)
    end
    local path, err = native_module.find()
    if path then
        say("native", path)
        path, err = native_module.open()
    end
    if not path then
        say("failed", err)
    end
end

local function say_unreadable(files)
    for path in files:gmatch("[^\n]+") do
        local text, err = read(path)
        if not text then
            say("unreadable", err)
        end
    end
end

-- Whether the balancer is one that apisix_hook.lua is for, and whether the hook that is configured is that, or requires it.
local function say_hook(configured)
    local has_balancer, balancer = pcall(require, "ngx.balancer")
    if not (has_balancer and balancer.enable_keepalive) or package.searchpath("resty.apisix.patch", package.path) then
        return
    end
    local path = package.searchpath(configured, package.path)
    local text = path and read(path) or ""
    local runs = configured == "resty.wasm.apisix_hook" or text:find("resty.wasm.apisix_hook", 1, true)
    say("hook", runs and "there" or "missing")
end

local function probe()
    local env = os.getenv
    say_versions()
    if env("PROBE_UID") then
        become(tonumber(env("PROBE_UID")), tonumber(env("PROBE_GID")))
    end
    say_modules()
    say_hook(env("PROBE_HOOK") or "")
    say_unreadable(env("PROBE_FILES") or "")
    say_native()
end

local ok, err = pcall(probe)
if not ok then
    say("failed", err)
end
io.stdout:flush()
os.exit(0)
