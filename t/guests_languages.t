# Plugins that are not written in Rust: AssemblyScript with its SDK, C with nothing.

use t::WASM 'no_plan';

# `--- load` is the name and the file, `--- conf` the configuration; request and response go through the plugin. /upstream tells
# what it was sent.
add_block_preprocessor(sub {
    my ($block) = @_;
    my $load = (delete $block->{load})->[0];
    my $conf = (delete $block->{conf})->[0];
    my ($name, $file) = split ' ', $load;
    $block->set_value(http_config => <<"_EOC_" . ($block->http_config // ''));
    lua_shared_dict resty_wasm 1m;
    init_worker_by_lua_block {
        wasm = require("resty.proxy-wasm")
        plugin = assert(wasm.load("$name", "target/guests/$file.wasm"))
        ctx, err = wasm.on_configure(plugin, "$conf")
    }
_EOC_
    $block->set_value(config => <<'_EOC_' . ($block->config // ''));
    location = /upstream {
        content_by_lua_block {
            ngx.req.read_body()
            local headers = ngx.req.get_headers()
            for _, name in ipairs({"x-added", "x-method", "x-removed", "x-replaced"}) do
                ngx.say(name, ": ", headers[name])
            end
            ngx.say(ngx.req.get_body_data(), "-the end")
        }
    }
    # Sends POST /t as often as it is told, with longer and longer bodies, and answers when all have ended.
    location = /many {
        content_by_lua_block {
            local times = tonumber(ngx.var.arg_times)
            for i = 1, times do
                local socket = ngx.socket.tcp()
                assert(socket:connect("127.0.0.1", ngx.var.server_port))
                local size = 10 * i
                assert(socket:send("POST /t HTTP/1.0\r\nContent-Length: " .. size .. "\r\n\r\n" .. ("x"):rep(size)))
                local answer = assert(socket:receive("*a"))
                socket:close()
                assert(answer:find("x-status: 200", 1, true) and #answer > size, answer)
            end
            for _ = 1, 1000 do
                local log = io.open("$TEST_NGINX_SERVER_ROOT/logs/error.log"):read("*a")
                if select(2, log:gsub("free http context", "")) == times then
                    return ngx.say("done")
                end
                ngx.sleep(0.005)
            end
        }
    }
    location /t {
        access_by_lua_block {
            if not ctx then
                ngx.say(err)
                return ngx.exit(200)
            end
            ngx.req.read_body()
            assert(wasm.on_http_request_headers(ctx))
            assert(wasm.on_http_request_body(ctx, ngx.req.get_body_data(), true))
        }
        header_filter_by_lua_block { if ctx then assert(wasm.on_http_response_headers(ctx)) end }
        body_filter_by_lua_block { if ctx then assert(wasm.on_http_response_body(ctx)) end }
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/upstream;
    }
_EOC_
});

run_tests();

__DATA__

=== TEST 1: AssemblyScript: the client gets the status and the body
--- load: FaultInjection assemblyscript
--- conf: 403 powered by AssemblyScript
--- error_code: 403
--- response_body chomp
powered by AssemblyScript
--- error_log
assemblyscript: configured at a time
assemblyscript: log



=== TEST 2: AssemblyScript: headers, bodies, properties, the log
--- load: FaultInjection assemblyscript
--- conf: 0
--- request
POST /t
a body
--- more_headers
x-removed: 1
x-replaced: old
--- response_headers
x-status: 200
--- response_body
x-added: POST
x-method: nil
x-removed: nil
x-replaced: old, replaced
a body-the end
--- error_log eval
[qr/assemblyscript: \d+ request headers, some bytes/, 'assemblyscript: request body: a body',
    qr/assemblyscript: response body of \d+: x-added: POST/, 'assemblyscript: log']



=== TEST 3: AssemblyScript: a configuration that the plugin refuses
--- load: FaultInjection assemblyscript
--- conf: 99 too small
--- request
GET /t
--- response_body
failed to run proxy_on_configure
--- error_log
failed to configure plugin context 1, rc: 0



=== TEST 4: AssemblyScript: a plugin that is loaded under another name stops itself
--- load: fault_injection assemblyscript
--- conf: 403 body
--- response_body
failed to run proxy_on_configure
--- error_log
Missing root context factory for root id: fault_injection
failed to create context 1, rc: -1



=== TEST 5: AssemblyScript: 200 requests leave no context behind
--- load: FaultInjection assemblyscript
--- conf: 0
--- request
GET /many?times=200
--- response_body
done
--- grep_error_log eval: qr/(?:create|free) http context/
--- grep_error_log_out eval
qr/\A(?:(?:create|free) http context\n){400}\z/



=== TEST 6: C: headers, bodies, properties
--- load: c c
--- conf: hello from C
--- request
POST /t
a-b
--- more_headers
x-removed: 1
x-replaced: old
--- response_headers
x-status: 200
--- response_body
x and added: hello from C
x and method: POST
x and removed: nil
x and replaced: new
<a and b> and the end
--- error_log
limit_rate: 1000000



=== TEST 7: C: a local reply with a header
--- load: c c
--- conf: hello
--- more_headers
x-deny: 1
--- error_code: 403
--- response_headers
x-why: c
x-status: 403
--- response_body
denied by C



=== TEST 8: C: a long configuration outlives the callbacks
--- load: c c
--- conf eval: 'long ' x 500
--- request
GET /t
--- response_body_like: x and added: (?:long ?){500}



=== TEST 9: AssemblyScript: a timer that stops itself
--- load: FaultInjection assemblyscript
--- conf: 0
--- config
    location = /ticked {
        content_by_lua_block {
            for _ = 1, 1000 do
                if io.open("$TEST_NGINX_SERVER_ROOT/logs/error.log"):read("*a"):find("assemblyscript: tick", 1, true) then
                    return ngx.say("ticked")
                end
                ngx.sleep(0.005)
            end
        }
    }
--- request
GET /ticked
--- response_body
ticked



=== TEST 10: C: counts in shared data and in a metric
--- load: c c
--- conf: hello
--- request
GET /many?times=3
--- response_body
done
--- grep_error_log eval: qr/requests in .*?: \d+/
--- grep_error_log_out
requests in shared data: 1
requests in a metric: 1
requests in shared data: 2
requests in a metric: 2
requests in shared data: 3
requests in a metric: 3
