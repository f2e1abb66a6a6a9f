# Foreign functions: those that Lua registers, those of Envoy, and Lua's calls of the plugin's.

use t::WASM 'no_plan';

# `--- script` is the plugin's configuration, `--- register` Lua code before the first load. `ctx(SCRIPT)` configures the plugin.
add_block_preprocessor(sub {
    my ($block) = @_;
    my $script = delete $block->{script};
    my $register = delete $block->{register};
    $register = $register ? $register->[0] : '';
    $block->set_value(http_config => <<"_EOC_" . ($block->http_config // ''));
    init_by_lua_block {
        local wasm = require("resty.wasm")
        local function register(...) return wasm.register_foreign_function(...) end
        $register
        local plugin
        function ctx(script)
            plugin = plugin or assert(wasm.load("plugin", "target/guests/script.wasm"))
            return assert(wasm.on_configure(plugin, script))
        end
    }
_EOC_
    return unless $script;
    $block->set_value(config => <<"_EOC_");
    location = /t {
        access_by_lua_block {
            local wasm = require("resty.wasm")
            ngx.ctx.plugin = ctx([[$script->[0]]])
            assert(wasm.on_http_request_headers(ngx.ctx.plugin))
        }
        content_by_lua_block { ngx.say("done") }
        header_filter_by_lua_block { assert(require("resty.wasm").on_http_response_headers(ngx.ctx.plugin)) }
        body_filter_by_lua_block { assert(require("resty.wasm").on_http_response_body(ngx.ctx.plugin)) }
    }
    # The same, answered when the request has ended.
    location = /ended {
        content_by_lua_block {
            local socket = ngx.socket.tcp()
            assert(socket:connect("127.0.0.1", ngx.var.server_port))
            assert(socket:send("GET /t HTTP/1.0\\r\\n\\r\\n"))
            local answer = assert(socket:receive("*a"))
            socket:close()
            ngx.print(answer:match("\\r\\n\\r\\n(.*)"))
            for _ = 1, 1000 do
                if io.open("\$TEST_NGINX_SERVER_ROOT/logs/error.log"):read("*a"):find("free http context", 1, true) then
                    return
                end
                ngx.sleep(0.005)
            end
        }
    }
_EOC_
});

run_tests();

__DATA__

=== TEST 1: a function that Lua registered is called with the arguments, its result comes back
--- register
    register("reverse", string.reverse)
    register("size", function(arguments) return tostring(#arguments) end)
--- script
request_headers: call_foreign reverse abc
request_headers: call_foreign size a\0b\xff\n
response_headers: call_foreign reverse header
response_body: call_foreign reverse body
--- grep_error_log eval: qr/call_foreign .*? -> \w+(?: \w+)?/
--- grep_error_log_out
call_foreign reverse abc -> OK cba
call_foreign size a\0b\xff\n -> OK 5
call_foreign reverse header -> OK redaeh
call_foreign reverse body -> OK ydob
call_foreign reverse body -> OK ydob



=== TEST 2: what a function returns: nothing, bytes of any kind and number
--- register
    register("nothing", function() end)
    register("nil", function() return nil end)
    register("empty", function() return "" end)
    register("zeros", function() return "\0\0\255" end)
    register("long", function() return ("x"):rep(1000000) end)
--- script
request_headers: call_foreign nothing
request_headers: call_foreign nil
request_headers: call_foreign empty
request_headers: scratch empty
request_headers: call proxy_call_foreign_function $scratch 5 0 0 $out $out2
request_headers: out
request_headers: call_foreign zeros
request_headers: scratch long
request_headers: call proxy_call_foreign_function $scratch 4 0 0 $out $out2
request_headers: out
--- grep_error_log eval: qr/(?:call_foreign \w+|out|call proxy_call_foreign\w+ .*?) -> OK.*?(?=,|$)/
--- grep_error_log_out eval
qr/\Acall_foreign nothing -> OK
call_foreign nil -> OK
call_foreign empty -> OK
call proxy_call_foreign_function \$scratch 5 0 0 \$out \$out2 -> OK
out -> OK 0 0 0 0
call_foreign zeros -> OK \\0\\0\\xff
call proxy_call_foreign_function \$scratch 4 0 0 \$out \$out2 -> OK
out -> OK \d+ 1000000 0 0
\z/



=== TEST 3: an unknown function is not found
--- script
request_headers: call_foreign none arguments
request_headers: call_foreign "" arguments
request_headers: call_foreign Compress arguments
--- grep_error_log eval: qr/call_foreign .*? -> \w+/
--- grep_error_log_out
call_foreign none arguments -> NOT_FOUND
call_foreign "" arguments -> NOT_FOUND
call_foreign Compress arguments -> NOT_FOUND



=== TEST 4: a function that fails is INTERNAL_FAILURE, and the log says which and why
--- register
    register("nil_err", function() return nil, "no luck" end)
    register("nil_table", function() return nil, {} end)
    register("raises", function() error("raised", 0) end)
    register("raises_table", function() error({}) end)
    register("raises_nil", function() error() end)
    register("number", function() return 42 end)
    register("no", function() return false end)
    register("yields", function() coroutine.yield() end)
    register("sleeps", function() ngx.sleep(0.001) end)
    register("deep", function() local function f() return 1 + f() end return f() end)
--- script
request_headers: call_foreign nil_err
request_headers: call_foreign nil_table
request_headers: call_foreign raises
request_headers: call_foreign raises_table
request_headers: call_foreign raises_nil
request_headers: call_foreign number
request_headers: call_foreign no
request_headers: call_foreign yields
request_headers: call_foreign sleeps
request_headers: call_foreign deep
--- response_body
done
--- grep_error_log eval: qr/\[error\] .*?foreign function .*?(?=,)|call_foreign .*? -> \w+/
--- grep_error_log_out eval
my $failed = sub { qr/\[error\] .*?foreign function "$_[0]" failed: $_[1]\n.*?call_foreign $_[0] -> INTERNAL_FAILURE\n/ };
qr/\A${\ CORE::join '', map { $failed->(@$_) } (
    [nil_err => 'no luck'], [nil_table => 'table: 0x\w+'], [raises => 'raised'], [raises_table => 'an error without a text'],
    [raises_nil => 'an error without a text'], [number => 'it returned a number'], [no => 'it returned a boolean'],
    [yields => 'attempt to yield across C-call boundary'], [sleeps => 'attempt to yield across C-call boundary'],
    [deep => '.*stack overflow.*'])}\z/
--- error_log
failed: no luck



=== TEST 5: a function may use what does not yield
--- http_config
    lua_shared_dict counters 1m;
--- register
    register("count", function(key) return tostring(ngx.shared.counters:incr(key, 1, 0)) end)
    register("var", function(name) return ngx.var[name] end)
    register("header", function(name) return ngx.req.get_headers()[name] end)
    register("now", function() return ngx.now() > 0 and "later" or "never" end)
    register("phase", ngx.get_phase)
    register("json", function(text) return require("cjson").decode(text).key end)
--- script
request_headers: call_foreign count a
request_headers: call_foreign count a
request_headers: call_foreign var request_uri
request_headers: call_foreign header x-test
request_headers: call_foreign now
request_headers: call_foreign phase
response_headers: call_foreign phase
request_headers: call_foreign json "{\"key\": \"value\"}"
--- request
GET /t?query
--- more_headers
X-Test: 1
--- grep_error_log eval: qr/call_foreign .*? -> .*?(?=,|$)/m
--- grep_error_log_out eval
qr{\Acall_foreign count a -> OK 1
call_foreign count a -> OK 2
call_foreign var request_uri -> OK /t\?query
call_foreign header x-test -> OK 1
call_foreign now -> OK later
call_foreign phase -> OK access
call_foreign json .*? -> OK value
call_foreign phase -> OK header_filter
\z}



=== TEST 6: registering again replaces, nil removes, at any time
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = ctx("request_headers: call_foreign f")
            for _, fn in ipairs({function() return "first" end, function() return "second" end, false}) do
                wasm.register_foreign_function("f", fn or nil)
                assert(wasm.on_http_request_headers(plugin))
            end
        }
    }
--- grep_error_log eval: qr/call_foreign f -> \w+(?: \w+)?/
--- grep_error_log_out
call_foreign f -> OK first
call_foreign f -> OK second
call_foreign f -> NOT_FOUND



=== TEST 7: what can't be registered
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.wasm")
            local function try(...)
                local ok, err = pcall(wasm.register_foreign_function, ...)
                ngx.say(ok, " ", err)
            end
            try()
            try(1, print)
            try({}, print)
            try("", print)
            try("f", "print")
            try("f", {})
            try("f", true)
            for _, name in ipairs({"compress", "uncompress", "clear_route_cache", "sign", "verify_signature"}) do
                try(name, print)
                try(name, nil)
            end
            try("compress ", print)
            try("f", print)
            try("f", nil)
            try("f")
        }
    }
