# Guests that hand the host wrong pointers, wrong numbers and wrong maps: a trap that names the rule, nil and an error for
# Lua, and nothing else: the worker, the other plugins and the plugin itself go on.

use t::WASM 'no_plan';

# `require("hostile")(GUEST, CONF)` runs on_http_request_headers of a new plugin context and returns what became of it, from
# the error log: the guest's last result, or the trap's rule.
my $hostile = <<'_EOC_';
    init_by_lua_block {
        package.preload.hostile = function()
            local wasm = require("resty.proxy-wasm")
            local plugins = {}
            local log = io.open("$TEST_NGINX_SERVER_ROOT/logs/error.log")
            local function plugin(guest)
                plugins[guest] = plugins[guest] or assert(wasm.load(guest, "target/guests/" .. guest .. ".wasm"))
                return plugins[guest]
            end
            local function other_runs()
                local ctx = assert(wasm.on_configure(plugin("action-values"), "0"))
                assert(wasm.on_http_request_headers(ctx))
            end
            return function(guest, conf, callback)
                callback = callback or "request_headers"
                local ctx = assert(wasm.on_configure(plugin(guest), conf))
                log:seek("end")
                local ok, err = wasm["on_http_" .. callback](ctx)
                local text = log:read("*a")
                ctx = nil
                collectgarbage()
                collectgarbage()
                other_runs()
                if ok then
                    local result = text:match("status (%d%d)[^\n]*\n$")
                    for found in text:gmatch(" %-> ([^,\n]+)") do result = found end
                    return result
                end
                assert(err == "failed to run proxy_on_http_" .. callback, err)
                local trap = assert(text:match("%[error%][^\n]*failed to call function: (.*)"), text)
                -- Each line of it is a message; those after the first are indented.
                trap = (trap .. "\n0/0/0 "):gsub("\n%d+/%d+/%d+ [%d:]+ %[error%] %d+#%d+: (  )", "\n%1")
                local causes = trap:match("Caused by:\n(.-)\n%d+/%d+/%d+ ") or trap
                local rule = causes:match(".*%d: ([^\n]+)") or causes:match("^%s*([^\n]+)")
                return "trap: " .. (rule or trap):gsub("%d+", "N"):gsub(", but.*", ""):gsub(", client.*", "")
            end
        end
    }
_EOC_

# `--- cases: GUEST` with a line CONF => RESULT each.
add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(http_config => $hostile . ($block->http_config // ''));
    my $cases = delete $block->{cases} or return;
    my ($guest, @cases) = split /\n+/, $cases->[0];
    my @confs = map { /(.*?) *=>/ ? $1 : die "bad case: $_\n" } @cases;
    my $list = join ', ', map { "[==[$_]==]" } @confs;
    my $prefix = $guest eq 'script' ? '"request_headers: scratch host\nrequest_headers: "' : '""';
    $block->set_value(config => <<"_EOC_");
    location = /t {
        content_by_lua_block {
            for _, case in ipairs({$list}) do
                ngx.say(case, " => ", require("hostile")("$guest", $prefix .. case))
            end
        }
    }
_EOC_
    $block->set_value(response_body => join '', map { s/ +=> */ => /r . "\n" } @cases);
    $block->set_value(no_error_log => "[alert]") unless defined $block->no_error_log;
});

run_tests();

__DATA__

=== TEST 1: proxy_log
--- cases
script
call proxy_log 2 $end-1 1                  => OK
call proxy_log 2 $end 0                    => OK
call proxy_log 2 0 0                       => OK
call proxy_log 2 0 1                       => OK
call proxy_log 2 -1 0                      => OK
call proxy_log 2 $end 1                    => trap: access memory addr N with size N
call proxy_log 2 $end-1 2                  => trap: access memory addr N with size N
call proxy_log 2 -1 1                      => trap: access memory addr N with size N
call proxy_log 2 0 -1                      => trap: access memory addr N with size N
call proxy_log 2 -1 -1                     => trap: access memory addr N with size N
call proxy_log 2 16 -16                    => trap: access memory addr N with size N
call proxy_log 2 $end-4 -1                 => trap: access memory addr N with size N
call proxy_log 2 2147483647 1              => trap: access memory addr N with size N
call proxy_log 2 -2147483648 1             => trap: access memory addr N with size N
call proxy_log 2 -2147483648 -2147483648   => trap: access memory addr N with size N
call proxy_log 6 $scratch 4                => OK
call proxy_log 99 $scratch 4               => OK
call proxy_log -1 $scratch 4               => OK
call proxy_log 99 $end 1                   => trap: access memory addr N with size N



