# The clients of t/Http2.pm tell what comes over HTTP/2.

use t::WASM 'no_plan';
use t::Http2;

start_clients();

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(config => $block->config . <<'_EOC_');
    listen 127.0.0.1:1985 http2;
    location = /t {
        content_by_lua_block {
            local http2 = require("http2")
            ngx.print(http2.get("http://127.0.0.1:1985/x"))
            ngx.print((http2.curl("http://127.0.0.1:1985/x"):gsub("server:[^\n]*\n", ""):gsub("date:[^\n]*\n", ""):gsub("\r", "")))
        }
    }
_EOC_
});

run_tests();

__DATA__

=== TEST 1: status, headers, a body in parts, and the end
--- config
    location = /x { content_by_lua_block { ngx.print("one\n") ngx.flush(true) ngx.print("two\n") } }
--- response_body
:status: 200
content-type: text/plain
body one
two

end
HTTP/2 200 
content-type: text/plain

one
two



=== TEST 2: trailers
--- http_config
    init_worker_by_lua_block {
        wasm = require("resty.proxy-wasm")
        ctx = assert(wasm.on_configure(assert(wasm.load("plugin", "target/guests/script.wasm")),
            "response_headers: add_header response_trailers grpc-status 7"))
    }
--- config
    location = /x {
        content_by_lua_block { ngx.print("content\n") }
        header_filter_by_lua_block { assert(wasm.on_http_response_headers(ctx)) }
    }
--- response_body
:status: 200
content-type: text/plain
body content

trailer grpc-status: 7
end
HTTP/2 200 
content-type: text/plain

content
grpc-status: 7



=== TEST 3: a response that HTTP/2 does not allow
--- config
    location = /x { content_by_lua_block { ngx.header.connection = "close" ngx.print("content\n") } }
--- response_body
:status: 200
content-type: text/plain
refused PROTOCOL_ERROR
curl: (92) HTTP/2 stream 1 was not closed cleanly: PROTOCOL_ERROR (err 1)



=== TEST 4: a body that is shorter than was told
--- config
    location = /x { content_by_lua_block { ngx.header.content_length = 20 ngx.print("content\n") } }
--- response_body_like: \A:status: 200\n(?s:.*)content-length: 20\n(?s:.*)refused PROTOCOL_ERROR\n(?s:.*)curl: \(92\)



=== TEST 5: a stream that the server ends
--- config
    location = /x {
        content_by_lua_block { ngx.print("content\n") ngx.flush(true) ngx.print("more\n") }
        body_filter_by_lua_block { if ngx.arg[1] == "more\n" then error("no more") end }
    }
--- response_body_like
:status: 200
content-type: text/plain
body content

reset INTERNAL_ERROR
.*
--- error_log
no more