--- response_body eval
my $built_in = sub { "false bad name: the foreign function $_[0] is built in\n" x 2 };
"false bad name: a string expected that is not empty, got nil
false bad name: a string expected that is not empty, got number
false bad name: a string expected that is not empty, got table
false bad name: a string expected that is not empty, got an empty one
false bad function: a function or nil expected, got string
false bad function: a function or nil expected, got table
false bad function: a function or nil expected, got boolean
${\ CORE::join '', map { $built_in->($_) } qw(compress uncompress clear_route_cache sign verify_signature)}true nil
true nil
true nil
true nil
"



=== TEST 8: Envoy's functions
--- script
request_headers: call_foreign compress hello
request_headers: call_foreign uncompress \x78\x9c\xcb\x48\xcd\xc9\xc9\x07\0\x06\x2c\x02\x15
request_headers: call_foreign uncompress hello
request_headers: call_foreign clear_route_cache
request_headers: call_foreign sign
request_headers: call_foreign sign no-message
request_headers: call_foreign verify_signature
request_headers: call_foreign verify_signature \x0a\x03md5\x12\x01k
--- grep_error_log eval: qr/call_foreign \w+.*? -> .*?(?=,|$)/m
--- grep_error_log_out eval
q{call_foreign compress hello -> OK x\x9c\xcbH\xcd\xc9\xc9\x07\0\x06
call_foreign uncompress \x78\x9c\xcb\x48\xcd\xc9\xc9\x07\0\x06\x2c\x02\x15 -> OK hello
call_foreign uncompress hello -> SERIALIZATION_FAILURE
call_foreign clear_route_cache -> OK
call_foreign sign -> BAD_ARGUMENT
call_foreign sign no-message -> BAD_ARGUMENT
call_foreign verify_signature -> BAD_ARGUMENT
call_foreign verify_signature \x0a\x03md5\x12\x01k -> OK \x12\x15md5 is not supported.
}



