# What frames a response is nginx's, whatever a plugin makes of its headers and its body: over HTTP/1.1, HTTP/1.0 and HTTP/2.

use t::WASM 'no_plan';
use t::Http2;

start_clients();

# --- script is the configuration of a plugin whose callbacks run in /x, and --- second that of one whose response callbacks come after
# it. --- answer is what the upstream sends, unless --- upstream is another one, by default 12 bytes with a length; --- location more directives of /x; --- callbacks what
# runs there, of Q, R and B: the headers of the request and the response, and the response's body. --- client is Lua code: there
# kept(METHOD, HEADERS) sends a request to /x and one to /next on one connection and says what came, byte by byte.
add_block_preprocessor(sub {
    my ($block) = @_;
    my %value = (
        second => '', upstream => 'http://127.0.0.1:1986', location => '', callbacks => 'QRB', answer => 'ngx.header.content_length = 12 ngx.print("hello world\n")',
        client => 'say(kept("GET"))',
    );
    for my $name (qw(script second upstream location callbacks answer client)) {
        my $value = delete $block->{$name};
        $value{$name} = $value->[0] if $value;
    }
    my %lua = (Q => ['access_by_lua_block', 'request_headers'], R => ['header_filter_by_lua_block', 'response_headers'], B => ['body_filter_by_lua_block', 'response_body']);
    my $callbacks = join "\n", map {
        my ($directive, $function) = @{ $lua{$_} };
        "$directive { assert(wasm.on_http_$function(one)) " . ($_ eq 'Q' ? '' : "assert(wasm.on_http_$function(two))") . ' }'
    } split //, $value{callbacks};
    $block->set_value(http_config => <<"_EOC_" . ($block->http_config // ''));
    lua_shared_dict resty_wasm 1m;
    init_worker_by_lua_block {
        wasm = require("resty.proxy-wasm")
        local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
        one = assert(wasm.on_configure(plugin, [[#
$value{script}
        ]]))
        two = assert(wasm.on_configure(plugin, [[##
$value{second}
        ]]))
        http2 = require("http2")
        function kept(method, headers, version)
            local socket = ngx.socket.tcp()
            socket:settimeout(3000)
            assert(socket:connect("127.0.0.1", ngx.var.server_port))
            local head = (method or "GET") .. " /x HTTP/" .. (version or "1.1") .. "\\r\\nHost: localhost\\r\\n" .. (headers or "") .. "\\r\\n"
            assert(socket:send(head .. "GET /next HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n"))
            local all, err, part = socket:receive("*a")
            all = all or part .. "\\n" .. err .. "\\n"
            return (all:gsub("Server:[^\\n]*\\n", ""):gsub("Date:[^\\n]*\\n", ""):gsub("Last%-Modified:[^\\n]*\\n", ""):gsub("\\r", ""))
        end
        function say(text) ngx.print(text) end
    }
    server {
        listen 127.0.0.1:1986;
        location / { content_by_lua_block { $value{answer} } }
    }
_EOC_
    $block->set_value(config => <<"_EOC_" . ($block->config // ''));
    listen 127.0.0.1:1985 http2;
    location = /x {
        proxy_pass $value{upstream};
        proxy_http_version 1.1;
        $callbacks
        $value{location}
    }
    location = /next { return 200 "next\n"; }
    location = /t { content_by_lua_block { $value{client} } }
_EOC_
});

run_tests();

__DATA__

=== TEST 1: headers of the connection that a plugin sets do not reach the client over HTTP/1.1, and the log says so once
--- script
response_headers: replace_header response connection close
response_headers: add_header response Connection keep-alive
response_headers: replace_header response keep-alive timeout=5
response_headers: replace_header response proxy-connection close
response_headers: replace_header response upgrade h2c
response_headers: replace_header response te trailers
response_headers: replace_header response trailer x
response_headers: replace_header response transfer_encoding chunked
response_headers: add_header response Transfer-Encoding gzip
--- response_body
HTTP/1.1 200 OK
Content-Type: text/plain
Content-Length: 12
Connection: keep-alive

hello world
HTTP/1.1 200 OK
Content-Type: text/plain
Content-Length: 5
Connection: close

next
--- grep_error_log: stays as it is: nginx frames the response
--- grep_error_log_out
stays as it is: nginx frames the response



=== TEST 2: nor over HTTP/2, where they would be a protocol error
--- script
response_headers: replace_header response connection close
response_headers: replace_header response keep-alive timeout=5
response_headers: replace_header response proxy-connection close
response_headers: replace_header response upgrade h2c
response_headers: replace_header response te trailers
response_headers: replace_header response transfer-encoding chunked
--- client: say(http2.get("http://127.0.0.1:1985/x"))
--- response_body
:status: 200
content-type: text/plain
content-length: 12
body hello world

end



=== TEST 3: nor in a local reply, in whatever place
--- script
request_headers: send_local_response 403 denied connection=close transfer-encoding=chunked upgrade=h2c Keep_Alive=timeout=1 content-length=3
--- second
response_headers: send_local_response 404 none connection=close transfer-encoding=chunked upgrade=h2c te=x content-length=3
--- callbacks: Q
--- config
    location = /second {
        content_by_lua_block { ngx.print("hello") }
        header_filter_by_lua_block { assert(wasm.on_http_response_headers(two)) }
        body_filter_by_lua_block { assert(wasm.on_http_response_body(two)) }
    }
--- client
say(kept("GET"))
say(http2.get("http://127.0.0.1:1985/x"))
say(http2.get("http://127.0.0.1:1985/second"))
--- response_body
HTTP/1.1 403 Forbidden
Content-Type: text/plain
Connection: keep-alive
content-length: 6

deniedHTTP/1.1 200 OK
Content-Type: text/plain
Content-Length: 5
Connection: close

next
:status: 403
content-type: text/plain
content-length: 6
body denied
end
:status: 404
content-type: text/plain
body none
end



=== TEST 4: a plugin that writes back all headers that it has read changes nothing
--- script
response_headers: copy_headers response
--- client
say(kept("GET"))
say(http2.get("http://127.0.0.1:1985/x"))
--- response_body
HTTP/1.1 200 OK
Content-Type: text/plain
Content-Length: 12
Connection: keep-alive

hello world
HTTP/1.1 200 OK
Content-Type: text/plain
Content-Length: 5
Connection: close

next
:status: 200
content-type: text/plain
content-length: 12
body hello world

end



=== TEST 5: the body of the length that a plugin sets is sent
--- script
response_headers: replace_header response content-length 24
response_headers: get_header response content-length
response_body: set_body response 0 -1 "hello world\nhello world\n"
response_body: return 1
--- client
say(kept("GET"))
say(http2.get("http://127.0.0.1:1985/x"))
--- response_body
HTTP/1.1 200 OK
Content-Type: text/plain
Transfer-Encoding: chunked
Connection: keep-alive

18
hello world
hello world

0

HTTP/1.1 200 OK
Content-Type: text/plain
Content-Length: 5
Connection: close

next
:status: 200
content-type: text/plain
body hello world
hello world

end
--- error_log
get_header response content-length -> OK 24
the client is not told the content-length 24 that plugin "plugin" sets



=== TEST 6: of more than a plugin has set the rest is cut, also when the plugin leaves the body alone
--- script
response_headers: replace_header response Content_Length 5
--- client
say(kept("GET"))
say(http2.get("http://127.0.0.1:1985/x"))
say(kept("GET", "", "1.0") .. "\n")
--- response_body
HTTP/1.1 200 OK
Content-Type: text/plain
Transfer-Encoding: chunked
Connection: keep-alive

5
hello
0

HTTP/1.1 200 OK
Content-Type: text/plain
Content-Length: 5
Connection: close

next
:status: 200
content-type: text/plain
body hello
end
HTTP/1.1 200 OK
Content-Type: text/plain
Connection: close

hello
--- error_log
the response body is cut: plugin "plugin" leaves more than the content-length 5 that it has set
--- no_error_log
[alert]



=== TEST 7: with less than a plugin has set no client waits
--- script
response_headers: replace_header response content-length 50
--- client
say(kept("GET"))
say(http2.get("http://127.0.0.1:1985/x"))
--- response_body
HTTP/1.1 200 OK
Content-Type: text/plain
Transfer-Encoding: chunked
Connection: keep-alive

c
hello world

0

HTTP/1.1 200 OK
Content-Type: text/plain
Content-Length: 5
Connection: close

next
:status: 200
content-type: text/plain
body hello world

end
--- error_log
plugin "plugin" leaves 12 bytes of the response body, less than the content-length 50 that it has set



=== TEST 8: nor where the location calls nothing for the body
--- script
response_headers: replace_header response content-length 50
--- second
response_headers: replace_header response content-length 5
--- callbacks: QR
--- client
say(kept("GET"))
say(http2.get("http://127.0.0.1:1985/x"))
--- response_body
HTTP/1.1 200 OK
Content-Type: text/plain
Transfer-Encoding: chunked
Connection: keep-alive

c
hello world

0

HTTP/1.1 200 OK
Content-Type: text/plain
Content-Length: 5
Connection: close

next
:status: 200
content-type: text/plain
body hello world

end



=== TEST 9: a HEAD request has no body and waits for none
--- script
response_headers: replace_header response content-length 50
--- client
say(kept("HEAD"))
say((http2.curl("http://127.0.0.1:1985/x", "-I"):gsub("\r", ""):gsub("date:[^\n]*\n", ""):gsub("server:[^\n]*\n", "") .. "end\n"))
--- response_body
HTTP/1.1 200 OK
Content-Type: text/plain
Connection: keep-alive

HTTP/1.1 200 OK
Content-Type: text/plain
Content-Length: 5
Connection: close

next
HTTP/2 200 
content-type: text/plain

end



=== TEST 10: a length that is no number is refused, and one that is set to what it was changes nothing
--- script
response_headers: replace_header response content-length 12x
response_headers: replace_header response content-length 0x10
response_headers: replace_header response content-length -1
response_headers: replace_header response content-length 99999999999999999999
response_headers: remove_header response content-length
response_headers: add_header response content-length 12
--- client: say(kept("GET"))
--- response_body
HTTP/1.1 200 OK
Content-Type: text/plain
Content-Length: 12
Connection: keep-alive

hello world
HTTP/1.1 200 OK
Content-Type: text/plain
Content-Length: 5
Connection: close

next
--- grep_error_log: failed to set response header content-length: invalid value
--- grep_error_log_out
failed to set response header content-length: invalid value
failed to set response header content-length: invalid value
failed to set response header content-length: invalid value
failed to set response header content-length: invalid value
--- error_log
failed to set response header content-length



=== TEST 11: the length that the next plugin sees is the one that was set
--- script
response_headers: replace_header response content-length 24
--- second
response_headers: get_header response content-length
response_headers: get_headers response
response_headers: args
response_headers: remove_header response content-length
response_headers: get_header response content-length
--- response_body_like: Transfer-Encoding: chunked
--- error_log
get_header response content-length -> OK 24
header content-length: 24
get_header response content-length -> NOT_FOUND
--- grep_error_log eval: qr/response_headers \d+: (?:get_headers response -> OK \d+|args -> OK \d+ \d+)/
--- grep_error_log_out
response_headers 4: get_headers response -> OK 4
response_headers 4: args -> OK 4 4



=== TEST 12: a response content-length that is set before there is a response, or when it has begun, does nothing
--- script
request_headers: add_header response content-length 3
response_body: replace_header response content-length 3
log: replace_header response content-length 3
--- response_body
HTTP/1.1 200 OK
Content-Type: text/plain
Content-Length: 12
Connection: keep-alive

hello world
HTTP/1.1 200 OK
Content-Type: text/plain
Content-Length: 5
Connection: close

next
--- error_log
response header content-length stays as it is: nginx frames the response



=== TEST 13: a body that is shorter than the client was told ends the connection, over HTTP/2 the stream
--- script
response_body: set_body response 0 -1 short
response_body: return 1
--- client
say(kept("GET"))
say(http2.get("http://127.0.0.1:1985/x"))
--- response_body_unlike: next|original|hello|end
--- error_log
the response is cut off: plugin "plugin" leaves 5 bytes of the response body, less than the content-length 12 that the client was told
--- no_error_log
[alert]



=== TEST 14: a body that is longer than the client was told is cut, and the next response is whole
--- script
response_body: set_body response 0 -1 "masked ***** masked"
response_body: return 1
--- client
say(kept("GET"))
say(http2.get("http://127.0.0.1:1985/x"))
--- response_body
HTTP/1.1 200 OK
Content-Type: text/plain
Content-Length: 12
Connection: keep-alive

masked *****HTTP/1.1 200 OK
Content-Type: text/plain
Content-Length: 5
Connection: close

next
:status: 200
content-type: text/plain
content-length: 12
body masked *****
end
--- error_log
the response body is cut: plugin "plugin" leaves more than the content-length 12 that the client was told



=== TEST 15: what a plugin held back is lost with its instance: no client waits for it
--- answer
ngx.header.content_length = 12
ngx.print("hello ") ngx.flush(true) ngx.sleep(0.05) ngx.print("world\n")
--- location: proxy_buffering off;
--- callbacks: QR
--- config
    location = /trap {
        proxy_pass http://127.0.0.1:1986;
        proxy_buffering off;
        header_filter_by_lua_block {
            trapping = trapping or assert(wasm.on_configure(assert(wasm.load("trapping", "target/guests/script.wasm")),
                -- The number is there for the first chunk alone: without it the guest panics.
                "configure: set_shared x 1 0\nresponse_body: increment_shared x 1\nresponse_body: delete_shared x 0\nresponse_body: return 1"))
            assert(wasm.on_http_response_headers(trapping))
        }
        body_filter_by_lua_block { wasm.on_http_response_body(trapping) }
    }
--- client
local socket = ngx.socket.tcp()
socket:settimeout(3000)
assert(socket:connect("127.0.0.1", ngx.var.server_port))
assert(socket:send("GET /trap HTTP/1.1\r\nHost: localhost\r\n\r\nGET /next HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
local all, err, part = socket:receive("*a")
ngx.say((all or part):find("next") and "next" or "closed", " ", tostring(err))
--- response_body_like: ^closed
--- error_log
failed to call function
the response is cut off: plugin "trapping" leaves
--- no_error_log
[alert]



=== TEST 16: a plugin that only reads the body leaves length, etag and ranges
--- script
response_headers: set_property wasm_process_resp_body true
response_body: get_body response 0 100
--- location
set $wasm_process_resp_body '';
rewrite ^ /file.txt break;
--- upstream: http://127.0.0.1:1987
--- http_config
    server { listen 127.0.0.1:1987; root $TEST_NGINX_HTML_DIR; }
--- user_files
>>> file.txt
abcdefghij
--- client
local function shown(text) return (text:gsub('ETag: "[^"]*"', "ETag"):gsub('etag: "[^"]*"', "etag"):gsub("last%-modified: [^\n]*\n", "")) end
say(shown(kept("GET")))
say(shown(http2.get("http://127.0.0.1:1985/x")))
--- response_body
HTTP/1.1 200 OK
Content-Type: text/plain
Content-Length: 11
Connection: keep-alive
ETag
Accept-Ranges: bytes

abcdefghij
HTTP/1.1 200 OK
Content-Type: text/plain
Content-Length: 5
Connection: close

next
:status: 200
content-type: text/plain
content-length: 11
etag
accept-ranges: bytes
body abcdefghij

end



=== TEST 17: and so it does where nginx itself sends a range of a file, or puts a response together from slices
--- http_config
    server { listen 127.0.0.1:1987; root $TEST_NGINX_HTML_DIR; }
--- user_files
>>> file.txt
abcdefghij
--- script
response_headers: set_property wasm_process_resp_body true
response_body: get_body response 0 100
--- config
    location /static/ {
        set $wasm_process_resp_body '';
        alias $TEST_NGINX_HTML_DIR/;
        header_filter_by_lua_block { assert(wasm.on_http_response_headers(one)) }
        body_filter_by_lua_block { assert(wasm.on_http_response_body(one)) }
    }
    location /sliced/ {
        set $wasm_process_resp_body '';
        slice 4;
        proxy_set_header Range $slice_range;
        proxy_http_version 1.1;
        proxy_pass http://127.0.0.1:1987/;
        header_filter_by_lua_block { assert(wasm.on_http_response_headers(one)) }
        body_filter_by_lua_block { assert(wasm.on_http_response_body(one)) }
    }
--- client
for _, uri in ipairs({"static", "sliced"}) do
    for _, port in ipairs({ngx.var.server_port, "1985"}) do
        local text = http2.curl("http://127.0.0.1:" .. port .. "/" .. uri .. "/file.txt", "-r", "2-5", port ~= "1985" and "--http1.1" or "--http2-prior-knowledge")
        ngx.say(uri, ": ", text:match("^HTTP/[%d.]+ (%d+)"), " ", text:lower():match("content%-length: (%d+)"), " ", text:lower():match("content%-range: ([^\r]*)"), " ", text:match("\r\n\r\n(.*)"))
    end
end
--- response_body
static: 206 4 bytes 2-5/11 cdef
static: 206 4 bytes 2-5/11 cdef
sliced: 206 4 bytes 2-5/11 cdef
sliced: 206 4 bytes 2-5/11 cdef



=== TEST 18: a plugin that may change the body, for it edits the length, gives up length, etag and ranges
--- script
response_headers: remove_header response content-length
response_body: get_body response 0 100
--- answer
ngx.header.etag, ngx.header.accept_ranges, ngx.header.content_length = '"tag"', "bytes", 12
ngx.print("hello world\n")
--- client: say(http2.get("http://127.0.0.1:1985/x"))
--- response_body
:status: 200
content-type: text/plain
body hello world

end



=== TEST 19: a local reply with 204, 205 or 304 has no body, and no length but 205 that of nothing
--- config
    location = /reply {
        access_by_lua_block {
            local ctx = assert(wasm.on_configure(assert(wasm.load("plugin", "target/guests/script.wasm")),
                "request_headers: send_local_response " .. ngx.var.arg_status .. ' "a body" x-plugin=yes'))
            assert(wasm.on_http_request_headers(ctx))
        }
    }
    location = /replaced {
        content_by_lua_block { ngx.header.content_length = 5 ngx.print("hello") }
        header_filter_by_lua_block {
            ngx.ctx.plugin = assert(wasm.on_configure(assert(wasm.load("plugin", "target/guests/script.wasm")),
                "response_headers: send_local_response " .. ngx.var.arg_status .. ' "a body" x-plugin=yes'))
            assert(wasm.on_http_response_headers(ngx.ctx.plugin))
        }
        body_filter_by_lua_block { assert(wasm.on_http_response_body(ngx.ctx.plugin)) }
    }
--- script
--- client
local function framing(text)
    local words = {}
    for name, value in text:gmatch("([%a-]+): ([^\n]*)") do
        name = name:lower()
        if name == "content-length" or name == "transfer-encoding" or name == "x-plugin" then table.insert(words, name .. "=" .. value) end
    end
    return table.concat(words, " ")
end
for _, status in ipairs({"204", "205", "304"}) do
    for _, uri in ipairs({"/reply", "/replaced"}) do
        local socket = ngx.socket.tcp()
        socket:settimeout(3000)
        assert(socket:connect("127.0.0.1", ngx.var.server_port))
        assert(socket:send("GET " .. uri .. "?status=" .. status .. " HTTP/1.1\r\nHost: localhost\r\n\r\nGET /next HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
        local all = assert(socket:receive("*a")):gsub("\r", "")
        local head, rest = all:match("^(.-\n)\n(.*)")
        ngx.say(uri, " ", head:match(" (%d+)"), " ", framing(head), " | ", (rest:match("^(.-)HTTP/1.1 200 OK"):gsub("\n", " ")), ".")
        ngx.say((http2.get("http://127.0.0.1:1985" .. uri .. "?status=" .. status):gsub("\n", ", ")))
    end
end
--- response_body
/reply 204 x-plugin=yes | .
:status: 204, x-plugin: yes, end, 
/replaced 204 x-plugin=yes | .
:status: 204, x-plugin: yes, end, 
/reply 205 x-plugin=yes content-length=0 | .
:status: 205, content-type: text/plain, x-plugin: yes, content-length: 0, end, 
/replaced 205 transfer-encoding=chunked x-plugin=yes | 0  .
:status: 205, x-plugin: yes, body , end, 
/reply 304 x-plugin=yes | .
:status: 304, x-plugin: yes, end, 
/replaced 304 x-plugin=yes | .
:status: 304, x-plugin: yes, end, 



=== TEST 20: a status of 204 or 304 that a plugin sets takes the length away
--- script
response_headers: replace_header response :status 304
--- client
say(kept("GET"))
say(http2.get("http://127.0.0.1:1985/x"))
--- response_body
HTTP/1.1 304 Not Modified
Content-Type: text/plain
Connection: keep-alive

HTTP/1.1 200 OK
Content-Type: text/plain
Content-Length: 5
Connection: close

next
:status: 304
content-type: text/plain
end



=== TEST 21: statuses below 200 are refused
--- script
request_headers: send_local_response 100 continue
request_headers: send_local_response 101 upgrade
response_headers: send_local_response 199 x
response_headers: replace_header response :status 101
--- client: say(http2.get("http://127.0.0.1:1985/x"))
--- response_body
:status: 200
content-type: text/plain
content-length: 12
body hello world

end
--- error_log
proxy_send_local_response: status 100 is not sent, it must be in 200..=999
proxy_send_local_response: status 101 is not sent
proxy_send_local_response: status 199 is not sent
failed to set response header :status: invalid value 101



=== TEST 22: a HEAD request that a plugin answers with a body gets its length alone
--- script
request_headers: send_local_response 403 denied
--- client
say(kept("HEAD"))
say((http2.curl("http://127.0.0.1:1985/x", "-I"):gsub("\r", ""):gsub("date:[^\n]*\n", ""):gsub("server:[^\n]*\n", "") .. "end\n"))
--- response_body
HTTP/1.1 403 Forbidden
Content-Type: text/plain
Connection: keep-alive
content-length: 6

HTTP/1.1 200 OK
Content-Type: text/plain
Content-Length: 5
Connection: close

next
HTTP/2 403 
content-type: text/plain
content-length: 6

end



=== TEST 23: a header that no client could read is refused and logged, and the guest goes on
--- script
response_headers: add_header response "" x
response_headers: add_header response "a b" x
response_headers: add_header response "a:b" x
response_headers: add_header response "a\r\nb" x
response_headers: add_header response x-a "1\r\nx-b: 2"
response_headers: replace_header response x-a "1\02"
response_headers: add_header response x-a "1\x7f"
response_headers: add_header response x-padded " padded "
response_headers: add_header response_trailers "" x
response_headers: add_header response_trailers "a b" x
response_headers: add_header response_trailers "a(b" x
response_headers: add_header response_trailers x-a "1\x012"
response_headers: add_header response_trailers content-length 5
response_headers: add_header response_trailers connection close
response_headers: add_header response_trailers x-ok yes
--- client: say(http2.get("http://127.0.0.1:1985/x"))
--- response_body
:status: 200
content-type: text/plain
content-length: 12
x-padded: padded
body hello world

trailer x-ok: yes
end
--- grep_error_log eval: qr/failed to set response (?:header|trailer) .*?(?= while)/
--- grep_error_log_out
failed to set response header : the name is empty
failed to set response header a b: invalid char " " in the name
failed to set response header a:b: invalid char ":" in the name
failed to set response header a\r\nb: invalid char "\r" in the name
failed to set response header x-a: invalid char "\r" in the value
failed to set response header x-a: invalid char "\x00" in the value
failed to set response header x-a: invalid char "\x7f" in the value
failed to set response trailer "" to "x": the name is empty
failed to set response trailer "a b" to "x": invalid char " " in the name
failed to set response trailer "a(b" to "x": invalid char "(" in the name
failed to set response trailer "x-a" to "1\u{1}2": invalid char "\x01" in the value
failed to set response trailer "content-length" to "5": nginx frames the response
failed to set response trailer "connection" to "close": nginx frames the response
--- error_log
failed to set response header



=== TEST 24: what a plugin reads of the response's headers does not change what the log says of them
--- http_config
    log_format sent "sent $sent_http_content_type|$sent_http_content_length|$sent_http_transfer_encoding|$sent_http_x_new";
--- script
response_headers: get_headers response
response_headers: get_header response content-type
response_headers: replace_header response content-type text/changed
response_headers: remove_header response content-length
response_headers: add_header response x-new yes
--- location: access_log logs/error.log sent;
--- response_body_like: Transfer-Encoding: chunked
--- error_log
sent text/changed||chunked|yes



=== TEST 25: a reply in the response's place has none of the upstream's headers, whatever they frame
--- answer
ngx.header.trailer, ngx.header.upgrade, ngx.header.content_length = "x-a", "h2c", 12
ngx.print("hello world\n")
--- script
response_headers: send_local_response 403 denied
--- client: say(http2.get("http://127.0.0.1:1985/x"))
--- response_body
:status: 403
content-type: text/plain
body denied
end



=== TEST 26: a plugin that fails in its callback has set no length
--- config
    location = /failing {
        proxy_pass http://127.0.0.1:1986;
        header_filter_by_lua_block {
            local failing = assert(wasm.on_configure(assert(wasm.load("failing", "target/guests/script.wasm")),
                "response_headers: replace_header response content-length 5\nresponse_headers: trap"))
            wasm.on_http_response_headers(failing)
            assert(wasm.on_http_response_headers(one))
        }
        body_filter_by_lua_block { assert(wasm.on_http_response_body(one)) }
    }
--- script
response_headers: get_header response content-length
--- client: say(http2.get("http://127.0.0.1:1985/failing"))
--- response_body
:status: 200
content-type: text/plain
content-length: 12
body hello world

end
--- error_log
failed to call function
get_header response content-length -> OK 12
--- no_error_log
[alert]



=== TEST 27: where a location shows a plugin only a part of the body, no more goes on than has come
--- answer
ngx.header.content_length = 12
ngx.print("hello ") ngx.flush(true) ngx.print("world\n")
--- config
    location = /part {
        proxy_pass http://127.0.0.1:1986;
        proxy_buffering off;
        header_filter_by_lua_block { assert(wasm.on_http_response_headers(one)) }
        body_filter_by_lua_block {
            if ngx.ctx.seen then assert(wasm.on_http_response_body(one)) end
            ngx.ctx.seen = true
        }
    }
    location = /part_kept {
        content_by_lua_block {
            local socket = ngx.socket.tcp()
            socket:settimeout(3000)
            assert(socket:connect("127.0.0.1", ngx.var.server_port))
            assert(socket:send("GET /part HTTP/1.1\r\nHost: localhost\r\n\r\nGET /next HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
            local all, err, part = socket:receive("*a")
            local body, next = (all or part):match("\r\n\r\n(.-)(HTTP/1.1 200 OK.*)")
            ngx.print(#body, " ", (next:match("\r\n\r\n(.*)")))
        }
    }
--- request
GET /part_kept
--- script
response_body: set_body response 0 -1 "a much longer body"
--- response_body
12 next
--- error_log
the response body is cut



=== TEST 28: a plugin may leave early what it was given later, where the client was told a length
--- answer
ngx.header.content_length = 12
ngx.print("hello ") ngx.flush(true) ngx.sleep(0.05) ngx.print("world\n")
--- location: proxy_buffering off;
--- script
response_body: set_body response 0 -1 "HELLO WORLD\n"
--- client
say(kept("GET"))
--- response_body
HTTP/1.1 200 OK
Content-Type: text/plain
Content-Length: 12
Connection: keep-alive

HELLO WORLD
HTTP/1.1 200 OK
Content-Type: text/plain
Content-Length: 5
Connection: close

next
--- error_log
the response body is cut
