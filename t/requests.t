# Odd requests and odd responses, as a plugin sees and changes them.

use t::WASM 'no_plan';

# `--- conf` is the script of a plugin whose callbacks all run in /t; `--- location` has the other directives of that location.
# `require("plugin_ctx")(CONF)` gives a plugin context.
my $plugin_ctx = <<'_EOC_';
    init_by_lua_block {
        package.preload.plugin_ctx = function()
            local wasm = require("resty.proxy-wasm")
            local plugin, ctxs
            return function(conf)
                plugin = plugin or assert(wasm.load("plugin", "target/guests/script.wasm"))
                ctxs = ctxs or {}
                ctxs[conf] = ctxs[conf] or assert(wasm.on_configure(plugin, conf))
                return ctxs[conf]
            end
        end
    }
_EOC_

my $answer = 'content_by_lua_block { ngx.print("ok") }';

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(http_config => $plugin_ctx . ($block->http_config // ''));
    my ($conf, $location) = map { delete $block->{$_} } qw(conf location);
    return unless $conf;
    my $wasm = qq{local wasm, ctx = require("resty.proxy-wasm"), require("plugin_ctx")([==[\n$conf->[0]]==])};
    $block->set_value(config => ($block->config // '') . <<"_EOC_");
    location /t {
        access_by_lua_block {
            $wasm
            assert(wasm.on_http_request_headers(ctx))
            ngx.req.read_body()
            local body, file = ngx.req.get_body_data(), ngx.req.get_body_file()
            assert(wasm.on_http_request_body(ctx, body or file and io.open(file):read("*a"), true))
        }
        header_filter_by_lua_block {
            $wasm
            assert(wasm.on_http_response_headers(ctx))
        }
        body_filter_by_lua_block {
            $wasm
            assert(wasm.on_http_response_body(ctx))
        }
        @{[$location ? $location->[0] : $answer]}
    }
_EOC_
});

run_tests();

__DATA__

=== TEST 1: HTTP/1.0 without Host and without any header
--- conf
request_headers: args
request_headers: get_header request :authority
request_headers: get_header request host
request_headers: get_headers request
request_headers: headers_size request
request_headers: get_header request_trailers any
--- raw_request eval
"GET /t HTTP/1.0\r\n\r\n"
--- response_body chomp
ok
--- grep_error_log eval: qr/request_headers \d: [^,]+(?=,)/
--- grep_error_log_out
request_headers 2: args -> OK 2 3 1
request_headers 2: get_header request :authority -> NOT_FOUND
request_headers 2: get_header request host -> NOT_FOUND
request_headers 2: header :scheme: http
request_headers 2: header :path: /t
request_headers 2: header :method: GET
request_headers 2: get_headers request -> OK 3
request_headers 2: headers_size request -> OK 62
request_headers 2: get_header request_trailers any -> NOT_FOUND



=== TEST 2: HTTP/1.0 without Host: response headers are all there
--- conf
request_headers: replace_header response x-early 1
response_headers: get_headers response
response_headers: add_header response x-late 2
--- raw_request eval
"GET /t HTTP/1.0\r\n\r\n"
--- response_headers
x-early: 1
x-late: 2
--- response_body chomp
ok
--- error_log
header x-early: 1,
header :status: 200,
header content-type: text/plain,



=== TEST 3: HTTP/0.9, which has no headers at all
--- conf
request_headers: args
request_headers: get_headers request
request_headers: add_header request x-one 1
request_headers: add_header response x-two 2
response_headers: get_headers response
log: get_header request x-one
--- raw_request eval
"GET /t\r\n"
--- ignore_response
--- error_log eval
['args -> OK 2 3 1', 'get_headers request -> OK 3', 'add_header request x-one 1 -> OK', 'add_header response x-two 2 -> OK',
 qr/get_headers response -> OK \d/, 'get_header request x-one -> NOT_FOUND']
--- no_error_log
[error]
[alert]



=== TEST 4: 150 request headers all arrive
--- conf
request_headers: args
request_headers: get_headers request
request_headers: get_header request x-h150
--- more_headers eval
CORE::join "\n", map { "X-H$_: value $_" } 1 .. 150
--- response_body chomp
ok
--- error_log
args -> OK 2 156 1
get_headers request -> OK 156
get_header request x-h150 -> OK value 150
--- grep_error_log eval: qr/header x-h\d+: value \d+/
--- grep_error_log_out eval
CORE::join '', map { "header x-h$_: value $_\n" } 1 .. 150
--- no_error_log
[error]



=== TEST 5: a header beyond the hundredth can be replaced and removed
--- conf
request_headers: replace_header request x-h140 new
request_headers: remove_header request x-h141
request_headers: add_header request x-h142 more
--- location
    content_by_lua_block {
        local headers = ngx.req.get_headers(0)
        ngx.say(headers["x-h140"], " ", headers["x-h141"], " ", table.concat(headers["x-h142"], "+"), " ", headers["x-h150"])
    }
--- more_headers eval
CORE::join "\n", map { "X-H$_: $_" } 1 .. 150
--- response_body
new nil 142+more 150



=== TEST 6: 40 response headers all arrive, in order, also at the end
--- conf
response_headers: get_headers response
response_headers: get_header response x-r40
log: get_headers response
--- location
    content_by_lua_block {
        for i = 1, 40 do ngx.header["X-R" .. i] = "value " .. i end
        ngx.print("ok")
    }
--- response_headers
X-R1: value 1
X-R40: value 40
--- response_body chomp
ok
--- error_log
get_header response x-r40 -> OK value 40
--- grep_error_log eval: qr/\w+ 2: header x-r\d+: value \d+/
--- grep_error_log_out eval
CORE::join '', map { my $cb = $_; map { "$cb 2: header x-r$_: value $_\n" } 1 .. 40 } qw(response_headers log)
--- no_error_log
[error]



=== TEST 7: repeated headers stay apart and in order
--- conf
request_headers: get_header request x-a
request_headers: add_header request x-a three
request_headers: get_headers request
response_headers: add_header response set-cookie c=3
response_headers: get_headers response
response_headers: get_header response set-cookie
--- location
    content_by_lua_block {
        ngx.header["Set-Cookie"] = {"a=1", "b=2"}
        ngx.print(table.concat(ngx.req.get_headers()["x-a"], " "))
    }
--- more_headers
X-A: one
X-A: two
--- raw_response_headers_like: Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nset-cookie: c=3\r\n
--- response_body chomp
one two three
--- grep_error_log eval: qr/(?:get_header|header x-a|header set-cookie)[^,]*/
--- grep_error_log_out eval
qr/\Aget_header request x-a -> OK one
header x-a: one
header x-a: two
header x-a: three
get_headers request -> OK 9
header set-cookie: a=1
header set-cookie: b=2
header set-cookie: c=3
get_headers response -> OK \d+
get_header response set-cookie -> OK a=1
\z/



=== TEST 8: values that are no UTF-8, in and out
--- conf
request_headers: get_header request x-bytes
request_headers: add_header request x-more \xc3\x28\xff
response_headers: get_header response x-answer
response_headers: add_header response x-plugin \x80\xfe
response_headers: get_header response x-plugin
--- location
    content_by_lua_block {
        ngx.header["X-Answer"] = "\255\1\200"
        ngx.print((ngx.var.http_x_more:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end)))
    }
--- more_headers eval
"X-Bytes: \xff\xfe\x80"
--- raw_response_headers_like eval
"x-plugin: \\x80\\xfe\r\n"
--- response_body chomp
c328ff
--- error_log
get_header request x-bytes -> OK \xff\xfe\x80,
get_header response x-answer -> OK \xff
get_header response x-plugin -> OK \x80\xfe,



=== TEST 9: empty values are values
--- conf
request_headers: get_header request x-empty
request_headers: get_headers request
request_headers: get_header request x-absent
response_headers: get_header response x-none
response_headers: add_header response x-blank ""
response_headers: get_header response x-blank
--- more_headers
X-Empty:
--- response_body chomp
ok
--- error_log
get_header request x-empty -> OK,
header x-empty: ,
get_headers request -> OK 7
get_header request x-absent -> NOT_FOUND
get_header response x-none -> NOT_FOUND



=== TEST 10: a request header that is set to an empty value reaches the upstream empty or not at all
--- conf
request_headers: replace_header request x-blank ""
request_headers: add_header request x-added ""
request_headers: replace_header request x-was ""
request_headers: get_header request x-was
--- location
    content_by_lua_block {
        local function value(name) return ngx.var[name] or "" end
        ngx.print("[", value("http_x_blank"), "][", value("http_x_added"), "][", value("http_x_was"), "]")
    }
--- more_headers
X-Was: something
--- response_body chomp
[][][]



=== TEST 11: names are found in any case and keep their underscores
--- http_config
    underscores_in_headers on;
--- conf
request_headers: get_header request X-UPPER
request_headers: get_header request x_under
request_headers: get_header request x-under
request_headers: get_headers request
request_headers: replace_header request X-NEW-Name 1
request_headers: get_header request x-new-name
response_headers: get_header response X-ANSWER
response_headers: get_header response x-answer
--- location
    content_by_lua_block {
        ngx.header["X-Answer"] = "yes"
        ngx.print(ngx.var.http_x_new_name)
    }
--- more_headers
X-Upper: one
X_Under: two
--- response_body chomp
1
--- error_log
get_header request X-UPPER -> OK one
get_header request x_under -> OK two
get_header request x-under -> NOT_FOUND
header x-upper: one
header x_under: two
get_header request x-new-name -> OK 1
get_header response X-ANSWER -> OK yes
get_header response x-answer -> OK yes



=== TEST 12: without underscores_in_headers such a header is not there
--- conf
request_headers: get_header request x_under
request_headers: args
--- more_headers
X_Under: two
--- response_body chomp
ok
--- error_log
get_header request x_under -> NOT_FOUND
args -> OK 2 6 1



=== TEST 13: a value of 7 KB, in
--- conf
request_headers: headers_size request
request_headers: get_header request x-long
request_headers: remove_header request x-long
request_headers: headers_size request
--- more_headers eval
"X-Long: " . "abcdefg" x 1000 . "the end"
--- response_body chomp
ok
--- error_log eval
["abcdefgthe end, client", qr/headers_size request -> OK 71\d\d,/, qr/headers_size request -> OK 1\d\d,/]



=== TEST 14: a value of 7 KB, out, to the upstream and to the client
--- config
    location = /t {
        access_by_lua_block {
            local conf = "request_headers: add_header request x-long " .. ("abcdefg"):rep(1000)
            assert(require("resty.proxy-wasm").on_http_request_headers(require("plugin_ctx")(conf)))
        }
        content_by_lua_block { ngx.print(ngx.var.http_x_long == ("abcdefg"):rep(1000)) }
        header_filter_by_lua_block {
            local conf = "response_headers: add_header response x-long " .. ("tuvwxyz"):rep(1000)
            assert(require("resty.proxy-wasm").on_http_response_headers(require("plugin_ctx")(conf)))
        }
    }
--- response_headers eval
"x-long: " . "tuvwxyz" x 1000
--- response_body chomp
true



=== TEST 15: a method that nginx does not know
--- conf
request_headers: get_header request :method
--- location
    content_by_lua_block { ngx.print(ngx.var.request_method) }
--- raw_request eval
"ODD-METHOD /t HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
--- response_body chomp
ODD-METHOD
--- error_log
get_header request :method -> OK ODD-METHOD



=== TEST 16: a plugin may set the method to any token, and nothing else
--- conf
request_headers: replace_header request :method !#$%&'*+-.^_`|~aZ9
request_headers: get_header request :method
request_headers: get_headers request
request_headers: replace_header request :method "GET /evil"
request_headers: replace_header request :method "A\r\nB: c"
request_headers: replace_header request :method ""
request_headers: get_header request :method
--- location
    content_by_lua_block { ngx.print(ngx.var.request_method) }
--- response_body chomp
!#$%&'*+-.^_`|~aZ9
--- error_log eval
[q{get_header request :method -> OK !#$%&'*+-.^_`|~aZ9,}, q{header :method: !#$%&'*+-.^_`|~aZ9},
 qr/failed to set request header :method: invalid char "32"/, qr/failed to set request header :method: invalid char "13"/,
 qr/failed to set request header :method: can't remove pseudo header/]



=== TEST 17: the upstream gets an odd method as it was set
--- conf
request_headers: replace_header request :method REPORT
--- location
    proxy_pass http://127.0.0.1:1980/t;
--- response_body chomp
hello
--- error_log
hit with [REPORT http://



=== TEST 18: the path that was set is the one that is read, by every plugin and until the end
--- config
    location = /t {
        rewrite_by_lua_block {
            local wasm, plugin_ctx = require("resty.proxy-wasm"), require("plugin_ctx")
            local one = plugin_ctx([[
                request_headers: get_header request :path
                request_headers: replace_header request :path /t2/x?y=1
                request_headers: get_header request :path
                request_headers: get_headers request
                request_body: get_header request :path
                log: get_header request :path
            ]])
            local two = plugin_ctx("request_headers: get_header request :path\nrequest_headers: get_property uri")
            assert(wasm.on_http_request_headers(one))
            assert(wasm.on_http_request_body(one))
            assert(wasm.on_http_request_headers(two))
        }
        content_by_lua_block { ngx.print(ngx.var.uri) }
    }
--- request
GET /t?a=b
--- response_body chomp
/t2/x
--- grep_error_log eval: qr/\w+ \d: (?:get_header request|header :path|get_property)[^,]+/
--- grep_error_log_out
request_headers 3: get_header request :path -> OK /t?a=b
request_headers 3: get_header request :path -> OK /t2/x?y=1
request_headers 3: header :path: /t2/x?y=1
request_body 3: get_header request :path -> OK /t2/x?y=1
request_headers 4: get_header request :path -> OK /t2/x?y=1
request_headers 4: get_property uri -> OK /t2/x
log 3: get_header request :path -> OK /t2/x?y=1



=== TEST 19: a path of one request is not that of the next on the same connection
--- conf
request_headers: get_header request :path
request_headers: replace_header request :path /t/changed
--- pipelined_requests eval
["GET /t/1", "GET /t/2", "GET /t/3"]
--- location
    content_by_lua_block { ngx.print(ngx.var.request_uri, " ", ngx.var.uri) }
--- response_body eval
["/t/1 /t/changed", "/t/2 /t/changed", "/t/3 /t/changed"]
--- no_error_log
[error]
-> OK /t/changed



=== TEST 20: set_headers replaces every request header that nginx does not keep
--- conf
request_headers: set_headers request a=1 b= a=2 x-new=3
request_headers: get_headers request
request_headers: get_header request :authority
--- location
    content_by_lua_block {
        local headers, names = ngx.req.get_headers(), {}
        for name, value in pairs(headers) do
            table.insert(names, name .. "=" .. (type(value) == "table" and table.concat(value, "+") or value))
        end
        table.sort(names)
        ngx.print(table.concat(names, " "), " ", ngx.var.http_host)
    }
--- more_headers
X-Old: 1
X-Old: 2
A: 0
--- response_body: a=1+2 b= connection=close x-new=3 nil
--- error_log
header a: 1,
header a: 2,
header x-new: 3,
get_header request :authority -> NOT_FOUND
--- no_error_log
header x-old
header host
header a: 0
[error]



=== TEST 21: set_headers takes pseudo-headers along
--- conf
request_headers: set_headers request :method=POST :authority=other host2=x
request_headers: get_headers request
--- location
    content_by_lua_block { ngx.print(ngx.var.request_method, " ", ngx.var.http_host, " ", ngx.var.http_host2) }
--- response_body chomp
POST other x
--- error_log
header :method: POST
header :authority: other



=== TEST 22: set_headers replaces every response header
--- conf
response_headers: set_headers response x-one=1 x-one=2 content-type=text/new :status=201
--- location
    content_by_lua_block {
        ngx.header["X-Old"] = "old"
        ngx.header["Set-Cookie"] = {"a=1", "b=2"}
        ngx.header["Content-Length"] = 2
        ngx.print("ok")
    }
--- error_code: 201
--- response_headers
x-one: 1, 2
Content-Type: text/new
!X-Old
!Set-Cookie
!Content-Length
--- response_body chomp
ok



=== TEST 23: headers_size is the size of what get_headers returns
--- conf
request_headers: call proxy_get_header_map_size 0 $out3
request_headers: call proxy_get_header_map_pairs 0 $out $out2
request_headers: out
response_headers: call proxy_get_header_map_size 2 $out3
response_headers: call proxy_get_header_map_pairs 2 $out $out2
response_headers: out
--- more_headers
X-Any: thing
--- response_body chomp
ok
--- error_log eval
[qr/request_headers 2: out -> OK \d+ (\d+) \1 0/, qr/response_headers 2: out -> OK \d+ (\d+) \1 0/]



=== TEST 24: Content-Type and Content-Length as any other header
--- conf
response_headers: get_header response content-type
response_headers: get_header response Content-Length
response_headers: get_headers response
response_headers: replace_header response content-type application/json
response_headers: remove_header response content-length
response_headers: get_header response content-length
response_headers: get_header response content-type
--- location
    content_by_lua_block {
        ngx.header["Content-Length"] = 2
        ngx.print("ok")
    }
--- response_headers
Content-Type: application/json
!Content-Length
Transfer-Encoding: chunked
--- response_body chomp
ok
--- grep_error_log eval: qr/(?:get_header |header content)[^,]+/
--- grep_error_log_out
get_header response content-type -> OK text/plain
get_header response Content-Length -> OK 2
header content-length: 2
header content-type: text/plain
get_header response content-length -> NOT_FOUND
get_header response content-type -> OK application/json



=== TEST 25: a replaced Content-Length is seen by plugins; the client is told none
--- conf
response_headers: replace_header response content-length 2
response_headers: get_headers response
--- response_headers
!Content-Length
--- response_body chomp
ok
--- grep_error_log: header content-length: 2
--- grep_error_log_out
header content-length: 2
--- error_log
the client is not told the content-length 2



=== TEST 26: 304, 204 and HEAD
--- conf
response_headers: get_header response :status
response_headers: get_header response last-modified
response_headers: add_header response x-plugin here
log: get_header response x-plugin
--- location
    if ($arg_none) { return 204; }
    rewrite ^/t/(.*) /$1 break;
    root $TEST_NGINX_HTML_DIR;
--- user_files
>>> file.txt
the file
--- request eval
["GET /t/file.txt", "HEAD /t/file.txt", "GET /t/file.txt", "GET /t/file.txt?none=1"]
--- more_headers eval
["X: 1", "X: 2", "If-None-Match: *", "X: 4"]
--- error_code eval
[200, 200, 304, 204]
--- response_headers eval
[("x-plugin: here") x 4]
--- response_body eval
["the file\n", "", "", ""]
--- error_log eval
[qr/get_header response :status -> OK (?:200|204|304)\b/, "log 2: get_header response x-plugin -> OK here"]
--- no_error_log
[error]



=== TEST 27: the status of a 304 is seen as 304
--- conf
response_headers: get_header response :status
--- location
    rewrite ^/t/(.*) /$1 break;
    root $TEST_NGINX_HTML_DIR;
--- user_files
>>> file.txt
the file
--- request
GET /t/file.txt
--- more_headers
If-None-Match: *
--- error_code: 304
--- error_log
get_header response :status -> OK 304



=== TEST 28: a static file has its headers and its body
--- conf
response_headers: get_headers response
response_body: get_body response 0 100
--- location
    rewrite ^/t/(.*) /$1 break;
    root $TEST_NGINX_HTML_DIR;
--- user_files
>>> file.txt
the file
--- request
GET /t/file.txt
--- response_body
the file
--- error_log eval
[qr/header etag: "[-\w]+"/, qr/header content-length: 9/,
 qr/header content-type: text\/plain/, qr/header :status: 200/, qr/get_body response 0 100 -> OK the file\\n/]
--- no_error_log
[error]



=== TEST 29: a proxied response has the upstream's headers in order
--- conf
response_headers: get_headers response
response_headers: get_header response foo
response_headers: remove_header response foo
response_headers: add_header response foo new
response_body: get_body response 0 100
--- location
    proxy_pass http://127.0.0.1:1980/repeated_headers;
--- response_headers
foo: new
--- response_body chomp
hello
--- grep_error_log eval: qr/header foo: \w+|get_\w+ response [^,]* -> (?:OK \w+|NOT_FOUND)/
--- grep_error_log_out eval
qr/\Aheader foo: bar
header foo: baz
get_header response foo -> OK bar
get_body response 0 100 -> OK hello
(?:get_body response 0 100 -> NOT_FOUND
)*\z/



=== TEST 30: an upstream gets the request as the plugin changed it
--- conf
request_headers: add_header request x-added 1
request_headers: add_header request x-added 2
request_headers: remove_header request x-gone
request_headers: replace_header request x-kept new
request_headers: replace_header request :authority other.example
--- location
    proxy_pass http://127.0.0.1:1980/t;
    proxy_set_header Host $http_host;
--- more_headers
X-Gone: 1
X-Kept: old
--- response_body chomp
hello
--- error_log
"x-added":["1","2"]
"x-kept":"new"
hit with [GET http://other.example/t]
--- no_error_log
x-gone":



=== TEST 31: nginx's own error page
--- conf
response_headers: get_header response :status
response_headers: get_header response content-type
response_headers: add_header response x-plugin here
response_body: get_body response 0 20
--- location
    root $TEST_NGINX_HTML_DIR;
--- error_code: 404
--- response_headers
x-plugin: here
--- response_body_like: 404 Not Found
--- error_log
get_header response :status -> OK 404
get_header response content-type -> OK text/html
get_body response 0 20 -> OK <html>
--- no_error_log
[alert]



=== TEST 32: an error page of another location
--- config
    location = /error.html {
        internal;
        content_by_lua_block { ngx.print("no such thing") }
        header_filter_by_lua_block {
            local ctx = require("plugin_ctx")("response_headers: get_header response :status\nresponse_headers: get_header request x-plugin")
            assert(require("resty.proxy-wasm").on_http_response_headers(ctx))
        }
    }
--- conf
request_headers: add_header request x-plugin here
--- location
    error_page 404 /error.html;
    content_by_lua_block { ngx.exit(404) }
--- error_code: 404
--- response_body chomp
no such thing
--- error_log
get_header response :status -> OK 404
get_header request x-plugin -> OK here



=== TEST 33: a request that nginx refuses, answered by its error page
--- config
    error_page 400 /bad;
    location = /bad {
        internal;
        content_by_lua_block {
            local ctx = require("plugin_ctx")("request_headers: get_headers request\nrequest_headers: get_header request :path")
            ngx.print("refused: ", require("resty.proxy-wasm").on_http_request_headers(ctx))
        }
    }
--- raw_request eval
"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"
--- error_code: 400
--- response_body chomp
refused: true
--- error_log eval
qr/get_headers request -> OK \d/



=== TEST 34: a request line that is none, answered by an error page
--- config
    error_page 400 /bad;
    location = /bad {
        internal;
        content_by_lua_block {
            local ctx = require("plugin_ctx")([[
                request_headers: get_headers request
                request_headers: get_header request :path
                request_headers: get_header request :method
                request_headers: get_header request :scheme
                request_headers: add_header request a b
            ]])
            ngx.print("refused: ", require("resty.proxy-wasm").on_http_request_headers(ctx))
        }
    }
--- raw_request eval
"\x16\x03\x01 no HTTP\r\n\r\n"
--- error_code: 400
--- response_body chomp
refused: true
--- error_log eval
qr/get_headers request -> OK \d/



=== TEST 35: a request body that nginx put into a file
--- conf
request_body: args
request_body: buffer_status request
request_body: get_body request 1048570 100
request_body: get_body request 0 4
--- location
    client_body_in_file_only clean;
    content_by_lua_block { ngx.print("ok") }
--- request eval
"POST /t\n" . "0123456789abcdef" x 65536
--- response_body chomp
ok
--- error_log
args -> OK 2 1048576 1
buffer_status request -> OK 1048576 0
get_body request 1048570 100 -> OK abcdef
get_body request 0 4 -> OK 0123



=== TEST 36: a response of many chunks: no byte is lost
--- conf
response_body: args
--- location
    content_by_lua_block {
        for i = 1, 5 do
            ngx.print(("x"):rep(i * 10000))
            ngx.flush(true)
        end
    }
--- response_body eval
"x" x 150000
--- error_log
args -> OK 2 10000 0
args -> OK 2 50000 0
args -> OK 2 0 1



=== TEST 37: a worker's first request that loses a request header does not hide the response headers
--- conf
request_headers: remove_header request x-first
response_headers: get_headers response
--- location
    content_by_lua_block {
        ngx.header["X-Answer"] = "yes"
        ngx.print("ok")
    }
--- more_headers
X-First: 1
--- response_body chomp
ok
--- error_log
header x-answer: yes
--- no_error_log
[error]



=== TEST 38: what get_header finds in the response, get_headers lists
--- conf
response_headers: get_header response last-modified
response_headers: get_headers response
--- location
    rewrite ^/t/(.*) /$1 break;
    root $TEST_NGINX_HTML_DIR;
--- user_files
>>> file.txt
the file
--- request
GET /t/file.txt
--- response_body
the file
--- error_log eval
[qr/get_header response last-modified -> OK \w+, \d+/, qr/header last-modified: \w+, \d+/]



=== TEST 39: a method that a plugin made up is not left behind for other requests
--- config
    location = /t {
        content_by_lua_block {
            if ngx.var.arg_method then
                local wasm = require("resty.proxy-wasm")
                local ctx = require("plugin_ctx")("request_headers: replace_header request :method " .. ngx.var.arg_method)
                assert(wasm.on_http_request_headers(ctx))
            else
                ngx.req.set_method(ngx.HTTP_GET)
            end
            ngx.print(ngx.var.request_method)
        }
    }
--- request eval
["GET /t?method=MADEUP", "GET /t", "GET /t?method=GET"]
--- response_body eval
["MADEUP", "GET", "GET"]
