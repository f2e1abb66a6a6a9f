# A plugin reads and changes the request's headers, :path, :method, :scheme and :authority.

use t::WASM 'no_plan';

# --- script runs in the access phase, as the configuration of `script`, then comes --- content, in Lua.
# --- grep_error_log_out is what the script logged.
add_block_preprocessor(sub {
    my ($block) = @_;
    my $script = delete $block->{script} or return;
    my $content = delete $block->{content} // ['ngx.say("passed")'];
    $block->set_value(config => ($block->config // '') . <<"_EOC_");
    location /t {
        access_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            local ctx = assert(wasm.on_configure(plugin, [[
$script->[0]
            ]]))
            assert(wasm.on_http_request_headers(ctx))
        }
        content_by_lua_block {
            $content->[0]
        }
    }
_EOC_
    $block->set_value(grep_error_log => qr/(?<=request_headers 2: ).*?(?=, client)/)
        if defined $block->grep_error_log_out && !defined $block->grep_error_log;
});

run_tests();

__DATA__

=== TEST 1: a header is read
--- script
request_headers: get_header request X-API
--- more_headers
X-API: foo
--- grep_error_log_out
get_header request X-API -> OK foo



=== TEST 2: of repeated headers the first is read
--- script
request_headers: get_header request X-API
--- more_headers
X-API: bar
X-API: foo
--- grep_error_log_out
get_header request X-API -> OK bar



=== TEST 3: a missing header is not found
--- script
request_headers: get_header request X-API
--- more_headers
X-APIA: bar
--- grep_error_log_out
get_header request X-API -> NOT_FOUND



=== TEST 4: :authority is the Host header
--- script
request_headers: get_header request :authority
--- grep_error_log_out
get_header request :authority -> OK localhost



=== TEST 5: case does not matter
--- script
request_headers: get_header request x-aPI
--- more_headers
X-API: foo
--- grep_error_log_out
get_header request x-aPI -> OK foo



=== TEST 6: all headers, in their order, then the pseudo headers
--- script
request_headers: get_headers request
--- more_headers
X-API: foo
--- grep_error_log_out
header host: localhost
header connection: close
header x-api: foo
header :scheme: http
header :path: /t
header :method: GET
header :authority: localhost
get_headers request -> OK 7



=== TEST 7: all headers, repeated ones among them
--- script
request_headers: get_headers request
--- more_headers
X-API: foo
X-API: bar
--- grep_error_log_out
header host: localhost
header connection: close
header x-api: foo
header x-api: bar
header :scheme: http
header :path: /t
header :method: GET
header :authority: localhost
get_headers request -> OK 8



=== TEST 8: replace a header
--- script
request_headers: replace_header request foo bar
--- content: ngx.say(ngx.var.http_foo)
--- more_headers
FOO: foo
--- response_body
bar



=== TEST 9: replace a missing header
--- script
request_headers: replace_header request foo bar
--- content: ngx.say(ngx.var.http_foo)
--- response_body
bar



=== TEST 10: add to a header
--- script
request_headers: add_header request foo bar
--- content: ngx.say(ngx.req.get_headers()["foo"])
--- more_headers
FOO: foo
--- response_body
foobar



=== TEST 11: add a missing header
--- script
request_headers: add_header request foo bar
--- content: ngx.say(ngx.req.get_headers()["foo"])
--- response_body
bar



=== TEST 12: remove a header
--- script
request_headers: remove_header request foo
--- content: ngx.say(ngx.req.get_headers()["foo"])
--- more_headers
FOO: foo
--- response_body
nil



=== TEST 13: remove a missing header
--- script
request_headers: remove_header request foo
--- content: ngx.say(ngx.req.get_headers()["foo"])
--- response_body
nil
--- grep_error_log_out
remove_header request foo -> OK



=== TEST 14: remove all headers of a name
--- script
request_headers: remove_header request foo
--- content: ngx.say(ngx.req.get_headers()["foo"])
--- more_headers
FOO: foo
FOO: bar
--- response_body
nil



=== TEST 15: :path without a query
--- script
request_headers: get_header request :path
--- grep_error_log_out
get_header request :path -> OK /t



=== TEST 16: :path with a query
--- script
request_headers: get_header request :path
--- request
GET /t?q=hello&a=world
--- grep_error_log_out
get_header request :path -> OK /t?q=hello&a=world



=== TEST 17: :method GET
--- script
request_headers: get_header request :method
--- grep_error_log_out
get_header request :method -> OK GET



=== TEST 18: :method POST
--- script
request_headers: get_header request :method
--- request
POST /t
--- grep_error_log_out
get_header request :method -> OK POST



=== TEST 19: :method PUT
--- script
request_headers: get_header request :method
--- request
PUT /t
--- grep_error_log_out
get_header request :method -> OK PUT



=== TEST 20: :method DELETE
--- script
request_headers: get_header request :method
--- request
DELETE /t
--- grep_error_log_out
get_header request :method -> OK DELETE



=== TEST 21: :scheme with HTTP/2 without TLS
--- script
request_headers: get_header request :scheme
--- config
    listen 127.0.0.1:1985 http2;

    location = /h2c {
        content_by_lua_block {
            local function frame(kind, flags, stream, payload)
                return string.char(0, 0, #payload, kind, flags, 0, 0, 0, stream) .. payload
            end
            local socket = ngx.socket.tcp()
            assert(socket:connect("127.0.0.1", 1985))
            assert(socket:send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" .. frame(4, 0, 0, "")
                -- HEADERS, at once the request's end: :method GET, :path /t, :scheme http, :authority localhost
                .. frame(1, 5, 1, "\x82\x04\x02/t\x86\x41\x09localhost")))
            assert(socket:receiveuntil("passed\n")())
            socket:close()
            ngx.say("passed")
        }
    }
--- request
GET /h2c
--- response_body
passed
--- grep_error_log_out
get_header request :scheme -> OK http



=== TEST 22: a header without a name is not found
--- script
request_headers: get_header request ""
--- grep_error_log_out
get_header request "" -> NOT_FOUND



=== TEST 23: setting a header without a name is no error
--- script
request_headers: replace_header request "" ""
--- grep_error_log_out
replace_header request "" "" -> OK
--- response_body
passed



=== TEST 24: :scheme
--- script
request_headers: get_header request :scheme
--- grep_error_log_out
get_header request :scheme -> OK http



=== TEST 25: pseudo headers can't be removed
--- script
request_headers: remove_header request :method
request_headers: remove_header request :path
request_headers: get_header request :method
request_headers: get_header request :path
--- grep_error_log_out
remove_header request :method -> OK
remove_header request :path -> OK
get_header request :method -> OK GET
get_header request :path -> OK /t
--- error_log eval
[
    qr/\[error\] \d+#\d+: \*\d+ failed to set request header :method: can't remove pseudo header, client/,
    qr/\[error\] \d+#\d+: \*\d+ failed to set request header :path: can't remove pseudo header, client/,
]



=== TEST 26: :path can't be set to what is no path
--- script
request_headers: replace_header request :path "a\r\na"
--- content: ngx.say(ngx.var.uri)
--- response_body
/t
--- error_log eval
qr/\[error\] \d+#\d+: \*\d+ failed to set request header :path: invalid char "13", client/



=== TEST 27: :path becomes nginx's uri as it is
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            for _, path in ipairs({"a", "ac", "a?", "a?a", "a?a=c"}) do
                local ctx = assert(wasm.on_configure(plugin, "request_headers: replace_header request :path " .. path))
                assert(wasm.on_http_request_headers(ctx))
                ngx.say(ngx.var.uri)
            end
        }
    }
--- response_body
a
ac
a?
a?a
a?a=c



=== TEST 28: :method can't be set to what is no method
--- script
request_headers: replace_header request :method "a\nc"
request_headers: replace_header request :method "a c"
--- content: ngx.say(ngx.var.request_method)
--- response_body
GET
--- grep_error_log eval: qr/\[error\] \d+#\d+: \*\d+ failed to set request header :method: invalid char.*?, client/
--- grep_error_log_out eval
qr/\A\[error\] \S+ \*\d+ failed to set request header :method: invalid char "10", client
\[error\] \S+ \*\d+ failed to set request header :method: invalid char "32", client
\z/
--- no_error_log
[alert]



=== TEST 29: set :method, also to one that nginx does not know
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            for _, method in ipairs({"GET", "POST", "PURGE"}) do
                local ctx = assert(wasm.on_configure(plugin, "request_headers: replace_header request :method " .. method))
                assert(wasm.on_http_request_headers(ctx))
                ngx.say(ngx.var.request_method)
            end
        }
    }
--- response_body
GET
POST
PURGE
