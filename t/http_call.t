# proxy_http_call as plugins for wasm-nginx-module use it.

use t::WASM 'no_plan';
use t::Servers;

workers(1);

# --- script is the configuration of `script`, whose callback for request headers runs; where that fails the error log has why.
# Answered with "ok" when the plugin does not answer itself.
add_block_preprocessor(sub {
    my ($block) = @_;
    my $script = delete $block->{script} or return;
    $block->set_value(config => <<"_EOC_");
    location = /t {
        content_by_lua_block {
            local ok, err = require("run")([[
$script->[0]
            ]])
            if not ok then ngx.log(ngx.ERR, err) end
            ngx.print("ok")
        }
    }
_EOC_
    $block->set_value(response_body => 'ok') unless defined $block->error_code || defined $block->response_body;
});

run_tests();

__DATA__

=== TEST 1: in the response's phases it is sent, and nothing waits
--- config
    location = /t {
        content_by_lua_block { ngx.print("ok") }
        header_filter_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            package.loaded.ctx = package.loaded.ctx
                or assert(wasm.on_configure(assert(wasm.load("plugin", "target/guests/script.wasm")), [[
response_headers: http_call 127.0.0.1:1980 20000 "" :path=/hello
call_response: args
                ]]))
            assert(wasm.on_http_response_headers(package.loaded.ctx))
        }
    }
--- response_body chomp
ok
--- error_log
response_headers 2: http_call 127.0.0.1:1980 20000 "" :path=/hello -> OK 0
hit with [GET http://127.0.0.1/hello]
call_response 1: args -> OK 1 0
--- no_error_log
[error]



=== TEST 2: an upstream that is none is refused
--- script
request_headers: http_call "" 20000 ""
request_headers: http_call 127.0.0.1:111981 20000 ""
request_headers: http_call a::1] 20000 ""
--- grep_error_log eval: qr/http call gets invalid host: [^,]*|-> \w+/
--- grep_error_log_out
http call gets invalid host: 
-> BAD_ARGUMENT
http call gets invalid host: 127.0.0.1:111981
-> BAD_ARGUMENT
http call gets invalid host: a::1]
-> BAD_ARGUMENT
--- no_error_log
[alert]



=== TEST 3: the answer comes to the plugin context, which can turn to the request's
--- script
request_headers: http_call 127.0.0.1:1980 20000 ""
call_response: set_effective_context $stream
call_response: get_property uri
call_response: set_effective_context 2
--- grep_error_log eval: qr/(?:register|run) http.*?(?=, client)|\w+ \d: [gs]et_.*?(?=, client|$)/
--- grep_error_log_out
register http callout callout id: 0, host: 127.0.0.1:1980
run http callback callout id: 0, plugin ctx id: 1
call_response 1: set_effective_context $stream -> OK
call_response 1: get_property uri -> OK /t
call_response 1: set_effective_context 2 -> OK



=== TEST 4: a refused connection is an answer without anything
--- script
request_headers: http_call 127.0.0.1:1979 20000 ""
call_response: args
--- error_log
connection refused
http call failed: connection refused, uri: http://127.0.0.1:1979
call_response 1: args -> OK 1 0 0 0 0
--- no_error_log
[alert]



=== TEST 5: a panic in the answer's callback
--- script
request_headers: http_call 127.0.0.1:1980 20000 ""
call_response: panic ouch
--- error_log
failed to call function
failed to run proxy_on_http_call_response
--- no_error_log
[alert]



=== TEST 6: a call takes back the reply that was given before it
--- script
request_headers: send_local_response 503 "denied"
request_headers: http_call 127.0.0.1:1980 20000 ""
call_response: args
--- error_code: 200
--- response_body chomp
ok
--- error_log
a local reply is not sent: the request waits for the HTTP call that was made after it
call_response 1: args
--- no_error_log
[error]



