# Loading and configuring plugins: ABI versions, start functions, WASI, odd imports, and everything that can be wrong.

use t::WASM 'no_plan';

# `require("plugins")`: load(GUEST) and ctx(GUEST, CONF), which keeps what it made. `--- guest` and `--- conf` stand for a
# location that runs all callbacks of that plugin. `--- bad_file` is a Lua expression for the path of a file that load refuses.
my $plugins = <<'_EOC_';
    init_by_lua_block {
        package.preload.plugins = function()
            local wasm = require("resty.proxy-wasm")
            local ctxs = {}
            local _M = {}
            function _M.load(guest, name)
                return wasm.load(name or "plugin", "target/guests/" .. guest .. ".wasm")
            end
            function _M.ctx(guest, conf)
                local key = guest .. conf
                ctxs[key] = ctxs[key] or assert(wasm.on_configure(assert(_M.load(guest)), conf))
                return ctxs[key]
            end
            function _M.warn(ok, err)
                if not ok then
                    ngx.log(ngx.WARN, "result: ", tostring(ok), " ", err)
                end
            end
            return _M
        end
    }
_EOC_

add_block_preprocessor(sub {
    my ($block) = @_;
    my ($guest, $conf, $bad_file) = map { delete $block->{$_} } qw(guest conf bad_file);
    $block->set_value(http_config => $plugins . ($block->http_config // ''));
    $block->set_value(config => all_callbacks($guest->[0], $conf ? $conf->[0] : 'nothing')) if $guest;
    $block->set_value(config => refused_file($bad_file->[0])) if $bad_file;
});

sub all_callbacks {
    my ($guest, $conf) = @_;
    chomp($guest, $conf);
    my $ctx = qq{local wasm, plugins = require("resty.proxy-wasm"), require("plugins")
        local ctx = plugins.ctx("$guest", [==[$conf]==])};
    return <<"_EOC_";
    location /t {
        access_by_lua_block {
            $ctx
            plugins.warn(wasm.on_http_request_headers(ctx))
            plugins.warn(wasm.on_http_request_body(ctx, "four", true))
        }
        content_by_lua_block { ngx.print("ok") }
        header_filter_by_lua_block {
            $ctx
            plugins.warn(wasm.on_http_response_headers(ctx))
        }
        body_filter_by_lua_block {
            $ctx
            plugins.warn(wasm.on_http_response_body(ctx))
        }
    }
_EOC_
}

# Another plugin was loaded before, and runs afterwards.
sub refused_file {
    my ($path) = @_;
    return <<"_EOC_";
    location = /t {
        content_by_lua_block {
            local wasm, plugins = require("resty.proxy-wasm"), require("plugins")
            local ctx = plugins.ctx("script", "request_headers: log info the other one runs")
            for _ = 1, 2 do
                ngx.say(wasm.load("bad", $path))
            end
            ngx.say(wasm.on_http_request_headers(ctx))
            local late = plugins.ctx("script", "request_headers: log info a later one runs")
            ngx.say(wasm.on_http_request_headers(late))
        }
    }
_EOC_
}

run_tests();

__DATA__

=== TEST 1: ABI 0.1.0 from its start to its end
--- guest: abi-0-1-0
--- conf: the configuration
--- response_body chomp
ok
--- grep_error_log eval: qr/(?<= )(?:_start|on_\w+)(?=,|$)/
--- grep_error_log_out
_start
on_context_create
on_vm_start
on_configure
on_context_create
on_request_headers
on_request_body
on_response_headers
on_response_body
on_response_body
on_done
on_log
on_delete



=== TEST 2: ABI 0.2.0 runs _initialize, then main without arguments, and uses malloc
--- guest: abi-0-2-0
--- conf: the configuration
--- response_body chomp
ok
--- grep_error_log eval: qr/(?<= )(?:_initialize|main[\w ]*|on_\w+|the configuration)(?=,|$)/
--- grep_error_log_out
_initialize
main
the configuration
on_request_headers
on_response_headers



=== TEST 3: ABI 0.2.1 from its start to its end, with the callbacks' arguments
--- guest: script
--- conf
configure: args
stream_create: args
request_headers: args
request_body: args
response_headers: args
response_body: args
done: args
log: args
delete: args
plugin_done: args
plugin_delete: args
--- response_body chomp
ok
--- grep_error_log eval: qr/\w+ \d+: args -> [^,\n]+/
--- grep_error_log_out eval
qr/\Aconfigure 1: args -> OK 1 191
stream_create 2: args -> OK 2 1
request_headers 2: args -> OK 2 6 1
request_body 2: args -> OK 2 4 1
response_headers 2: args -> OK 2 \d+ 1
response_body 2: args -> OK 2 2 0
response_body 2: args -> OK 2 0 1
done 2: args -> OK 2
log 2: args -> OK 2
delete 2: args -> OK 2
\z/
--- shutdown_error_log
plugin_done 1: args -> OK 1
plugin_delete 1: args -> OK 1
unloaded wasm plugin



=== TEST 4: a module without an ABI version is loaded as one of 0.2.1, with one warning
--- guest: no-abi
--- response_body chomp
ok
--- no_error_log
[error]
--- grep_error_log eval: qr/\[warn\].*|(?<!un)loaded wasm plugin/
--- grep_error_log_out eval
qr/\A\[warn\].* plugin "plugin": it exports no proxy_abi_version_\*: it is run as one of ABI 0\.2\.1
loaded wasm plugin
\z/



=== TEST 5: proc_exit(0) in _start is no failure
--- guest: start-exits-0
--- response_body chomp
ok
--- error_log
on_request_headers, client
--- no_error_log
[error]



=== TEST 6: proxy_on_memory_allocate goes before malloc
--- guest: both-allocators
--- conf: in memory of the right one
--- response_body chomp
ok
--- error_log
in memory of the right one
--- no_error_log
[error]



=== TEST 7: WASI gives a clock and random numbers, and no environment and no arguments
--- main_config
    env WASI_TEST=secret;
--- guest: script
--- conf
configure: clock
configure: random 8
configure: random 8
configure: environ
configure: args_count
--- response_body chomp
ok
--- grep_error_log eval: qr/configure 1: [^,\n]+/
--- grep_error_log_out eval
qr/\Aconfigure 1: clock -> OK 1\d{18}
configure 1: random 8 -> OK ([0-9a-f]{16})
configure 1: random 8 -> OK (?!\1)[0-9a-f]{16}
configure 1: environ -> OK 0
configure 1: args_count -> OK 0
\z/



=== TEST 8: WASI's clock is the real time
--- config
    location = /t {
        content_by_lua_block {
            local ctx = require("plugins").ctx("script", "request_headers: clock\nrequest_headers: get_time")
            require("resty.proxy-wasm").on_http_request_headers(ctx)
            local log = io.open("$TEST_NGINX_SERVER_ROOT/logs/error.log"):read("*a")
            for command in string.gmatch("clock get_time", "%S+") do
                local seconds = tonumber(log:match(": " .. command .. " %-> OK (%d+)%d%d%d%d%d%d%d%d%d"))
                ngx.say(command, ": ", math.abs(seconds - os.time()) <= 5)
            end
        }
    }
--- response_body
clock: true
get_time: true



=== TEST 9: stdout is logged at level info, stderr at level error
--- guest: script
--- conf
configure: stdout to stdout\n
configure: stderr to stderr\n
--- response_body chomp
ok
--- error_log eval
[qr/\[info\].* to stdout/, qr/\[error\].* to stderr/]



=== TEST 10: wasi_unstable has the same functions
--- guest: wasi-unstable
--- response_body chomp
ok
--- error_log eval
[qr/\[info\].*hello, old world!/, 'result: nil failed to run proxy_on_http_request_headers',
 qr/\[error\].*failed to call function: .*proxy_on_request_headers|\[error\].*failed to call function/]



=== TEST 11: unknown imports, and known ones of another type, are named and answer UNIMPLEMENTED
--- guest: unknown-import
--- response_body chomp
ok
--- grep_error_log eval: qr/(?:import env\.\w+ (?:is unknown|has the type)|proxy_never_heard_of -> \d+)/
--- grep_error_log_out eval
qr/\Aimport env.proxy_never_heard_of is unknown
import env.some_f64 is unknown
import env.proxy_grpc_call has the type
proxy_never_heard_of -> 12
\z/
--- error_log eval
[qr/\[warn\].*plugin "plugin": import env\.proxy_never_heard_of is unknown/,
 qr/\[warn\].*plugin "plugin": import env\.some_f64 is unknown.*zero/,
 qr/\[warn\].*plugin "plugin": import env\.proxy_grpc_call has the type/]
--- no_error_log
[error]



=== TEST 12: a missing file
--- bad_file: "t/no/such.wasm"
--- response_body
nilt/no/such.wasm: No such file or directory
nilt/no/such.wasm: No such file or directory
true
true



=== TEST 13: a directory
--- bad_file: "t/guests"
--- response_body_like: \A(nil[^\n]*Is a directory\n){2}true\ntrue\n\z



=== TEST 14: an empty file
--- bad_file: "$TEST_NGINX_HTML_DIR/" .. (io.open("$TEST_NGINX_HTML_DIR/empty.wasm", "w"):close() and "empty.wasm")
--- response_body
nilfailed to load wasm plugin
nilfailed to load wasm plugin
true
true
--- error_log eval
[qr/\[error\].*failed to new module: /, 'the other one runs', 'a later one runs']



=== TEST 15: a text file
--- bad_file: "t/load.t"
--- response_body
nilfailed to load wasm plugin
nilfailed to load wasm plugin
true
true
--- error_log eval
[qr/\[error\].*failed to new module: /, 'the other one runs', 'a later one runs']



=== TEST 16: WebAssembly's text format is no module
--- bad_file: "t/guests/wat/empty.wat"
--- response_body
nilfailed to load wasm plugin
nilfailed to load wasm plugin
true
true
--- error_log eval
[qr/\[error\].*failed to new module: /, 'the other one runs', 'a later one runs']



=== TEST 17: a file that was cut short anywhere
--- config
    location = /t {
        content_by_lua_block {
            local wasm, plugins = require("resty.proxy-wasm"), require("plugins")
            local bytes = io.open("target/guests/empty.wasm", "rb"):read("*a")
            local function load(part)
                local path = "$TEST_NGINX_HTML_DIR/cut.wasm"
                local file = io.open(path, "wb")
                file:write(part)
                file:close()
                local plugin, err = wasm.load("cut", path)
                return not plugin and err or "loaded"
            end
            local results = {}
            -- 8 bytes are a module: an empty one. The code is the last section, and has to be there.
            for size = 1, #bytes - 1 do
                local err = load(bytes:sub(1, size))
                results[err] = (results[err] or 0) + 1
            end
            for err, count in pairs(results) do
                ngx.say(err, ": ", count == #bytes - 1)
            end
            ngx.say(load(bytes))
            ngx.say(wasm.on_http_request_headers(plugins.ctx("script", "request_headers: log info the other one runs")))
        }
    }
--- response_body
failed to load wasm plugin: true
loaded
true
--- error_log eval
[qr/\[error\].*failed to new module: /, qr/the wasm plugin doesn't export memory/]



=== TEST 18: a file of random bytes behind a module's head
--- config
    location = /t {
        content_by_lua_block {
            local path = "$TEST_NGINX_HTML_DIR/random.wasm"
            math.randomseed(4)
            for _ = 1, 50 do
                local bytes = {}
                for i = 1, 64 do bytes[i] = string.char(math.random(0, 255)) end
                local file = io.open(path, "wb")
                file:write("\0asm\1\0\0\0", table.concat(bytes))
                file:close()
                local plugin, err = require("resty.proxy-wasm").load("random", path)
                assert(plugin == nil and err == "failed to load wasm plugin")
            end
            ngx.print("none")
        }
    }
--- response_body chomp
none
--- error_log
failed to new module: 



=== TEST 19: a module without memory
--- bad_file: "target/guests/no-memory.wasm"
--- response_body
nilfailed to load wasm plugin
nilfailed to load wasm plugin
true
true
--- error_log eval
[qr/\[error\].*the wasm plugin doesn't export memory/, 'the other one runs', 'a later one runs']



=== TEST 20: a module that imports its memory
--- bad_file: "target/guests/import-memory.wasm"
--- response_body
nilfailed to load wasm plugin
nilfailed to load wasm plugin
true
true
--- error_log eval
[qr/\[error\].*failed to new instance: .*env.*memory/, 'the other one runs', 'a later one runs']



=== TEST 21: a start section that traps
--- bad_file: "target/guests/start-section-traps.wasm"
--- response_body
nilfailed to load wasm plugin
nilfailed to load wasm plugin
true
true
--- error_log eval
[qr/\[error\].*failed to new instance: /, qr/wasm trap: wasm `unreachable`/, 'the other one runs', 'a later one runs']



=== TEST 22: a _start that traps
--- bad_file: "target/guests/start-traps.wasm"
--- response_body
nilfailed to load wasm plugin
nilfailed to load wasm plugin
true
true
--- error_log eval
[qr/\[error\].*failed to call function: /, 'the other one runs', 'a later one runs']



=== TEST 23: a _start that exits with 1
--- bad_file: "target/guests/start-exits-1.wasm"
--- response_body
nilfailed to load wasm plugin
nilfailed to load wasm plugin
true
true
--- error_log eval
[qr/\[error\].*failed to call function: /, qr/exit(?:ed with)? (?:i32 exit )?status 1/i, 'the other one runs', 'a later one runs']



=== TEST 24: a callback of a wrong type
--- bad_file: "target/guests/bad-callback-type.wasm"
--- response_body
nilfailed to load wasm plugin
nilfailed to load wasm plugin
true
true
--- error_log eval
[qr/\[error\].*exports proxy_on_request_headers with the type .*f32.*, but it must be \(i32, i32, i32\) -> i32/,
 'the other one runs', 'a later one runs']



=== TEST 25: a plugin that refuses to start its VM can be asked again
--- config
    location = /t {
        content_by_lua_block {
            local wasm, plugins = require("resty.proxy-wasm"), require("plugins")
            local plugin = assert(plugins.load("vm-start-false"))
            for n = 1, 2 do
                ngx.say(wasm.on_configure(plugin, "conf " .. n))
            end
            ngx.say(wasm.on_http_request_headers(plugins.ctx("script", "request_headers: log info the other one runs")))
        }
    }
--- response_body
nilfailed to run proxy_on_configure
nilfailed to run proxy_on_configure
true
--- grep_error_log eval: qr/failed to start vm for plugin context \d, rc: \d/
--- grep_error_log_out
failed to start vm for plugin context 1, rc: 0
failed to start vm for plugin context 1, rc: 0
--- no_error_log
[alert]



=== TEST 26: a refused configuration gives its id back
--- config
    location = /t {
        content_by_lua_block {
            local wasm, plugins = require("resty.proxy-wasm"), require("plugins")
            local plugin = assert(plugins.load("script"))
            local function configure(conf)
                local ctx, err = wasm.on_configure(plugin, conf)
                ngx.say(ctx and ctx.ctx or err)
                return ctx
            end
            local first = configure("request_headers: args")
            for n = 1, 2 do
                configure("configure: return 0" .. ("\n"):rep(n))
                configure("not a script " .. n)
            end
            local second = configure("request_headers: args")
            ngx.say(wasm.on_http_request_headers(first), wasm.on_http_request_headers(second))
        }
    }
--- response_body
1
failed to run proxy_on_configure
failed to run proxy_on_configure
failed to run proxy_on_configure
failed to run proxy_on_configure
2
truetrue
--- grep_error_log eval: qr/failed to configure.*, rc: -?\d|request_headers \d: args -> OK [\d ]+/
--- grep_error_log_out
failed to configure plugin context 2, rc: 0
failed to configure plugin context 2, rc: 0
failed to configure plugin context 2, rc: 0
failed to configure plugin context 2, rc: 0
request_headers 3: args -> OK 3 6 1
request_headers 4: args -> OK 4 6 1
--- no_error_log
[alert]



=== TEST 27: a plugin that refuses every configuration
--- config
    location = /t {
        content_by_lua_block {
            local wasm, plugins = require("resty.proxy-wasm"), require("plugins")
            local plugin = assert(plugins.load("configure-false"))
            for n = 1, 3 do
                ngx.say(wasm.on_configure(plugin, "conf " .. n))
            end
            -- APISIX asks again with each request: the plugin is not, for a while.
            ngx.say(wasm.on_configure(plugin, "conf 2"))
            ngx.say(wasm.on_configure(assert(plugins.load("configure-false")), "conf 2"))
        }
    }
--- response_body
nilfailed to run proxy_on_configure
nilfailed to run proxy_on_configure
nilfailed to run proxy_on_configure
nilfailed to run proxy_on_configure
nilfailed to run proxy_on_configure
--- grep_error_log eval: qr/failed to configure plugin context \d, rc: -?\d/
--- grep_error_log_out
failed to configure plugin context 1, rc: 0
failed to configure plugin context 1, rc: 0
failed to configure plugin context 1, rc: 0
failed to configure plugin context 1, rc: 0
--- no_error_log
[alert]



=== TEST 28: a configuration that traps is not tried again at once: the streams of the plugin's other contexts would end each time
--- config
    location = /t {
        content_by_lua_block {
            local wasm, plugins = require("resty.proxy-wasm"), require("plugins")
            local plugin = assert(plugins.load("configure-traps"))
            for _ = 1, 3 do
                ngx.say(wasm.on_configure(plugin, "conf"))
            end
            ngx.say(wasm.on_http_request_headers(plugins.ctx("script", "request_headers: log info the other one runs")))
        }
    }
--- response_body
nilfailed to run proxy_on_configure
nilfailed to run proxy_on_configure
nilfailed to run proxy_on_configure
true
--- grep_error_log eval: qr/failed to (?:configure plugin context \d, rc: -?\d|call function)/
--- grep_error_log_out
failed to call function
failed to configure plugin context 1, rc: -1
--- no_error_log
[alert]



=== TEST 29: a configuration that traps does no harm to those before and after it
--- config
    location = /t {
        content_by_lua_block {
            local wasm, plugins = require("resty.proxy-wasm"), require("plugins")
            local plugin = assert(plugins.load("script"))
            local first = assert(wasm.on_configure(plugin, "request_headers: log info the first runs"))
            ngx.say(wasm.on_configure(plugin, "configure: trap"))
            ngx.say(wasm.on_http_request_headers(first))
            local third = assert(wasm.on_configure(plugin, "request_headers: log info the third runs"))
            ngx.say(first.ctx, " ", third.ctx)
            ngx.say(wasm.on_http_request_headers(third))
        }
    }
--- response_body
nilfailed to run proxy_on_configure
true
1 2
true
--- error_log
failed to configure plugin context 2, rc: -1
the first runs
the third runs



=== TEST 30: each load of a file is a plugin of its own
--- config
    location = /t {
        content_by_lua_block {
            local wasm, plugins = require("resty.proxy-wasm"), require("plugins")
            local one, two = assert(plugins.load("script", "one")), assert(plugins.load("script", "two"))
            local script = "request_headers: get_property plugin_root_id\n"
            local first = assert(wasm.on_configure(one, script))
            local second = assert(wasm.on_configure(two, script .. "request_body: trap"))
            ngx.say(first.ctx, " ", second.ctx)
            ngx.say(wasm.on_http_request_headers(first), wasm.on_http_request_headers(second))
            ngx.say(wasm.on_http_request_body(second))
            ngx.say(wasm.on_http_request_body(first))
        }
    }
--- response_body
1 1
truetrue
nilfailed to run proxy_on_http_request_body
true
--- error_log
get_property plugin_root_id -> OK one
get_property plugin_root_id -> OK two



=== TEST 31: a name of any bytes
--- config
    location = /t {
        content_by_lua_block {
            local wasm, plugins = require("resty.proxy-wasm"), require("plugins")
            for _, name in ipairs({"", "a b\n%s\"'", ("long"):rep(1000), "n\0ul"}) do
                local ctx = assert(wasm.on_configure(plugins.load("script", name),
                                                     "request_headers: get_property plugin_root_id"))
                ngx.say(ctx.plugin == name, wasm.on_http_request_headers(ctx))
            end
        }
    }
--- response_body
truetrue
truetrue
truetrue
truetrue
--- error_log eval
["get_property plugin_root_id -> OK, client", q{get_property plugin_root_id -> OK a b\n%s"'}, "OK longlonglong",
 q{get_property plugin_root_id -> OK n\0ul}]



=== TEST 32: a configuration of one megabyte arrives whole
--- config
    location = /t {
        content_by_lua_block {
            local wasm, plugins = require("resty.proxy-wasm"), require("plugins")
            local conf = "# " .. ("x"):rep(1024 * 1024) .. "\nrequest_headers: log info the last line"
            ngx.say(wasm.on_http_request_headers(assert(wasm.on_configure(plugins.load("script"), conf))))
        }
    }
--- response_body
true
--- error_log
the last line



=== TEST 33: in ABI 0.1.0 proxy_get_configuration gives proxy_on_vm_start the VM's configuration, which is empty
--- guest: abi-0-1-0
--- conf: the configuration
--- response_body chomp
ok
--- grep_error_log eval: qr/(?<= )(?:on_vm_start|on_configure|the configuration)(?=,|$)/
--- grep_error_log_out
on_vm_start
on_configure
the configuration



=== TEST 34: no thread but the clock's is started, whatever of WASI a plugin uses: a worker that is forked later would not have it
--- config
    location /t {
        content_by_lua_block {
            local wasm, plugins = require("resty.proxy-wasm"), require("plugins")
            local ctx = plugins.ctx("script", [[
                request_headers: stdout text\n
                request_headers: clock
                request_headers: random 8
                request_headers: call poll_oneoff 0 0 0 $out
            ]])
            assert(wasm.on_http_request_headers(ctx))
            assert(plugins.load("wasi-unstable"))
            local status = assert(io.open("/proc/self/status")):read("*a")
            ngx.print(status:match("\nThreads:%s*(%d+)"))
        }
    }
--- response_body chomp
2
--- grep_error_log eval: qr/call poll_oneoff[^,]*/
--- grep_error_log_out
call poll_oneoff 0 0 0 $out -> OK



=== TEST 35: WASI has no files, and says so without a thread of its own
--- config
    location /t {
        content_by_lua_block {
            local wasm, plugins = require("resty.proxy-wasm"), require("plugins")
            ngx.say(wasm.on_http_request_headers(plugins.ctx("wasi-files", "nothing")))
            local status = assert(io.open("/proc/self/status")):read("*a")
            ngx.say(status:match("\nThreads:%s*(%d+)"))
        }
    }
--- response_body
true
2
--- no_error_log
[error]



=== TEST 36: what a start function wrote without a line break is logged when it has returned
--- config
    location /t {
        content_by_lua_block {
            local plugin = assert(require("plugins").load("wasi-files"))
            ngx.log(ngx.WARN, "loaded")
            ngx.print("ok")
        }
    }
--- response_body chomp
ok
--- grep_error_log eval: qr/no line end|loaded(?=,)/
--- grep_error_log_out
no line end
loaded



=== TEST 37: a FIFO is not waited for, whether somebody writes to it or not
--- http_config
    init_worker_by_lua_block {
        local path = "$TEST_NGINX_HTML_DIR/fifo"
        os.execute("mkfifo " .. path .. " " .. path .. "-written")
        written = io.open(path .. "-written", "r+")
        written:write("\0asm\1\0\0\0")
        written:flush()
    }
--- config
    location = /t {
        content_by_lua_block {
            local wasm, plugins = require("resty.proxy-wasm"), require("plugins")
            for _, name in ipairs({"fifo", "fifo-written"}) do
                local _, err = wasm.load("bad", "$TEST_NGINX_HTML_DIR/" .. name)
                ngx.say(err:match("[^/]*$"))
            end
            ngx.say("not read: ", #written:read(8))
            ngx.say(wasm.on_http_request_headers(plugins.ctx("script", "request_headers: args")))
        }
    }
--- response_body
fifo: Is a FIFO, not a regular file
fifo-written: Is a FIFO, not a regular file
not read: 8
true



=== TEST 38: devices and sockets are not opened
--- http_config
    server { listen unix:$TEST_NGINX_HTML_DIR/socket; }
--- config
    location = /t {
        content_by_lua_block {
            local wasm, plugins = require("resty.proxy-wasm"), require("plugins")
            os.execute("ln -s /dev/zero $TEST_NGINX_HTML_DIR/link")
            for _, path in ipairs({"/dev/zero", "/dev/null", "/dev/full", "$TEST_NGINX_HTML_DIR/link", "$TEST_NGINX_HTML_DIR/socket"}) do
                local _, err = wasm.load("bad", path)
                ngx.say(err:match("[^/]*$"))
            end
            ngx.say(wasm.on_http_request_headers(plugins.ctx("script", "request_headers: args")))
        }
    }
--- response_body
zero: Is a device, not a regular file
null: Is a device, not a regular file
full: Is a device, not a regular file
link: Is a device, not a regular file
socket: Is a socket, not a regular file
true



=== TEST 39: no more is read of a file than a module may have
--- config
    location = /t {
        content_by_lua_block {
            local wasm, plugins = require("resty.proxy-wasm"), require("plugins")
            local path = "$TEST_NGINX_HTML_DIR/large"
            local function load(size)
                local file = io.open(path, "wb")
                file:seek("set", size - 1)
                file:write("x")
                file:close()
                local _, err = wasm.load("bad", path)
                ngx.say((err:gsub("^.*/", "")))
            end
            load(64 * 1024 * 1024)
            load(64 * 1024 * 1024 + 1)
            load(1024 * 1024 * 1024 * 1024)
            ngx.say(wasm.on_http_request_headers(plugins.ctx("script", "request_headers: args")))
        }
    }
--- response_body
failed to load wasm plugin
large: Has more than the 67108864 bytes that a module may have
large: Has more than the 67108864 bytes that a module may have
true
--- error_log
large: failed to new module: it is no WebAssembly module, but 67108864 bytes that begin with



=== TEST 40: a path is taken whole
--- config
    location = /t {
        content_by_lua_block {
            ngx.say(select(2, require("resty.proxy-wasm").load("plugin", "target/guests/script.wasm\0.txt")))
        }
    }
--- response_body_like: ^target/guests/script\.wasm\0\.txt: .*NUL byte$



=== TEST 41: the privileged agent waits for no file, and reads no more of it than its head
--- config
    location = /t {
        content_by_lua_block {
            require("ngx.process").type = function() return "privileged agent" end
            package.loaded["resty.wasm"] = nil
            local wasm = require("resty.wasm")
            local html = "$TEST_NGINX_HTML_DIR/"
            os.execute("mkfifo " .. html .. "fifo")
            for _, path in ipairs({html .. "fifo", "/dev/zero", "/dev/null", "t/guests", "t/no/such.wasm", "target/guests/script.wasm"}) do
                local plugin, err = wasm.load("plugin", path)
                ngx.say(plugin and "looked at" or (err:gsub(html, "")))
            end
        }
    }
--- response_body
fifo is no wasm module: it does not begin with \0asm
/dev/zero is no wasm module: it does not begin with \0asm
/dev/null is no wasm module: it does not begin with \0asm
t/guests: Is a directory
t/no/such.wasm: No such file or directory
looked at



=== TEST 42: what is no module is called what it is, in one line
--- config
    location = /t {
        content_by_lua_block {
            local wasm, plugins = require("resty.proxy-wasm"), require("plugins")
            for _, bytes in ipairs({
                "<!DOCTYPE html>\n<html>\n</html>\n", "\31\139\8\0\0\0\0\0", "PK\3\4",
                "version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "\0asm\13\0\1\0", "(module)\n", "", "\0asm",
                "\127ELF\2\1\1\0", "a text\nof two lines\n",
            }) do
                local path = "$TEST_NGINX_HTML_DIR/bad.wasm"
                local file = io.open(path, "wb")
                file:write(bytes)
                file:close()
                ngx.say(select(2, wasm.load("bad", path)))
            end
            ngx.say(wasm.on_http_request_headers(plugins.ctx("script", "request_headers: args")))
        }
    }
--- response_body eval
"failed to load wasm plugin\n" x 10 . "true\n"
--- grep_error_log eval: qr/(?<=\/bad\.wasm: failed to new module: it is no WebAssembly module, but ).*/
--- grep_error_log_out
an HTML page
gzip data
a ZIP archive
a Git LFS pointer: `git lfs pull` gets the file
a WebAssembly component
WebAssembly's text format (.wat), which wat2wasm compiles
an empty file
the beginning of a WebAssembly module, and no more
an ELF file: a program or a shared library
20 bytes that begin with "a text\nof two li"
--- error_log
bad.wasm: failed to new module



=== TEST 43: what is wrong with a module is one line, which names the file
--- config
    location = /t {
        content_by_lua_block {
            local path = "$TEST_NGINX_HTML_DIR/broken.wasm"
            local file = io.open(path, "wb")
            file:write("\0asm\1\0\0\0\255\255\255\255")
            file:close()
            ngx.say(select(2, require("resty.proxy-wasm").load("bad", path)))
            local lines = 0
            for line in io.lines("$TEST_NGINX_SERVER_ROOT/logs/error.log") do
                lines = lines + (line:find("failed to new module", 1, true) and line:find("section id", 1, true) and 1 or 0)
            end
            ngx.say(lines)
        }
    }
--- response_body
failed to load wasm plugin
1
--- error_log eval
qr{\[error\].*/broken\.wasm: failed to new module: failed to parse WebAssembly module: malformed section id}
