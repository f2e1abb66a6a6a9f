# What callouts leave to others: connections to requests, and servers that trust whoever reaches them.

use t::WASM 'no_plan';
use t::Servers;

workers(1);
worker_connections(64);
start_servers();

# --- lua runs in the content phase.
add_block_preprocessor(sub {
    my ($block) = @_;
    my ($lua) = map { $_->[0] } delete $block->{lua};
    $lua =~ s/\$SILENT/$t::Servers::GARBAGE{silent}/g;
    $block->set_value(config => <<"_EOC_");
    location = /served { return 200 "served"; }
    location = /proxied { proxy_pass http://127.0.0.1:\$server_port/served; }
    location = /t {
        content_by_lua_block {
            local script, client = require("script"), require("client")
$lua
            ngx.say("passed")
        }
    }
_EOC_
    $block->set_value(response_body => "passed\n");
});

run_tests();

__DATA__

=== TEST 1: a plugin has a quarter of the worker's connections, all plugins together have half, and the rest is for requests
--- lua
    local contexts = {}
    for n, options in ipairs({{}, {}, {callouts_in_flight = 100}}) do
        local name = "plugin " .. n
        local plugin = assert(script.wasm.load(name, "target/guests/script.wasm", options))
        contexts[name] = assert(script.wasm.on_configure(plugin, ('configure: http_call $SILENT 2000 ""\n'):rep(options.callouts_in_flight or 17)))
    end
    script.wait("send http request to", 32)
    for _ = 1, 3 do
        local body = client("/proxied")
        assert(body == "served", body)
    end
--- grep_error_log eval: qr/plugin "plugin \d".*?wants .*?(?=, client|$)/
--- grep_error_log_out eval
'plugin "plugin 1": proxy_on_configure wants 17 callouts in flight: callouts_in_flight allows 16
plugin "plugin 2": proxy_on_configure wants 17 callouts in flight: callouts_in_flight allows 16
' . 'plugin "plugin 3" wants 33 callouts in flight in this worker, those of all plugins: half of its worker_connections allow 32
' x 100
--- no_error_log
[alert]



=== TEST 2: what is reserved is asked only when callout_upstreams names it
--- lua
    for _, host in ipairs({"unix:/run/docker.sock", "169.254.169.254", "169.254.1.1:8080", "[fe80::1]:80", "[::ffff:169.254.169.254]:80",
                           "[64:ff9b::a9fe:a9fe]", "[fd00:ec2::254]", "100.100.100.200", "192.0.0.192", "168.63.129.16",
                           "metadata.google.internal", "Metadata.", "instance-data"}) do
        script.run("request_headers: http_call " .. host .. ' 60000 ""\nrequest_headers: grpc_call ' .. host .. ' a b 60000 ""')
    end
    script.configure('configure: http_call metadata 1 ""', {callout_upstreams = {"metadata"}})
--- grep_error_log eval: qr/(?:request_headers|configure) \d+: (?:http|grpc)_call .*? -> [A-Z_]+|may not ask "unix.*?(?=, client)/
--- grep_error_log_out eval
my @hosts = qw(169.254.169.254 169.254.1.1:8080 [fe80::1]:80 [::ffff:169.254.169.254]:80 [64:ff9b::a9fe:a9fe] [fd00:ec2::254]
    100.100.100.200 192.0.0.192 168.63.129.16 metadata.google.internal Metadata. instance-data);
my $refused = 'may not ask "unix:/run/docker.sock": a unix socket, a link-local address or a metadata service has to be named by callout_upstreams
';
join '', $refused, qq(request_headers 2: http_call unix:/run/docker.sock 60000 "" -> INTERNAL_FAILURE
), $refused, qq(request_headers 2: grpc_call unix:/run/docker.sock a b 60000 "" -> INTERNAL_FAILURE
), (map { qq(request_headers 2: http_call $_ 60000 "" -> INTERNAL_FAILURE
request_headers 2: grpc_call $_ a b 60000 "" -> INTERNAL_FAILURE
) } @hosts), qq(configure 1: http_call metadata 1 "" -> OK
)
--- no_error_log
[alert]



=== TEST 3: a host that may be read as an address in two ways is none
--- lua
    for _, host in ipairs({"0169.254.169.254", "169.254.169.0254:80", "169.254..", "...", "169.254.43518", "0xA9FEA9FE:80", "2852039166:80",
                           "169.254.169.254."}) do
        script.run("request_headers: http_call " .. host .. ' 60000 ""', {callout_upstreams = {host}})
    end
--- grep_error_log eval: qr/http_call .*? -> [A-Z_]+/
--- grep_error_log_out eval
join '', map { qq(http_call $_ 60000 "" -> BAD_ARGUMENT
) } qw(0169.254.169.254 169.254.169.0254:80 169.254.. ... 169.254.43518 0xA9FEA9FE:80 2852039166:80 169.254.169.254.)
--- error_log
http call gets invalid host: 0xA9FEA9FE:80
--- no_error_log
[alert]



=== TEST 4: a number alone is an upstream's id, or nothing
--- lua
    script.run('request_headers: http_call 2852039166 60000 ""\nrequest_headers: return 1\ncall_response: get_status')
--- grep_error_log eval: qr/get_status -> .*?(?=, context|, client|$)/
--- grep_error_log_out
get_status -> OK 11 no resolver is asked for 2852039166: it is no upstream's id
--- error_log
http call failed: no resolver is asked for 2852039166: it is no upstream's id
--- no_error_log
[alert]