=== TEST 7: many requests at once, each with a plugin context of its own
--- config
    location = /t {
        content_by_lua_block {
            local threads = {}
            for n = 1, 18 do
                threads[n] = ngx.thread.spawn(require("client"), "/one")
            end
            for n = 1, 18 do
                local _, body = ngx.thread.wait(threads[n])
                ngx.print(body)
            end
        }
    }
    location = /one {
        content_by_lua_block {
            local ok = require("run")("request_headers: http_call 127.0.0.1:1980 20000 \"\"\ncall_response: get_body call_response 0 9")
            ngx.print(ok and "a" or "b")
        }
    }
--- response_body chomp
aaaaaaaaaaaaaaaaaa
--- grep_error_log: call_response 1: get_body call_response 0 9 -> OK hello
--- grep_error_log_out eval
"call_response 1: get_body call_response 0 9 -> OK hello\n" x 18
--- error_log eval
[map { "run http callback callout id: $_, plugin ctx id: 1, client" } 0 .. 17]
--- no_error_log
[error]



=== TEST 8: many requests at once, with one plugin context
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            package.loaded.ctx = assert(wasm.on_configure(assert(wasm.load("plugin", "target/guests/script.wasm")), [[
request_headers: http_call 127.0.0.1:1980 20000 "" :path=/
call_response: get_body call_response 0 9
call_response: set_effective_context $stream
call_response: add_header request x-answer yes
            ]]))
            local threads = {}
            for n = 1, 18 do
                threads[n] = ngx.thread.spawn(require("client"), "/one")
            end
            for n = 1, 18 do
                local _, body = ngx.thread.wait(threads[n])
                ngx.print(body)
            end
        }
    }
    location = /one {
        content_by_lua_block {
            assert(require("resty.proxy-wasm").on_http_request_headers(package.loaded.ctx))
            ngx.print(ngx.var.http_x_answer == "yes" and "a" or "b")
        }
    }
--- response_body chomp
aaaaaaaaaaaaaaaaaa
--- grep_error_log: call_response 1: get_body call_response 0 9 -> OK hello
--- grep_error_log_out eval
"call_response 1: get_body call_response 0 9 -> OK hello\n" x 18
--- error_log eval
[map { "run http callback callout id: $_, plugin ctx id: 1, client" } 0 .. 17]
--- no_error_log
[error]