=== TEST 9: a caller without a use for the result gives null pointers; other bad ones trap
--- register
    register("f", function(arguments) ngx.log(ngx.INFO, "called with ", arguments) return "result" end)
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.wasm")
            for _, call in ipairs({"0 0 0 0", "0 0 0 $out", "0 0 $out 0", "$end 1 $out $out2", "$end-1 2 $out $out2", "0 -1 $out $out2",
                                   "$end 0 $out $out2", "$scratch 1 $end-3 $out", "$scratch 1 $out $end", "$scratch 1 $out -1"}) do
                local plugin = ctx("request_headers: scratch f\nrequest_headers: get_header request none\nrequest_headers: call proxy_call_foreign_function $scratch 1 " .. call
                                   .. "\nrequest_headers: out")
                ngx.say(call, ": ", wasm.on_http_request_headers(plugin))
            end
        }
    }
--- response_body
0 0 0 0: true
0 0 0 $out: true
0 0 $out 0: true
$end 1 $out $out2: nilfailed to run proxy_on_http_request_headers
$end-1 2 $out $out2: nilfailed to run proxy_on_http_request_headers
0 -1 $out $out2: nilfailed to run proxy_on_http_request_headers
$end 0 $out $out2: true
$scratch 1 $end-3 $out: nilfailed to run proxy_on_http_request_headers
$scratch 1 $out $end: nilfailed to run proxy_on_http_request_headers
$scratch 1 $out -1: nilfailed to run proxy_on_http_request_headers
--- grep_error_log eval: qr/out -> OK .*?(?=,|$)/m
--- grep_error_log_out eval
qr/\Aout -> OK 0 0 0 0
out -> OK 0 0 0 0
out -> OK 0 0 0 0
out -> OK \d+ 6 0 0
\z/
--- error_log
access memory addr
called with f