=== TEST 2: proxy_get_header_map_value
--- cases
script
call proxy_get_header_map_value 0 $scratch 4 $out $out2         => OK
call proxy_get_header_map_value 0 $end-4 4 $out $out2           => NOT_FOUND
call proxy_get_header_map_value 0 $scratch 0 $out $out2         => NOT_FOUND
call proxy_get_header_map_value 0 0 0 $out $out2                => NOT_FOUND
call proxy_get_header_map_value 0 $end-3 4 $out $out2           => trap: access memory addr N with size N
call proxy_get_header_map_value 0 $end 1 $out $out2             => trap: access memory addr N with size N
call proxy_get_header_map_value 0 -1 4 $out $out2               => trap: access memory addr N with size N
call proxy_get_header_map_value 0 -2147483648 4 $out $out2      => trap: access memory addr N with size N
call proxy_get_header_map_value 0 $scratch -1 $out $out2        => trap: access memory addr N with size N
call proxy_get_header_map_value 0 $scratch -2147483648 $out $out2 => trap: access memory addr N with size N
call proxy_get_header_map_value 0 $scratch 4 $end-4 $out2       => OK
call proxy_get_header_map_value 0 $scratch 4 $end-3 $out2       => trap: access memory addr N with size N
call proxy_get_header_map_value 0 $scratch 4 $end $out2         => trap: access memory addr N with size N
call proxy_get_header_map_value 0 $scratch 4 -1 $out2           => trap: access memory addr N with size N
call proxy_get_header_map_value 0 $scratch 4 -4 $out2           => trap: access memory addr N with size N
call proxy_get_header_map_value 0 $scratch 4 $out $end-4        => OK
call proxy_get_header_map_value 0 $scratch 4 $out $end-1        => trap: access memory addr N with size N
call proxy_get_header_map_value 0 $scratch 4 $out -2147483648   => trap: access memory addr N with size N
call proxy_get_header_map_value 0 $scratch 4 $out $out          => OK
call proxy_get_header_map_value 0 $scratch 4 $out+2 $out        => OK
call proxy_get_header_map_value 0 $scratch 4 $scratch $scratch+1 => OK
call proxy_get_header_map_value 4 $scratch 4 $out $out2         => NOT_FOUND
call proxy_get_header_map_value 7 $scratch 4 $out $out2         => NOT_FOUND
call proxy_get_header_map_value 8 $scratch 4 $out $out2         => BAD_ARGUMENT
call proxy_get_header_map_value 9 $scratch 4 $out $out2         => BAD_ARGUMENT
call proxy_get_header_map_value 4294967295 $scratch 4 $out $out2 => BAD_ARGUMENT
call proxy_get_header_map_value 8 -1 4 -1 -1                    => BAD_ARGUMENT



=== TEST 3: proxy_get_header_map_pairs and proxy_get_header_map_size
--- cases
script
call proxy_get_header_map_pairs 0 $out $out2     => OK
call proxy_get_header_map_pairs 0 $out $out      => OK
call proxy_get_header_map_pairs 0 $end-4 $out    => OK
call proxy_get_header_map_pairs 0 $end-3 $out    => trap: access memory addr N with size N
call proxy_get_header_map_pairs 0 $out $end-3    => trap: access memory addr N with size N
call proxy_get_header_map_pairs 0 $end -1        => trap: access memory addr N with size N
call proxy_get_header_map_pairs 0 -2147483648 -1 => trap: access memory addr N with size N
call proxy_get_header_map_pairs 1 $out $out2     => OK
call proxy_get_header_map_pairs 8 $out $out2     => BAD_ARGUMENT
call proxy_get_header_map_pairs -1 $out $out2    => BAD_ARGUMENT
call proxy_get_header_map_size 0 $end-4          => OK
call proxy_get_header_map_size 0 $end-3          => trap: access memory addr N with size N
call proxy_get_header_map_size 0 -1              => trap: access memory addr N with size N
call proxy_get_header_map_size 9 $out            => BAD_ARGUMENT



