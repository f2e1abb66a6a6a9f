# 100,000 requests through a plugin that uses all of the ABI: memory stays what it was, and every stream context ends.

use t::WASM 'no_plan';

workers(1);
log_level('warn');

run_tests();

__DATA__

=== TEST 1: resident memory is flat, and every stream is deleted
--- http_config
    lua_shared_dict resty_wasm 10m;
    keepalive_requests 1000000;

    init_worker_by_lua_block {
        wasm = require("resty.proxy-wasm")
        require("resty.wasm").register_foreign_function("reverse", string.reverse)
        local plugin = assert(wasm.load("plugin", "target/guests/script.wasm", {vm_configuration = "vm", escape_invalid_utf8 = true}))
        ctx = assert(wasm.on_configure(plugin, [[
configure: define_metric counter soak_created
configure: define_metric counter soak_deleted
configure: define_metric histogram soak_sizes
configure: register_queue soak
configure: set_tick 10
tick: get_shared key
stream_create: increment_metric 1 1
request_headers: get_header request user-agent
request_headers: get_headers request
request_headers: add_header request x-added 1
request_headers: replace_header request x-added 2
request_headers: remove_header request x-added
request_headers: replace_header request :path /upstream?a=b
request_headers: get_property request\0path
request_headers: get_property request\0headers
request_headers: get_property source\0address
request_headers: get_property uri
request_headers: set_property of\0mine value
request_headers: get_property of\0mine
request_headers: set_shared key value 0
request_headers: get_shared key
request_headers: call_foreign reverse abc
request_headers: call_foreign compress abcabcabcabcabcabc
request_headers: enqueue 1 message
request_headers: get_time
request_headers: get_log_level
request_headers: random 8
request_headers: stdout line
request_body: get_body request 0 100
request_body: set_body request 0 -1 replaced
response_headers: get_headers response
response_headers: add_header response x-response 1
response_headers: remove_header response content-length
response_headers: add_header response_trailers x-trailer 1
response_body: get_body response 0 100
response_body: set_body response 0 0 <
response_body: return 1
response_trailers: get_headers response_trailers
log: get_property response\0code
log: record_metric 3 7
log: get_headers response
delete: increment_metric 2 1
        ]]))
    }
--- config
    location = /plugin {
        access_by_lua_block {
            assert(wasm.on_http_request_headers(ctx))
            ngx.req.read_body()
            assert(wasm.on_http_request_body(ctx, ngx.req.get_body_data(), true))
        }
        content_by_lua_block { ngx.print(ngx.req.get_body_data()) ngx.print("!") }
        header_filter_by_lua_block { assert(wasm.on_http_response_headers(ctx)) }
        body_filter_by_lua_block { assert(wasm.on_http_response_body(ctx)) }
    }
    location = /t {
        content_by_lua_block {
            local request = "POST /plugin HTTP/1.1\r\nHost: localhost\r\nUser-Agent: soak\r\nContent-Length: 4\r\n\r\nbody"
            local batch = request:rep(50)

            local function send(batches)
                local socket = ngx.socket.tcp()
                assert(socket:connect("127.0.0.1", ngx.var.server_port))
                local next_end = socket:receiveuntil("0\r\nx-trailer: 1\r\n\r\n")
                for _ = 1, batches do
                    assert(socket:send(batch))
                    for _ = 1, 50 do
                        local response = assert(next_end())
                        assert(response:find("<", 1, true) and response:find("replaced!", 1, true), response)
                    end
                end
                socket:close()
            end

            local function resident()
                collectgarbage()
                collectgarbage()
                return tonumber(io.open("/proc/self/status"):read("*a"):match("VmRSS:%s*(%d+)"))
            end

            local function counted(name)
                return tonumber(require("resty.wasm.metrics").prometheus():match("\n" .. name .. " (%d+)"))
            end

            send(400)
            local before = resident()
            send(2000)
            local grown = resident() - before
            -- The last of them may be about to end.
            for _ = 1, 1000 do
                if counted("soak_deleted") == 120000 then break end
                ngx.sleep(0.01)
            end
            ngx.say("created ", counted("soak_created"), ", deleted ", counted("soak_deleted"))
            ngx.say(grown < 1024 and "memory is flat" or "memory grew by " .. grown .. " kB")
        }
    }
--- timeout: 170
--- response_body
created 120000, deleted 120000
memory is flat
--- no_error_log
[warn]
[error]
[alert]
