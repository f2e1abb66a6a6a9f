# Callouts by TLS: which server is trusted, by which name, and whose connections are used again. Names and their resolvers.

use t::WASM 'no_plan';
use t::Servers;

workers(1);
start_servers();
start_resolvers();

# At 127.0.0.1:1985, by TLS: the number of the request on its connection, and the name that was asked for; /held answers after
# /release was asked. At 127.0.0.2:1986 another server than at 127.0.0.1:1986.
my $servers = <<"_EOC_";
    server {
        listen 127.0.0.1:1985 ssl;
        ssl_certificate $t::Servers::TLS/server.pem;
        ssl_certificate_key $t::Servers::TLS/server.key;
        location / { return 200 "request \$connection_requests for \$ssl_server_name"; }
        location /held {
            content_by_lua_block {
                local semaphore = require("ngx.semaphore").new(0)
                package.loaded.held = semaphore
                assert(semaphore:wait(60))
                ngx.print("released")
            }
        }
    }
    server { listen 127.0.0.1:1986; return 200 one; }
    server { listen 127.0.0.2:1986; return 200 two; }
_EOC_

# `--- lua` runs in the content phase of a location that trusts ca.pem, or has `--- directives`; with `passed` it is answered.
add_block_preprocessor(sub {
    my ($block) = @_;
    my ($directives, $lua) = map { $_ ? $_->[0] : undef } map { delete $block->{$_} } qw(directives lua);
    $directives //= 'lua_ssl_trusted_certificate $TEST_NGINX_TLS/ca.pem;';
    $block->set_value(http_config => <<"_EOC_");
$t::Servers::BACKENDS
$servers
    init_by_lua_block {
        script = require("script")
        -- Asks an upstream.
        function ask(upstream, authority, path, scheme, timeout)
            local pattern = "request_headers: http_call %s %d '' :method=GET :scheme=%s :path=%s :authority=%s\\n"
            script.run(pattern:gsub("''", '""'):format(upstream, timeout or 5000, scheme or "https", path or "/", authority)
                .. "call_response: get_header call_response :status\\n"
                .. "call_response: get_header call_response :dispatch_status\\n"
                .. "call_response: get_body call_response 0 100")
        end
    }
_EOC_
    $block->set_value(config => <<"_EOC_") unless defined $block->config;
    location = /t {
        $directives
        content_by_lua_block {
$lua
            ngx.say("passed")
        }
    }
_EOC_
    $block->set_value(response_body => "passed\n") unless defined $block->response_body;
    $block->set_value(grep_error_log => qr/(?:http call failed: .*?(?=, uri)|call_response \d+: .* -> OK.*?)(?=, |$)/m)
        if defined $block->grep_error_log_out;
});

run_tests();

__DATA__

=== TEST 1: a server is trusted that has a certificate of the CA for its name
--- directives
lua_ssl_trusted_certificate $TEST_NGINX_TLS/ca.pem;
resolver 127.0.0.1:1953 ipv6=off;
--- lua
    ask("localhost:1985", "anything.example")
--- grep_error_log_out
call_response 1: get_header call_response :status -> OK 200
call_response 1: get_body call_response 0 100 -> OK request 1 for localhost



=== TEST 2: at an address it has to have that of the authority
--- lua
    ask("127.0.0.1:1985", "a.test.example:443")
--- grep_error_log_out
call_response 1: get_header call_response :status -> OK 200
call_response 1: get_body call_response 0 100 -> OK request 1 for a.test.example



=== TEST 3: at an IPv6 address
--- skip_eval: 3: !$t::Servers::HAS_IPV6
--- lua
    ask("[::1]:1970", "localhost")
--- grep_error_log_out
call_response 1: get_header call_response :status -> OK 200
call_response 1: get_body call_response 0 100 -> OK hello



=== TEST 4: no other name than the authority's is good at an address
--- lua
    ask("127.0.0.1:1970", "example.com")