=== TEST 4: proxy_add_header_map_value and its like
--- cases
script
call proxy_add_header_map_value 0 $scratch 4 $scratch 4     => OK
call proxy_add_header_map_value 0 $scratch 4 $scratch+1 3   => OK
call proxy_add_header_map_value 0 $end 4 $scratch 4         => trap: access memory addr N with size N
call proxy_add_header_map_value 0 -1 4 $scratch 4           => trap: access memory addr N with size N
call proxy_add_header_map_value 0 $scratch -1 $scratch 4    => trap: access memory addr N with size N
call proxy_add_header_map_value 0 $scratch 4 $end-3 4       => trap: access memory addr N with size N
call proxy_add_header_map_value 0 $scratch 4 -2147483648 4  => trap: access memory addr N with size N
call proxy_add_header_map_value 0 $scratch 4 16 -16         => trap: access memory addr N with size N
call proxy_add_header_map_value 8 $scratch 4 $scratch 4     => BAD_ARGUMENT
call proxy_add_header_map_value -1 -1 -1 -1 -1              => BAD_ARGUMENT
call proxy_replace_header_map_value 0 $end-1 2 $scratch 4   => trap: access memory addr N with size N
call proxy_replace_header_map_value 0 $scratch 4 $end-1 2   => trap: access memory addr N with size N
call proxy_replace_header_map_value 9 $scratch 4 $scratch 4 => BAD_ARGUMENT
call proxy_remove_header_map_value 0 $end-1 2               => trap: access memory addr N with size N
call proxy_remove_header_map_value 0 $scratch -1            => trap: access memory addr N with size N
call proxy_remove_header_map_value 99 $scratch 4            => BAD_ARGUMENT
call proxy_set_header_map_pairs 0 $end 4                    => trap: access memory addr N with size N
call proxy_set_header_map_pairs 0 $end-4 5                  => trap: access memory addr N with size N
call proxy_set_header_map_pairs 0 $scratch -1               => trap: access memory addr N with size N
call proxy_set_header_map_pairs 0 $scratch 4                => trap: malformed header map of N bytes: its count asks for more lengths than it holds
call proxy_set_header_map_pairs 8 $scratch 4                => BAD_ARGUMENT



=== TEST 5: proxy_get_property and proxy_set_property
--- cases
script
call proxy_get_property $scratch 4 $out $out2      => OK
call proxy_get_property $scratch 4 $out $out       => OK
call proxy_get_property 0 0 $out $out2             => NOT_FOUND
call proxy_get_property $end-4 4 $out $out2        => NOT_FOUND
call proxy_get_property $scratch 16384 $out $out2  => NOT_FOUND
call proxy_get_property $end-3 4 $out $out2        => trap: access memory addr N with size N
call proxy_get_property -1 1 $out $out2            => trap: access memory addr N with size N
call proxy_get_property 2147483647 4 $out $out2    => trap: access memory addr N with size N
call proxy_get_property $scratch -4 $out $out2     => trap: access memory addr N with size N
call proxy_get_property $scratch 4 $end-3 $out2    => trap: access memory addr N with size N
call proxy_get_property $scratch 4 $out $end       => trap: access memory addr N with size N
call proxy_set_property $end 4 $scratch 4          => trap: access memory addr N with size N
call proxy_set_property $scratch 4 $end 4          => trap: access memory addr N with size N
call proxy_set_property $scratch 4 $scratch -1     => trap: access memory addr N with size N
call proxy_set_property $scratch -1 $scratch 4     => trap: access memory addr N with size N



=== TEST 6: proxy_send_local_response
--- cases
script
call proxy_send_local_response 403 -1 -1 $end 4 0 0 -1               => trap: access memory addr N with size N
call proxy_send_local_response 403 0 0 $scratch -1 0 0 -1            => trap: access memory addr N with size N
call proxy_send_local_response 403 0 0 -2147483648 1 0 0 -1          => trap: access memory addr N with size N
call proxy_send_local_response 403 0 0 $scratch 4 $end 4 -1          => trap: access memory addr N with size N
call proxy_send_local_response 403 0 0 $scratch 4 $end-4 -1 -1       => trap: access memory addr N with size N
call proxy_send_local_response 403 0 0 $scratch 4 $scratch 4 -1      => trap: malformed header map of N bytes: its count asks for more lengths than it holds
call proxy_send_local_response 403 0 0 $scratch 4 $scratch 3 -1      => trap: malformed header map of N bytes: it is shorter than its count
call proxy_send_local_response 99 0 0 $end 4 0 0 -1                  => trap: access memory addr N with size N



