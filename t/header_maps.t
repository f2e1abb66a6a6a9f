# Header maps beyond wasm-nginx-module: paths with their query, text for SDKs that take nothing else, trailers.

use t::WASM 'no_plan';

# --- script is the configuration of a plugin whose callbacks run in /t, which proxies to /upstream of this server: that answers
# with the request line and the Host that it got. --- options are those of load.
add_block_preprocessor(sub {
    my ($block) = @_;
    my ($script, $options) = map { (delete $block->{$_} // [])->[0] } qw(script options);
    $options //= 'nil';
    $block->set_value(http_config => <<"_EOC_" . ($block->http_config // ''));
    init_worker_by_lua_block {
        wasm = require("resty.proxy-wasm")
        ctx = assert(wasm.on_configure(assert(wasm.load("plugin", "target/guests/script.wasm", $options)), [[
$script
        ]]))
    }
    server {
        listen 127.0.0.1:1987;
        location / {
            content_by_lua_block { ngx.say(ngx.req.raw_header():match("^[^\\r\\n]*"), " ", ngx.var.http_host) }
        }
    }
_EOC_
    $block->set_value(config => <<'_EOC_') unless defined $block->config;
    location /t {
        access_by_lua_block { assert(wasm.on_http_request_headers(ctx)) }
        proxy_pass http://127.0.0.1:1987;
        proxy_set_header Host $http_host;
        header_filter_by_lua_block { assert(wasm.on_http_response_headers(ctx)) }
        body_filter_by_lua_block { assert(wasm.on_http_response_body(ctx)) }
    }
_EOC_
    $block->set_value(grep_error_log => qr/(?:[gs]et|add|replace|remove)_header\w* .*?(?= while|, client|$)/)
        if defined $block->grep_error_log_out && !defined $block->grep_error_log;
});

run_tests();

__DATA__

=== TEST 1: a path that is set goes to the upstream with its query
--- script
request_headers: replace_header request :path /new/path?x=1&y=%20z
--- request
GET /t?old=1
--- response_body
GET /new/path?x=1&y=%20z HTTP/1.0 localhost



=== TEST 2: a path without a query has none
--- script
request_headers: replace_header request :path /new
--- request
GET /t?old=1
--- response_body
GET /new HTTP/1.0 localhost



=== TEST 3: escapes in the path arrive as they were set
--- script
request_headers: replace_header request :path /a%20b/%E4%BD%A0%3F?q=%3D
--- response_body
GET /a%20b/%E4%BD%A0%3F?q=%3D HTTP/1.0 localhost



=== TEST 4: a percent sign that escapes nothing is one
--- script
request_headers: replace_header request :path /100%/%zz
--- response_body
GET /100%25/%25zz HTTP/1.0 localhost



=== TEST 5: nginx's variables see path and query apart
--- script
request_headers: replace_header request :path /new%20path?x=1
--- config
    location /t {
        content_by_lua_block {
            assert(wasm.on_http_request_headers(ctx))
            ngx.say(ngx.var.uri, " ", ngx.var.args, " ", ngx.var.arg_x)
        }
    }
--- response_body
/new path x=1 1



=== TEST 6: what was set is what is read, in every phase
--- script
request_headers: replace_header request :path /new?x=1
request_headers: get_header request :path
request_headers: replace_header request :method PURGE
request_headers: get_header request :method
request_headers: replace_header request :authority other:8080
request_headers: get_header request :authority
request_headers: get_header request host
response_headers: get_header request :path
response_headers: get_header request :authority
response_headers: replace_header response :status 201
response_headers: get_header response :status
response_body: get_header response :status
log: get_header request :path
log: get_header request :method
log: get_header response :status
--- error_code: 201
--- response_body
PURGE /new?x=1 HTTP/1.0 other:8080
--- grep_error_log_out
replace_header request :path /new?x=1 -> OK
get_header request :path -> OK /new?x=1
replace_header request :method PURGE -> OK
get_header request :method -> OK PURGE
replace_header request :authority other:8080 -> OK
get_header request :authority -> OK other:8080
get_header request host -> OK other:8080
get_header request :path -> OK /new?x=1
get_header request :authority -> OK other:8080
replace_header response :status 201 -> OK
get_header response :status -> OK 201
get_header response :status -> OK 201
get_header response :status -> OK 201
get_header request :path -> OK /new?x=1
get_header request :method -> OK PURGE
get_header response :status -> OK 201



=== TEST 7: an escaped NUL is no path
--- script
request_headers: replace_header request :path /a%00b
--- response_body
GET /t HTTP/1.0 localhost
--- error_log
failed to set request header :path: invalid char "0"
--- no_error_log
[alert]



=== TEST 8: values that are no UTF-8 arrive as they are
--- script
request_headers: get_header request x-raw
request_headers: get_headers request
--- raw_request eval
"GET /t HTTP/1.0\r\nHost: a\r\nX-Raw: a\xffb\xc3\xa4\r\n\r\n"
--- ignore_response
--- error_log
get_header request x-raw -> OK a\xffb\xc3\xa4,
header x-raw: a\xffb\xc3\xa4,



=== TEST 9: with escape_invalid_utf8 they are text
--- options chomp
{escape_invalid_utf8 = true}
--- script
request_headers: get_header request x-raw
request_headers: get_headers request
request_headers: headers_size request
response_headers: add_header response x-back "\xC0 100%"
response_headers: get_header response x-back
--- raw_request eval
"GET /t HTTP/1.0\r\nHost: a\r\nX-Raw: a\xffb\xc3\xa4\r\n\r\n"
--- ignore_response
--- error_log
get_header request x-raw -> OK a%FFb\xc3\xa4,
header x-raw: a%FFb\xc3\xa4,
get_header response x-back -> OK %C0 100% while



=== TEST 10: a Rust SDK plugin that takes text survives with escape_invalid_utf8
--- script
request_headers: log info unused
--- config
    location = /t {
        content_by_lua_block {
            for _, options in ipairs({{}, {escape_invalid_utf8 = true}}) do
                local plugin = assert(wasm.load("plugin", "target/guests/lifecycle.wasm", options))
                local ctx = assert(wasm.on_configure(plugin, "get-headers"))
                ngx.say(wasm.on_http_request_headers(ctx))
            end
        }
    }
--- raw_request eval
"GET /t HTTP/1.0\r\nHost: a\r\nX-Raw: a\xffb\r\n\r\n"
--- response_body
nilfailed to run proxy_on_http_request_headers
true
--- error_log
header x-raw: a%FFb
--- no_error_log
[alert]



=== TEST 11: trailers of a plugin are sent with a chunked response
--- script
response_headers: add_header response_trailers X-One 1
response_headers: add_header response_trailers x-two 2
response_headers: add_header response_trailers x-two 22
response_headers: replace_header response_trailers X-ONE one
response_headers: add_header response_trailers x-gone 3
response_headers: remove_header response_trailers X-Gone
response_headers: get_header response_trailers x-two
response_headers: get_header response_trailers x-gone
response_headers: get_headers response_trailers
response_headers: headers_size response_trailers
--- config
    location = /t {
        content_by_lua_block {
            local socket = ngx.socket.tcp()
            assert(socket:connect("127.0.0.1", ngx.var.server_port))
            assert(socket:send("GET /trailers HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
            ngx.print((assert(socket:receive("*a")):match("\r\n\r\n(.*)"):gsub("\r", "")))
        }
    }
    location = /trailers {
        content_by_lua_block { ngx.print("body") }
        header_filter_by_lua_block { assert(wasm.on_http_response_headers(ctx)) }
    }
--- response_body eval
"4\nbody\n0\nx-two: 2\nx-two: 22\nX-ONE: one\n\n"
--- grep_error_log eval: qr/(?:get_header\w*|headers_size) .*?(?= while|, client|$)/
--- grep_error_log_out
get_header response_trailers x-two -> OK 2
get_header response_trailers x-gone -> NOT_FOUND
get_headers response_trailers -> OK 3
headers_size response_trailers -> OK 55



=== TEST 12: a trailer that would break the response is refused
--- script
response_headers: add_header response_trailers x-one "1\r\nx-two: 2"
response_headers: add_header response_trailers "x-one: 1\r\nx-two" 2
response_headers: add_header response_trailers "" 3
response_headers: get_headers response_trailers
--- response_body
GET /t HTTP/1.0 localhost
--- error_log
failed to set response trailer "x-one" to "1\r\nx-two: 2"
failed to set response trailer "x-one: 1\r\nx-two" to "2"
failed to set response trailer "" to "3"
get_headers response_trailers -> OK 0
--- no_error_log
[alert]



=== TEST 13: an upstream's trailers have a callback after the body's, and can be changed there
--- http_config
    server {
        listen 127.0.0.1:1988 http2;
        location / {
            content_by_lua_block {
                ngx.header["content-type"] = "application/grpc"
                ngx.print("\0\0\0\0\2hi")
            }
            header_filter_by_lua_block {
                local plugin = assert(wasm.load("upstream", "target/guests/script.wasm"))
                upstream_ctx = assert(wasm.on_configure(plugin, "response_headers: add_header response_trailers grpc-status 5\n"
                    .. "response_headers: add_header response_trailers grpc-message none"))
                assert(wasm.on_http_response_headers(upstream_ctx))
            }
        }
    }
    server {
        listen 127.0.0.1:1989 http2;
        location / {
            grpc_pass grpc://127.0.0.1:1988;
            header_filter_by_lua_block { assert(wasm.on_http_response_headers(ctx)) }
            body_filter_by_lua_block { assert(wasm.on_http_response_body(ctx)) }
        }
    }
--- script
response_body: log info body
response_trailers: args
response_trailers: get_header response_trailers grpc-status
response_trailers: replace_header response_trailers grpc-status 0
log: get_header response_trailers grpc-status
--- config
    location = /t {
        content_by_lua_block {
            local function frame(kind, flags, stream, payload)
                return string.char(0, 0, #payload, kind, flags, 0, 0, 0, stream) .. payload
            end
            local socket = ngx.socket.tcp()
            assert(socket:connect("127.0.0.1", 1989))
            assert(socket:send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" .. frame(4, 0, 0, "")
                .. frame(1, 5, 1, "\x82\x04\x02/t\x86\x41\x09localhost")))
            -- Until the trailers: the second HEADERS frame.
            local headers = 0
            repeat
                local size = assert(socket:receive(9))
                local kind = size:byte(4)
                local length = size:byte(1) * 65536 + size:byte(2) * 256 + size:byte(3)
                if length > 0 then assert(socket:receive(length)) end
                if kind == 1 then headers = headers + 1 end
            until headers == 2
            socket:close()
            ngx.say("trailers came")
        }
    }
--- response_body
trailers came
--- grep_error_log eval: qr/response_trailers 2: .*?(?= while|, client|$)|log 2: .*?(?= while|, client|$)/
--- grep_error_log_out
response_trailers 2: args -> OK 2 2
response_trailers 2: get_header response_trailers grpc-status -> OK 5
response_trailers 2: replace_header response_trailers grpc-status 0 -> OK
log 2: get_header response_trailers grpc-status -> OK 0



=== TEST 14: a response without trailers has no callback for them; a request has none in nginx
--- script
request_headers: get_headers request_trailers
request_headers: get_header request_trailers x
request_headers: add_header request_trailers x 1
response_trailers: log warn not reached
--- response_body
GET /t HTTP/1.0 localhost
--- grep_error_log_out
get_headers request_trailers -> OK 0
get_header request_trailers x -> NOT_FOUND
add_header request_trailers x 1 -> OK
--- error_log
header map RequestTrailers can't be changed here
--- no_error_log
[alert]