=== TEST 10: a function that calls the same plugin is told that it runs already, one that calls another plugin is not
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.wasm")
            local other = assert(wasm.load("other", "target/guests/script.wasm"))
            other = assert(wasm.on_configure(other, "request_headers: call_foreign reverse abc\nforeign_function: call_foreign reverse xyz"))
            local plugin
            local function try(name, ...)
                local ok, err = wasm[name](...)
                ngx.say(name, " ", ok, " ", err)
            end
            wasm.register_foreign_function("reverse", string.reverse)
            wasm.register_foreign_function("again", function()
                try("on_http_request_headers", plugin)
                try("on_http_request_body", plugin, "body", true)
                try("on_foreign_function", plugin, 1)
                try("on_http_request_headers", other)
                try("on_foreign_function", other, 1)
                return "through"
            end)
            plugin = ctx("request_headers: call_foreign again\nrequest_headers: add_header request x-after 1\nforeign_function: call_foreign again")
            try("on_http_request_headers", plugin)
            try("on_foreign_function", plugin, 2)
            ngx.say(ngx.req.get_headers()["x-after"])
        }
    }
--- response_body
on_http_request_headers nil failed to run proxy_on_http_request_headers
on_http_request_body nil failed to run proxy_on_http_request_body
on_foreign_function nil failed to run proxy_on_foreign_function
on_http_request_headers true nil
on_foreign_function true nil
on_http_request_headers true nil
on_http_request_headers nil failed to run proxy_on_http_request_headers
on_http_request_body nil failed to run proxy_on_http_request_body
on_foreign_function nil failed to run proxy_on_foreign_function
on_http_request_headers true nil
on_foreign_function true nil
on_foreign_function true nil
1
--- grep_error_log eval: qr/call_foreign \w+.*? -> \w+(?: \w+)?|the plugin is running already/
--- grep_error_log_out
the plugin is running already
the plugin is running already
the plugin is running already
call_foreign reverse abc -> OK cba
call_foreign reverse xyz -> OK zyx
call_foreign again -> OK through
the plugin is running already
the plugin is running already
the plugin is running already
call_foreign reverse abc -> OK cba
call_foreign reverse xyz -> OK zyx
call_foreign again -> OK through
--- error_log
the plugin is running already



=== TEST 11: on_configure from within the plugin is refused
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            wasm.register_foreign_function("configure", function()
                local context, err = wasm.on_configure(plugin, "request_headers: args")
                return tostring(context) .. " " .. err
            end)
            local context = assert(wasm.on_configure(plugin, "configure: call_foreign configure"))
            ngx.say(assert(wasm.on_http_request_headers(context)))
        }
    }
--- response_body
true
--- error_log
call_foreign configure -> OK nil failed to run proxy_on_configure
the plugin is running already



=== TEST 12: where no Lua code runs, Lua functions fail and Envoy's do not
--- register
    register("reverse", string.reverse)
