# What load and on_configure return, what the functions make of anything else, and where they can be called.

use t::WASM 'no_plan';

# `require("handles")` has wasm, a plugin, and ctx(CONF); `require("is_mapped")()` tells whether the library is in memory.
my $handles = <<'_EOC_';
        package.preload.handles = function()
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            local function ctx(conf) return assert(wasm.on_configure(plugin, conf or "request_headers: args")) end
            return {wasm = wasm, plugin = plugin, ctx = ctx}
        end
        package.preload.is_mapped = function()
            return function()
                return io.open("/proc/self/maps"):read("*a"):find("resty/wasm/native.so", 1, true) ~= nil
            end
        end
        package.preload.wrong_values = function()
            local odd_metatables = {
                {}, {__metatable = false}, {__metatable = 1}, {__metatable = "locked"}, {__metatable = {}},
                {__metatable = function() end}, {__index = function() return 1 end}, {__index = {plugin = "plugin", ctx = 1}},
                {__call = function() end, __tostring = function() return "plugin" end},
            }
            local values = {nil_ = nil, one = 1, fraction = 0.5, text = "plugin", empty = "", yes = true, no = false, table = {},
                            lookalike = {plugin = "plugin", ctx = 1}, cdata = require("ffi").new("int[1]"),
                            number = 1LL, func = print, userdata = io.stdout, null = ngx.null, thread = coroutine.create(function() end)}
            for i, metatable in ipairs(odd_metatables) do values["odd" .. i] = setmetatable({}, metatable) end
            return values
        end
_EOC_

# `--- init` is more code of init_by_lua.
add_block_preprocessor(sub {
    my ($block) = @_;
    my $init = delete $block->{init};
    $block->set_value(http_config => "init_by_lua_block {\n$handles" . ($init ? $init->[0] : '') . "}\n" . ($block->http_config // ''));
});

run_tests();

__DATA__

=== TEST 1: handles are tables that serialise and say what they are
--- config
    location = /t {
        content_by_lua_block {
            local handles, cjson = require("handles"), require("cjson")
            ngx.say(type(handles.plugin), " ", cjson.encode(handles.plugin))
            local first, second = handles.ctx(), handles.ctx()
            ngx.say(type(first))
            for _, ctx in ipairs({first, second}) do
                local decoded = cjson.decode(cjson.encode({route = {ctx = ctx}})).route.ctx
                ngx.say(decoded.plugin, " ", decoded.ctx)
                for key in pairs(decoded) do assert(key == "plugin" or key == "ctx") end
            end
        }
    }
--- response_body
table {"plugin":"plugin"}
table
plugin 1
plugin 2



=== TEST 2: a deep copy that keeps metatables is a handle, also when the original is gone
--- config
    location = /t {
        content_by_lua_block {
            local function deepcopy(value)
                if type(value) ~= "table" then return value end
                local copy = {}
                for key, member in pairs(value) do copy[deepcopy(key)] = deepcopy(member) end
                return setmetatable(copy, getmetatable(value))
            end
            local handles = require("handles")
            local wasm = handles.wasm
            local conf = {plugin = handles.plugin, ctx = handles.ctx()}
            local copy = deepcopy(conf)
            assert(copy.ctx ~= conf.ctx)
            handles.plugin, package.loaded.handles, package.preload.handles, handles, conf = nil, nil, nil, nil, nil
            collectgarbage()
            collectgarbage()
            ngx.say(wasm.on_http_request_headers(copy.ctx))
            ngx.say(wasm.on_configure(copy.plugin, "request_headers: args").ctx)
            copy.ctx.ctx, copy.ctx.plugin = 99, "another name"
            ngx.say(wasm.on_http_request_headers(copy.ctx))
        }
    }
--- response_body
true
3
true
--- no_error_log
free plugin context 1
[error]



=== TEST 3: a copy without the metatable is no handle
--- config
    location = /t {
        content_by_lua_block {
            local handles = require("handles")
            local ctx = handles.ctx()
            ngx.say(handles.wasm.on_http_request_headers({plugin = ctx.plugin, ctx = ctx.ctx}))
            ngx.say(handles.wasm.on_configure({plugin = ctx.plugin}, "conf"))
        }
    }
--- response_body
nilbad plugin ctx
nilbad plugin



=== TEST 4: what is no plugin context
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("handles").wasm
            local wrong = require("wrong_values")
            wrong.plugin = require("handles").plugin
            for _, name in ipairs({"request_headers", "request_body", "response_headers"}) do
                local callback = wasm["on_http_" .. name]
                local ok, err = callback()
                assert(ok == nil and err == "bad plugin ctx")
                for what, value in pairs(wrong) do
                    local ok, err = callback(value)
                    assert(ok == nil and err == "bad plugin ctx", what .. ": " .. tostring(ok) .. " " .. tostring(err))
                end
            end
            ngx.print("none")
        }
        body_filter_by_lua_block {
            local wasm = require("handles").wasm
            for what, value in pairs(require("wrong_values")) do
                local ok, err = wasm.on_http_response_body(value)
                assert(ok == nil and err == "bad plugin ctx", what .. ": " .. tostring(ok) .. " " .. tostring(err))
            end
            assert(select(2, wasm.on_http_response_body()) == "bad plugin ctx")
        }
    }
