# What a plugin reads of a request is what nginx will do with it, before a change and after.

use t::WASM 'no_plan';
use t::Http2;

start_clients();

# --- script is the configuration of a plugin whose callbacks run in /t; --- client is Lua code that prints what is to be seen. /t has
# nginx's variables of headers in its configuration, in each way in which nginx keeps their values; the upstream says what it got.
add_block_preprocessor(sub {
    my ($block) = @_;
    my ($script, $client) = map { (delete $block->{$_} // [])->[0] // '' } qw(script client);
    my $variables = CORE::join ' ', map { "\$$_" }
        qw(http_host host http_user_agent http_referer http_x_forwarded_for http_cookie http_via content_type http_x_request_id args remote_user);
    $block->set_value(http_config => <<"_EOC_" . ($block->http_config // ''));
    map \$http_host \$mapped_host { default \$http_host; }
    log_format variables "logged [$variables \$mapped_host \$sent_http_content_type \$sent_http_x_sent]";
    init_worker_by_lua_block {
        wasm, raw, http2 = require("resty.proxy-wasm"), require("raw"), require("http2")
        ctx = assert(wasm.on_configure(assert(wasm.load("plugin", "target/guests/script.wasm")), [==[
$script
        ]==]))
        function logged()
            local file = assert(io.open(ngx.config.prefix() .. "logs/variables.log"))
            local text = file:read("*a")
            file:close()
            return text
        end
    }
    server {
        listen 127.0.0.1:1987;
        location / {
            content_by_lua_block {
                ngx.header["X-Sent"] = "sent"
                ngx.say(ngx.var.http_host, " ", ngx.var.request_uri, " ", ngx.var.http_x_all or "")
            }
        }
    }
_EOC_
    $block->set_value(config => <<"_EOC_" . ($block->config // ''));
    listen 127.0.0.1:1985 http2;
    server_name localhost;
    location = /client { content_by_lua_block { $client } }
    location = /broken { error_page 405 \@broken; return 405; }
    location \@broken {
        access_by_lua_block { assert(wasm.on_http_request_headers(ctx)) }
        header_filter_by_lua_block { assert(wasm.on_http_response_headers(ctx)) }
        content_by_lua_block { ngx.say("broken") }
    }
    location /direct {
        access_by_lua_block { assert(wasm.on_http_request_headers(ctx)) }
        proxy_set_header X-All all;
        proxy_pass http://127.0.0.1:1989;
    }
    location /t {
        access_by_lua_block { assert(wasm.on_http_request_headers(ctx)) }
        proxy_pass http://127.0.0.1:1987;
        proxy_set_header Host \$http_host;
        proxy_set_header X-All "$variables \$mapped_host";
        header_filter_by_lua_block { assert(wasm.on_http_response_headers(ctx)) }
        access_log logs/variables.log variables;
    }
    location = /sub { content_by_lua_block { ngx.print(ngx.location.capture("/t/a%20b?c=d").body) } }
    location = /sub/plain { content_by_lua_block { ngx.print(ngx.location.capture("/t").body) } }
    location = /sub/auth { auth_request /auth; content_by_lua_block { ngx.say("x") } }
    location = /auth { content_by_lua_block { assert(wasm.on_http_request_headers(ctx)) } }
_EOC_
    $block->set_value(request => "GET /client") unless defined $block->request;
    $block->set_value(timeout => 10) unless defined $block->timeout;
    $block->set_value(grep_error_log => qr/(?:get_header|get_property|\d: header) \S+ .*?(?= while|, client|$)/)
        if defined $block->grep_error_log_out && !defined $block->grep_error_log;
});

run_tests();

__DATA__

=== TEST 1: an authority that was read before can be set, and is new in every form
--- script
request_headers: get_headers request
request_headers: get_header request :authority
request_headers: get_property request\0host
request_headers: get_property http_host
request_headers: get_property ngx\0http_host
request_headers: get_property host
request_headers: replace_header request :authority New.example:81
request_headers: get_header request :authority
request_headers: get_header request host
request_headers: get_property request\0host
request_headers: get_property request\0headers\0host
request_headers: get_property http_host
request_headers: get_property ngx\0HTTP_HOST
request_headers: get_property host
--- client
ngx.say((raw("GET /t HTTP/1.0\r\nHost: orig.example\r\n\r\n"):match("\n\n(.*)")))
--- response_body_like
New.example:81 /t New.example:81 new.example .* New.example:81
--- grep_error_log eval: qr/get_\w+ \S+(?: :?[a-z]+)? -> .*?(?=, client)/
--- grep_error_log_out
get_headers request -> OK 5
get_header request :authority -> OK orig.example
get_property request\0host -> OK orig.example
get_property http_host -> OK orig.example
get_property ngx\0http_host -> OK orig.example
get_property host -> OK orig.example
get_header request :authority -> OK New.example:81
get_header request host -> OK New.example:81
get_property request\0host -> OK New.example:81
get_property request\0headers\0host -> OK New.example:81
get_property http_host -> OK New.example:81
get_property ngx\0HTTP_HOST -> OK New.example:81
get_property host -> OK new.example



=== TEST 2: so can the host
--- script
request_headers: get_header request :authority
request_headers: get_header request host
request_headers: replace_header request host new.example
request_headers: get_header request :authority
--- client
ngx.say((raw("GET /t HTTP/1.0\r\nHost: orig.example\r\n\r\n"):match("\n\n(%S*)")))
--- response_body
new.example
--- error_log
get_header request :authority -> OK orig.example
get_header request :authority -> OK new.example



=== TEST 3: whatever a plugin reads first, nginx goes on with what it sets
--- script
request_headers: get_headers request
request_headers: get_property request\0useragent
request_headers: get_property request\0referer
request_headers: get_property request\0id
request_headers: get_property request\0query
request_headers: get_property request\0headers
request_headers: get_property http_user_agent
request_headers: get_property http_referer
request_headers: get_property http_x_forwarded_for
request_headers: get_property http_cookie
request_headers: get_property http_via
request_headers: get_property content_type
request_headers: get_property http_x_request_id
request_headers: get_property remote_user
request_headers: replace_header request authorization "Basic VVM6cA=="
request_headers: replace_header request user-agent UA
request_headers: replace_header request referer RE
request_headers: replace_header request x-forwarded-for XF
request_headers: replace_header request cookie CO
request_headers: replace_header request via VI
request_headers: replace_header request content-type CT
request_headers: replace_header request x-request-id ID
request_headers: replace_header request :path /t?new=1
request_headers: get_property request\0useragent
request_headers: get_property request\0referer
request_headers: get_property request\0id
request_headers: get_property request\0query
request_headers: get_property request\0url_path
request_headers: get_property http_user_agent
request_headers: get_property http_referer
request_headers: get_property http_x_forwarded_for
request_headers: get_property http_cookie
request_headers: get_property http_via
request_headers: get_property content_type
request_headers: get_property http_x_request_id
request_headers: get_property remote_user
--- client
ngx.print((raw("GET /t?old=1 HTTP/1.0\r\nHost: h\r\nUser-Agent: ua\r\nReferer: re\r\nX-Forwarded-For: xf\r\nCookie: co\r\nVia: vi\r\n"
             .. "Content-Type: ct\r\nX-Request-Id: id\r\nAuthorization: basic  dXM6cGFzcw==\r\n\r\n"):match("\n\n(.*)")))
ngx.print(logged())
--- response_body
h /t?new=1 h h UA RE XF CO VI CT ID new=1 US h
logged [h h UA RE XF CO VI CT ID new=1 US h text/plain sent]
--- grep_error_log eval: qr/get_property (?!request.0headers)\S+ -> OK .*?(?=, client)/
--- grep_error_log_out
get_property request\0useragent -> OK ua
get_property request\0referer -> OK re
get_property request\0id -> OK id
get_property request\0query -> OK old=1
get_property http_user_agent -> OK ua
get_property http_referer -> OK re
get_property http_x_forwarded_for -> OK xf
get_property http_cookie -> OK co
get_property http_via -> OK vi
get_property content_type -> OK ct
get_property http_x_request_id -> OK id
get_property remote_user -> OK us
get_property request\0useragent -> OK UA
get_property request\0referer -> OK RE
get_property request\0id -> OK ID
get_property request\0query -> OK new=1
get_property request\0url_path -> OK /t
get_property http_user_agent -> OK UA
get_property http_referer -> OK RE
get_property http_x_forwarded_for -> OK XF
get_property http_cookie -> OK CO
get_property http_via -> OK VI
get_property content_type -> OK CT
get_property http_x_request_id -> OK ID
get_property remote_user -> OK US



=== TEST 4: a target with a host is where nginx goes, whatever the Host header says
--- script
request_headers: get_header request :authority
request_headers: get_property request\0host
request_headers: get_header request host
request_headers: get_headers request
request_headers: replace_header request :authority third:8
request_headers: get_header request :authority
request_headers: get_property host
--- client
ngx.print((raw("GET http://Other:81/t HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"):match("\n\n(.*)")))
--- response_body_like
third:8 /t third:8 third .*
--- grep_error_log_out
get_header request :authority -> OK Other:81
get_property request\0host -> OK Other:81
get_header request host -> OK h
2: header host: h
2: header connection: close
2: header :scheme: http
2: header :path: /t
2: header :method: GET
2: header :authority: Other:81
get_header request :authority -> OK third:8
get_property host -> OK third



=== TEST 5: a target with a host and no Host header
--- script
request_headers: get_header request :authority
request_headers: get_headers request
request_headers: headers_size request
--- client
raw("GET http://[::1]:81?x HTTP/1.0\r\n\r\n")
raw("GET http://other/t HTTP/1.0\r\n\r\n")
raw("GET /t HTTP/1.0\r\nX: http://other/t\r\n\r\n")
raw("GET /t?u=http://localhost/ HTTP/1.0\r\n\r\n")
--- response_body
--- grep_error_log_out
get_header request :authority -> OK other
2: header :scheme: http
2: header :path: /t
2: header :method: GET
2: header :authority: other
get_headers request -> OK 4
get_header request :authority -> NOT_FOUND
2: header x: http://other/t
2: header :scheme: http
2: header :path: /t
2: header :method: GET
get_headers request -> OK 4
get_header request :authority -> NOT_FOUND
2: header :scheme: http
2: header :path: /t?u=http://localhost/
2: header :method: GET
get_headers request -> OK 3
--- grep_error_log eval: qr/(?:get_headers?|\d: header) \S+ .*?(?=, client)/



=== TEST 6: odd hosts are the client's own words
--- script
request_headers: get_header request :authority
--- client
for _, host in ipairs({"[::1]:80", "EXAMPLE.org.", "a_b:1", "1.2.3.4", "h.:80"}) do
    raw("GET /t HTTP/1.0\r\nHost: " .. host .. "\r\n\r\n")
end
--- response_body
--- grep_error_log_out
get_header request :authority -> OK [::1]:80
get_header request :authority -> OK EXAMPLE.org.
get_header request :authority -> OK a_b:1
get_header request :authority -> OK 1.2.3.4
get_header request :authority -> OK h.:80



=== TEST 7: over HTTP/2
--- script
request_headers: get_header request :authority
request_headers: get_header request host
request_headers: replace_header request :authority new:1
request_headers: get_header request :authority
request_headers: get_property http_host
--- client
ngx.print((http2.curl("http://127.0.0.1:1985/t", "--http2-prior-knowledge", "-sS", "-H", "Host: Orig:8"):match("%S+ /t %S+ %S+")))
--- response_body chomp
new:1 /t new:1 new
--- grep_error_log_out
get_header request :authority -> OK Orig:8
get_header request host -> OK Orig:8
get_header request :authority -> OK new:1
get_property http_host -> OK new:1



=== TEST 8: a host that is removed is gone
--- script
request_headers: get_header request :authority
request_headers: remove_header request host
request_headers: get_header request :authority
request_headers: get_property http_host
request_headers: get_headers request
--- client
raw("GET /t HTTP/1.0\r\nHost: h\r\n\r\n")
--- response_body
--- grep_error_log eval: qr/get_\w+ \S+(?: :?[a-z]+)? -> .*?(?=, client)/
--- grep_error_log_out
get_header request :authority -> OK h
get_header request :authority -> NOT_FOUND
get_property http_host -> NOT_FOUND
get_headers request -> OK 3



=== TEST 9: an added header without a value is there, for plugins as for the upstream
--- script
request_headers: add_header request X-Empty ""
request_headers: get_header request x-empty
request_headers: get_property request\0headers\0x-empty
request_headers: get_property http_x_empty
request_headers: add_header request x-late ""
request_headers: replace_header request x-late full
request_headers: get_header request x-late
request_headers: add_header request x-gone ""
request_headers: remove_header request x-gone
request_headers: get_header request x-gone
request_headers: add_header request x-all ""
request_headers: set_headers request a=1 b= x-empty= x-all= x-late=full
request_headers: get_headers request
--- http_config
    server {
        listen 127.0.0.1:1989;
        location / { content_by_lua_block { ngx.print((ngx.req.raw_header():gsub("\r\n", "|"))) } }
    }
--- client
ngx.print((raw("GET /direct HTTP/1.0\r\nHost: h\r\n\r\n"):match("\n\n(.*)")))
--- response_body chomp
GET /direct HTTP/1.0|X-All: all|Host: 127.0.0.1:1989|Connection: close|a: 1|b: |x-empty: |x-late: full||
--- grep_error_log eval: qr/(?:get_header \S+ [a-z]\S+|get_property \S+|2: header [a-z]\S+) ?.*?(?=, client)/
--- grep_error_log_out eval
'get_header request x-empty -> OK
get_property request\0headers\0x-empty -> OK
get_property http_x_empty -> OK
get_header request x-late -> OK full
get_header request x-gone -> NOT_FOUND
2: header a: 1
2: header b: 
2: header x-empty: 
2: header x-all: 
2: header x-late: full
'



=== TEST 10: repeated headers are joined in their variable
--- script
request_headers: get_property http_x_one
request_headers: get_property http_cookie
request_headers: get_property ngx\0http_x_none
--- client
raw("GET /t HTTP/1.0\r\nX-One: 1\r\nx-one: 2\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n")
--- response_body
--- grep_error_log_out
get_property http_x_one -> OK 1, 2
get_property http_cookie -> OK a=1; b=2
get_property ngx\0http_x_none -> NOT_FOUND



=== TEST 11: a subrequest has its own path
--- script
request_headers: get_header request :path
response_headers: get_header request :path
response_headers: get_property request\0path
response_headers: get_property request\0url_path
--- client
raw("GET /sub?of=parent HTTP/1.0\r\nHost: h\r\n\r\n")
raw("GET /sub/plain?of=parent HTTP/1.0\r\nHost: h\r\n\r\n")
raw("GET /sub/auth?of=parent HTTP/1.0\r\nHost: h\r\n\r\n")
--- response_body
--- grep_error_log_out
get_header request :path -> OK /t/a%20b?c=d
get_property request\0path -> OK /t/a%20b?c=d
get_property request\0url_path -> OK /t/a%20b
get_header request :path -> OK /t
get_property request\0path -> OK /t
get_property request\0url_path -> OK /t
get_header request :path -> OK /auth



=== TEST 12: response headers that were read as variables before are new, too
--- script
response_headers: get_property sent_http_content_type
response_headers: get_property ngx\0sent_http_x_sent
response_headers: replace_header response content-type text/new
response_headers: replace_header response x-sent new
response_headers: get_property sent_http_content_type
response_headers: get_property sent_http_x_sent
--- client
raw("GET /t HTTP/1.0\r\nHost: h\r\n\r\n")
ngx.print((logged():match("text/%S+ [^]]*")))
--- response_body chomp
text/new new
--- grep_error_log_out
get_property sent_http_content_type -> OK text/plain
get_property ngx\0sent_http_x_sent -> OK sent
get_property sent_http_content_type -> OK text/new
get_property sent_http_x_sent -> OK new



=== TEST 13: there is no status before there is a response
--- script
request_headers: get_headers response
request_headers: get_header response :status
request_headers: get_property response\0code
response_headers: get_header response :status
--- client
raw("GET /t HTTP/1.0\r\nHost: h\r\n\r\n")
raw("GET /broken HTTP/1.0\r\nHost: h\r\n\r\n")
--- response_body
--- grep_error_log_out
get_header response :status -> NOT_FOUND
get_property response\0code -> NOT_FOUND
get_header response :status -> OK 200
get_header response :status -> NOT_FOUND
get_property response\0code -> NOT_FOUND
get_header response :status -> OK 405