--- script
done: call_foreign reverse abc
log: call_foreign reverse abc
log: call_foreign none
log: call_foreign uncompress \x78\x9c\xcb\x48\xcd\xc9\xc9\x07\0\x06\x2c\x02\x15
delete: call_foreign reverse abc
--- request
GET /ended
--- response_body
done
--- grep_error_log eval: qr/foreign function .*?(?=,|$)|(?:done|log|delete) \d+: call_foreign \w+.*? -> \w+/m
--- grep_error_log_out
foreign function "reverse" failed: no Lua code is running
done 2: call_foreign reverse abc -> INTERNAL_FAILURE
foreign function "reverse" failed: no Lua code is running
log 2: call_foreign reverse abc -> INTERNAL_FAILURE
foreign function "none" failed: no Lua code is running
log 2: call_foreign none -> INTERNAL_FAILURE
log 2: call_foreign uncompress \x78\x9c\xcb\x48\xcd\xc9\xc9\x07\0\x06\x2c\x02\x15 -> OK
foreign function "reverse" failed: no Lua code is running
delete 2: call_foreign reverse abc -> INTERNAL_FAILURE
--- error_log
no Lua code is running



=== TEST 13: a finalizer runs no Lua code either, wherever it comes
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.wasm")
            local dropped
            wasm.register_foreign_function("collect", function()
                dropped = nil
                collectgarbage()
                collectgarbage()
                return "collected"
            end)
            local other = assert(wasm.load("other", "target/guests/script.wasm"))
            dropped = assert(wasm.on_configure(other, "plugin_done: call_foreign collect"))
            assert(wasm.on_http_request_headers(ctx("request_headers: call_foreign collect")))
            ngx.say("alive")
        }
    }
--- response_body
alive
--- error_log
foreign function "collect" failed: no Lua code is running
plugin_done 1: call_foreign collect -> INTERNAL_FAILURE
call_foreign collect -> OK collected



=== TEST 14: functions are called in on_configure, in init_by_lua and init_worker_by_lua
--- http_config
    init_worker_by_lua_block { ctx("configure: call_foreign phase") }
--- register
    register("phase", ngx.get_phase)
--- config
    location = /t { content_by_lua_block { ctx("configure: call_foreign phase") } }
--- grep_error_log eval: qr/call_foreign phase -> .*?(?=,|$)/m
--- grep_error_log_out eval
qr/\Acall_foreign phase -> OK init_worker
call_foreign phase -> OK content
\z/



=== TEST 15: Lua calls the plugin, which finds the arguments in a buffer during the call
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.wasm")
            local plugin = ctx([[
                foreign_function: args
                foreign_function: get_body foreign_arguments 0 -1
                foreign_function: get_body foreign_arguments 2 3
                foreign_function: buffer_status foreign_arguments
                foreign_function: set_body foreign_arguments 0 0 x
                request_headers: get_body foreign_arguments 0 -1
                request_headers: buffer_status foreign_arguments
            ]])
            ngx.say(wasm.on_foreign_function(plugin, 7, "arg\0ments"))
            ngx.say(wasm.on_foreign_function(plugin, 4294967295, ""))
            ngx.say(wasm.on_foreign_function(plugin, 0))
            assert(wasm.on_http_request_headers(plugin))
            ngx.say(wasm.on_foreign_function(plugin, 1, "again"))
        }
    }
--- response_body
true
true
true
true
--- grep_error_log eval: qr/\w+ \d: \w+ .*?-> .*?(?=,|$)/m
--- grep_error_log_out
foreign_function 1: args -> OK 1 7 9
foreign_function 1: get_body foreign_arguments 0 -1 -> OK arg\0ments
foreign_function 1: get_body foreign_arguments 2 3 -> OK g\0m
foreign_function 1: buffer_status foreign_arguments -> OK 9 0
foreign_function 1: set_body foreign_arguments 0 0 x -> OK
foreign_function 1: args -> OK 1 -1 0
foreign_function 1: get_body foreign_arguments 0 -1 -> NOT_FOUND
foreign_function 1: get_body foreign_arguments 2 3 -> NOT_FOUND
foreign_function 1: buffer_status foreign_arguments -> OK 0 0
foreign_function 1: set_body foreign_arguments 0 0 x -> OK
foreign_function 1: args -> OK 1 0 0
foreign_function 1: get_body foreign_arguments 0 -1 -> NOT_FOUND
foreign_function 1: get_body foreign_arguments 2 3 -> NOT_FOUND
foreign_function 1: buffer_status foreign_arguments -> OK 0 0
foreign_function 1: set_body foreign_arguments 0 0 x -> OK
request_headers 2: get_body foreign_arguments 0 -1 -> NOT_FOUND
request_headers 2: buffer_status foreign_arguments -> NOT_FOUND
foreign_function 1: args -> OK 1 1 5
foreign_function 1: get_body foreign_arguments 0 -1 -> OK again
foreign_function 1: get_body foreign_arguments 2 3 -> OK ain
foreign_function 1: buffer_status foreign_arguments -> OK 5 0
foreign_function 1: set_body foreign_arguments 0 0 x -> OK
--- error_log
proxy_set_buffer_bytes: there is no stream in a plugin context