--- response_body chomp
none



=== TEST 5: what is no plugin
--- config
    location = /t {
        content_by_lua_block {
            local handles = require("handles")
            local wrong = require("wrong_values")
            wrong.ctx = handles.ctx()
            local ctx, err = handles.wasm.on_configure()
            assert(ctx == nil and err == "bad plugin")
            for what, value in pairs(wrong) do
                local ctx, err = handles.wasm.on_configure(value, "conf")
                assert(ctx == nil and err == "bad plugin", what .. ": " .. tostring(ctx) .. " " .. tostring(err))
            end
            ngx.print("none")
        }
    }
--- response_body chomp
none



=== TEST 6: a metatable that answers or complains about every name makes no handle
--- config
    location = /t {
        content_by_lua_block {
            local handles = require("handles")
            local wasm, ctx = handles.wasm, handles.ctx()
            for _, index in ipairs({function() error("no such field") end, function() return 0 end, function() return 1 end,
                                    function() return {} end, function() return true end, function() return ctx end}) do
                local class = setmetatable({}, {__index = index})
                local ran, ok, err = pcall(wasm.on_http_request_headers, setmetatable({}, class))
                ngx.say(ran, " ", tostring(ok), " ", tostring(err))
                ran, ok, err = pcall(wasm.on_configure, setmetatable({}, class), "conf")
                ngx.say(ran, " ", tostring(ok), " ", tostring(err))
            end
        }
    }
--- response_body eval
"true nil bad plugin ctx\ntrue nil bad plugin\n" x 6



=== TEST 7: what is no configuration
--- config
    location = /t {
        content_by_lua_block {
            local handles = require("handles")
            local wrong = require("wrong_values")
            wrong.text = nil
            wrong.plugin = handles.plugin
            local ctx, err = handles.wasm.on_configure(handles.plugin)
            assert(ctx == nil and err == "bad conf")
            for what, value in pairs(wrong) do
                local ctx, err = handles.wasm.on_configure(handles.plugin, value)
                assert(ctx == nil and err == "bad conf", what .. ": " .. tostring(ctx) .. " " .. tostring(err))
            end
            ngx.print("none")
        }
    }
--- response_body chomp
none
--- no_error_log
[error]
create plugin context



=== TEST 8: a body that is no string is an error that says so
--- config
    location = /t {
        content_by_lua_block {
            local handles = require("handles")
            local ctx = handles.ctx("request_body: args")
            for _, body in ipairs({1, true, {}, print}) do
                ngx.say(select(2, pcall(handles.wasm.on_http_request_body, ctx, body, true)):match("bad body.*"))
            end
            ngx.say(pcall(handles.wasm.on_http_request_body, ctx, false))
            ngx.say(handles.wasm.on_http_request_body(ctx, nil, true))
            ngx.say(handles.wasm.on_http_request_body(ctx, "", false))
            ngx.say(handles.wasm.on_http_request_body(ctx, "a\0b"))
            ngx.say(handles.wasm.on_http_request_body(ctx, "four", "any value is true"))
        }
    }
