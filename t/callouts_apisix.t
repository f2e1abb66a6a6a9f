# Callouts to the upstreams of APISIX, which are simulated: what APISIX keeps under /upstreams, and the two of its modules that
# are asked.

use t::WASM 'no_plan';

workers(1);

# `--- upstreams` is a Lua table by id; `--- script` is the plugin's, called in the access phase.
add_block_preprocessor(sub {
    my ($block) = @_;
    my ($upstreams, $script, $more) = map { $_ ? $_->[0] : '' } map { delete $block->{$_} } qw(upstreams script more);
    $block->set_value(http_config => <<"_EOC_" . ($block->http_config // ''));
    init_by_lua_block {
        local upstreams = {$upstreams}
        package.loaded["apisix.core"] = {config = {fetch_created_obj = function(key)
            assert(key == "/upstreams")
            return {get = function(_, id) return upstreams[id] and {value = upstreams[id]} end}
        end}}
$more
    }
_EOC_
    $block->set_value(config => <<"_EOC_");
    location = /t {
        access_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            local ctx = assert(wasm.on_configure(plugin, [==[
$script]==]))
            assert(wasm.on_http_request_headers(ctx))
        }
        content_by_lua_block { ngx.say("passed") }
    }
_EOC_
    $block->set_value(response_body => "passed\n") unless defined $block->response_body;
});

run_tests();

__DATA__

=== TEST 1: an upstream's id stands for one of its nodes, which is what the request is for
--- upstreams
["auth"] = {nodes = {{host = "127.0.0.1", port = 1980, weight = 1}}}
--- script
request_headers: http_call auth 5000 "" :path=/hello
call_response: get_header call_response :status
--- error_log
hit with headers {"host":"127.0.0.1:1980"}
call_response 1: get_header call_response :status -> OK 200



=== TEST 2: what the plugin calls the server is kept
--- upstreams
["auth"] = {nodes = {{host = "127.0.0.1", port = 1980, weight = 1}}}
--- script
request_headers: http_call auth 5000 "" :path=/hello :authority=me.example.com
--- error_log
hit with headers {"host":"me.example.com"}



=== TEST 3: so is what APISIX calls it
--- upstreams
["auth"] = {nodes = {{host = "127.0.0.1", port = 1980, weight = 1}}, pass_host = "rewrite", upstream_host = "other.example.com"}
--- script
request_headers: http_call auth 5000 "" :path=/hello
--- error_log
hit with headers {"host":"other.example.com"}



=== TEST 4: nodes without weight are not asked
--- upstreams
["auth"] = {nodes = {{host = "127.0.0.1", port = 1, weight = 0}, {host = "127.0.0.1", port = 1980, weight = 3},
    {host = "127.0.0.1", port = 2, weight = 0}}}
--- script
request_headers: http_call auth 5000 "" :path=/1
request_headers: http_call auth 5000 "" :path=/2
request_headers: http_call auth 5000 "" :path=/3
call_response: get_header call_response :status
--- grep_error_log eval: qr/get_header call_response :status -> OK 200|refused/
--- grep_error_log_out
get_header call_response :status -> OK 200
get_header call_response :status -> OK 200
get_header call_response :status -> OK 200



=== TEST 5: an upstream without a node
--- upstreams
["auth"] = {nodes = {{host = "127.0.0.1", port = 1980, weight = 0}}}
--- script
request_headers: http_call auth 5000 "" :path=/hello
call_response: get_header call_response :dispatch_status
call_response: get_status
--- error_log
http call failed: upstream auth has no node, uri: http://auth/hello
call_response 1: get_status -> OK 11 upstream auth has no node



=== TEST 6: APISIX resolves the names of nodes
--- upstreams
["auth"] = {nodes = {{host = "a.name", port = 1980, weight = 1}}}
--- more
package.loaded["apisix.upstream"] = {get_by_id = function(id)
    assert(id == "auth")
    return {nodes = {{host = "127.0.0.1", port = 1980, weight = 1, domain = "a.name"}}}
end}
--- script
request_headers: http_call auth 5000 "" :path=/hello
call_response: get_header call_response :status
--- error_log
call_response 1: get_header call_response :status -> OK 200



=== TEST 7: nodes that APISIX has discovered
--- upstreams
["auth"] = {service_name = "the service", discovery_type = "dns", discovery_args = {a = 1}}
--- more
package.loaded["apisix.discovery.init"] = {discovery = {dns = {nodes = function(name, args)
    assert(name == "the service" and args.a == 1)
    return {{host = "127.0.0.1", port = 1980, weight = 1}}
end}}}
--- script
request_headers: http_call auth 5000 "" :path=/hello
call_response: get_header call_response :status
--- error_log
call_response 1: get_header call_response :status -> OK 200



=== TEST 8: an upstream's scheme says whether the connection is encrypted
--- upstreams
["auth"] = {scheme = "https", nodes = {{host = "127.0.0.1", port = 1980, weight = 1}}}
--- script
request_headers: http_call auth 5000 "" :path=/hello
call_response: get_header call_response :dispatch_status
--- error_log
call_response 1: get_header call_response :dispatch_status -> OK tls handshake failure
--- no_error_log
[alert]



=== TEST 9: a name that is no id, and a name with a port, are hosts
--- upstreams
["localhost"] = {nodes = {{host = "127.0.0.1", port = 1, weight = 1}}}
--- script
request_headers: http_call no_id 5000 "" :path=/1
request_headers: http_call 127.0.0.1:1980 5000 "" :path=/2
call_response: get_header call_response :status
--- error_log
no resolver defined to resolve "no_id"
call_response 1: get_header call_response :status -> OK 200