=== TEST 16: the callback runs in the plugin context: it can act on no request
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.wasm")
            local plugin = ctx("foreign_function: get_header request host\nforeign_function: send_local_response 403 no\nforeign_function: add_header request a b")
            assert(wasm.on_http_request_headers(plugin))
            ngx.say(wasm.on_foreign_function(plugin, 1, "arguments"))
            ngx.say(ngx.req.get_headers().a)
        }
    }
--- response_body
true
nil
--- error_log
get_header request host -> NOT_FOUND
proxy_send_local_response: there is no stream in a plugin context
proxy_add_header_map_value: there is no stream in a plugin context



=== TEST 17: the callback runs without a request: in init_worker and in a timer
--- http_config
    init_worker_by_lua_block {
        plugin = ctx("foreign_function: args\nforeign_function: call_foreign phase")
        assert(require("resty.wasm").on_foreign_function(plugin, 1, "a"))
        assert(ngx.timer.at(0, function()
            assert(require("resty.wasm").on_foreign_function(plugin, 2, "ab"))
            ran = true
        end))
    }
--- register
    register("phase", ngx.get_phase)
--- config
    location = /t {
        content_by_lua_block {
            for _ = 1, 500 do
                if ran then return ngx.say("ran") end
                ngx.sleep(0.01)
            end
        }
    }
--- response_body
ran
--- grep_error_log eval: qr/foreign_function \d: .*? -> .*?(?=,|$)/m
--- grep_error_log_out
foreign_function 1: args -> OK 1 1 1
foreign_function 1: call_foreign phase -> OK init_worker
foreign_function 1: args -> OK 1 2 2
foreign_function 1: call_foreign phase -> OK timer



=== TEST 18: what on_foreign_function refuses
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.wasm")
            local plugin = ctx("foreign_function: args")
            local function try(...)
                local ok, result, err = pcall(wasm.on_foreign_function, ...)
                ngx.say(result, " ", err)
            end
            try()
            try({}, 1, "")
            try("plugin", 1, "")
            try(plugin)
            try(plugin, "1", "")
            try(plugin, -1, "")
            try(plugin, 0.5, "")
            try(plugin, 4294967296, "")
            try(plugin, 0/0, "")
            try(plugin, 1, 1)
            try(plugin, 1, {})
            try(plugin, 1, "")
        }
    }
--- response_body_like eval
qr/\Anil bad plugin ctx
nil bad plugin ctx
nil bad plugin ctx
bad function id: an integer from 0 to 4294967295 expected, got nil nil
bad function id: an integer from 0 to 4294967295 expected, got 1 nil
bad function id: an integer from 0 to 4294967295 expected, got -1 nil
bad function id: an integer from 0 to 4294967295 expected, got 0.5 nil
bad function id: an integer from 0 to 4294967295 expected, got 4294967296 nil
bad function id: an integer from 0 to 4294967295 expected, got -?nan nil
bad arguments: a string or nil expected, got number nil
bad arguments: a string or nil expected, got table nil
true nil
\z/



=== TEST 19: a callback that traps is an error, the next call has a new instance
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.wasm")
            local plugin = ctx("foreign_function: trap")
            ngx.say(wasm.on_foreign_function(plugin, 1, "arguments"))
            local other = ctx("foreign_function: get_body foreign_arguments 0 -1")
            ngx.say(wasm.on_foreign_function(other, 2, "arguments"))
        }
    }