--- response_body_like eval
qr/\Abad body: a string or nil expected, got number
bad body: a string or nil expected, got boolean
bad body: a string or nil expected, got table
bad body: a string or nil expected, got function
false[^\n]*bad body: a string or nil expected, got boolean
true
true
true
true
\z/
--- grep_error_log eval: qr/args -> OK [\d ]+/
--- grep_error_log_out
args -> OK 2 0 1
args -> OK 2 0 0
args -> OK 2 3 0
args -> OK 2 4 1



=== TEST 9: load with arguments of wrong types gives no plugin and does no harm
--- config
    location = /t {
        content_by_lua_block {
            local handles = require("handles")
            for what, value in pairs(require("wrong_values")) do
                local ran, plugin = pcall(handles.wasm.load, "plugin", value)
                assert(not ran or plugin == nil, what)
                if type(value) ~= "string" and type(value) ~= "number" then
                    ran, plugin = pcall(handles.wasm.load, value, "target/guests/script.wasm")
                    assert(not ran or plugin == nil, what)
                end
            end
            assert(not pcall(handles.wasm.load))
            ngx.print(handles.wasm.on_http_request_headers(handles.ctx()))
        }
    }
--- response_body chomp
true



=== TEST 10: in init_by_lua there is no request
--- init
        local handles = require("handles")
        local ctx = handles.ctx("request_headers: args")
        package.loaded.ctx = ctx
        package.loaded.results = {}
        for _, callback in ipairs({"request_headers", "request_body", "response_headers"}) do
            table.insert(package.loaded.results, {callback, handles.wasm["on_http_" .. callback](ctx)})
        end
--- config
    location = /t {
        content_by_lua_block {
            for _, result in ipairs(package.loaded.results) do
                ngx.say(result[1], ": ", result[2], " ", result[3])
            end
            ngx.say(require("handles").wasm.on_http_request_headers(package.loaded.ctx))
        }
    }
--- response_body
request_headers: nil bad request
request_body: nil bad request
response_headers: nil bad request
true



=== TEST 11: in timers and in init_worker_by_lua what needs a client's request is refused, and logged
--- http_config
    lua_shared_dict shared 1m;
    init_worker_by_lua_block {
        local handles = require("handles")
        local function run()
            local ctx = handles.ctx([[
                request_headers: get_header request host
                request_headers: get_headers request
                request_headers: headers_size request
                request_headers: add_header request a b
                request_headers: replace_header request :path /x
                request_headers: replace_header request :method POST
                request_headers: get_header request :path
                request_headers: get_property uri
                request_headers: get_property host
                request_headers: set_property args x
                request_headers: log info a request
                response_headers: get_header response a
                response_headers: get_headers response
                response_headers: add_header response a b
                response_headers: replace_header response :status 500
                response_headers: log info a response
                request_body: get_body request 0 10
                log: get_headers response
                delete: log info the end
            ]])
            assert(handles.wasm.on_http_request_headers(ctx))
            assert(handles.wasm.on_http_request_body(ctx, "a body", true))
            assert(handles.wasm.on_http_response_headers(ctx))
            local reply = handles.ctx("request_headers: send_local_response 403 no a=b")
            local ok, err = handles.wasm.on_http_request_headers(reply)
            assert(not ok and err:find("a local reply can't be sent in phase", 1, true), err)
            ngx.shared.shared:incr("ran", 1, 0)
        end
        run()
        assert(ngx.timer.at(0, run))
    }
--- config
    location = /t {
        content_by_lua_block {
            repeat ngx.sleep(0.001) until ngx.shared.shared:get("ran") == 2
            ngx.print("ran twice")
        }
    }
--- response_body chomp
ran twice
--- error_log eval
["API disabled in the current context", "a request", "a response", "get_body request 0 10 -> OK a body", "the end"]



=== TEST 12: a stream context that init_worker_by_lua opens ends with its callback, and is none of a later request's
--- http_config
    init_worker_by_lua_block {
        local handles = require("handles")
        handles.used = handles.ctx("request_headers: args\nresponse_headers: args\ndelete: args")
        assert(handles.wasm.on_http_request_headers(handles.used))
        assert(handles.wasm.on_http_response_headers(handles.used))
        for _ = 1, 3 do
            assert(ngx.timer.at(0, function() assert(handles.wasm.on_http_request_headers(handles.used)) end))
        end
    }
