# A plugin reads the request's body, whole or in parts.

use t::WASM 'no_plan';

# --- script is the configuration of `script`; --- parts are the bodies of the calls of on_http_request_body,
# the last of them with end_of_body.
# --- grep_error_log_out is what the script logged.
add_block_preprocessor(sub {
    my ($block) = @_;
    my ($script, $parts) = map { delete($block->{$_})->[0] } qw(script parts);
    $block->set_value(config => <<"_EOC_");
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            local ctx = assert(wasm.on_configure(plugin, [[
$script
            ]]))
            local parts = {$parts}
            for i, part in ipairs(parts) do
                assert(wasm.on_http_request_body(ctx, part, i == #parts))
            end
        }
    }
_EOC_
    $block->set_value(grep_error_log => qr/(?<=request_body 2: ).*?(?=, client)/) unless defined $block->grep_error_log;
});

run_tests();

__DATA__

=== TEST 1: each part comes with its size and whether it is the last
--- script
request_body: args
--- parts: "1234", "12345"
--- grep_error_log_out
args -> OK 2 4 0
args -> OK 2 5 1



=== TEST 2: an empty body is not found
--- script
request_body: args
request_body: get_body request 0 1024
--- parts: ""
--- grep_error_log_out
args -> OK 2 0 1
get_body request 0 1024 -> NOT_FOUND



=== TEST 3: a range of the body; what is behind the end is left out
--- script
request_body: get_body request 0 2
request_body: get_body request 1 1
request_body: get_body request 1 2
request_body: get_body request 0 10
request_body: get_body request 1 9
request_body: get_body request 8 2
request_body: get_body request 9 1
request_body: get_body request 1 10
--- parts: "helloworld"
--- grep_error_log_out
get_body request 0 2 -> OK he
get_body request 1 1 -> OK e
get_body request 1 2 -> OK el
get_body request 0 10 -> OK helloworld
get_body request 1 9 -> OK elloworld
get_body request 8 2 -> OK ld
get_body request 9 1 -> OK d
get_body request 1 10 -> OK elloworld



=== TEST 4: a range outside of the body is not found; -1 is the greatest size
--- script
request_body: get_body request -1 2
request_body: get_body request 1 0
request_body: get_body request 1 -1
request_body: get_body request 10 2
--- parts: "helloworld"
--- grep_error_log_out
get_body request -1 2 -> NOT_FOUND
get_body request 1 0 -> NOT_FOUND
get_body request 1 -1 -> OK elloworld
get_body request 10 2 -> NOT_FOUND



=== TEST 5: a part is gone after its call
--- script
request_body: get_body request 0 1024
--- parts: "AAA", ""
--- grep_error_log_out
get_body request 0 1024 -> OK AAA
get_body request 0 1024 -> NOT_FOUND



=== TEST 6: a part that came with the first call is gone at the request's end, too
--- script
request_body: get_body request 0 1024
log: get_body request 0 1024
--- parts: "AAA"
--- grep_error_log eval: qr/(?:request_body|log) 2: get_body .*?(?=, client)/
--- grep_error_log_out
request_body 2: get_body request 0 1024 -> OK AAA
log 2: get_body request 0 1024 -> NOT_FOUND



=== TEST 7: a call, and a reply after its answer
--- script
request_body: http_call 127.0.0.1:1980 1000 "" :path=/
call_response: set_effective_context $stream
call_response: get_body request 0 1024
call_response: send_local_response 503 ""
--- parts: "helloworld"
--- error_code: 503
--- grep_error_log eval: qr/run http callback.*?(?=, client|$)|call_response 1: .*?(?=, client|$)/
--- grep_error_log_out
run http callback callout id: 0, plugin ctx id: 1
call_response 1: set_effective_context $stream -> OK
call_response 1: get_body request 0 1024 -> OK helloworld
call_response 1: send_local_response 503 "" -> OK
