# Whatever a plugin sets, the next hop gets a request that it can parse, and the client an answer to what it has asked.

use t::WASM 'no_plan';
use t::Http2;
use t::Upstream;

start_clients();
start_upstream();

# --- script is the configuration of a plugin whose callback of the request's headers runs in /t, which has --- location besides, and --- target behind the upstream's address;
# --- client is Lua code that prints what is to be seen. The upstream is t::Upstream: `got()` says which heads it got.
add_block_preprocessor(sub {
    my ($block) = @_;
    my ($script, $client, $location, $target) = map { (delete $block->{$_} // [])->[0] // '' } qw(script client location target);
    $block->set_value(http_config => <<"_EOC_" . ($block->http_config // ''));
    init_worker_by_lua_block {
        wasm, raw, http2 = require("resty.proxy-wasm"), require("raw"), require("http2")
        ctx = assert(wasm.on_configure(assert(wasm.load("plugin", "target/guests/script.wasm")), [==[
$script
        ]==]))
        -- The heads that the upstream got, without the headers that nginx adds.
        function got()
            return (raw("GOT\\n", 1988):gsub("|Host: 127.0.0.1:1988", ""):gsub("|Connection: close", ""):gsub("\\n\$", ""))
        end
        -- Two requests on one connection: the answer to the second is to come right behind that to the first.
        function two(request)
            local answers = raw(request .. " HTTP/1.1\\r\\nHost: a\\r\\n\\r\\nGET /next HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n")
            local text = answers:gsub("Server: [^\\n]*\\n", ""):gsub("Date: [^\\n]*\\n", ""):gsub("Content%-Type: [^\\n]*\\n", "")
            return (text:gsub("Connection: [^\\n]*\\n", ""):gsub("\\n", "|"))
        end
    }
_EOC_
    $block->set_value(config => <<"_EOC_" . ($block->config // ''));
    listen 127.0.0.1:1985 http2;
    location /next { return 200 "next"; }
    location /client { content_by_lua_block { $client } }
    location /t {
        access_by_lua_block { assert(wasm.on_http_request_headers(ctx)) }
        $location
        proxy_pass http://127.0.0.1:1988$target; proxy_http_version 1.1;
    }
_EOC_
    $block->set_value(request => "GET /client") unless defined $block->request;
    $block->set_value(timeout => 10) unless defined $block->timeout;
});

run_tests();

__DATA__

=== TEST 1: HEAD that a plugin makes GET is answered as HEAD
--- script
request_headers: replace_header request :method GET
request_headers: get_header request :method
--- client
ngx.say(two("HEAD /t"))
ngx.say(got())
ngx.say(select(2, http2.curl("http://127.0.0.1:1985/t", "--http2-prior-knowledge", "-sSI"):gsub("hello", "")))
ngx.say((got():match("^[^|]*")))
--- response_body
HTTP/1.1 200 OK|Content-Length: 5||HTTP/1.1 200 OK|Content-Length: 4||next
GET /t HTTP/1.1
0
GET /t HTTP/1.1
--- error_log
get_header request :method -> OK GET



=== TEST 2: HEAD that a plugin makes any other method is answered as HEAD
--- script
request_headers: replace_header request :method POST
request_headers: replace_header request :method PURGE
request_headers: get_header request :method
--- client
ngx.say(two("HEAD /t"))
ngx.say(got())
--- response_body
HTTP/1.1 200 OK|Content-Length: 5||HTTP/1.1 200 OK|Content-Length: 4||next
PURGE /t HTTP/1.1
--- error_log
get_header request :method -> OK PURGE



=== TEST 3: what is no HEAD can't become one, for nobody would give the client its body
--- script
request_headers: replace_header request :method HEAD
request_headers: replace_header request :method head
request_headers: get_header request :method
--- client
ngx.say(two("GET /t"))
ngx.say(got())
ngx.say((http2.curl("http://127.0.0.1:1985/t", "--http2-prior-knowledge", "-sS"):match("hello")))
ngx.say((got():match("^[^|]*")))
--- response_body
HTTP/1.1 200 OK|Content-Length: 5||helloHTTP/1.1 200 OK|Content-Length: 4||next
GET /t HTTP/1.1
hello
GET /t HTTP/1.1
--- error_log
get_header request :method -> OK GET
failed to set request header :method: the client waits for a body, which the response to HEAD does not have



=== TEST 4: HEAD that was GET in between is HEAD again
--- script
request_headers: replace_header request :method GET
request_headers: replace_header request :method HEAD
--- client
ngx.say(two("HEAD /t"))
ngx.say(got())
--- response_body
HTTP/1.1 200 OK|Content-Length: 5||HTTP/1.1 200 OK|Content-Length: 4||next
HEAD /t HTTP/1.1



=== TEST 5: CONNECT is no method for an upstream
--- script
request_headers: replace_header request :method CONNECT
request_headers: get_header request :method
--- client
ngx.say(two("GET /t"))
ngx.say(got())
--- response_body
HTTP/1.1 200 OK|Content-Length: 5||helloHTTP/1.1 200 OK|Content-Length: 4||next
GET /t HTTP/1.1
--- error_log
get_header request :method -> OK GET
failed to set request header :method: it would make a tunnel of the upstream's connection



=== TEST 6: a path that is none is refused where an upstream may be asked for it
--- script
request_headers: replace_header request :path a?a=c
request_headers: replace_header request :path *
request_headers: replace_header request :path http://evil/
request_headers: get_header request :path
--- client
raw("GET /t?x=1 HTTP/1.0\r\n\r\n")
ngx.say(got())
--- response_body
GET /t?x=1 HTTP/1.1
--- error_log
get_header request :path -> OK /t?x=1
failed to set request header :path: a path begins with "/"



=== TEST 7: blanks in a path and its query do not end the target
--- script
request_headers: replace_header request :path "/a b\tc?d e\tf"
request_headers: get_header request :path
--- client
raw("GET /t HTTP/1.0\r\n\r\n")
ngx.say(got())
--- response_body
GET /a%20b%09c?d%20e%09f HTTP/1.1
--- error_log
get_header request :path -> OK /a b\tc?d e\tf



=== TEST 8: control characters, in a path or its query, are refused
--- script
request_headers: replace_header request :path "/a\r\nX: y"
request_headers: replace_header request :path "/a?b\nX: y"
request_headers: replace_header request :path "/a?b\x00"
request_headers: replace_header request :path "/a\x7f"
--- client
raw("GET /t HTTP/1.0\r\n\r\n")
ngx.say(got())
--- response_body
GET /t HTTP/1.1
--- error_log
failed to set request header :path: invalid char "13"
failed to set request header :path: invalid char "10"
failed to set request header :path: invalid char "0"
failed to set request header :path: invalid char "127"



=== TEST 9: names that are none are refused, wherever they come from
--- script
request_headers: add_header request "" value
request_headers: replace_header request "" value
request_headers: add_header request "x y" value
request_headers: add_header request "x\r\ny" value
request_headers: add_header request "x:y" value
request_headers: replace_header request "x\xe4" value
request_headers: set_headers request good=1 b@d=2 =3
request_headers: remove_header request ""
request_headers: get_headers request
--- client
raw("GET /t HTTP/1.0\r\nX-Old: 1\r\n\r\n")
ngx.say(got())
--- response_body
GET /t HTTP/1.1|good: 1
--- error_log
add_header request "" value -> OK
failed to set request header : the name is empty
failed to set request header x y: invalid char " " in the name
failed to set request header x:y: invalid char ":" in the name
failed to set request header b@d: invalid char "@" in the name
invalid char "\r" in the name
invalid char "\xe4" in the name



=== TEST 10: values that would end their line are refused
--- script
request_headers: add_header request x-a "1\r\nx-b: 2"
request_headers: replace_header request x-a "1\n2"
request_headers: add_header request x-a "1\x002"
request_headers: replace_header request :authority "a\r\nX: b"
request_headers: replace_header request :authority "a b"
request_headers: replace_header request host "a/b"
request_headers: add_header request host ""
request_headers: add_header request x-a "a\x1bb"
request_headers: add_header request x-a "a\tb"
request_headers: get_header request x-a
request_headers: get_header request host
request_headers: add_header request x-blank " a b \t"
request_headers: add_header request x-none " "
request_headers: get_header request x-blank
--- client
raw("GET /t HTTP/1.0\r\nHost: a\r\n\r\n")
ngx.say((got():gsub("\t", "<TAB>")))
--- response_body
GET /t HTTP/1.1|x-a: a<TAB>b|x-blank: a b|x-none: 
--- error_log
failed to set request header x-a: invalid char "\r" in the value
failed to set request header x-a: invalid char "\n" in the value
failed to set request header x-a: invalid char "\x00" in the value
failed to set request header x-a: invalid char "\x1b" in the value
failed to set request header :authority: invalid char "\r" in the value
failed to set request header :authority: invalid char " " in a host
failed to set request header host: invalid char "/" in a host
failed to set request header host: a host has a name
get_header request x-a -> OK a\tb
get_header request x-blank -> OK a b,
get_header request host -> OK a



=== TEST 11: the variable args takes nothing that would end the target
--- script
request_headers: set_property args "x=1 HTTP/1.1\r\nX: y\r\n\r\n"
request_headers: set_property ngx\0args "x y"
request_headers: set_property ARGS "x\ty"
request_headers: set_property args "x\x00y"
request_headers: get_property args
--- client
raw("GET /t?a=b HTTP/1.0\r\n\r\n")
raw("GET /t HTTP/1.0\r\n\r\n")
ngx.say(got())
--- response_body
GET /t?a=b HTTP/1.1
GET /t HTTP/1.1
--- error_log
variable "args" can't be set: invalid char "13"
variable "args" can't be set: invalid char "32"
variable "ARGS" can't be set: invalid char "9"
variable "args" can't be set: invalid char "0"
get_property args -> OK a=b
set_property args "x\x00y" -> OK



=== TEST 12: a variable of the configuration takes no control characters, and one of a target no blanks
--- script
request_headers: set_property free "a b"
request_headers: set_property free "a\r\nb"
request_headers: set_property upstream_uri "/x y"
request_headers: set_property upstream_uri "/x\ny"
request_headers: get_property free
request_headers: set_property no_variable "a\r\nb"
request_headers: get_property no_variable
--- location
    set $free ""; set $upstream_uri /up;
    proxy_set_header X-Free $free;
--- target chomp
$upstream_uri
--- client
raw("GET /t HTTP/1.0\r\n\r\n")
ngx.say(got())
--- response_body
GET /up HTTP/1.1|X-Free: a b
--- error_log
variable "free" can't be set: invalid char "13"
variable "upstream_uri" can't be set: invalid char "32"
variable "upstream_uri" can't be set: invalid char "10"
get_property free -> OK a b
get_property no_variable -> OK a\r\nb



=== TEST 13: a query that is set as a variable is the path's, too
--- script
request_headers: set_property args x=2
request_headers: get_header request :path
request_headers: get_property request\0path
request_headers: get_property request\0query
request_headers: set_property args ""
request_headers: get_header request :path
--- client
raw("GET /t?x=1 HTTP/1.0\r\n\r\n")
ngx.say(got())
--- response_body_like
GET /t\??\s*HTTP/1.1
--- error_log
get_header request :path -> OK /t?x=2
get_property request\0path -> OK /t?x=2
get_property request\0query -> OK x=2
get_header request :path -> OK /t,



=== TEST 14: a path that is written back as it was goes to the upstream as the client wrote it
--- script
request_headers: replace_header request :path /t/a%2Fb%20c?x=%20
request_headers: replace_header request :method GET
request_headers: replace_header request :scheme http
request_headers: replace_header request :scheme https
--- client
raw("GET /t/a%2Fb%20c?x=%20 HTTP/1.0\r\n\r\n")
ngx.say(got())
--- response_body
GET /t/a%2Fb%20c?x=%20 HTTP/1.1
--- grep_error_log: failed to set request header :scheme
--- grep_error_log_out
failed to set request header :scheme
--- error_log
the scheme is that of the client's connection