--- config
    location = /t {
        content_by_lua_block {
            local handles = require("handles")
            repeat ngx.sleep(0.001) until ngx.timer.pending_count() == 1 and ngx.timer.running_count() == 1   -- they wait for callouts
            local log = io.open("$TEST_NGINX_SERVER_ROOT/logs/error.log"):read("*a")
            local function count(pattern) return select(2, log:gsub(pattern, "")) end
            ngx.say(count("create http context 2"), " created, ", count("free http context 2"), " ended, ",
                    count("delete 2: args"), " told of it")
            assert(handles.wasm.on_http_request_headers(handles.used))
        }
    }
--- response_body
5 created, 5 ended, 5 told of it
--- error_log
delete 2: args -> OK 2, client
--- no_error_log
[error]



=== TEST 13: require opens no library, load does
--- init
        local is_mapped = require("is_mapped")
        local before = is_mapped()
        local wasm = require("resty.proxy-wasm")
        local required = is_mapped()
        wasm.load("plugin", "no such file")
        local missing = is_mapped()
        wasm.on_configure({}, "conf")
        wasm.on_http_request_headers({})
        local called = is_mapped()
        assert(wasm.load("plugin", "target/guests/empty.wasm"))
        package.loaded.results = {before, required, missing, called, is_mapped()}
--- config
    location = /t {
        content_by_lua_block {
            for _, result in ipairs(package.loaded.results) do ngx.say(result) end
        }
    }
--- response_body
false
false
false
false
true



=== TEST 14: both names are one module
--- config
    location = /t {
        content_by_lua_block {
            local names = {}
            for name in pairs(require("resty.proxy-wasm")) do table.insert(names, name) end
            table.sort(names)
            ngx.say(require("resty.wasm") == require("resty.proxy-wasm"))
            ngx.say(table.concat(names, "\n"))
        }
    }
--- response_body_like eval
qr/\Atrue
.*load
on_configure
on_foreign_function
on_http_request_body
on_http_request_headers
on_http_response_body
on_http_response_headers
register_foreign_function
/



=== TEST 15: the stream subsystem is refused before the library is opened
--- init
        -- what this nginx does not have
        local allows_subsystem = require("resty.core.base").allows_subsystem
        for i = 1, 10 do
            if debug.getupvalue(allows_subsystem, i) == "subsystem" then
                debug.setupvalue(allows_subsystem, i, "stream")
                package.loaded.results = {select(2, pcall(require, "resty.proxy-wasm")), select(2, pcall(require, "resty.wasm"))}
                debug.setupvalue(allows_subsystem, i, "http")
            end
        end
        table.insert(package.loaded.results, tostring(require("is_mapped")()))
--- config
    location = /t {
        content_by_lua_block {
            for _, result in ipairs(package.loaded.results) do ngx.say(result:match("unsupported.*") or result) end
        }
    }
--- response_body
unsupported subsystem: stream
unsupported subsystem: stream
false



=== TEST 16: without the library load says where it was searched for, and with a broken one why it can't be opened
--- user_files
>>> native.so
this is no library
>>> nothing/here
--- config
    location = /t {
        content_by_lua_block {
            local source = assert(io.open(package.searchpath("resty.wasm.native_module", package.path))):read("*a")
            local path, cpath = "target/guests/script.wasm", package.cpath
            package.cpath = ""
            for _, directory in ipairs({"nothing", "."}) do
                package.loaded["resty.wasm"] = nil
                local file = "$TEST_NGINX_HTML_DIR/" .. directory .. "/native_module.lua"
                package.loaded["resty.wasm.native_module"] = assert(loadstring(source, "@" .. file))()
                local plugin, err = require("resty.wasm").load("plugin", path)
                local _, at = err:find("$TEST_NGINX_HTML_DIR/", 1, true)
                ngx.say(tostring(plugin), " ", err:match("^resty.wasm: %w+ %w+ %w+") or err:match("^resty.wasm: can't open"), " ", err:sub(at + 1):match("^[^']*"))
            end
            package.cpath = cpath
        }
    }
--- response_body
nil resty.wasm: the native library nothing/native.so
nil resty.wasm: can't open ./native.so