=== TEST 9: paths; one without a slash gets it
--- script
request_headers: http_call 127.0.0.1:1980 20000 "" :path=/hello
call_response: set_effective_context $stream
call_response[]: http_call[a] 127.0.0.1:1980 20000 "" :path=/t?x=1
call_response[a]: set_effective_context $stream
call_response[a]: http_call[b] 127.0.0.1:1980 20000 "" :path=a
call_response[b]: set_effective_context $stream
call_response[b]: http_call[c] 127.0.0.1:1980 20000 ""
--- grep_error_log eval: qr/hit with \[.*?\]|send http request to .*?(?=, client|$)/
--- grep_error_log_out
send http request to http://127.0.0.1:1980/hello, method: GET, timeout in ms: 20000
hit with [GET http://127.0.0.1/hello]
send http request to http://127.0.0.1:1980/t?x=1, method: GET, timeout in ms: 20000
hit with [GET http://127.0.0.1/t?x=1]
send http request to http://127.0.0.1:1980/a, method: GET, timeout in ms: 20000
hit with [GET http://127.0.0.1/a]
send http request to http://127.0.0.1:1980, method: GET, timeout in ms: 20000
hit with [GET http://127.0.0.1/]



=== TEST 10: methods; GET where none is given, whatever the call before had
--- script
request_headers: http_call[a] 127.0.0.1:1980 20000 "" :method=POST
call_response[a]: set_effective_context $stream
call_response[a]: http_call[b] 127.0.0.1:1980 20000 "" :method=GET
call_response[b]: set_effective_context $stream
call_response[b]: http_call[c] 127.0.0.1:1980 20000 "" :method=DELETE
call_response[c]: set_effective_context $stream
call_response[c]: http_call[d] 127.0.0.1:1980 20000 ""
--- grep_error_log eval: qr/hit with \[.*?\]/
--- grep_error_log_out
hit with [POST http://127.0.0.1/]
hit with [GET http://127.0.0.1/]
hit with [DELETE http://127.0.0.1/]
hit with [GET http://127.0.0.1/]



=== TEST 11: schemes; a certificate has to name whom was asked
--- http_config eval
"$t::Servers::BACKENDS lua_ssl_trusted_certificate $t::Servers::TLS/ca.pem;"
--- script
request_headers: http_call[a] 127.0.0.1:1980 20000 "" :scheme=http
call_response[a]: set_effective_context $stream
call_response[a]: http_call[b] 127.0.0.1:1970 20000 "" :scheme=https :authority=other.example.com
call_response[b]: args
--- error_log
hit with [GET http://127.0.0.1/]
http call failed: certificate host mismatch, uri: https://127.0.0.1:1970
call_response[b] 1: args -> OK 1 1 0 0 0
--- no_error_log
[alert]



=== TEST 12: headers; the upstream is the Host unless :authority says another; those of one name are all sent
--- script
request_headers: http_call[a] 127.0.0.1:1980 20000 ""
call_response[a]: set_effective_context $stream
call_response[a]: http_call[b] 127.0.0.1:1980 20000 "" :authority=some.example.com X-Name=one
call_response[b]: set_effective_context $stream
call_response[b]: http_call[c] 127.0.0.1:1980 20000 "" foo=bar foo=baz
--- grep_error_log eval: qr/hit with headers .*?}/
--- grep_error_log_out
hit with headers {"host":"127.0.0.1:1980"}
hit with headers {"host":"some.example.com","x-name":"one"}
hit with headers {"foo":["bar","baz"],"host":"127.0.0.1:1980"}



=== TEST 13: a timeout below 0
--- script
request_headers: http_call 127.0.0.1:1980 -1 ""
--- error_log
invalid timeout: -1
-> INTERNAL_FAILURE
--- no_error_log
hit with
[alert]



=== TEST 14: a timeout that is over before the answer comes
--- script
request_headers: http_call 127.0.0.1:1980 100 "" :path=/sleep
call_response: args
--- error_log
http call failed: timeout, uri: http://127.0.0.1:1980/sleep
call_response 1: args -> OK 1 0 0 0 0
--- no_error_log
[alert]



=== TEST 15: bodies; an empty one is none
--- script
request_headers: http_call[a] 127.0.0.1:1980 20000 "a body" :method=POST
call_response[a]: set_effective_context $stream
call_response[a]: http_call[b] 127.0.0.1:1980 20000 "" :method=POST
--- grep_error_log eval: qr/hit with body .*?(?=, client|$)/
--- grep_error_log_out
hit with body a body
hit with body nil



=== TEST 16: a plugin of the Rust SDK pauses the request, and answers it after the answer
--- config
    location = /t {
        access_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/callouts.wasm"))
            local ctx = assert(wasm.on_configure(plugin, "http 127.0.0.1:1979 GET / 1000\ndeny 403"))
            wasm.on_http_request_headers(ctx)
            ngx.log(ngx.ERR, "the plugin's caller goes on")
        }
        content_by_lua_block { ngx.log(ngx.ERR, "the content phase is reached") }
    }
--- error_code: 403
--- response_headers
x-denied-by: callouts
--- response_body
a callout has failed
--- error_log
2 0: dispatched
2 0: http None, 0 headers, 0 bytes "", 0 trailers
--- no_error_log
goes on
is reached
[alert]



=== TEST 17: or lets it go on
--- config
    location = /t {
        access_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/callouts.wasm"))
            local ctx = assert(wasm.on_configure(plugin, "http 127.0.0.1:1980 GET /?body=welcome 1000\ndeny 403"))
            assert(wasm.on_http_request_headers(ctx))
        }
        content_by_lua_block { ngx.print(ngx.var.http_x_callout) }
    }
--- response_body chomp
0 welcome
--- error_log
2 0: http Some("200"), 6 headers, 7 bytes "welcome", 0 trailers
--- no_error_log
[error]