--- grep_error_log_out
http call failed: certificate host mismatch
call_response 1: get_header call_response :dispatch_status -> OK tls handshake failure
--- error_log
lua ssl certificate does not match host "example.com"



=== TEST 5: no other name than the upstream's is good where it has one
--- directives
lua_ssl_trusted_certificate $TEST_NGINX_TLS/ca.pem;
resolver 127.0.0.1:1953 ipv6=off;
--- lua
    ask("example.com:1970", "localhost")
--- grep_error_log_out
http call failed: certificate host mismatch
call_response 1: get_header call_response :dispatch_status -> OK tls handshake failure
--- error_log
lua ssl certificate does not match host "example.com"



=== TEST 6: an expired certificate
--- lua
    ask("127.0.0.1:1973", "localhost")
--- grep_error_log_out
http call failed: 10: certificate has expired
call_response 1: get_header call_response :dispatch_status -> OK tls handshake failure
--- error_log
uri: https://127.0.0.1:1973/



=== TEST 7: a certificate of another CA
--- lua
    ask("127.0.0.1:1974", "localhost")
--- grep_error_log_out
http call failed: 21: unable to verify the first certificate
call_response 1: get_header call_response :dispatch_status -> OK tls handshake failure
--- error_log
uri: https://127.0.0.1:1974/



=== TEST 8: without lua_ssl_trusted_certificate no server is trusted
--- directives
--- lua
    ask("127.0.0.1:1970", "localhost")
--- grep_error_log_out
http call failed: 20: unable to get local issuer certificate
call_response 1: get_header call_response :dispatch_status -> OK tls handshake failure
--- error_log
uri: https://127.0.0.1:1970/



=== TEST 9: a server without TLS
--- lua
    ask("127.0.0.1:1980", "localhost")
--- grep_error_log_out
http call failed: handshake failed
call_response 1: get_header call_response :dispatch_status -> OK tls handshake failure
--- error_log
uri: https://127.0.0.1:1980/



=== TEST 10: a server that closes instead of a handshake
--- lua
    ask("127.0.0.1:2001", "localhost")
--- grep_error_log_out
http call failed: handshake failed
call_response 1: get_header call_response :dispatch_status -> OK tls handshake failure
--- error_log
uri: https://127.0.0.1:2001/



=== TEST 11: the time of a callout is that of its handshake, too
--- lua
    ask("127.0.0.1:2002", "localhost", "/", "https", 50)
--- grep_error_log_out
http call failed: timeout
call_response 1: get_header call_response :dispatch_status -> OK timeout
--- error_log
uri: https://127.0.0.1:2002/



=== TEST 12: a server that wants a certificate of its client gets none
--- lua
    ask("127.0.0.1:1975", "localhost")
--- grep_error_log_out eval
qr/\Acall_response 1: get_header call_response :status -> OK 400\n/



=== TEST 13: a connection is used again by the name that its server has proved, and no other
--- lua
    for _ = 1, 2 do
        ask("127.0.0.1:1985", "localhost")
        ask("127.0.0.1:1985", "a.test.example")
    end
    ask("127.0.0.1:1985", "example.com")
    assert(script.count("-> OK request 1 for localhost") == 1)
    assert(script.count("-> OK request 2 for localhost") == 1)
    assert(script.count("-> OK request 1 for a.test.example") == 1)
    assert(script.count("-> OK request 2 for a.test.example") == 1)
    assert(script.count("http call failed: certificate host mismatch") == 1)
--- error_log
lua ssl certificate does not match host "example.com"



=== TEST 14: a connection is not used again by a location that would not have trusted its server
--- config
    location = /trusts {
        lua_ssl_trusted_certificate $TEST_NGINX_TLS/ca.pem;
        content_by_lua_block { ask("127.0.0.1:1985", "localhost") }
    }
    location = /distrusts {
        lua_ssl_trusted_certificate $TEST_NGINX_TLS/other-ca.pem;
        content_by_lua_block { ask("127.0.0.1:1985", "localhost") }
    }
    location = /t {
        content_by_lua_block {
            for _, location in ipairs {"/trusts", "/distrusts", "/trusts"} do
                require("client")(location)
            end
            ngx.say("passed")
        }
    }