--- response_body
nilfailed to run proxy_on_foreign_function
true
--- error_log
failed to call function
get_body foreign_arguments 0 -1 -> OK arguments



=== TEST 20: a plugin without the callback is not called
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/empty.wasm"))
            ngx.say(wasm.on_foreign_function(assert(wasm.on_configure(plugin, "conf")), 1, "arguments"))
        }
    }
--- response_body
true



=== TEST 21: a function can't end the request, the plugin goes on
--- config
    location = /t {
        access_by_lua_block {
            local wasm = require("resty.wasm")
            local ending = {exit = function() ngx.exit(403) end, exec = function() ngx.exec("/elsewhere") end}
            local name = ngx.var.arg_how
            wasm.register_foreign_function(name, ending[name])
            assert(wasm.on_http_request_headers(ctx("request_headers: call_foreign " .. name .. "\nrequest_headers: log info went on")))
        }
        content_by_lua_block { ngx.say("done") }
    }
--- request eval
['GET /t?how=exit', 'GET /t?how=exec']
--- response_body eval
["done\n", "done\n"]
--- error_log
attempt to yield across C-call boundary
-> INTERNAL_FAILURE
went on



=== TEST 22: an argument that Lua has no memory for is an error, the worker goes on
--- skip_eval: 6: $ENV{TEST_NGINX_USE_VALGRIND}   # which has no room left for itself
--- config
    location = /t {
        access_by_lua_block {
            local wasm = require("resty.wasm")
            local ffi = require("ffi")
            ffi.cdef[[
                struct limit_22 {unsigned long soft, hard;};
                int getrlimit(int resource, struct limit_22 *limit);
                int setrlimit(int resource, const struct limit_22 *limit);
            ]]
            wasm.register_foreign_function("size", function(argument) return tostring(#argument) end)
            local plugin = ctx([[
                request_headers: scratch size
                request_headers: call proxy_call_foreign_function $scratch $len 0 60000000 $out $out2
                request_headers: call_foreign size 12345
                request_headers: log info went on
                configure: grow 1000
            ]])
            local ADDRESS_SPACE = 9
            local limit = ffi.new("struct limit_22")
            assert(ffi.C.getrlimit(ADDRESS_SPACE, limit) == 0)
            local soft = limit.soft
            local pages = assert(io.open("/proc/self/statm")):read("*n")
            limit.soft = pages * 4096 + 20000000
            assert(ffi.C.setrlimit(ADDRESS_SPACE, limit) == 0)
            local ok, err = pcall(wasm.on_http_request_headers, plugin)
            limit.soft = soft
            assert(ffi.C.setrlimit(ADDRESS_SPACE, limit) == 0)
            assert(ok, err)
        }
        content_by_lua_block { ngx.say("done") }
    }
--- response_body
done
--- error_log
foreign function "size" failed: not enough memory
call_foreign size 12345 -> OK 5
went on
--- no_error_log
[alert]



=== TEST 23: an argument or a result that is longer than a string may be is an error that says so
--- config
    location = /t {
        access_by_lua_block {
            local wasm = require("resty.wasm")
            wasm.register_foreign_function("size", function(argument) return tostring(#argument) end)
            wasm.register_foreign_function("long", function() return ("x"):rep(67108865) end)
            assert(wasm.on_http_request_headers(ctx([[
                configure: grow 2600
                request_headers: scratch size
                request_headers: call proxy_call_foreign_function $scratch $len 0 157286400 $out $out2
                request_headers: call proxy_call_foreign_function $scratch $len 0 67108864 $out $out2
                request_headers: call_foreign long x
                request_headers: log info went on
            ]])))
        }
        content_by_lua_block { ngx.say("done") }
    }
--- timeout: 60
--- response_body
done
--- error_log
foreign function "size" failed: an argument may have 67108864 bytes, this one has 157286400
0 67108864 $out $out2 -> OK
foreign function "long" failed: a result may have 67108864 bytes, this one has 67108865
went on
--- no_error_log
[alert]
