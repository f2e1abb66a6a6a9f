# What frames a request is nginx's, whatever a plugin makes of it: no byte of a body is lost, or taken for another request.

use t::WASM 'no_plan';
use t::Http2;

start_clients();

# --- script is the configuration of a plugin whose callbacks run in /t, after the body was read in /t/read/first; --- client is Lua
# code that prints what is to be seen, with raw.lua as raw and http2.lua as http2. The upstream answers with the bytes of the request
# that it got, CR LF as a bar, and logs each; /next is the request that is behind another one.
add_block_preprocessor(sub {
    my ($block) = @_;
    my ($script, $client, $location) = map { (delete $block->{$_} // [])->[0] // '' } qw(script client location);
    $block->set_value(http_config => <<"_EOC_" . ($block->http_config // ''));
    init_worker_by_lua_block {
        wasm, raw, http2 = require("resty.proxy-wasm"), require("raw"), require("http2")
        ctx = assert(wasm.on_configure(assert(wasm.load("plugin", "target/guests/script.wasm")), [[
$script
        ]]))
        other = assert(wasm.on_configure(assert(wasm.load("other", "target/guests/script.wasm")),
            "request_headers: get_headers request"))
        function on_body()
            ngx.req.read_body()
            local body, file = ngx.req.get_body_data(), ngx.req.get_body_file()
            assert(wasm.on_http_request_body(ctx, body or file and io.open(file):read("*a"), true))
        end
        -- A request with a body, and one behind it on the same connection.
        function post(uri, head, body)
            return raw("POST " .. uri .. " HTTP/1.1\\r\\nHost: a\\r\\n" .. head .. "\\r\\n" .. body
                       .. "GET /next HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n")
        end
        function bodies(answers)
            local text = {}
            for status, body in answers:gmatch("HTTP/1.1 (%d+)[^\\n]*\\n.-\\n\\n(.-)~") do
                text[#text + 1] = status .. " " .. body
            end
            return table.concat(text, "\\n")
        end
    }
    upstream kept { server 127.0.0.1:1987; keepalive 4; }
    server {
        listen 127.0.0.1:1987;
        location / {
            client_body_buffer_size 256k;
            content_by_lua_block {
                ngx.req.read_body()
                local head = ngx.req.raw_header():gsub("\\r\\n", "|")
                local body = ngx.req.get_body_data() or ""
                if #body > 200 then
                    body = #body .. " bytes " .. ngx.md5(body)
                end
                local text = head .. body .. "~"
                ngx.log(ngx.INFO, "upstream got [", (text:gsub("~", "")), "]")
                ngx.header["Content-Length"] = #text
                ngx.print(text)
            }
        }
    }
_EOC_
    $block->set_value(config => <<"_EOC_" . ($block->config // ''));
    listen 127.0.0.1:1986 http2;
    client_body_buffer_size 16k;
    location /next { return 200 "next~"; }
    location /client { content_by_lua_block { $client } }
    location /t {
        access_by_lua_block { assert(wasm.on_http_request_headers(ctx)) assert(wasm.on_http_request_headers(other)) }
        $location
        proxy_pass http://kept; proxy_http_version 1.1; proxy_set_header Connection "";
        location /t/body {
            access_by_lua_block { assert(wasm.on_http_request_headers(ctx)) on_body() }
            proxy_pass http://kept; proxy_http_version 1.1; proxy_set_header Connection "";
        }
        location /t/read/first {
            access_by_lua_block { ngx.req.read_body() assert(wasm.on_http_request_headers(ctx)) on_body() }
            proxy_pass http://kept; proxy_http_version 1.1; proxy_set_header Connection "";
        }
        location /t/unbuffered {
            access_by_lua_block { assert(wasm.on_http_request_headers(ctx)) }
            proxy_request_buffering off;
            proxy_pass http://kept; proxy_http_version 1.1; proxy_set_header Connection "";
        }
        location /t/upgrade {
            access_by_lua_block { assert(wasm.on_http_request_headers(ctx)) }
            proxy_set_header Upgrade \$http_upgrade; proxy_set_header Connection \$http_connection;
            proxy_pass http://kept; proxy_http_version 1.1;
        }
        location /t/response {
            header_filter_by_lua_block { assert(wasm.on_http_response_headers(ctx)) }
            return 200 "answer~";
        }
    }
_EOC_
    $block->set_value(request => "GET /client") unless defined $block->request;
    $block->set_value(timeout => 10) unless defined $block->timeout;
});

run_tests();

__DATA__

=== TEST 1: a content-length that a plugin removes is gone for plugins, and the body goes to the upstream with its length
--- script
request_headers: remove_header request Content-Length
request_headers: get_header request content-length
request_headers: get_property request\0headers\0content-length
request_headers: get_property ngx\0http_content_length
request_headers: get_property request\0size
--- client
for _, uri in ipairs({"/t", "/t/body", "/t/read/first", "/t/unbuffered"}) do
    ngx.say(bodies(post(uri, "Content-Length: 5\r\n", "hello")))
end
--- response_body
200 POST /t HTTP/1.1|Host: kept|Content-Length: 5||hello
200 next
200 POST /t/body HTTP/1.1|Host: kept|Content-Length: 5||hello
200 next
200 POST /t/read/first HTTP/1.1|Host: kept|Content-Length: 5||hello
200 next
200 POST /t/unbuffered HTTP/1.1|Host: kept|Content-Length: 5||hello
200 next
--- error_log
get_header request content-length -> NOT_FOUND
get_property request\0headers\0content-length -> NOT_FOUND
get_property ngx\0http_content_length -> NOT_FOUND
get_property request\0size -> OK \x05\0\0\0\0\0\0\0
request_headers 2: get_headers request -> OK 5



=== TEST 2: a body that looks like a request is none
--- script
request_headers: remove_header request content-length
--- client
local smuggled = "GET /smuggled HTTP/1.1\r\nHost: b\r\n\r\n"
for _, uri in ipairs({"/t", "/t/body", "/t/read/first", "/t/unbuffered", "/t/response"}) do
    local answers = post(uri, "Content-Length: " .. #smuggled .. "\r\n", smuggled)
    ngx.say(select(2, answers:gsub("HTTP/1.1 200", "")), " ", (bodies(answers):gsub("[^\n]*||", ""):gsub("\n", "|")))
end
--- response_body
2 GET /smuggled HTTP/1.1|Host: b|||200 next
2 GET /smuggled HTTP/1.1|Host: b|||200 next
2 GET /smuggled HTTP/1.1|Host: b|||200 next
2 GET /smuggled HTTP/1.1|Host: b|||200 next
2 200 answer|200 next
--- grep_error_log: upstream got [GET /smuggled
--- grep_error_log_out



=== TEST 3: a content-length that a plugin sets is read back, and changes nothing
--- script
request_headers: replace_header request content-length 2
request_headers: get_header request content-length
request_headers: add_header request Content-Length 900000
--- client
for _, uri in ipairs({"/t", "/t/body", "/t/read/first", "/t/unbuffered"}) do
    ngx.say(bodies(post(uri, "Content-Length: 5\r\n", "hello")))
end
--- response_body
200 POST /t HTTP/1.1|Host: kept|Content-Length: 5||hello
200 next
200 POST /t/body HTTP/1.1|Host: kept|Content-Length: 5||hello
200 next
200 POST /t/read/first HTTP/1.1|Host: kept|Content-Length: 5||hello
200 next
200 POST /t/unbuffered HTTP/1.1|Host: kept|Content-Length: 5||hello
200 next
--- grep_error_log eval: qr/\w+ \d: (?:get_header request content-length.*?|header content-length.*?|get_headers .*?)(?= while|, client)/
--- grep_error_log_out eval
"request_headers 2: get_header request content-length -> OK 2
request_headers 2: header content-length: 2
request_headers 2: header content-length: 900000
request_headers 2: get_headers request -> OK 7
" . ("request_headers 2: get_header request content-length -> OK 2\n" x 2) . "request_headers 2: get_header request content-length -> OK 2\n"



=== TEST 4: chunked bodies stay whole when a plugin edits transfer-encoding
--- script
request_headers: remove_header request transfer-encoding
request_headers: add_header request content-length 3
request_headers: get_header request transfer-encoding
--- client
for _, uri in ipairs({"/t", "/t/body", "/t/read/first", "/t/unbuffered"}) do
    ngx.say(bodies(post(uri, "Transfer-Encoding: chunked\r\n", "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")))
end
--- response_body
200 POST /t HTTP/1.1|Host: kept|Content-Length: 5||hello
200 next
200 POST /t/body HTTP/1.1|Host: kept|Content-Length: 5||hello
200 next
200 POST /t/read/first HTTP/1.1|Host: kept|Content-Length: 5||hello
200 next
200 POST /t/unbuffered HTTP/1.1|Host: kept|Content-Length: 5||hello
200 next
--- error_log
get_header request transfer-encoding -> NOT_FOUND



=== TEST 5: transfer-encoding and its kin reach neither nginx nor the upstream
--- script
request_headers: add_header request transfer-encoding chunked
request_headers: add_header request connection close
request_headers: add_header request keep-alive timeout=1
request_headers: add_header request upgrade websocket
request_headers: add_header request te trailers
request_headers: add_header request trailer x-a
request_headers: add_header request expect 100-continue
request_headers: add_header request proxy-connection close
request_headers: add_header request http2-settings AAMAAABk
request_headers: get_headers request
--- client
for _, uri in ipairs({"/t", "/t/body", "/t/unbuffered"}) do
    ngx.say(bodies(post(uri, "Content-Length: 5\r\n", "hello")))
end
--- response_body
200 POST /t HTTP/1.1|Host: kept|Content-Length: 5||hello
200 next
200 POST /t/body HTTP/1.1|Host: kept|Content-Length: 5||hello
200 next
200 POST /t/unbuffered HTTP/1.1|Host: kept|Content-Length: 5||hello
200 next
--- error_log
header transfer-encoding: chunked
header connection: close
header keep-alive: timeout=1
header upgrade: websocket
header te: trailers
header trailer: x-a
header expect: 100-continue
header proxy-connection: close
header http2-settings: AAMAAABk



=== TEST 6: all headers written at once keep the body and the connection
--- script
request_headers: set_headers request x-a=1 x-b=2
request_headers: get_headers request
--- client
for _, uri in ipairs({"/t", "/t/body", "/t/read/first", "/t/unbuffered", "/t/response"}) do
    ngx.say(bodies(post(uri, "Content-Length: 5\r\nConnection: keep-alive\r\n", "hello")))
end
--- response_body
200 POST /t HTTP/1.1|Host: kept|Content-Length: 5|x-a: 1|x-b: 2||hello
200 next
200 POST /t/body HTTP/1.1|Host: kept|Content-Length: 5|x-a: 1|x-b: 2||hello
200 next
200 POST /t/read/first HTTP/1.1|Host: kept|Content-Length: 5|x-a: 1|x-b: 2||hello
200 next
200 POST /t/unbuffered HTTP/1.1|Host: kept|Content-Length: 5|x-a: 1|x-b: 2||hello
200 next
200 answer
200 next
--- error_log
get_headers request -> OK 5



=== TEST 7: a body that a plugin changes has its own length, whatever the headers say
--- script
request_headers: remove_header request content-length
request_body: set_body request 0 0 "more "
request_body: get_header request content-length
--- client
for _, head in ipairs({"Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"}) do
    local body = head:find("Length") and "hello" or "5\r\nhello\r\n0\r\n\r\n"
    for _, uri in ipairs({"/t/body", "/t/read/first"}) do
        ngx.say(bodies(post(uri, head, body)))
    end
end
--- response_body
200 POST /t/body HTTP/1.1|Host: kept|Content-Length: 10||more hello
200 next
200 POST /t/read/first HTTP/1.1|Host: kept|Content-Length: 10||more hello
200 next
200 POST /t/body HTTP/1.1|Host: kept|Content-Length: 10||more hello
200 next
200 POST /t/read/first HTTP/1.1|Host: kept|Content-Length: 10||more hello
200 next
--- error_log
get_header request content-length -> NOT_FOUND



=== TEST 8: a body in a file
--- script
request_headers: remove_header request content-length
--- client
local body = ("0123456789abcdef"):rep(8192)
ngx.say(ngx.md5(body))
for _, uri in ipairs({"/t", "/t/body", "/t/read/first", "/t/unbuffered"}) do
    ngx.say(bodies(post(uri, "Content-Length: " .. #body .. "\r\n", body)))
end
--- response_body_like eval
qr!\A(\w{32})
200 POST /t HTTP/1.1\|Host: kept\|Content-Length: 131072\|\|131072 bytes \1
200 next
200 POST /t/body HTTP/1.1\|Host: kept\|Content-Length: 131072\|\|131072 bytes \1
200 next
200 POST /t/read/first HTTP/1.1\|Host: kept\|Content-Length: 131072\|\|131072 bytes \1
200 next
200 POST /t/unbuffered HTTP/1.1\|Host: kept\|Content-Length: 131072\|\|131072 bytes \1
200 next
\Z!
--- error_log
a client request body is buffered to a temporary file



=== TEST 9: a chunked body that goes on as it comes
--- script
request_headers: remove_header request transfer-encoding
request_headers: replace_header request content-length 1
--- client
local body = ("0123456789abcdef"):rep(8192)
ngx.say(ngx.md5(body))
ngx.say(bodies(post("/t/unbuffered", "Transfer-Encoding: chunked\r\n", "20000\r\n" .. body .. "\r\n0\r\n\r\n")))
--- response_body_like eval
qr!\A(\w{32})
200 POST /t/unbuffered HTTP/1.1\|Host: kept\|Transfer-Encoding: chunked\|\|131072 bytes \1
200 next
\Z!



=== TEST 10: over HTTP/2, with a length and without
--- script
request_headers: remove_header request content-length
request_headers: add_header request transfer-encoding chunked
request_headers: add_header request connection close
request_headers: get_header request content-length
response_headers: remove_header request content-length
--- user_files
>>> body
hello
--- client
local file = "-d" .. ngx.config.prefix() .. "html/body"
for _, uri in ipairs({"/t", "/t/body", "/t/read/first", "/t/unbuffered", "/t/response"}) do
    for _, option in ipairs({"-v", "--no-content-length"}) do
        local answer = http2.get("http://127.0.0.1:1986" .. uri, file, option)
        local length = answer:match("|(Content%-Length: [^|]*)") or answer:match("|(Transfer%-Encoding: [^|]*)")
        ngx.say(answer:match("POST [^|]*"), " ", length, " ", answer:match("||([^~]*)") or answer:match("answer"))
    end
end
--- response_body_like eval
CORE::join('', '\A', (map { "POST $_ HTTP/1.1 Content-Length: 6 hello\n\n" x 2 } qw(/t /t/body /t/read/first)),
     "POST /t/unbuffered HTTP/1.1 Content-Length: 6 hello\n\nPOST /t/unbuffered HTTP/1.1 (?:Content-Length: 6|Transfer-Encoding: chunked) hello\n\n",
     "nil nil answer\n" x 2, '\Z')
--- error_log
get_header request content-length -> NOT_FOUND



=== TEST 11: a body that a plugin changes, over HTTP/2
--- script
request_headers: remove_header request content-length
request_body: set_body request 0 0 "more "
--- user_files
>>> body
hello
--- client
local file = "-d" .. ngx.config.prefix() .. "html/body"
for _, uri in ipairs({"/t/body", "/t/read/first"}) do
    for _, option in ipairs({"-v", "--no-content-length"}) do
        local answer = http2.get("http://127.0.0.1:1986" .. uri, file, option)
        ngx.say(answer:match("POST [^|]*"), " ", answer:match("|(Content%-Length: [^|]*)"), " ", answer:match("||([^~]*)"))
    end
end
--- response_body eval
CORE::join '', map { "POST $_ HTTP/1.1 Content-Length: 11 more hello\n\n" x 2 } qw(/t/body /t/read/first)



=== TEST 12: nginx discards a body by what the client declared
--- script
response_headers: remove_header request content-length
response_headers: get_header request content-length
--- client
local answers = raw({"POST /t/response HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n",
    ("A"):rep(50000) .. "GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"})
ngx.say(bodies(answers))
--- response_body
200 answer
200 next
--- error_log
get_header request content-length -> NOT_FOUND



=== TEST 13: all headers written at once while nginx discards the body
--- script
response_headers: set_headers request x=1
--- client
local answers = raw({"POST /t/response HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n",
    ("A"):rep(50000) .. "GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"})
ngx.say(bodies(answers))
--- response_body
200 answer
200 next



=== TEST 14: the configuration decides whether the client's upgrade goes on, and no plugin
--- script
request_headers: remove_header request upgrade
request_headers: replace_header request connection close
request_headers: get_header request upgrade
--- client
ngx.say(bodies(raw("GET /t/upgrade HTTP/1.1\r\nHost: a\r\nUpgrade: other\r\nConnection: upgrade\r\n\r\n"
                   .. "GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")))
--- response_body
200 GET /t/upgrade HTTP/1.1|Upgrade: other|Connection: upgrade|Host: kept||
200 next
--- error_log
get_header request upgrade -> NOT_FOUND



=== TEST 15: a removed expect still lets the 100 Continue out
--- script
request_headers: remove_header request expect
request_headers: get_header request expect
--- client
for _, uri in ipairs({"/t", "/t/body", "/t/unbuffered"}) do
    local answers = raw({"POST " .. uri .. " HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
                         "hello"})
    ngx.say(answers:match("^HTTP/1.1 100[^\n]*\n\n"), bodies(answers:match("HTTP/1.1 200.*")))
end
--- response_body eval
CORE::join '', map { "HTTP/1.1 100 Continue\n\n200 POST $_ HTTP/1.1|Host: kept|Content-Length: 5||hello\n" } qw(/t /t/body /t/unbuffered)
--- error_log
get_header request expect -> NOT_FOUND



=== TEST 16: a connection header that a plugin sets neither closes nor keeps the client's connection
--- script
request_headers: replace_header request connection close
--- client
ngx.say(bodies(raw("GET /t HTTP/1.1\r\nHost: a\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")))
--- response_body
200 GET /t HTTP/1.1|Host: kept||
200 next



=== TEST 17: where nothing is kept of a request an edit of its framing is refused and logged
--- config
    location = /log {
        log_by_lua_block { assert(wasm.on_http_request_headers(ctx)) }
        return 200 "x";
    }
--- script
request_headers: remove_header request content-length
request_headers: get_header request content-length
--- request
POST /log
hello
--- response_body chomp
x
--- error_log
failed to set request header content-length: what frames a request can't be changed at its end
get_header request content-length -> OK 5



=== TEST 18: a request's edits are not those of the next one
--- script
request_headers: get_header request content-length
request_headers: replace_header request content-length 77
--- client
local one = "POST /t HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
ngx.say(bodies(raw(one .. one .. "GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")))
--- response_body
200 POST /t HTTP/1.1|Host: kept|Content-Length: 5||hello
200 POST /t HTTP/1.1|Host: kept|Content-Length: 5||hello
200 next
--- grep_error_log eval: qr/get_header request content-length -> \w+ \d+/
--- grep_error_log_out
get_header request content-length -> OK 5
get_header request content-length -> OK 5



=== TEST 19: framing headers that take too much room are refused
--- script
request_headers: add_header request te 1234567890123456789012345678901234567890
--- config
    location = /many {
        content_by_lua_block { for _ = 1, 2000 do assert(wasm.on_http_request_headers(ctx)) end ngx.print("x") }
    }
--- request
GET /many
--- response_body chomp
x
--- error_log
failed to set request header te: the headers that frame a request have 65536 bytes in all