=== TEST 7: proxy_get_buffer_bytes, proxy_get_buffer_status and proxy_get_configuration
--- cases
script
call proxy_get_buffer_bytes 7 0 9999 $out $out2          => OK
call proxy_get_buffer_bytes 7 0 -1 $out $out             => OK
call proxy_get_buffer_bytes 7 4 -4 $out $out2            => OK
call proxy_get_buffer_bytes 7 -1 1 $out $out2            => NOT_FOUND
call proxy_get_buffer_bytes 7 -1 -1 $out $out2           => NOT_FOUND
call proxy_get_buffer_bytes 7 2147483647 2147483647 $out $out2 => NOT_FOUND
call proxy_get_buffer_bytes 7 0 0 $out $out2             => NOT_FOUND
call proxy_get_buffer_bytes 7 0 1 $end-3 $out            => trap: access memory addr N with size N
call proxy_get_buffer_bytes 7 0 1 $out $end-3            => trap: access memory addr N with size N
call proxy_get_buffer_bytes 7 0 1 -1 -1                  => trap: access memory addr N with size N
call proxy_get_buffer_bytes 0 0 1 $out $out2             => NOT_FOUND
call proxy_get_buffer_bytes 8 0 1 $out $out2             => NOT_FOUND
call proxy_get_buffer_bytes 9 0 1 $out $out2             => BAD_ARGUMENT
call proxy_get_buffer_bytes 4294967295 0 1 -1 -1         => BAD_ARGUMENT
call proxy_get_buffer_status 7 $end-4 $out               => OK
call proxy_get_buffer_status 7 $end-3 $out               => trap: access memory addr N with size N
call proxy_get_buffer_status 7 $out -1                   => trap: access memory addr N with size N
call proxy_get_buffer_status 9 $out $out2                => BAD_ARGUMENT



=== TEST 8: proxy_get_configuration of ABI 0.1.0
--- cases
configuration-outside
conf => trap: access memory addr N with size N



=== TEST 9: the clock and the log level
--- cases
script
call proxy_get_current_time_nanoseconds $end-8        => OK
call proxy_get_current_time_nanoseconds $end-7        => trap: access memory addr N with size N
call proxy_get_current_time_nanoseconds $end          => trap: access memory addr N with size N
call proxy_get_current_time_nanoseconds -1            => trap: access memory addr N with size N
call proxy_get_current_time_nanoseconds -2147483648   => trap: access memory addr N with size N
call proxy_get_current_time_nanoseconds $out+1        => OK
call proxy_get_log_level $end-4                       => OK
call proxy_get_log_level $end-3                       => trap: access memory addr N with size N
call proxy_get_log_level -4                           => trap: access memory addr N with size N



=== TEST 10: an unknown context can't become the effective one
--- cases
script
set_effective_context 0            => BAD_ARGUMENT
set_effective_context 999          => BAD_ARGUMENT
set_effective_context -1           => BAD_ARGUMENT
set_effective_context 2147483647   => BAD_ARGUMENT



=== TEST 11: after such a refusal the callback's own context is still in effect
--- config
    location = /t {
        content_by_lua_block {
            ngx.say(require("hostile")("script", [[
                request_headers: set_effective_context 999
                request_headers: get_header request host]]))
        }
    }
--- response_body
OK localhost



=== TEST 12: WASI says where a pointer is wrong, or traps
--- cases
script
call random_get $end-4 4                       => OK
call random_get $end-3 4                       => errno 21
call random_get -1 1                           => errno 21
call random_get $scratch -1                    => errno 21
call fd_write 1 $end 1 $out                    => errno 21
call fd_write 1 $end-7 1 $out                  => errno 21
call fd_write 1 -8 2 $out                      => errno 21
call fd_write 1 $scratch 0 $end                => errno 21
call fd_write 1 0 0 -1                         => errno 21
call fd_write 1 $scratch -1 $out               => errno 28
call fd_write 0 $scratch 0 $out                => OK
call fd_write 3 $out 1 $out                    => errno 8
call poll_oneoff 0 0 1 $end                    => errno 21
call poll_oneoff -1 -1 -1 $out                 => OK
call sched_yield                               => OK
call args_get -1 -1                            => OK
call environ_get -1 -1                         => OK



=== TEST 13: WASI functions of the runtime do no harm with wrong pointers either
--- config
    location = /t {
        content_by_lua_block {
            for _, call in ipairs({"clock_time_get 0 0 $end", "clock_time_get 0 0 -1", "clock_time_get 99 0 $out",
                                   "clock_res_get 0 $end-7", "clock_res_get -1 $out", "args_sizes_get $end $out",
                                   "environ_sizes_get $out -1"}) do
                local result = require("hostile")("script", "request_headers: call " .. call)
                ngx.say(result:find("^errno ") or result:find("^trap: ") and 1 or result)
            end
        }
    }
