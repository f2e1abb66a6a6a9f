# The optional plugin of APISIX that shows how wasm plugins fare. APISIX's own side is played: `core` is what it calls, and the routes
# are called as its routers call them.

use t::WASM 'no_plan';

workers(1);

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(http_config => <<'_EOC_');
    lua_shared_dict resty_wasm 1m;
    init_by_lua_block {
        package.path = "apisix-plugin/lua/?.lua;" .. package.path
        local array_mt = {}
        package.loaded["apisix.core"] = {
            schema = {check = function(schema, conf)
                local field = next(conf)
                if schema.additionalProperties == false and field then return false, "additional properties forbidden, found " .. field end
                return true
            end},
            json = {array_mt = array_mt},
            response = {set_header = function(name, value) ngx.header[name] = value end},
        }
        -- What APISIX's routers do with what a handler returns.
        function answer(routes, uri)
            for _, route in ipairs(routes) do
                if route.uri == uri or route.uris and route.uris[1] == uri then
                    assert(route.methods[1] == "GET")
                    local code, body = route.handler()
                    ngx.status = code
                    if type(body) == "table" then
                        package.loaded.is_array = getmetatable(body.plugins or {}) == array_mt
                        ngx.header["Content-Type"] = "application/json"
                        body = require("cjson").encode(body)
                    end
                    return ngx.print(body)
                end
            end
            ngx.exit(404)
        end
    }
    init_worker_by_lua_block {
        local wasm = require("resty.proxy-wasm")
        package.loaded.ctx = assert(wasm.on_configure(assert(wasm.load("plugin", "target/guests/empty.wasm")), "conf"))
    }
_EOC_
    $block->set_value(config => <<'_EOC_');
    location /apisix { content_by_lua_block { answer(require("apisix.plugins.wasm-status").api(), ngx.var.uri) } }
    location /v1 { content_by_lua_block { answer(require("apisix.plugins.wasm-status").control_api(), ngx.var.uri) } }
    location = /schema {
        content_by_lua_block {
            local plugin = require("apisix.plugins.wasm-status")
            ngx.say(plugin.name, " ", plugin.check_schema({}), " ", select(2, plugin.check_schema({key = 1})))
        }
    }
    location = /is-array { content_by_lua_block { answer(require("apisix.plugins.wasm-status").api(), "/apisix/wasm/status") ngx.say("\n", package.loaded.is_array) } }
_EOC_
});

run_tests();

__DATA__

=== TEST 1: the status as JSON, on both APIs
--- request eval
["GET /apisix/wasm/status", "GET /v1/wasm/status"]
--- response_headers eval
[("Content-Type: application/json") x 2]
--- response_body_like eval
my $plugin = qr/\{(?=.*"name":"plugin")(?=.*"state":"running")(?=.*"calls":2\b)(?=.*"plugin_contexts":1\b)(?=.*"traps":\{(?=.*"deadline":0))/;
my $status = qr/\A\{(?=.*"worker":0\b)(?=.*"pid":\d+)(?=.*"plugins":\[$plugin)/;
[$status, $status]



=== TEST 2: the metrics as text, on both APIs
--- request eval
["GET /apisix/wasm/metrics", "GET /v1/wasm/metrics"]
--- response_headers eval
[("Content-Type: text/plain; version=0.0.4") x 2]
--- response_body_like eval
my $metrics = qr/^# TYPE resty_wasm_calls_total counter\nresty_wasm_calls_total\{plugin="plugin"\} 2\n/m;
[$metrics, $metrics]



=== TEST 3: the list of plugins is one, also when it is empty
--- request
GET /is-array
--- response_body_like
\ntrue



=== TEST 4: it has no configuration
--- request
GET /schema
--- response_body_like
wasm-status true additional properties forbidden, found key
