# Subrequests of nginx's own, auth_request and mirror, as the first thing that a process sees.

use t::WASM 'no_plan';

# --- script is the configuration of a plugin whose response callbacks run in /t, --- auth that of one whose callbacks run in /auth before,
# a subrequest. Each test has a worker of its own.
add_block_preprocessor(sub {
    my ($block) = @_;
    my ($script, $auth, $location) = map { (delete $block->{$_} // [''])->[0] } qw(script auth location);
    $block->set_value(http_config => <<"_EOC_" . ($block->http_config // ''));
    init_worker_by_lua_block {
        wasm = require("resty.proxy-wasm")
        local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
        ctx = assert(wasm.on_configure(plugin, [[#
$script
        ]]))
        auth_ctx = assert(wasm.on_configure(plugin, [[##
$auth
        ]]))
    }
    server {
        listen 127.0.0.1:1986;
        location / { add_header Set-Cookie secret=1; add_header X-Upstream yes; if (\$http_range) { rewrite ^ /slices last; } return 200 "upstream\\n"; }
        location = /slices { root html; }
    }
_EOC_
    $block->set_value(config => <<"_EOC_");
    location = /t {
        $location
        proxy_pass http://127.0.0.1:1986;
        header_filter_by_lua_block { wasm.on_http_response_headers(ctx) }
        body_filter_by_lua_block { wasm.on_http_response_body(ctx) }
    }
    location = /auth {
        internal;
        proxy_pass http://127.0.0.1:1986;
        rewrite_by_lua_block { assert(wasm.on_http_request_headers(auth_ctx)) }
        header_filter_by_lua_block { assert(wasm.on_http_response_headers(auth_ctx)) }
    }
_EOC_
});

run_tests();

__DATA__

=== TEST 1: what is replaced after an auth_request is replaced whole
--- location: auth_request /auth;
--- auth
response_headers: get_header response x-upstream
--- script
response_headers: set_headers response x-new=1 content-type=text/plain
--- more_headers
X-Of-Client: yes
--- response_headers
x-new: 1
!Set-Cookie
!X-Upstream
--- response_body
upstream
--- no_error_log
[error]
[alert]



=== TEST 2: all response headers are seen, in the subrequest and after it
--- location: auth_request /auth;
--- auth
response_headers: get_headers response
--- script
response_headers: get_headers response
--- more_headers
X-Of-Client: yes
--- response_headers
Set-Cookie: secret=1
--- response_body
upstream
--- grep_error_log eval: qr/header (?:set-cookie|x-upstream): [^,]*?(?= while)/
--- grep_error_log_out
header set-cookie: secret=1
header x-upstream: yes
header set-cookie: secret=1
header x-upstream: yes



=== TEST 3: a plugin in a subrequest sees the headers of the request
--- location: auth_request /auth;
--- auth
request_headers: get_header request x-of-client
request_headers: get_headers request
--- more_headers
X-Of-Client: yes
--- response_body
upstream
--- error_log
get_header request x-of-client -> OK yes
header x-of-client: yes



=== TEST 4: after mirror as well
--- location: mirror /auth;
--- auth
request_headers: get_header request x-of-client
response_headers: set_headers response x-auth=1
--- script
response_headers: set_headers response x-new=1 content-type=text/plain
--- more_headers
X-Of-Client: yes
--- response_headers
x-new: 1
!Set-Cookie
!X-Upstream
--- response_body
upstream
--- error_log
get_header request x-of-client -> OK yes
--- no_error_log
[error]
[alert]



=== TEST 5: a denial in the response's place leaks nothing of the upstream
--- location: auth_request /auth;
--- auth
response_headers: get_headers response
--- script
response_headers: send_local_response 403 denied
--- more_headers
X-Of-Client: yes
--- error_code: 403
--- response_headers
!Set-Cookie
!X-Upstream
--- response_body chomp
denied
--- no_error_log
[error]
[alert]



=== TEST 6: a plugin in subrequests can't change the headers that they share with their request
--- location: slice 4; proxy_set_header Range $slice_range;
--- user_files
>>> slices
upstream
--- script
response_headers: copy_headers request
response_headers: add_header request x-added 1
response_headers: set_headers request x-added=2
--- more_headers
X-Of-Client: yes
--- response_body
upstream
--- error_log
failed to set request header x-added: a subrequest has the headers of its request, they can't be changed for it alone
--- no_error_log
[alert]
