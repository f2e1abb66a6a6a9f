# Attributes have Envoy's types: the guest decodes them as SDKs do, and panics on a value of another size.

use t::WASM 'no_plan';

use File::Temp qw(tempdir);

# --- read is the configuration of `attributes`, whose callbacks are run by `require("reader")`'s request and response.
# --- read_out is all that it logged.
add_block_preprocessor(sub {
    my ($block) = @_;
    my $read = delete $block->{read} or return;
    my $out = delete $block->{read_out};
    $block->set_value(grep_error_log => qr/\b(?:request|response|log) \S+ (?:= .*?|is not found)(?=, client| while |$)/) if $out;
    $block->set_value(grep_error_log_out => $out->[0]) if $out;
    $block->set_value(http_config => <<"_EOC_" . ($block->http_config // ''));
    init_by_lua_block {
        package.preload.reader = function()
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/attributes.wasm"))
            local ctx = assert(wasm.on_configure(plugin, [[
$read->[0]
            ]]))
            return {
                request = function() assert(wasm.on_http_request_headers(ctx)) end,
                response = function() assert(wasm.on_http_response_headers(ctx)) end,
            }
        end
        -- Sends bytes, waits for a text and closes the connection.
        package.loaded.exchange = function(address, port, bytes, awaited)
            local socket = ngx.socket.tcp()
            assert(socket:connect(address, port))
            assert(socket:send(bytes))
            assert(socket:receiveuntil(awaited)())
            socket:close()
        end
    }
_EOC_
    $block->set_value(config => <<'_EOC_' . ($block->config // ''));
    location = /t {
        access_by_lua_block { require("reader").request() }
        header_filter_by_lua_block { require("reader").response() }
        content_by_lua_block { ngx.say("passed") }
    }
_EOC_
});

# An authority, the server's certificate, and three of clients: with alternative names, without, and of no authority.
my $pki = tempdir(CLEANUP => 1);
$ENV{TEST_NGINX_PKI} = $pki;
system('bash', '-ec', <<'_EOC_', 'bash', $pki) == 0 or bail_out('openssl can not make certificates');
    cd "$1"
    new() {
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1.key" -subj "$2" "${@:3}" 2>>log
    }
    sign() { openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -out "$1.crt" "${@:2}" 2>>log; }
    new ca "/CN=ca" -x509 -out ca.crt
    new server "/CN=server.test" -x509 -out server.crt
    new stranger "/CN=stranger" -x509 -out stranger.crt
    new client "/O=Org/CN=client" -out client.csr
    echo "subjectAltName=email:a@b.c,URI:spiffe://test/one,DNS:one.test,DNS:two.test,URI:spiffe://test/two" >san
    sign client -extfile san
    new bare "/CN=bare" -out bare.csr
    sign bare
_EOC_
our ($digest) = `openssl x509 -in $pki/client.crt -outform DER | sha256sum` =~ /(\w+)/;
our $pem = `cat $pki/client.crt` =~ s/([^\w.~-])/sprintf '%%%02X', ord $1/ger;

# --- tls gives location /tls further directives: what it proxies to is location /t by TLS 1.3.
add_block_preprocessor(sub {
    my ($block) = @_;
    my $tls = delete $block->{tls} or return;
    $block->set_value(config => <<"_EOC_");
    listen 127.0.0.1:1985 ssl;
    ssl_protocols TLSv1.3;
    ssl_certificate $pki/server.crt;
    ssl_certificate_key $pki/server.key;
    ssl_client_certificate $pki/ca.crt;
    ssl_verify_client optional_no_ca;
    location = /tls {
        proxy_pass https://127.0.0.1:1985/t;
        proxy_ssl_protocols TLSv1.3;
        proxy_ssl_server_name on;
        $tls->[0]
    }
_EOC_
    $block->set_value(request => 'GET /tls') unless defined $block->request;
});

# Every attribute, in every callback.
our $all;
open my $table, '<', 'docs/properties.md' or die "docs/properties.md: $!";
for (<$table>) {
    my ($path, $type) = /^\| `([\w.]+)` \| (\w+) \| / or next;
    $all .= "any $type $path\n";
}

run_tests();

__DATA__

=== TEST 1: a request
--- read
request string request.path
request string request.url_path
request string request.query
request string request.host
request string request.scheme
request string request.method
request string request.protocol
request string request.referer
request string request.useragent
request string request.id
request int request.size
request int request.total_size
request int request.headers_bytes
request timestamp request.time
request duration request.duration
request string request.headers.x-api
request string request.headers.X-API
request string request.headers.missing
request map request.headers
--- request
GET /t?a=%20b&c
--- more_headers
Host: localhost:1984
Referer: http://referer/
User-Agent: agent
X-Request-Id: an-id
X-API: one
x-api: two
--- response_body
passed
--- read_out
request request.path = /t?a=%20b&c
request request.url_path = /t
request request.query = a=%20b&c
request request.host = localhost:1984
request request.scheme = http
request request.method = GET
request request.protocol = HTTP/1.1
request request.referer = http://referer/
request request.useragent = agent
request request.id = an-id
request request.size = 0
request request.total_size = 159
request request.headers_bytes = 164
request request.time = recent
request request.duration = positive
request request.headers.x-api = one,two
request request.headers.X-API = one,two
request request.headers.missing is not found
request request.headers = :authority: localhost:1984; :method: GET; :path: /t?a=%20b&c; :scheme: http; connection: close; host: localhost:1984; referer: http://referer/; user-agent: agent; x-api: one,two; x-request-id: an-id



=== TEST 2: what the client did not send is not found
--- read
request string request.host
request string request.referer
request string request.useragent
request string request.id
request string request.query
request string request.protocol
request map request.headers
request int request.headers_bytes
--- raw_request eval
"GET /t HTTP/1.0\r\n\r\n"
--- response_body
passed
--- read_out
request request.host is not found
request request.referer is not found
request request.useragent is not found
request request.id is not found
request request.query is not found
request request.protocol = HTTP/1.0
request request.headers = :method: GET; :path: /t; :scheme: http
request request.headers_bytes = 28



=== TEST 3: the size of a body
--- read
request int request.size
log int request.size
log int request.total_size
--- request eval
["POST /read
hello", "POST /read
hello"]
--- config
    location = /read {
        access_by_lua_block { require("reader").request() }
        content_by_lua_block {
            ngx.req.read_body()
            ngx.say("passed")
        }
    }
--- response_body eval
["passed\n", "passed\n"]
--- read_out
request request.size = 5
log request.size = 5
log request.total_size = 83



=== TEST 4: the size of a chunked body is known when it was read
--- read
request int request.size
log int request.size
--- config
    location = /chunked {
        access_by_lua_block { require("reader").request() }
        content_by_lua_block {
            ngx.req.read_body()
            ngx.say(ngx.req.get_body_data())
        }
    }
--- raw_request eval
"POST /chunked HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"
--- response_body
hello!
--- read_out
request request.size = 0
log request.size = 6



=== TEST 5: a response is there with its headers, and complete in proxy_on_log
--- read
request int response.code
request map response.headers
request int response.headers_bytes
request string response.code_details
request int response.grpc_status
request map response.trailers
response int response.code
response string response.headers.x-answer
response string response.headers.content-type
response map response.headers
response int response.headers_bytes
response int response.grpc_status
log int response.code
log int response.size
log int response.total_size
log string response.headers.X-Answer
log string response.code_details
log duration response.backend_latency
log duration request.duration
log timestamp request.time
log int response.grpc_status
--- config
    location = /answer {
        access_by_lua_block { require("reader").request() }
        header_filter_by_lua_block { require("reader").response() }
        content_by_lua_block {
            ngx.status = 201
            ngx.header["X-Answer"] = {"one", "two"}
            ngx.header["Grpc-Status"] = "7"
            ngx.header["Content-Length"] = 5
            ngx.header["Server"] = "s"   -- nginx's own differs from one release to the next
            ngx.print("hello")
        }
    }
--- request
GET /answer
--- error_code: 201
--- response_body chomp
hello
--- read_out
request response.code is not found
request response.headers is not found
request response.headers_bytes is not found
request response.code_details is not found
request response.grpc_status is not found
request response.trailers is not found
response response.code = 201
response response.headers.x-answer = one,two
response response.headers.content-type = text/plain
response response.headers = :status: 201; connection: close; content-length: 5; content-type: text/plain; grpc-status: 7; server: s; x-answer: one,two
response response.headers_bytes = 103
response response.grpc_status = 7
log response.code = 201
log response.size = 5
log response.total_size = 187
log response.headers.X-Answer = one,two
log response.code_details is not found
log response.backend_latency is not found
log request.duration = positive
log request.time = recent
log response.grpc_status = 7



=== TEST 6: trailers
--- read
response map response.trailers
response int response.grpc_status
log map response.trailers
log string response.trailers.X-Sum
log int response.grpc_status
--- config
    location = /trailers {
        access_by_lua_block { require("reader").request() }
        header_filter_by_lua_block { require("reader").response() }
        content_by_lua_block { ngx.print("hello") }
        add_trailer X-Sum 15;
        add_trailer Grpc-Status 5;
    }
--- request
GET /trailers
--- ignore_response
--- read_out
response response.trailers is not found
response response.grpc_status is not found
log response.trailers = grpc-status: 5; x-sum: 15
log response.trailers.X-Sum = 15
log response.grpc_status = 5



=== TEST 7: addresses
--- read
request address source.address
request port source.port
request address destination.address
request port destination.port
request uint connection.id
request uint connection_id
request int listener_direction
request int xds.listener_direction
request string virtual_host_name
request string xds.virtual_host_name
--- response_body
passed
--- read_out
request source.address = 127.0.0.1 with a port
request source.port = a port
request destination.address = 127.0.0.1:1984
request destination.port = 1984
request connection.id = 1
request connection_id = 1
request listener_direction = 1
request xds.listener_direction = 1
request virtual_host_name = localhost
request xds.virtual_host_name = localhost



=== TEST 8: addresses of IPv6
--- read
request address source.address
request port source.port
request address destination.address
request port destination.port
--- config
    listen [::1]:1985;
    location = /v6 {
        content_by_lua_block {
            package.loaded.exchange("[::1]", 1985, "GET /t HTTP/1.0\r\n\r\n", "passed\n")
            ngx.say("passed")
        }
    }
--- request
GET /v6
--- response_body
passed
--- read_out
request source.address = ::1 with a port
request source.port = a port
request destination.address = [::1]:1985
request destination.port = 1985



=== TEST 9: addresses of a unix socket
--- read
request string source.address
request port source.port
request string destination.address
request port destination.port
--- config
    listen unix:$TEST_NGINX_SERVER_ROOT/socket;
    location = /unix {
        content_by_lua_block {
            package.loaded.exchange("unix:$TEST_NGINX_SERVER_ROOT/socket", nil, "GET /t HTTP/1.0\r\n\r\n", "passed\n")
            ngx.say("passed")
        }
    }
--- request
GET /unix
--- response_body
passed
--- read_out eval
"request source.address = unix:
request source.port is not found
request destination.address = unix:$ENV{TEST_NGINX_SERVER_ROOT}/socket
request destination.port is not found
"



=== TEST 10: HTTP/2 without TLS
--- read
request string request.protocol
request string request.host
request string request.path
request string request.method
request string request.scheme
request int request.size
request bool connection.mtls
log int response.code
log int response.size
log duration request.duration
--- config
    listen 127.0.0.1:1985 http2;
    location = /h2c {
        content_by_lua_block {
            local function frame(kind, flags, stream, payload)
                return string.char(0, 0, #payload, kind, flags, 0, 0, 0, stream) .. payload
            end
            package.loaded.exchange("127.0.0.1", 1985, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" .. frame(4, 0, 0, "")
                -- HEADERS, at once the request's end: :method GET, :path /t, :scheme http, :authority localhost
                .. frame(1, 5, 1, "\x82\x04\x02/t\x86\x41\x09localhost"), "passed\n")
            ngx.say("passed")
        }
    }
--- request
GET /h2c
--- response_body
passed
--- read_out
request request.protocol = HTTP/2
request request.host = localhost
request request.path = /t
request request.method = GET
request request.scheme = http
request request.size = 0
request connection.mtls = false
log response.code = 200
log response.size = 7
log request.duration = positive



=== TEST 11: without TLS there is nothing of it
--- read
request bool connection.mtls
request string connection.requested_server_name
request string connection.tls_version
request string connection.subject_peer_certificate
request string connection.peer_certificate
request string connection.sha256_peer_certificate_digest
request string connection.dns_san_peer_certificate
request string connection.uri_san_peer_certificate
--- response_body
passed
--- read_out
request connection.mtls = false
request connection.requested_server_name is not found
request connection.tls_version is not found
request connection.subject_peer_certificate is not found
request connection.peer_certificate is not found
request connection.sha256_peer_certificate_digest is not found
request connection.dns_san_peer_certificate is not found
request connection.uri_san_peer_certificate is not found



=== TEST 12: a client with a certificate
--- tls
proxy_ssl_certificate $TEST_NGINX_PKI/client.crt;
proxy_ssl_certificate_key $TEST_NGINX_PKI/client.key;
proxy_ssl_name server.test;
--- read
request string request.scheme
request bool connection.mtls
request string connection.requested_server_name
request string connection.tls_version
request string connection.subject_peer_certificate
request string connection.peer_certificate
request string connection.sha256_peer_certificate_digest
request string connection.dns_san_peer_certificate
request string connection.uri_san_peer_certificate
request string connection.subject_local_certificate
log bool connection.mtls
log string connection.uri_san_peer_certificate
--- response_body
passed
--- read_out eval
"request request.scheme = https
request connection.mtls = true
request connection.requested_server_name = server.test
request connection.tls_version = TLSv1.3
request connection.subject_peer_certificate = CN=client,O=Org
request connection.peer_certificate = $main::pem
request connection.sha256_peer_certificate_digest = $main::digest
request connection.dns_san_peer_certificate = one.test
request connection.uri_san_peer_certificate = spiffe://test/one
request connection.subject_local_certificate is not found
log connection.mtls = true
log connection.uri_san_peer_certificate = spiffe://test/one
"



=== TEST 13: a certificate without alternative names
--- tls
proxy_ssl_certificate $TEST_NGINX_PKI/bare.crt;
proxy_ssl_certificate_key $TEST_NGINX_PKI/bare.key;
--- read
request bool connection.mtls
request string connection.subject_peer_certificate
request string connection.dns_san_peer_certificate
request string connection.uri_san_peer_certificate
--- response_body
passed
--- read_out
request connection.mtls = true
request connection.subject_peer_certificate = CN=bare
request connection.dns_san_peer_certificate is not found
request connection.uri_san_peer_certificate is not found



=== TEST 14: a certificate that nobody vouches for is presented, too; and a client without one
--- tls
proxy_ssl_certificate $TEST_NGINX_PKI/stranger.crt;
proxy_ssl_certificate_key $TEST_NGINX_PKI/stranger.key;
}
location = /without {
    proxy_pass https://127.0.0.1:1985/t;
    proxy_ssl_protocols TLSv1.3;
--- read
request bool connection.mtls
request string connection.tls_version
request string connection.requested_server_name
request string connection.subject_peer_certificate
request string connection.sha256_peer_certificate_digest
--- request eval
["GET /tls", "GET /without"]
--- response_body eval
["passed\n", "passed\n"]
--- read_out eval
qr/(?:request connection.mtls = true
request connection.tls_version = TLSv1.3
request connection.requested_server_name is not found
request connection.subject_peer_certificate = CN=stranger
request connection.sha256_peer_certificate_digest = [0-9a-f]{64}
|request connection.mtls = false
request connection.tls_version = TLSv1.3
request connection.requested_server_name is not found
request connection.subject_peer_certificate is not found
request connection.sha256_peer_certificate_digest is not found
)\z/



=== TEST 15: upstreams, the first of which fails
--- read
request string upstream.address
request port upstream.port
request uint upstream.request_attempt_count
response address upstream.address
response port upstream.port
response uint upstream.request_attempt_count
response string response.code_details
log address upstream.address
log uint upstream.request_attempt_count
log duration response.backend_latency
log string response.code_details
--- http_config
    upstream backend {
        server 127.0.0.1:1 max_fails=0;
        server 127.0.0.1:1986 backup;
    }
    server {
        listen 127.0.0.1:1986;
        location / {
            content_by_lua_block {
                ngx.sleep(0.02)
                ngx.print("hello")
            }
        }
    }
--- config
    location = /up {
        access_by_lua_block { require("reader").request() }
        header_filter_by_lua_block { require("reader").response() }
        proxy_pass http://backend/;
    }
--- request
GET /up
--- response_body chomp
hello
--- error_log
Connection refused
--- read_out
request upstream.address is not found
request upstream.port is not found
request upstream.request_attempt_count = 0
response upstream.address = 127.0.0.1:1986
response upstream.port = 1986
response upstream.request_attempt_count = 2
response response.code_details = via_upstream
log upstream.address = 127.0.0.1:1986
log upstream.request_attempt_count = 2
log response.backend_latency = positive
log response.code_details = via_upstream



=== TEST 16: no upstream answers
--- read
response string response.code_details
response string upstream.address
response uint upstream.request_attempt_count
response duration upstream.cx_pool_ready_duration
log int response.code
log string response.code_details
--- config
    location = /up {
        access_by_lua_block { require("reader").request() }
        header_filter_by_lua_block { require("reader").response() }
        proxy_pass http://127.0.0.1:1;
    }
--- request
GET /up
--- error_code: 502
--- ignore_response
--- error_log
Connection refused
--- read_out
response response.code_details is not found
response upstream.address = 127.0.0.1:1
response upstream.request_attempt_count = 1
response upstream.cx_pool_ready_duration is not found
log response.code = 502
log response.code_details is not found



=== TEST 17: an upstream on a unix socket
--- read
response string upstream.address
response port upstream.port
--- config
    listen unix:$TEST_NGINX_SERVER_ROOT/socket;
    location = /up {
        access_by_lua_block { require("reader").request() }
        header_filter_by_lua_block { require("reader").response() }
        proxy_pass http://unix:$TEST_NGINX_SERVER_ROOT/socket:/index.html;
    }
--- request
GET /up
--- response_body_like: It works
--- read_out eval
"response upstream.address = unix:$ENV{TEST_NGINX_SERVER_ROOT}/socket
response upstream.port is not found
"



=== TEST 18: the details of a local reply
--- read
log string response.code_details
log int response.code
--- config
    location = /reply {
        access_by_lua_block {
            require("reader").request()
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("other", "target/guests/script.wasm"))
            local ctx = assert(wasm.on_configure(plugin, [[
                request_headers: scratch denied_by_policy
                request_headers: call proxy_send_local_response 403 $scratch $len $scratch 6 0 0 -1
            ]]))
            assert(wasm.on_http_request_headers(ctx))
        }
    }
--- request
GET /reply
--- error_code: 403
--- response_body chomp
denied
--- read_out
log response.code_details = denied_by_policy
log response.code = 403



=== TEST 19: what plugins changed before
--- read
request string request.path
request string request.url_path
request string request.method
request string request.host
request string request.headers.x-api
--- config
    location = /changed {
        access_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("other", "target/guests/script.wasm"))
            local ctx = assert(wasm.on_configure(plugin, [[
                request_headers: replace_header request :path /other
                request_headers: replace_header request :method PUT
                request_headers: replace_header request :authority elsewhere
                request_headers: add_header request x-api two
            ]]))
            assert(wasm.on_http_request_headers(ctx))
            require("reader").request()
        }
        content_by_lua_block { ngx.say("passed") }
    }
--- request
GET /changed?x=y
--- more_headers
X-API: one
--- response_body
passed
--- read_out
request request.path = /other
request request.url_path = /other
request request.method = PUT
request request.host = elsewhere
request request.headers.x-api = one,two



=== TEST 20: APISIX's route and upstream
--- read
request string route_name
request string xds.route_name
request string cluster_name
request string xds.cluster_name
request string node.id
request string apisix.route_id
request string apisix.service_id
request string apisix.service_name
request string apisix.consumer_name
response string cluster_name
log string route_name
log string cluster_name
log string apisix.service_name
log string node.id
--- config
    location = /apisix {
        access_by_lua_block {
            package.loaded["apisix.core"] = {id = {get = function() return "instance" end}}
            ngx.ctx.api_ctx = {
                route_id = "1", route_name = "route", service_id = 2, consumer_name = {"odd"},
                matched_route = {value = {name = "route", upstream_id = "3", service_id = "2"}},
            }
            require("reader").request()
            ngx.ctx.api_ctx.upstream_id = "4"
        }
        header_filter_by_lua_block { require("reader").response() }
        content_by_lua_block { ngx.say("passed") }
    }
--- request
GET /apisix
--- response_body
passed
--- read_out
request route_name = route
request xds.route_name = route
request cluster_name = 3
request xds.cluster_name = 3
request node.id = instance
request apisix.route_id = 1
request apisix.service_id = 2
request apisix.service_name is not found
request apisix.consumer_name is not found
response cluster_name = 4
log route_name = route
log cluster_name = 4
log apisix.service_name is not found
log node.id = instance



=== TEST 21: odd fields of APISIX
--- read
request string route_name
request string cluster_name
request string node.id
--- config
    location = /apisix {
        access_by_lua_block {
            for _, api_ctx in ipairs{
                {},
                {route_id = 7, matched_route = false, matched_upstream = "x", upstream_conf = 1},
                {route_name = "", matched_route = {value = {id = "8", upstream = {name = "inline"}}}},
                true,
                "api_ctx",
            } do
                ngx.ctx.api_ctx = api_ctx
                require("reader").request()
            end
        }
        content_by_lua_block { ngx.say("passed") }
    }
--- request
GET /apisix
--- response_body
passed
--- read_out
request route_name is not found
request cluster_name is not found
request node.id is not found
request route_name = 7
request cluster_name is not found
request node.id is not found
request route_name = 8
request cluster_name = inline
request node.id is not found
request route_name = 8
request cluster_name = inline
request node.id is not found
request route_name = 8
request cluster_name = inline
request node.id is not found



=== TEST 22: without APISIX
--- read
request string route_name
request string cluster_name
request string node.id
request string apisix.route_id
log string route_name
--- response_body
passed
--- read_out
request route_name is not found
request cluster_name is not found
request node.id is not found
request apisix.route_id is not found
log route_name is not found



=== TEST 23: every attribute has its type, or is not found, wherever a plugin runs
--- read eval: $main::all
--- config
    location = /everywhere {
        content_by_lua_block {
            local function get(uri, version)
                local request = "GET " .. uri .. " HTTP/" .. version .. "\r\nHost: h\r\nConnection: close\r\n\r\n"
                package.loaded.exchange("127.0.0.1", 1984, request, "passed\n")
            end
            get("/t", "1.1")
            get("/t", "1.0")
            get("/exec", "1.1")
            get("/sub", "1.1")
            get("/up", "1.1")
            get("/log", "1.1")
            assert(ngx.timer.at(0, function() require("reader").request() end))
            ngx.say("passed")
        }
    }
    location = /exec {
        access_by_lua_block { require("reader").request() }
        content_by_lua_block { ngx.exec("/static") }
    }
    location = /static { return 200 "passed\n"; }
    location = /sub { content_by_lua_block { ngx.print(ngx.location.capture("/t").body) } }
    location = /up {
        access_by_lua_block { require("reader").request() }
        header_filter_by_lua_block { require("reader").response() }
        proxy_pass http://127.0.0.1:1984/t;
    }
    location = /log {
        content_by_lua_block { ngx.say("passed") }
        log_by_lua_block { require("reader").request() }
    }
--- request
GET /everywhere
--- response_body
passed
--- error_log
request request.path = /t, client: 127.0.0.1, server: localhost, request: "GET /t HTTP/1.1"
response request.path = /t, client: 127.0.0.1, server: localhost, request: "GET /t HTTP/1.0"
log request.path = /t
request request.path = /exec
log request.path = /exec
response request.path = /t, client: 127.0.0.1, server: localhost, request: "GET /sub HTTP/1.1"
log request.path = /t, client: 127.0.0.1, server: localhost, request: "GET /sub HTTP/1.1"
response request.path = /up
log request.path = /up
request request.path = /log
log request.path = /log
request plugin_name = plugin, context: ngx.timer
log plugin_name = plugin, context: ngx.timer
--- no_error_log
[error]
