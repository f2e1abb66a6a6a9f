# proxy_on_http_call_response as plugins for wasm-nginx-module know it.

use t::WASM 'no_plan';

workers(1);

# --- script is the configuration of `script`, whose callback for request headers runs in the content phase; answered with "ok"
# when the plugin does not answer itself. What its callbacks logged is what grep_error_log finds.
add_block_preprocessor(sub {
    my ($block) = @_;
    my $script = (delete $block->{script})->[0];
    $block->set_value(config => <<"_EOC_");
    location = /t {
        content_by_lua_block {
            assert(require("run")([[
$script
            ]]))
            ngx.print("ok")
        }
    }
_EOC_
    $block->set_value(response_body => 'ok') unless defined $block->error_code;
    return unless defined $block->grep_error_log_out;
    $block->set_value(grep_error_log => qr/(?:run http callback|(?<=call_response 1: )).*?(?=, client|$)/) unless defined $block->grep_error_log;
});

run_tests();

__DATA__

=== TEST 1: all headers, :status first
--- script
request_headers: http_call 127.0.0.1:1980 20000 ""
call_response: args
call_response: get_headers call_response
--- grep_error_log_out eval
qr/\Arun http callback callout id: 0, plugin ctx id: 1
args -> OK 1 0 6 5 0
header :status: 200
header server: \S+
header date: .*GMT
header content-type: text\/plain
header transfer-encoding: chunked
header connection: keep-alive
get_headers call_response -> OK 6
\z/



=== TEST 2: headers of one name
--- script
request_headers: http_call 127.0.0.1:1980 20000 "" :path=/repeated_headers
call_response: args
call_response: get_headers call_response
call_response: get_header call_response FOO
--- grep_error_log eval: qr/args -> .*?(?=, client|$)|header foo.*?(?=, client|$)|get_header.*?(?=, client|$)/
--- grep_error_log_out
args -> OK 1 0 8 5 0
header foo: bar
header foo: baz
get_headers call_response -> OK 8
get_header call_response FOO -> OK bar



=== TEST 3: a failed call has no headers, but says what failed
--- script
request_headers: http_call 127.0.0.1:1979 20000 ""
call_response: args
call_response: get_header call_response :status
call_response: get_header call_response :dispatch_status
call_response: get_headers call_response
call_response: get_body call_response 0 10
call_response: get_status
--- grep_error_log_out
run http callback callout id: 0, plugin ctx id: 1
args -> OK 1 0 0 0 0
get_header call_response :status -> NOT_FOUND
get_header call_response :dispatch_status -> OK broken connection
get_headers call_response -> OK 0
get_body call_response 0 10 -> NOT_FOUND
get_status -> OK 11 connection refused
--- error_log
http call failed: connection refused
--- no_error_log
[alert]



=== TEST 4: an answer without a body
--- script
request_headers: http_call 127.0.0.1:1980 20000 "" :path=/?body=
call_response: args
call_response: get_body call_response 0 10
--- grep_error_log_out
run http callback callout id: 0, plugin ctx id: 1
args -> OK 1 0 6 0 0
get_body call_response 0 10 -> NOT_FOUND



=== TEST 5: a range of the body; what is behind the end is left out
--- script
request_headers: http_call 127.0.0.1:1980 20000 "" :path=/?body=helloworld
call_response: get_body call_response 0 2
call_response: get_body call_response 1 1
call_response: get_body call_response 1 2
call_response: get_body call_response 0 10
call_response: get_body call_response 1 9
call_response: get_body call_response 8 2
call_response: get_body call_response 9 1
call_response: get_body call_response 1 10
--- grep_error_log_out
run http callback callout id: 0, plugin ctx id: 1
get_body call_response 0 2 -> OK he
get_body call_response 1 1 -> OK e
get_body call_response 1 2 -> OK el
get_body call_response 0 10 -> OK helloworld
get_body call_response 1 9 -> OK elloworld
get_body call_response 8 2 -> OK ld
get_body call_response 9 1 -> OK d
get_body call_response 1 10 -> OK elloworld



=== TEST 6: a range outside of the body is not found; -1 is the greatest size
--- script
request_headers: http_call 127.0.0.1:1980 20000 "" :path=/?body=helloworld
call_response: get_body call_response -1 2
call_response: get_body call_response 1 0
call_response: get_body call_response 1 -1
call_response: get_body call_response 10 2
--- grep_error_log_out
run http callback callout id: 0, plugin ctx id: 1
get_body call_response -1 2 -> NOT_FOUND
get_body call_response 1 0 -> NOT_FOUND
get_body call_response 1 -1 -> OK elloworld
get_body call_response 10 2 -> NOT_FOUND



=== TEST 7: a reply after the answer
--- script
request_headers: http_call 127.0.0.1:1980 20000 ""
call_response: set_effective_context $stream
call_response: send_local_response 503 "" a=b
--- error_code: 503
--- response_headers
a: b
--- response_body_like: 503 Service Temporarily Unavailable
--- grep_error_log_out
run http callback callout id: 0, plugin ctx id: 1
set_effective_context $stream -> OK
send_local_response 503 "" a=b -> OK



=== TEST 8: a call after the answer, a reply after its answer
--- script
request_headers: http_call[a] 127.0.0.1:1980 20000 ""
call_response[a]: set_effective_context $stream
call_response[a]: http_call[b] 127.0.0.1:1980 20000 ""
call_response[b]: set_effective_context $stream
call_response[b]: send_local_response 403 denied
--- error_code: 403
--- response_body chomp
denied
--- grep_error_log eval: qr/run http callback.*?(?=, client|$)/
--- grep_error_log_out
run http callback callout id: 0, plugin ctx id: 1
run http callback callout id: 1, plugin ctx id: 1



=== TEST 9: three calls, one after the other
--- script
request_headers: http_call[a] 127.0.0.1:1980 20000 ""
call_response[a]: set_effective_context $stream
call_response[a]: http_call[b] 127.0.0.1:1980 20000 ""
call_response[b]: set_effective_context $stream
call_response[b]: http_call[c] 127.0.0.1:1980 20000 ""
call_response[c]: set_effective_context $stream
call_response[c]: send_local_response 401 denied
--- error_code: 401
--- response_body chomp
denied
--- grep_error_log eval: qr/run http callback.*?(?=, client|$)/
--- grep_error_log_out
run http callback callout id: 0, plugin ctx id: 1
run http callback callout id: 1, plugin ctx id: 1
run http callback callout id: 2, plugin ctx id: 1
