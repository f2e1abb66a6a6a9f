# A plugin reads the response's body, chunk by chunk.

use t::WASM 'no_plan';

# --- script is the configuration of `script`, --- response the directive that makes the response.
# --- grep_error_log_out is what the script logged.
add_block_preprocessor(sub {
    my ($block) = @_;
    my ($script, $response) = map { delete($block->{$_})->[0] } qw(script response);
    $block->set_value(config => <<"_EOC_");
    location = /t {
        $response
        body_filter_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            if not ngx.ctx.wasm then
                local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
                ngx.ctx.wasm = assert(wasm.on_configure(plugin, [[
$script
                ]]))
            end
            assert(wasm.on_http_response_body(ngx.ctx.wasm))
        }
    }
_EOC_
    $block->set_value(grep_error_log => qr/(?<=response_body 2: ).*?(?= while sending|, client)/);
});

run_tests();

__DATA__

=== TEST 1: each chunk comes with its size and whether it is the last
--- script
response_body: args
--- response
content_by_lua_block {
    ngx.print("1234")
    ngx.print("12345")
}
--- response_body chomp
123412345
--- grep_error_log_out
args -> OK 2 4 0
args -> OK 2 5 0
args -> OK 2 0 1



=== TEST 2: a flush is an empty chunk
--- script
response_body: args
--- response
content_by_lua_block {
    ngx.print("1234")
    ngx.flush()
    ngx.print("12345")
}
--- response_body chomp
123412345
--- grep_error_log_out
args -> OK 2 4 0
args -> OK 2 0 0
args -> OK 2 5 0
args -> OK 2 0 1



=== TEST 3: without a body there is one empty chunk, which is not found
--- script
response_body: args
response_body: get_body response 0 1024
--- response: content_by_lua_block { ngx.exit(200) }
--- response_body
--- grep_error_log_out
args -> OK 2 0 1
get_body response 0 1024 -> NOT_FOUND



=== TEST 4: a range of the chunk; what is behind the end is left out
--- script
response_body: get_body response 0 2
response_body: get_body response 1 1
response_body: get_body response 1 2
response_body: get_body response 0 10
response_body: get_body response 1 9
response_body: get_body response 8 2
response_body: get_body response 9 1
response_body: get_body response 1 10
--- response: return 200 "helloworld";
--- response_body chomp
helloworld
--- grep_error_log_out
get_body response 0 2 -> OK he
get_body response 1 1 -> OK e
get_body response 1 2 -> OK el
get_body response 0 10 -> OK helloworld
get_body response 1 9 -> OK elloworld
get_body response 8 2 -> OK ld
get_body response 9 1 -> OK d
get_body response 1 10 -> OK elloworld



=== TEST 5: a range outside of the chunk is not found; -1 is the greatest size
--- script
response_body: get_body response -1 2
response_body: get_body response 1 0
response_body: get_body response 1 -1
response_body: get_body response 10 2
--- response: return 200 "helloworld";
--- response_body chomp
helloworld
--- grep_error_log_out
get_body response -1 2 -> NOT_FOUND
get_body response 1 0 -> NOT_FOUND
get_body response 1 -1 -> OK elloworld
get_body response 10 2 -> NOT_FOUND



=== TEST 6: the chunk is also read as if it were the request's body
--- script
response_body: get_body request 0 1024
--- response: return 200 "helloworld";
--- grep_error_log_out
get_body request 0 1024 -> OK helloworld
