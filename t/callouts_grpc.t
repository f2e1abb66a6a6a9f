# gRPC calls and streams against a server of another library.

use t::WASM 'no_plan';
use t::Servers;

workers(1);
start_servers();
start_resolvers();

# `--- lua` runs in the content phase; with `passed` it is answered.
add_block_preprocessor(sub {
    my ($block) = @_;
    my ($lua) = map { $_ ? $_->[0] : '' } delete $block->{lua};
    $block->set_value(http_config => <<'_EOC_');
    server { listen 127.0.0.1:1985 http2; return 503; }
    init_by_lua_block {
        script = require("script")
        wasm, configure, run, count, wait = script.wasm, script.configure, script.run, script.count, script.wait
        server = "127.0.0.1:1990"
        -- What a script does with the answers of a call or a stream.
        answers = [[
grpc_initial_metadata: get_headers grpc_initial
grpc_message: get_body grpc_message 0 100
grpc_trailing_metadata: get_headers grpc_trailing
grpc_close: args
grpc_close: get_status
]]
        -- The request waits for a call.
        function call(method, message, timeout, upstream, options)
            run(('request_headers: grpc_call %s test.Echo %s %d "%s"\nrequest_headers: return 1\n'):format(
                upstream or server, method, timeout or 20000, message or "") .. answers, options)
        end
        -- A stream of the plugin context, whose messages are sent before any comes.
        function open(method, messages, options)
            local lines = {"request_headers: grpc_stream " .. server .. " test.Echo " .. method}
            for _, message in ipairs(messages) do
                lines[#lines + 1] = 'request_headers: grpc_send $token 0 "' .. message .. '"'
            end
            return configure(table.concat(lines, "\n") .. "\nrequest_headers: grpc_close $token\nrequest_headers: return 1\n"
                .. answers, options)
        end
        function stream(...)
            assert(wasm.on_http_request_headers(open(...)))
        end
    }
_EOC_
    $block->set_value(config => <<"_EOC_") unless defined $block->config;
    location = /t {
        lua_ssl_trusted_certificate $t::Servers::TLS/ca.pem;
        lua_ssl_protocols TLSv1.2 TLSv1.3;
        resolver 127.0.0.1:1953 ipv6=off;
        content_by_lua_block {
$lua
            ngx.say("passed")
        }
    }
_EOC_
    $block->set_value(response_body => "passed\n") unless defined $block->response_body;
    $block->set_value(grep_error_log =>
        qr/grpc_[a-z_]+(?:\[\w+\])? \d+: (?!header (?:content-type|date|grpc-status):|get_headers).*?(?=, context|, client|$)/m)
        if defined $block->grep_error_log_out && !defined $block->grep_error_log;
});

run_tests();

__DATA__

=== TEST 1: a call
--- lua
    call("Unary", "hello")
--- grep_error_log_out
grpc_message 1: get_body grpc_message 0 100 -> OK hello



=== TEST 2: a call's metadata, and its time as its server sees it
--- lua
    run([[
request_headers: grpc_call 127.0.0.1:1990 test.Echo Metadata 7000 "" x-one=1 x-one=2 y-two=2 x-data-bin=AP8
grpc_message: get_body grpc_message 0 100
grpc_message: get_headers grpc_initial
grpc_message: get_headers grpc_trailing
]])
    wait("grpc_message 1: get_headers grpc_trailing")
--- grep_error_log_out
grpc_message 1: get_body grpc_message 0 100 -> OK 7000000u
grpc_message 1: header x-data-bin: AP8
grpc_message 1: header x-one: 1
grpc_message 1: header x-one: 2
grpc_message 1: header x-data-bin: AP8
grpc_message 1: header x-one: 1
grpc_message 1: header x-one: 2



=== TEST 3: streams of each kind
--- lua
    stream("ClientStream", {"one", "two"})
    stream("ServerStream", {"2 text"})
    stream("Bidirectional", {"one", "two"})
--- grep_error_log_out
grpc_message 1: get_body grpc_message 0 100 -> OK one,two
grpc_close 1: args -> OK 1 0 0
grpc_close 1: get_status -> OK 0
grpc_message 1: get_body grpc_message 0 100 -> OK text 0
grpc_message 1: get_body grpc_message 0 100 -> OK text 1
grpc_close 1: args -> OK 1 1 0
grpc_close 1: get_status -> OK 0
grpc_message 1: get_body grpc_message 0 100 -> OK one
grpc_message 1: get_body grpc_message 0 100 -> OK two
grpc_close 1: args -> OK 1 2 0
grpc_close 1: get_status -> OK 0



=== TEST 4: a stream's metadata
--- lua
    run([[
request_headers: grpc_stream 127.0.0.1:1990 test.Echo Metadata x-one=1 x-one=2 y-two=2 x-data-bin=AP8
request_headers: grpc_close $token
request_headers: return 1
]] .. answers)
--- grep_error_log_out
grpc_initial_metadata 1: header x-data-bin: AP8
grpc_initial_metadata 1: header x-one: 1
grpc_initial_metadata 1: header x-one: 2
grpc_message 1: get_body grpc_message 0 100 -> NOT_FOUND
grpc_trailing_metadata 1: header x-data-bin: AP8
grpc_trailing_metadata 1: header x-one: 1
grpc_trailing_metadata 1: header x-one: 2
grpc_close 1: args -> OK 1 0 0
grpc_close 1: get_status -> OK 0



=== TEST 5: how a call fails
--- lua
    call("Fail", "7 a b%")
    call("FailLater", "5 later")
    call("Reset")
    call("GoAway", "hello")
    call("NoStatus")
    call("HttpStatus", "503")
    call("Truncated")
    call("Compressed")
    call("None")
--- grep_error_log_out
grpc_close 1: args -> OK 1 0 7
grpc_close 1: get_status -> OK 7 a b%
grpc_close 1: args -> OK 1 1 5
grpc_close 1: get_status -> OK 5 later
grpc_close 1: args -> OK 1 2 13
grpc_close 1: get_status -> OK 13 the peer reset the stream with code 2
grpc_message 1: get_body grpc_message 0 100 -> OK hello
grpc_close 1: args -> OK 1 4 2
grpc_close 1: get_status -> OK 2 the answer has no grpc-status
grpc_close 1: args -> OK 1 5 14
grpc_close 1: get_status -> OK 14 HTTP status 503 without grpc-status
grpc_close 1: args -> OK 1 6 13
grpc_close 1: get_status -> OK 13 the last message is incomplete
grpc_close 1: args -> OK 1 7 13
grpc_close 1: get_status -> OK 13 the message is compressed, which is not supported
grpc_close 1: args -> OK 1 8 12
grpc_close 1: get_status -> OK 12 no method None



=== TEST 6: how a stream fails
--- lua
    stream("Fail", {"7 a b%"})
    stream("FailLater", {"5 later"})
    stream("Reset", {""})
    stream("GoAway", {"hello"})
    stream("NoStatus", {""})
    stream("HttpStatus", {"503"})
    stream("Truncated", {""})
    stream("Compressed", {""})
    stream("None", {""})
--- grep_error_log_out
grpc_trailing_metadata 1: header grpc-message: a%20b%25
grpc_close 1: args -> OK 1 0 7
grpc_close 1: get_status -> OK 7 a b%
grpc_message 1: get_body grpc_message 0 100 -> OK first
grpc_trailing_metadata 1: header grpc-message: later
grpc_close 1: args -> OK 1 1 5
grpc_close 1: get_status -> OK 5 later
grpc_message 1: get_body grpc_message 0 100 -> OK first
grpc_close 1: args -> OK 1 2 13
grpc_close 1: get_status -> OK 13 the peer reset the stream with code 2
grpc_message 1: get_body grpc_message 0 100 -> OK hello
grpc_close 1: args -> OK 1 3 0
grpc_close 1: get_status -> OK 0
grpc_message 1: get_body grpc_message 0 100 -> OK first
grpc_close 1: args -> OK 1 4 2
grpc_close 1: get_status -> OK 2 the answer has no grpc-status
grpc_close 1: args -> OK 1 5 14
grpc_close 1: get_status -> OK 14 HTTP status 503 without grpc-status
grpc_close 1: args -> OK 1 6 13
grpc_close 1: get_status -> OK 13 the last message is incomplete
grpc_close 1: args -> OK 1 7 13
grpc_close 1: get_status -> OK 13 the message is compressed, which is not supported
grpc_trailing_metadata 1: header grpc-message: no%20method%20None
grpc_close 1: args -> OK 1 8 12
grpc_close 1: get_status -> OK 12 no method None



=== TEST 7: servers that do not speak gRPC, and none at all
--- lua
    for _, port in ipairs {1985, 1980, 1989, 2003, 2007, 2008, 2009} do
        call("Unary", "", 20000, "127.0.0.1:" .. port)
    end
    call("Unary", "", 20000, "name.unknown:1990")
--- grep_error_log_out
grpc_close 1: args -> OK 1 0 14
grpc_close 1: get_status -> OK 14 HTTP status 503 without grpc-status
grpc_close 1: args -> OK 1 1 14
grpc_close 1: get_status -> OK 14 the peer speaks HTTP/1.1, not HTTP/2
grpc_close 1: args -> OK 1 2 14
grpc_close 1: get_status -> OK 14 connection refused
grpc_close 1: args -> OK 1 3 14
grpc_close 1: get_status -> OK 14 the answer is malformed: http2 error: connection error detected: frame with invalid size
grpc_close 1: args -> OK 1 4 14
grpc_close 1: get_status -> OK 14 the peer speaks HTTP/1.1, not HTTP/2
grpc_close 1: args -> OK 1 5 14
grpc_close 1: get_status -> OK 14 the answer is malformed: http2 error: connection error detected: frame with invalid size
grpc_close 1: args -> OK 1 6 14
grpc_close 1: get_status -> OK 14 the peer speaks HTTP/1.1, not HTTP/2
grpc_close 1: args -> OK 1 7 14
grpc_close 1: get_status -> OK 14 name.unknown could not be resolved (3: Host not found)
--- error_log
grpc call failed: connection refused, uri: http://127.0.0.1:1989/test.Echo/Unary
--- no_error_log
[alert]



=== TEST 8: a call whose time is over
--- lua
    call("Never", "", 50)
    call("Silent", "", 50)
    call("Unary", "", 50, "127.0.0.1:2002")
--- grep_error_log_out
grpc_close 1: args -> OK 1 0 4
grpc_close 1: get_status -> OK 4 timeout
grpc_close 1: args -> OK 1 1 4
grpc_close 1: get_status -> OK 4 timeout
grpc_close 1: args -> OK 1 2 4
grpc_close 1: get_status -> OK 4 timeout
--- error_log
grpc call failed: timeout, uri: http://127.0.0.1:1990/test.Echo/Never



=== TEST 9: how large a message may be
--- lua
    call("Size", "100", nil, nil, {callout_response_size = 100})
    call("Size", "101", nil, nil, {callout_response_size = 100})
    stream("Size", {"100"}, {callout_response_size = 100})
    stream("Size", {"101"}, {callout_response_size = 100})
--- grep_error_log_out eval
my $message = 'grpc_message 1: get_body grpc_message 0 100 -> OK ' . 'x' x 100;
"$message
grpc_close 1: args -> OK 1 1 8
grpc_close 1: get_status -> OK 8 the message has 101 bytes, at most 100 are allowed
$message
grpc_close 1: args -> OK 1 2 0
grpc_close 1: get_status -> OK 0
grpc_close 1: args -> OK 1 3 8
grpc_close 1: get_status -> OK 8 the message has 101 bytes, at most 100 are allowed
"



=== TEST 10: a message of 8 MiB
--- lua
    run([[
request_headers: grpc_call 127.0.0.1:1990 test.Echo Size 20000 8388608
request_headers: return 1
grpc_message: buffer_status grpc_message
]])
--- grep_error_log_out
grpc_message 1: buffer_status grpc_message -> OK 8388608 0



=== TEST 11: a stream that no request waits for: opened in a tick, closed at the last of its messages
--- lua
    local ctx = configure([[
configure: set_tick 1
tick: set_tick 0
tick: grpc_stream 127.0.0.1:1990 test.Echo Bidirectional
tick: grpc_send $token 0 one
grpc_message: get_body grpc_message 0 100
grpc_message: grpc_send $token 1 two
grpc_close: args
]])
    wait("grpc_close 1: args")
--- grep_error_log_out
grpc_message 1: get_body grpc_message 0 100 -> OK one
grpc_message 1: grpc_send $token 1 two -> OK
grpc_message 1: get_body grpc_message 0 100 -> OK two
grpc_message 1: grpc_send $token 1 two -> BAD_ARGUMENT
grpc_close 1: args -> OK 1 0 0



=== TEST 12: after grpc_cancel nothing is told, and after grpc_close no more is sent
--- lua
    local ctx = configure([[
request_headers: grpc_stream[cancelled] 127.0.0.1:1990 test.Echo Bidirectional
request_headers: grpc_send $token 0 one
request_headers: grpc_cancel $token
request_headers: grpc_cancel $token
request_headers: grpc_send $token 0 two
request_headers: grpc_call[dropped] 127.0.0.1:1990 test.Echo Unary 20000 hello
request_headers: grpc_close $token
request_headers: grpc_stream[closed] 127.0.0.1:1990 test.Echo Bidirectional
request_headers: grpc_close $token
request_headers: grpc_close $token
request_headers: grpc_send $token 0 three
request_headers: return 1
grpc_message: args
grpc_close: args
]])
    assert(wasm.on_http_request_headers(ctx))
--- grep_error_log eval: qr/(?:request_headers 2: grpc_(?:cancel|close|send)|grpc_message 1:|grpc_close 1:).*?(?=, context|, client|$)/m
--- grep_error_log_out
request_headers 2: grpc_send $token 0 one -> OK
request_headers 2: grpc_cancel $token -> OK
request_headers 2: grpc_cancel $token -> NOT_FOUND
request_headers 2: grpc_send $token 0 two -> NOT_FOUND
request_headers 2: grpc_close $token -> OK
request_headers 2: grpc_close $token -> OK
request_headers 2: grpc_close $token -> OK
request_headers 2: grpc_send $token 0 three -> BAD_ARGUMENT
grpc_close 1: args -> OK 1 2 0



=== TEST 13: a stream that is cancelled while it is open
--- lua
    local ctx = configure([[
request_headers: grpc_stream 127.0.0.1:1990 test.Echo Silent
request_headers: grpc_send $token 1 one
request_headers: return 1
grpc_message: grpc_cancel $token
grpc_close: args
]])
    assert(wasm.on_http_request_headers(ctx))
--- grep_error_log_out
grpc_message 1: grpc_cancel $token -> OK



=== TEST 14: a stream outlives the phase that opened it, and is used in a later one
--- config
    location = /t {
        rewrite_by_lua_block {
            ngx.ctx.ctx = configure([[
request_headers: grpc_stream 127.0.0.1:1990 test.Echo Bidirectional
request_headers: grpc_send $token 0 one
request_headers: return 1
request_body: grpc_send $token 1 two
request_body: return 1
grpc_message: get_body grpc_message 0 100
grpc_message: resume
grpc_close: args
]])
            assert(wasm.on_http_request_headers(ngx.ctx.ctx))
            ngx.log(ngx.INFO, "grpc_ 0: it goes on")
        }
        content_by_lua_block {
            assert(wasm.on_http_request_body(ngx.ctx.ctx, "body", true))
            wait("grpc_close 1: args")
            ngx.say("passed")
        }
    }
--- grep_error_log eval: qr/(?:grpc_message 1: get_body|grpc_close 1:|it goes on|request_body 2: grpc_send).*?(?=, context|, client|$)/m
--- grep_error_log_out
grpc_message 1: get_body grpc_message 0 100 -> OK one
it goes on
request_body 2: grpc_send $token 1 two -> OK
grpc_message 1: get_body grpc_message 0 100 -> OK two
grpc_close 1: args -> OK 1 0 0



=== TEST 15: TLS, by a scheme, and by a GrpcService that has credentials
--- lua
    -- google_grpc: target_uri, channel_credentials with ssl_credentials. Its authority is the upstream's own.
    call("Unary", "hello", nil, [["\x12\x14\x0a\x0elocalhost:1991\x12\x02\x0a\x00"]])
    call("Unary", "hello", nil, "grpcs://localhost:1991")
    -- envoy_grpc: cluster_name, authority.
    call("Unary", "hello", nil, [["\x0a\x23\x0a\x16grpcs://127.0.0.1:1991\x12\x09localhost"]])
--- grep_error_log_out
grpc_message 1: get_body grpc_message 0 100 -> OK hello
grpc_message 1: get_body grpc_message 0 100 -> OK hello
grpc_message 1: get_body grpc_message 0 100 -> OK hello



=== TEST 16: a server that proves another name
--- lua
    call("Unary", "hello", nil, [["\x0a\x25\x0a\x16grpcs://127.0.0.1:1991\x12\x0bexample.com"]])
--- grep_error_log_out eval: qr/\Agrpc_close 1: args -> OK 1 0 14\n/
--- error_log
lua ssl certificate does not match host "example.com"



=== TEST 17: other ways to name a server
--- lua
    call("Unary", "hello", nil, "grpc://127.0.0.1:1990")
    call("Unary", "hello", nil, [["\x0a\x10\x0a\x0e127.0.0.1:1990"]])
    local socket = "unix:$TEST_NGINX_SOCKETS/grpc.sock"
    call("Unary", "hello", nil, socket, {callout_upstreams = {socket}})
--- grep_error_log_out
grpc_message 1: get_body grpc_message 0 100 -> OK hello
grpc_message 1: get_body grpc_message 0 100 -> OK hello
grpc_message 1: get_body grpc_message 0 100 -> OK hello



=== TEST 18: hostcalls with fewer parameters
--- lua
    local ctx = configure("127.0.0.1:1990", nil, "short-grpc")
    assert(wasm.on_http_request_headers(ctx))
--- error_log
call 0 0
stream 0 1
register grpc callout callout id: 0, host: 127.0.0.1:1990
register grpc stream callout id: 1, host: 127.0.0.1:1990
--- no_error_log
[error]
[alert]



=== TEST 19: many streams at the same time
--- lua
    local ctx = configure([[
request_headers: grpc_stream 127.0.0.1:1990 test.Echo Bidirectional
request_headers: grpc_send $token 0 one
request_headers: return 1
grpc_message: get_body grpc_message 0 100
grpc_message: resume
grpc_close: args
]] .. ("request_headers: grpc_stream 127.0.0.1:1990 test.Echo Bidirectional\nrequest_headers: grpc_send $token 0 one\n"):rep(199),
        {callouts_per_request = 200})
    assert(wasm.on_http_request_headers(ctx))
    wait("get_body grpc_message 0 100 -> OK one", 200)
    assert(count("grpc_close 1: args") == 0)



=== TEST 20: messages go out on each of many streams, in the order in which the plugin sends them
--- lua
    local open = 'request_headers: grpc_stream 127.0.0.1:1990 test.Echo Bidirectional\nrequest_headers: grpc_send $token 0 0\n'
    local ctx = configure(open:rep(100) .. [[
request_headers: return 1
grpc_message: get_body grpc_message 0 100
grpc_message: grpc_send $token 0 more
grpc_message: grpc_send $token 1 last
grpc_close: args
]], {callouts_per_request = 100})
    assert(wasm.on_http_request_headers(ctx))
    wait("get_body grpc_message 0 100 -> OK last", 100)
    assert(count("get_body grpc_message 0 100 -> OK more") == 100)
    wait("grpc_close 1: args", 100)



=== TEST 21: a plugin context that nobody holds closes its streams
--- lua
    local ctx = configure([[
configure: set_tick 1
tick: set_tick 0
tick: grpc_stream 127.0.0.1:1990 test.Echo Silent
tick: grpc_send $token 1 one
grpc_message: args
grpc_close: args
grpc_close: get_status
]])
    wait("grpc_message 1: args")
    ctx = nil
    collectgarbage()
    wait("unloaded wasm plugin")
--- grep_error_log_out
grpc_message 1: args -> OK 1 0 5
grpc_close 1: args -> OK 1 0 1
grpc_close 1: get_status -> OK 1 cancelled



=== TEST 22: a server that closes the connection
--- lua
    call("Die")
    stream("Die", {""})
--- grep_error_log eval: qr/grpc_close 1: args.*/
--- grep_error_log_out
grpc_close 1: args -> OK 1 0 14
grpc_close 1: args -> OK 1 1 14
--- no_error_log
[alert]



=== TEST 23: a worker that ends does not wait for a stream that no request needs
--- lua
    local ctx = configure([[
configure: set_tick 1
tick: set_tick 0
tick: grpc_stream 127.0.0.1:1990 test.Echo Silent
tick: grpc_send $token 1 one
grpc_message: args
grpc_close: args
grpc_close: get_status
]])
    package.loaded.ctx = ctx
    wait("grpc_message 1: args")
--- shutdown_error_log
grpc_close 1: args -> OK 1 0 14
grpc_close 1: get_status -> OK 14 the worker ends
--- no_shutdown_error_log
[error]



=== TEST 24: a worker that ends opens no streams that no request needs: guests open theirs anew when they end
--- lua
    local ctx = configure([[
configure: set_tick 1
tick: set_tick 0
tick: grpc_stream 127.0.0.1:1990 test.Echo Silent
tick: grpc_send $token 1 one
grpc_message: args
grpc_close: grpc_stream 127.0.0.1:1990 test.Echo Silent
]])
    package.loaded.ctx = ctx
    wait("grpc_message 1: args")
--- shutdown_error_log
a gRPC stream is not opened: the worker ends
grpc_close 1: grpc_stream 127.0.0.1:1990 test.Echo Silent -> INTERNAL_FAILURE
--- no_shutdown_error_log
[alert]



=== TEST 25: the Rust SDK: calls of each kind in one request, which waits for them all
--- config
    location = /t {
        rewrite_by_lua_block {
            local ctx = configure([[
http 127.0.0.1:1980 GET /?body=http 20000
grpc 127.0.0.1:1990 test.Echo Unary 20000 call
stream 127.0.0.1:1990 test.Echo Bidirectional one two
deny 403]], nil, "callouts")
            assert(wasm.on_http_request_headers(ctx))
        }
        content_by_lua_block {
            local answers = ngx.req.get_headers()["x-callout"]
            table.sort(answers)
            ngx.say(table.concat(answers, "\n"))
        }
    }
--- response_body
0 http
1 call
2 one,two
--- error_log
stream status 0



=== TEST 26: the Rust SDK: one of them fails, and the request is denied
--- config
    location = /t {
        rewrite_by_lua_block {
            local ctx = configure([[
http 127.0.0.1:1980 GET /?body=http 20000
grpc 127.0.0.1:1990 test.Echo Fail 20000 7
stream 127.0.0.1:1990 test.Echo Bidirectional one two
deny 403]], nil, "callouts")
            assert(wasm.on_http_request_headers(ctx))
        }
        content_by_lua_block { ngx.say("not denied") }
    }
--- error_code: 403
--- response_body
a callout has failed



=== TEST 27: messages that were sent on a stream hold no bytes any more
--- lua
    local ctx = configure([[
request_headers: grpc_stream 127.0.0.1:1990 test.Echo Bidirectional
request_headers: grpc_send $token 0 one
request_headers: grpc_send $token 0 12345678
request_headers: return 1
grpc_message: get_body grpc_message 0 100
grpc_message: grpc_send $token 1 12345678
grpc_close: args
]], {callout_bytes_in_flight = 10})
    assert(wasm.on_http_request_headers(ctx))
    wait("grpc_close 1: args")
--- grep_error_log eval: qr/plugin "plugin": .*? wants .*?(?=, client)|(?:grpc_send|get_body|args).*?-> .*?(?=, context|, client|$)/m
--- grep_error_log_out
grpc_send $token 0 one -> OK
plugin "plugin": proxy_on_request_headers wants 16 bytes of callouts in flight: callout_bytes_in_flight allows 10
grpc_send $token 0 12345678 -> BAD_ARGUMENT
get_body grpc_message 0 100 -> OK one
grpc_send $token 1 12345678 -> OK
get_body grpc_message 0 100 -> OK 12345678
grpc_send $token 1 12345678 -> BAD_ARGUMENT
args -> OK 1 0 0
--- no_error_log
[alert]