--- grep_error_log_out
call_response 1: get_header call_response :status -> OK 200
call_response 1: get_body call_response 0 100 -> OK request 1 for localhost
http call failed: 21: unable to verify the first certificate
call_response 1: get_header call_response :dispatch_status -> OK tls handshake failure
call_response 1: get_header call_response :status -> OK 200
call_response 1: get_body call_response 0 100 -> OK request 2 for localhost
--- error_log
lua ssl certificate verify error



=== TEST 15: locations with other certificates and resolvers ask at the same time
--- config
    location = /one {
        lua_ssl_trusted_certificate $TEST_NGINX_TLS/ca.pem;
        resolver 127.0.0.1:1953 ipv6=off;
        content_by_lua_block {
            local waits = ngx.thread.spawn(ask, "127.0.0.1:1985", "localhost", "/held")
            ask("127.0.0.1:1970", "localhost")
            ask("127.0.0.1:1974", "localhost")
            ask("name.example:1986", "localhost", "/", "http")
            ngx.thread.wait(waits)
        }
    }
    location = /two {
        lua_ssl_trusted_certificate $TEST_NGINX_TLS/other-ca.pem;
        resolver 127.0.0.1:1954 ipv6=off;
        content_by_lua_block {
            ask("127.0.0.1:1970", "localhost")
            ask("127.0.0.1:1974", "localhost")
            ask("name.example:1986", "localhost", "/", "http")
        }
    }
    location = /t {
        content_by_lua_block {
            local get = require("client")
            local one = ngx.thread.spawn(get, "/one")
            script.wait("-> OK one")
            get("/two")
            assert(script.count("-> OK released") == 0)
            package.loaded.held:post(1)
            ngx.thread.wait(one)
            ngx.say("passed")
        }
    }
--- grep_error_log_out
call_response 1: get_header call_response :status -> OK 200
call_response 1: get_body call_response 0 100 -> OK hello
http call failed: 21: unable to verify the first certificate
call_response 1: get_header call_response :dispatch_status -> OK tls handshake failure
call_response 1: get_header call_response :status -> OK 200
call_response 1: get_body call_response 0 100 -> OK one
http call failed: 21: unable to verify the first certificate
call_response 1: get_header call_response :dispatch_status -> OK tls handshake failure
call_response 1: get_header call_response :status -> OK 200
call_response 1: get_body call_response 0 100 -> OK hello
call_response 1: get_header call_response :status -> OK 200
call_response 1: get_body call_response 0 100 -> OK two
call_response 1: get_header call_response :status -> OK 200
call_response 1: get_body call_response 0 100 -> OK released
--- error_log
lua ssl certificate verify error



=== TEST 16: a name, and no resolver
--- lua
    ask("localhost:1980", "localhost", "/", "http")
--- grep_error_log_out
http call failed: no resolver defined to resolve "localhost"
call_response 1: get_header call_response :dispatch_status -> OK resolver failure
--- error_log
uri: http://localhost:1980



=== TEST 17: a name that nobody knows
--- directives
resolver 127.0.0.1:1953 ipv6=off;
--- lua
    ask("name.unknown:1980", "localhost", "/", "http")
--- grep_error_log_out
http call failed: name.unknown could not be resolved (3: Host not found)
call_response 1: get_header call_response :dispatch_status -> OK resolver failure
--- error_log
uri: http://name.unknown:1980



=== TEST 18: a server has no name that is an address, whatever its certificate says
--- lua
    ask("127.0.0.1:1970", "127.0.0.1:1970")
--- grep_error_log_out
http call failed: certificate host mismatch
call_response 1: get_header call_response :dispatch_status -> OK tls handshake failure
--- error_log
lua ssl certificate does not match host "127.0.0.1"