--- response_body
1
1
1
1
1
1
1
--- no_error_log
[alert]



=== TEST 14: a malformed map of request headers
--- cases
lying-maps
sg => 00
sz => 00
sc => trap: malformed header map of N bytes: its count asks for more lengths than it holds
sw => trap: malformed header map of N bytes: its count asks for more lengths than it holds
sp => trap: malformed header map of N bytes: a length points past its end or a terminating NUL is missing
sh => trap: malformed header map of N bytes: a length points past its end or a terminating NUL is missing
sf => trap: malformed header map of N bytes: a length points past its end or a terminating NUL is missing
sn => trap: malformed header map of N bytes: a length points past its end or a terminating NUL is missing
sm => trap: malformed header map of N bytes: a length points past its end or a terminating NUL is missing
st => 00
se => 00
si => 00
s1 => trap: malformed header map of N bytes: it is shorter than its count
s2 => trap: malformed header map of N bytes: it is shorter than its count
s3 => trap: malformed header map of N bytes: it is shorter than its count
s4 => trap: malformed header map of N bytes: its count asks for more lengths than it holds
s5 => trap: malformed header map of N bytes: its count asks for more lengths than it holds
s6 => trap: malformed header map of N bytes: its count asks for more lengths than it holds
s7 => trap: malformed header map of N bytes: its count asks for more lengths than it holds



=== TEST 15: a malformed map leaves the request headers as they were
--- config
    location = /t {
        content_by_lua_block {
            for map in string.gmatch("cwphfnm1234567", ".") do
                assert(require("hostile")("lying-maps", "s" .. map):find("^trap"))
            end
            ngx.say(ngx.var.http_x_kept, " ", ngx.req.get_headers().a)
        }
    }
--- more_headers
X-Kept: yes
--- response_body
yes nil
--- no_error_log
[alert]



