# What Apache APISIX does to a wasm module, replayed by t/lib/gateway.lua: its situations, with ids, bodies, statuses and log lines.

use t::WASM 'no_plan';

workers(1);
no_root_location();

# `--- entries` is what stands under wasm.plugins, `--- gateway` sets routes and others in init_worker_by_lua; the upstream answers
# with what it got of the body. `--- requests` are sent one after the other: `METHOD URI BODY`; the response says how each was answered.
add_block_preprocessor(sub {
    my ($block) = @_;
    my $entries = (delete $block->{entries} // [''])->[0];
    my $gateway = (delete $block->{gateway} // [''])->[0];
    my $process = (delete $block->{in_worker} // [''])->[0];
    $block->set_value(http_config => <<"_EOC_" . ($block->http_config // ''));
    lua_shared_dict resty_wasm 1m;
    lua_shared_dict test 1m;
    init_by_lua_block {
        gateway = require("gateway")
        function wasm(name, file, priority, phase)
            return {name = name, file = "target/guests/" .. file .. ".wasm", priority = priority, http_request_phase = phase}
        end
        log, log2 = wasm("log", "context-log", 7), wasm("log2", "context-log", 6)
        entries = {$entries}
        -- A route at /1 with one plugin, or several by name.
        function route(id, plugins, more)
            local new = more or {}
            new.id, new.plugins = id, plugins
            gateway.routes["/" .. id] = new
        end
$gateway
    }
    init_worker_by_lua_block {
        if require("ngx.process").type() == "worker" then gateway.load(entries) end
$process
    }
    server {
        listen 127.0.0.1:1985;
        location / {
            content_by_lua_block {
                ngx.req.read_body()
                ngx.header["x-upstream"] = "yes"
                ngx.print("upstream got ", ngx.req.get_body_data() or "nothing", " from ", ngx.req.get_headers()["x-user-id"] or "nobody", "\\n")
            }
        }
        location /auth {
            content_by_lua_block {
                if ngx.req.get_headers()["authorization"] then
                    ngx.header["X-User-ID"] = "jack"
                    return ngx.exit(200)
                end
                ngx.header["Location"] = "http://login.test/"
                ngx.status = 403
                ngx.print("who are you?")
            }
        }
    }
_EOC_
    my $requests = (delete $block->{requests} // [''])->[0];
    $block->set_value(request => $requests ? 'GET /t' : 'GET /1') unless defined $block->request;
    my $sender = $requests ? <<"_EOC_" : '';
    location = /t {
        content_by_lua_block {
            for method, uri, body in ([[$requests]]):gmatch("(%u+) (%S+) ?([^\\n]*)\\n") do
                local response, status = require("client")(uri, {method = method, body = body ~= "" and body or nil})
                ngx.say(status, " ", response:match("[^\\r\\n]*"))
            end
        }
    }
_EOC_
    $block->set_value(config => $sender . <<'_EOC_' . ($block->config // ''));
    location / {
        set $wasm_process_req_body '';
        set $wasm_process_resp_body '';
        access_by_lua_block { gateway.access() }
        proxy_pass http://127.0.0.1:1985;
        header_filter_by_lua_block { gateway.header_filter() }
        body_filter_by_lua_block { gateway.body_filter() }
    }
    location = /v1/routes { content_by_lua_block { ngx.print(gateway.list_routes()) } }
    location = /reload { content_by_lua_block { gateway.load(entries) ngx.say("reloaded") } }
_EOC_
    $block->set_value(grep_error_log => qr/(?:run|respond by) plugin ctx \d+ with conf \S+ in http ctx \d+/) if defined $block->grep_error_log_out && !defined $block->grep_error_log;
});

run_tests();

__DATA__

=== TEST 1: two plugins from one file in a route, by their priority
--- entries: wasm("log2", "context-log", 6), wasm("log", "context-log", 7)
--- gateway
route("1", {log = {conf = "blahblah"}, log2 = {conf = "zzz"}})
--- response_body
upstream got nothing from nobody
--- grep_error_log_out
run plugin ctx 1 with conf blahblah in http ctx 2
run plugin ctx 1 with conf zzz in http ctx 2
respond by plugin ctx 1 with conf blahblah in http ctx 2
respond by plugin ctx 1 with conf zzz in http ctx 2



=== TEST 2: the next request has the ids of the first
--- entries: log
--- gateway
route("1", {log = {conf = "blahblah"}})
--- requests
GET /1
GET /1
--- response_body
200 upstream got nothing from nobody
200 upstream got nothing from nobody
--- grep_error_log_out
run plugin ctx 1 with conf blahblah in http ctx 2
respond by plugin ctx 1 with conf blahblah in http ctx 2
run plugin ctx 1 with conf blahblah in http ctx 2
respond by plugin ctx 1 with conf blahblah in http ctx 2



=== TEST 3: a configuration that is an object
--- entries: log
--- gateway
route("1", {log = {conf = {key = {"value"}}}})
--- grep_error_log_out
run plugin ctx 1 with conf {"key":["value"]} in http ctx 2
respond by plugin ctx 1 with conf {"key":["value"]} in http ctx 2



=== TEST 4: a plugin of a service: each of its routes has a context
--- entries: log
--- gateway
gateway.services["s"] = {id = "s", plugins = {log = {conf = "of-service"}}}
route("1", {}, {service_id = "s"})
route("2", {}, {service_id = "s"})
--- requests
GET /1
GET /2
GET /1
--- grep_error_log eval: qr/run plugin ctx \d+ with conf \S+ in http ctx \d+/
--- grep_error_log_out
run plugin ctx 1 with conf of-service in http ctx 2
run plugin ctx 3 with conf of-service in http ctx 4
run plugin ctx 1 with conf of-service in http ctx 2



=== TEST 5: a route's configuration in the place of its service's
--- entries: log
--- gateway
gateway.services["s"] = {id = "s", plugins = {log = {conf = "of-service"}}}
route("1", {log = {conf = "of-route"}}, {service_id = "s"})
--- grep_error_log eval: qr/run plugin ctx \d+ with conf \S+ in http ctx \d+/
--- grep_error_log_out
run plugin ctx 1 with conf of-route in http ctx 2



=== TEST 6: a global rule has a context of its own, whatever the route
--- entries: log, log2
--- gateway
gateway.global_rules = {{id = "1", plugins = {log = {conf = "global"}, log2 = {conf = "zzz"}}}}
route("1", {log = {conf = "of-route"}})
route("2", {})
--- requests
GET /1
GET /2
--- grep_error_log eval: qr/run plugin ctx \d+ with conf \S+ in http ctx \d+/
--- grep_error_log_out
run plugin ctx 1 with conf global in http ctx 2
run plugin ctx 1 with conf zzz in http ctx 2
run plugin ctx 3 with conf of-route in http ctx 4
run plugin ctx 1 with conf global in http ctx 2
run plugin ctx 1 with conf zzz in http ctx 2



=== TEST 7: fault injection: the client gets the plugin's answer, and the other plugins see the response alone
--- entries: wasm("fault", "fault-injection", 10), log
--- gateway
route("1", {fault = {conf = {http_status = 401, body = "HIT\n"}}, log = {conf = "x"}})
--- error_code: 401
--- response_body
HIT
--- grep_error_log_out
respond by plugin ctx 1 with conf x in http ctx 2



=== TEST 8: fault injection without a body, and with one that nobody gets
--- entries: wasm("fault", "fault-injection", 10)
--- gateway
route("1", {fault = {conf = {http_status = 401}}})
route("2", {fault = {conf = {http_status = 401, percentage = 0}}})
--- requests
GET /1
GET /2
--- response_body_like
\A401 <html>.*
200 upstream got nothing from nobody



=== TEST 9: request bodies: whole, in part, none
--- entries: wasm("body", "body-log", 10)
--- gateway
route("1", {body = {conf = {request = true}}})
route("2", {body = {conf = {request = true, start = 1, size = 3}}})
route("3", {body = {conf = {start = 1}}})
--- requests
POST /1 hello
POST /2 hello
POST /3 hello
GET /1
--- response_body
200 upstream got hello from nobody
200 upstream got hello from nobody
200 upstream got hello from nobody
200 upstream got nothing from nobody
--- grep_error_log eval: qr/request body: .*?(?=, client)/
--- grep_error_log_out
request body: [hello]
request body: [ell]
request body: none



=== TEST 10: a plugin that asks for the body does not ask for the next one
--- entries: wasm("one", "body-log", 10), wasm("other", "body-log", 9)
--- gateway
route("1", {one = {conf = {request = true, response = true}}, other = {conf = {start = 1}}})
route("2", {one = {conf = {request = true, size = 1}}, other = {conf = {request = true, start = 1}}})
--- requests
POST /1 hello
POST /2 hello
--- grep_error_log eval: qr/request body: \[.*?\]|response body: \[\w+/
--- grep_error_log_out
request body: [hello]
response body: [upstream
request body: [h]
request body: [ello]



=== TEST 11: a body in a temporary file
--- config
    client_body_in_file_only clean;
--- entries: wasm("body", "body-log", 10)
--- gateway
route("1", {body = {conf = {request = true}}})
--- request
POST /1
hello
--- response_body
upstream got hello from nobody
--- grep_error_log eval: qr/request body: .*?(?=, client)/
--- grep_error_log_out
request body: [hello]



=== TEST 12: a response that is rewritten
--- entries: wasm("rewrite", "response-rewrite", 10)
--- gateway
route("1", {rewrite = {conf = {headers = {{name = "x-wasm", value = "apisix"}, {name = "x-upstream", value = "no"}}, body = "a new body\n"}}})
--- response_headers
x-wasm: apisix
x-upstream: no
--- response_body
a new body



=== TEST 13: headers alone
--- entries: wasm("rewrite", "response-rewrite", 10)
--- gateway
route("1", {rewrite = {conf = {headers = {{name = "x-wasm", value = "apisix"}}}}})
--- response_headers
x-wasm: apisix
x-upstream: yes
--- response_body
upstream got nothing from nobody



=== TEST 14: HEAD has no body to rewrite
--- entries: wasm("rewrite", "response-rewrite", 10)
--- gateway
route("1", {rewrite = {conf = {headers = {{name = "x-wasm", value = "apisix"}}, body = "a new body\n"}}})
--- request
HEAD /1
--- response_headers
x-wasm: apisix
--- response_body



=== TEST 15: forward auth: allowed, with what the auth server says of the user
--- entries: wasm("auth", "forward-auth", 10)
--- gateway
route("1", {auth = {conf = {uri = "http://127.0.0.1:1985/auth", request_headers = {"authorization"}, upstream_headers = {"x-user-id"},
    client_headers = {"location"}}}})
--- more_headers
Authorization: jack
--- response_body
upstream got nothing from jack



=== TEST 16: forward auth: denied
--- entries: wasm("auth", "forward-auth", 10), log
--- gateway
route("1", {auth = {conf = {uri = "http://127.0.0.1:1985/auth", client_headers = {"location"}}}, log = {conf = "x"}})
--- error_code: 403
--- response_headers
location: http://login.test/
--- response_body chomp
who are you?
--- grep_error_log_out
respond by plugin ctx 1 with conf x in http ctx 2



=== TEST 17: another plugin answers before the request's callbacks: those of the response come alone
--- entries: log
--- gateway
route("1", {log = {conf = "x"}}, {needs_consumer = true})
--- error_code: 401
--- grep_error_log_out
respond by plugin ctx 1 with conf x in http ctx 2



=== TEST 18: a consumer: another context for the response than for the request
--- entries: wasm("log", "context-log", 7, "rewrite")
--- gateway
route("1", {log = {conf = "of-route"}}, {needs_consumer = true})
gateway.consumers["key-of-jack"] = {name = "jack", plugins = {log = {conf = "of-jack"}}}
--- more_headers
apikey: key-of-jack
--- grep_error_log_out
run plugin ctx 1 with conf of-route in http ctx 2
respond by plugin ctx 3 with conf of-jack in http ctx 4



=== TEST 19: 600 consumers of a route, more than there is room for merged configurations
--- entries: log
--- gateway
route("1", {log = {conf = "of-route"}}, {needs_consumer = true})
for n = 1, 600 do gateway.consumers["key" .. n] = {name = "c" .. n, plugins = {}} end
--- config
    location = /t {
        content_by_lua_block {
            for pass = 1, 3 do
                for n = 1, 600 do
                    local _, status = require("client")("/1", {headers = {apikey = "key" .. n}})
                    assert(status == "200", status)
                end
            end
            collectgarbage()
            collectgarbage()
            local contexts = require("resty.wasm").status()[1].plugin_contexts
            -- Those that the LRU keeps, and one of a stream that is about to end.
            ngx.say(contexts >= 512 and contexts <= 514 and "kept those of the LRU" or contexts)
        }
    }
--- request
GET /t
--- timeout: 120
--- response_body
kept those of the LRU



=== TEST 20: what routes hold after a request can be serialised, by the control API
--- entries: log
--- gateway
route("1", {log = {conf = "x"}})
--- requests
GET /1
GET /v1/routes
--- response_body_like
200 upstream got nothing from nobody
200 .*"plugin_ctxs":\{"route#1":\{[^}]*"ctx":1.*



=== TEST 21: a copy of a configuration has the same context
--- entries: log
--- gateway
route("1", {log = {conf = "x"}})
--- config
    location = /copy {
        content_by_lua_block {
            -- As APISIX copies tables: metatables stay the same.
            local function copy(value)
                if type(value) ~= "table" then return value end
                local new = {}
                for key, field in pairs(value) do new[key] = copy(field) end
                return setmetatable(new, getmetatable(value))
            end
            gateway.routes["/1"] = copy(gateway.routes["/1"])
            collectgarbage()
            ngx.say("copied")
        }
    }
--- requests
GET /1
GET /copy
GET /1
--- grep_error_log eval: qr/run plugin ctx \d+ with conf \S+ in http ctx \d+/
--- grep_error_log_out
run plugin ctx 1 with conf x in http ctx 2
run plugin ctx 1 with conf x in http ctx 2



=== TEST 22: a configuration that the plugin refuses: 503, and it is not asked with each request
--- entries: log
--- gateway
route("1", {log = {conf = "refuse"}})
route("2", {log = {conf = "x"}})
--- requests
GET /1
GET /1
GET /2
--- response_body_like
\A503 <html>.*
503 <html>.*
200 upstream got nothing from nobody
--- grep_error_log eval: qr/failed to configure plugin context \d+, rc: 0|log: failed to fetch wasm plugin ctx: failed to run proxy_on_configure/
--- grep_error_log_out
failed to configure plugin context 1, rc: 0
log: failed to fetch wasm plugin ctx: failed to run proxy_on_configure
log: failed to fetch wasm plugin ctx: failed to run proxy_on_configure
log: failed to fetch wasm plugin ctx: failed to run proxy_on_configure
log: failed to fetch wasm plugin ctx: failed to run proxy_on_configure
--- no_error_log
[alert]



=== TEST 23: a plugin that can't be loaded: routes go on without it
--- entries: wasm("missing", "missing", 10), log
--- gateway
route("1", {log = {conf = "x"}, missing = {conf = "x"}})
--- response_body
upstream got nothing from nobody
--- grep_error_log eval: qr/failed to load plugin \[missing\] err: target\/guests\/missing.wasm: No such file or directory/
--- grep_error_log_out
failed to load plugin [missing] err: target/guests/missing.wasm: No such file or directory
--- no_error_log
[alert]



=== TEST 24: a plugin that traps: 503, and for the response a line in the log
--- entries: wasm("script", "script", 10)
--- gateway
route("1", {script = {conf = "request_headers: trap"}})
route("2", {script = {conf = "response_headers: trap"}})
--- requests
GET /1
GET /2
--- response_body_like
\A503 <html>.*
200 upstream got nothing from nobody
--- grep_error_log eval: qr/script: failed to run wasm plugin: failed to run \w+/
--- grep_error_log_out
script: failed to run wasm plugin: failed to run proxy_on_http_request_headers
script: failed to run wasm plugin: failed to run proxy_on_http_response_headers
script: failed to run wasm plugin: failed to run proxy_on_http_response_headers
--- no_error_log
[alert]



=== TEST 25: plugins are reloaded: a file that has changed is used by routes that were used before
--- entries: {name = "log", file = "$TEST_NGINX_SERVER_ROOT/plugin.wasm", priority = 1}
--- gateway
os.execute("cp target/guests/context-log.wasm $TEST_NGINX_SERVER_ROOT/plugin.wasm")
route("1", {log = {conf = "x"}})
--- config
    location = /replace {
        content_by_lua_block {
            require("replace")("$TEST_NGINX_SERVER_ROOT/plugin.wasm", "lifecycle")
            ngx.say("replaced")
        }
    }
--- requests
GET /1
GET /replace
GET /1
GET /reload
GET /1
GET /reload
GET /1
--- grep_error_log eval: qr/run plugin ctx \d+|run http ctx \d+ with conf x|goes on as \d+ of a newer version/
--- grep_error_log_out
run plugin ctx 1
run plugin ctx 1
goes on as 1 of a newer version
run http ctx 2 with conf x
run http ctx 2 with conf x



=== TEST 26: a plugin is taken out and put in again
--- entries: log, log2
--- gateway
route("1", {log = {conf = "x"}, log2 = {conf = "y"}})
--- config
    location = /without { content_by_lua_block { gateway.load({log2}) ngx.say("without") } }
--- requests
GET /1
GET /without
GET /1
GET /reload
GET /1
--- grep_error_log eval: qr/run plugin ctx \d+ with conf \S+/
--- grep_error_log_out
run plugin ctx 1 with conf x
run plugin ctx 1 with conf y
run plugin ctx 1 with conf y
run plugin ctx 1 with conf x
run plugin ctx 1 with conf y



=== TEST 27: the privileged agent looks at the files, and compiles nothing
--- gateway
-- Debian's nginx can't have one: the worker says that it is one.
local process = require("ngx.process")
process.type = function() return "privileged agent" end
package.loaded["resty.wasm"], package.loaded["resty.proxy-wasm"], package.loaded.gateway = nil, nil, nil
gateway = require("gateway")
route("1", {log = {conf = "x"}})
--- in_worker
gateway.load({log, wasm("missing", "missing", 1), {name = "text", file = "Cargo.toml", priority = 1}})
local maps = io.open("/proc/self/maps"):read("*a")
ngx.log(ngx.WARN, "the library is ", maps:find("resty/wasm/native.so", 1, true) and "used" or "not used", " by the privileged agent")
--- response_body
upstream got nothing from nobody
--- error_log
the library is not used by the privileged agent
failed to load plugin [missing] err: target/guests/missing.wasm: No such file or directory
failed to load plugin [text] err: Cargo.toml is no wasm module: it does not begin with \0asm
--- no_error_log
[alert]



=== TEST 28: a plugin that is configured there all the same is compiled then, once
--- gateway
local process = require("ngx.process")
process.type = function() return "privileged agent" end
package.loaded["resty.wasm"], package.loaded["resty.proxy-wasm"] = nil, nil
route("1", {})
--- in_worker
local wasm = require("resty.proxy-wasm")
local plugin = assert(wasm.load("script", "target/guests/script.wasm", {vm_configuration = "of the agent"}))
local ctx = assert(wasm.on_configure(plugin, "configure: get_body vm_configuration 0 100"))
assert(wasm.on_configure(plugin, "configure: log warn hello again"))
ngx.log(ngx.WARN, "a context is a ", select(2, wasm.on_configure(ctx, "x")))
local gone = assert(wasm.load("gone", "$TEST_NGINX_SERVER_ROOT/gone.wasm"))
os.remove("$TEST_NGINX_SERVER_ROOT/gone.wasm")
ngx.log(ngx.WARN, "now: ", select(2, wasm.on_configure(gone, "x")))
--- user_files eval
[["$ENV{TEST_NGINX_SERVER_ROOT}/gone.wasm", "\0asm"]]
--- response_body
upstream got nothing from nobody
--- grep_error_log eval: qr/of the agent|hello again|a context is a bad plugin|(?<!un)loaded wasm plugin|now: \S+: No such file or directory/
--- grep_error_log_out eval
qr{\Aloaded wasm plugin\nof the agent\nhello again\na context is a bad plugin\nnow: \S+/gone.wasm: No such file or directory\n\z}
--- no_error_log
[error]
[alert]