=== TEST 16: names and values can't break out of a request header
--- config
    location = /t {
        content_by_lua_block {
            assert(require("hostile")("lying-maps", "si") == "00")
            local headers = ngx.req.get_headers()
            ngx.say(headers.c, " ", headers[" c"], " ", headers.a)
            for name, value in pairs(headers) do
                assert(not (name .. value):find("[\r\n]"), name .. ": " .. value)
            end
            assert(not ngx.location.capture("/upstream").body:find('"c"'))
        }
    }
    location = /upstream { proxy_pass http://127.0.0.1:1980/; }
--- response_body
nil nil nil
--- no_error_log
"c"



=== TEST 17: malformed maps of response headers
--- config
    location = /t {
        content_by_lua_block { ngx.print("ok") }
        header_filter_by_lua_block {
            local hostile = require("hostile")
            ngx.header["X-Kept"] = "yes"
            for map in string.gmatch("cwphfnm1234567", ".") do
                local result = hostile("lying-maps", "r" .. map, "response_headers")
                ngx.log(ngx.WARN, map, ": ", result:match("^trap: malformed") or result)
            end
        }
    }
--- response_headers
X-Kept: yes
!a
--- response_body chomp
ok
--- grep_error_log eval: qr/\w: trap: malformed/
--- grep_error_log_out eval
CORE::join '', map { "$_: trap: malformed\n" } split //, 'cwphfnm1234567'
--- no_error_log
[alert]



=== TEST 18: names and values can't break out of a response header
--- config
    location = /t {
        content_by_lua_block { ngx.print("ok") }
        header_filter_by_lua_block {
            ngx.log(ngx.WARN, "result: ", require("hostile")("lying-maps", "ri", "response_headers"))
        }
    }
--- response_headers
!c
!d
--- raw_response_headers_unlike: \n ?[cd]
--- response_body chomp
ok
--- error_log
result: 00
failed to set response header
--- no_error_log
[alert]



=== TEST 19: malformed maps of a local reply
--- config
    location = /t {
        content_by_lua_block {
            for map in string.gmatch("cwphfnm1234567", ".") do
                local result = require("hostile")("lying-maps", "l" .. map)
                ngx.say(map, ": ", result:match("^trap: malformed") or result)
            end
        }
    }
--- response_body eval
CORE::join '', map { "$_: trap: malformed\n" } split //, 'cwphfnm1234567'
--- no_error_log
[alert]



=== TEST 20: names and values can't break out of a local reply's headers
--- config
    location = /t {
        content_by_lua_block { require("hostile")("lying-maps", "li") }
    }
--- error_code: 403
--- response_headers
!c
!d
--- raw_response_headers_unlike: \n ?[cd]:
--- response_body chomp
lied
--- error_log
failed to set response header



=== TEST 21: a guest's allocator that lies
--- cases
liar-allocator
h => 00
g => 00
0 => trap: no memory: the guest's proxy_on_memory_allocate returned N for N bytes
e => trap: access memory addr N with size N
p => trap: access memory addr N with size N
t => trap: wasm trap: wasm `unreachable` instruction executed
r => trap: proxy_get_header_map_value is not allowed while the guest's allocator runs
h => 00



=== TEST 22: a guest without an allocator
--- cases
no-allocator
conf => trap: the guest exports neither proxy_on_memory_allocate nor malloc



=== TEST 23: traps of the guest itself
--- cases
script
trap         => trap: wasm trap: wasm `unreachable` instruction executed
panic oops   => trap: wasm trap: wasm `unreachable` instruction executed
exit 0       => trap: Exited with iN exit status N
exit 3       => trap: Exited with iN exit status N
grow 65536   => trap: memory_limit allows N bytes of memory, the guest wants N



=== TEST 24: the message names the hostcall, and the worker and the plugin go on
--- config
    location = /hostile {
        content_by_lua_block {
            local script = "request_headers: scratch host\nrequest_headers: call proxy_log 2 $end 1"
            ngx.say(ngx.worker.pid(), " ", require("hostile")("script", script))
        }
    }
    location = /fine {
        content_by_lua_block { ngx.say(ngx.worker.pid(), " ", require("hostile")("script", "request_headers: get_header request host")) }
    }
    location = /t {
        content_by_lua_block {
            local socket = ngx.socket.tcp()
            assert(socket:connect("127.0.0.1", ngx.var.server_port))
            local pids, results = {}, {}
            local function get(uri)
                assert(socket:send("GET " .. uri .. " HTTP/1.1\r\nHost: localhost\r\n\r\n"))
                assert(assert(socket:receive()) == "HTTP/1.1 200 OK")
                assert(socket:receiveuntil("\r\n\r\n")())
                local body = socket:receive(tonumber(socket:receive(), 16))
                assert(socket:receive() == "" and socket:receive() == "0" and socket:receive() == "")
                local pid, result = body:match("^(%d+) (.*)\n")
                pids[pid] = true
                results[result] = (results[result] or 0) + 1
            end
            for _ = 1, 100 do
                get("/hostile")
                get("/fine")
            end
            assert(next(pids) == tostring(ngx.worker.pid()) and next(pids, next(pids)) == nil)
            for result, count in pairs(results) do
                ngx.log(ngx.WARN, count, " times ", result)
            end
            ngx.say("alive")
        }
    }
--- response_body
alive
--- timeout: 60
--- error_log eval
[qr/100 times trap: access memory addr/, qr/100 times OK localhost/, "failed to call function", "0: proxy_log"]
--- no_error_log
[alert]



=== TEST 25: requests that are under way when another one kills the plugin fail, and are answered
--- config
    location /t {
        access_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local loaded = package.loaded
            if not loaded.fine then
                local plugin = assert(wasm.load("shared", "target/guests/script.wasm"))
                loaded.fine = assert(wasm.on_configure(plugin, "response_headers: log info fine in the end"))
                loaded.traps = assert(wasm.on_configure(plugin, "request_headers: trap"))
            end
            ngx.ctx.first = tostring(wasm.on_http_request_headers(loaded.fine))
            if ngx.var.arg_trap then
                ngx.ctx.second = wasm.on_http_request_headers(loaded.traps)
            end
        }
        content_by_lua_block { ngx.print("ok") }
        header_filter_by_lua_block {
            local ok, err = require("resty.proxy-wasm").on_http_response_headers(package.loaded.fine)
            ngx.header["X-Results"] = ngx.ctx.first .. " " .. tostring(ok) .. " " .. tostring(err)
        }
    }
--- request eval
["GET /t", "GET /t?trap=1", "GET /t"]
--- response_headers eval
["X-Results: true true nil", "X-Results: true nil failed to run proxy_on_http_response_headers", "X-Results: true true nil"]
--- response_body eval
["ok", "ok", "ok"]
--- no_error_log
[alert]



=== TEST 26: recursion without end
--- cases
recursion
conf => trap: wasm trap: call stack exhausted



=== TEST 27: a guest's own accesses outside of its memory
--- cases
out-of-bounds
load  => trap: wasm trap: out of bounds memory access
store => trap: wasm trap: out of bounds memory access
