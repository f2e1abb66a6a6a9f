# Who makes callouts and who waits for them: several at once, chains, every callback, every phase, options.

use t::WASM 'no_plan';
use t::Servers;

workers(1);
start_servers();

# At 127.0.0.1:1985 /hold waits until /release has been asked for the same arg_name; then it answers that name.
my $holding = <<'_EOC_';
    server {
        listen 127.0.0.1:1985;
        location = /hold {
            lua_check_client_abort on;
            content_by_lua_block {
                assert(ngx.on_abort(function() ngx.exit(499) end))
                local held = require("held")
                local semaphore = require("ngx.semaphore").new(0)
                held[ngx.var.arg_name] = semaphore
                ngx.log(ngx.WARN, "holds ", ngx.var.arg_name, ";")
                assert(semaphore:wait(30))
                ngx.print(ngx.var.arg_name)
            }
        }
        location = /release {
            content_by_lua_block { require("held")[ngx.var.arg_name]:post(1) }
        }
    }
    init_by_lua_block {
        package.loaded.held = {}
        -- Lets an answer come that 1985 holds, as soon as it does.
        package.preload.release = function()
            local plugins = require("plugins")
            return function(name)
                plugins.wait("holds " .. name .. ";")
                require("held")[name]:post(1)
            end
        end
_EOC_

# --- lua runs in the content phase of /t, with what plugins.lua has, release(NAME), and run(SCRIPT, OPTIONS), which says "ok" or
# what went wrong; "passed" is answered at its end. --- init runs in init_by_lua, --- more are other locations. /one runs the callback for request headers of package.loaded.one.
add_block_preprocessor(sub {
    my ($block) = @_;
    my ($lua, $config, $init) = map { $_ ? $_->[0] : '' } map { delete $block->{$_} } qw(lua more init);
    $block->set_value(http_config => "$holding$init}\n" . ($block->http_config // ''));
    $block->set_value(config => <<"_EOC_") unless defined $block->config;
    $config
    location = /one {
        content_by_lua_block {
            local ok, err = require("plugins").wasm.on_http_request_headers(package.loaded.one)
            ngx.print(ok and "ok" or err, ngx.var.http_x_answer or "")
        }
    }
    location = /t {
        content_by_lua_block {
            local plugins, client, release = require("plugins"), require("client"), require("release")
            local wasm, configure, count, wait = plugins.wasm, plugins.configure, plugins.count, plugins.wait
            local function run(script, options)
                local ok, err = require("run")(script, nil, options)
                return ok and "ok" or err
            end
            local function one(script, options)
                package.loaded.one = configure(script, options)
                return client("/one")
            end
$lua
            ngx.say("passed")
        }
    }
_EOC_
    $block->set_value(response_body => "passed\n") unless defined $block->response_body;
});

run_tests();

__DATA__

=== TEST 1: the request waits for all callouts, whichever is answered first
--- lua
    for _, order in ipairs({{"a", "b", "c"}, {"c", "b", "a"}, {"b", "c", "a"}}) do
        package.loaded.held.a = nil
        local prefix = table.concat(order)
        local script = ""
        for _, name in ipairs({"a", "b", "c"}) do
            script = script .. ([[
request_headers: http_call[NAME] 127.0.0.1:1985 5000 "" :path=/hold?name=ORDERNAME
call_response[NAME]: get_body call_response 0 100
]]):gsub("NAME", name):gsub("ORDER", prefix)
        end
        local request = ngx.thread.spawn(one, script)
        for n, name in ipairs(order) do
            assert(coroutine.status(request) ~= "dead")
            release(prefix .. name)
            wait("call_response.* OK " .. prefix .. name .. "\n")
        end
        local _, body = ngx.thread.wait(request)
        assert(body == "ok", body)
    end
--- grep_error_log eval: qr/get_body call_response.*?(?=, client|$)/
--- grep_error_log_out eval
join '', map { "get_body call_response 0 100 -> OK $_\n" } qw(abca abcb abcc cbac cbab cbaa bcab bcac bcaa)



=== TEST 2: the first answer lets the request go on, the other callback comes later
--- lua
    local body = one([[
request_headers: http_call[a] 127.0.0.1:1980 5000 "" :path=/?body=first
request_headers: http_call[b] 127.0.0.1:1985 5000 "" :path=/hold?name=second
request_headers: return 1
call_response[a]: get_body call_response 0 100
call_response[a]: resume
call_response[b]: get_body call_response 0 100
call_response[b]: set_effective_context $stream
]])
    assert(body == "ok", body)
    wait("free http context 2")
    release("second")
    wait("call_response%[b%] 1: set_effective")
--- grep_error_log eval: qr/(?:call_response.*?|free http context \d)(?=, client|$)/
--- grep_error_log_out
call_response[a] 1: get_body call_response 0 100 -> OK first
call_response[a] 1: resume -> OK
free http context 2
call_response[b] 1: get_body call_response 0 100 -> OK second
call_response[b] 1: set_effective_context $stream -> BAD_ARGUMENT



=== TEST 3: nothing of one answer is left for the other
--- lua
    assert(run([[
request_headers: http_call[a] 127.0.0.1:1980 5000 "" :path=/?body=long
call_response[a]: set_effective_context $stream
call_response[a]: http_call[b] 127.0.0.1:1980 5000 "" :path=/?body=
call_response[b]: get_body call_response 0 100
call_response[b]: set_effective_context $stream
call_response[b]: http_call[c] 127.0.0.1:1979 5000 ""
call_response[c]: get_header call_response :status
call_response[c]: get_body call_response 0 100
request_body: get_header call_response :status
request_body: get_body call_response 0 100
request_body: get_status
    ]]))
    package.loaded.ctx = configure([[
request_headers: http_call[a] 127.0.0.1:1980 5000 "" :path=/?body=long
request_body: get_header call_response :status
request_body: get_headers call_response
request_body: get_body call_response 0 100
request_body: get_status
    ]])
    assert(wasm.on_http_request_headers(package.loaded.ctx))
    assert(wasm.on_http_request_body(package.loaded.ctx, "x", true))
--- grep_error_log eval: qr/(?:call_response\[|request_body 2: ).*?(?=, client|$)/
--- grep_error_log_out
call_response[a] 1: set_effective_context $stream -> OK
call_response[a] 1: http_call[b] 127.0.0.1:1980 5000 "" :path=/?body= -> OK 1
call_response[b] 1: get_body call_response 0 100 -> NOT_FOUND
call_response[b] 1: set_effective_context $stream -> OK
call_response[b] 1: http_call[c] 127.0.0.1:1979 5000 "" -> OK 2
call_response[c] 1: get_header call_response :status -> NOT_FOUND
call_response[c] 1: get_body call_response 0 100 -> NOT_FOUND
request_body 2: get_header call_response :status -> NOT_FOUND
request_body 2: get_headers call_response -> OK 0
request_body 2: get_body call_response 0 100 -> NOT_FOUND
request_body 2: get_status -> OK 0
--- error_log
http call failed: connection refused
--- no_error_log
[alert]



=== TEST 4: a chain of ten, paused or not
--- lua
    for _, action in ipairs({"0", "1"}) do
        local script = 'request_headers: http_call[a0] 127.0.0.1:1980 5000 "" :path=/?body=0\nrequest_headers: return ' .. action .. "\n"
        for n = 1, 9 do
            script = script .. ([[
call_response[aBEFORE]: set_effective_context $stream
call_response[aBEFORE]: http_call[aNOW] 127.0.0.1:1980 5000 "" :path=/?body=NOW
]]):gsub("BEFORE", n - 1):gsub("NOW", n)
        end
        local body = one(script .. [[
call_response: get_body call_response 0 100
call_response[a9]: set_effective_context $stream
call_response[a9]: add_header request x-answer -all
]])
        assert(body == "ok-all", body)
    end
--- grep_error_log eval: qr/get_body call_response.*?(?=, client|$)/
--- grep_error_log_out eval
join '', map { "get_body call_response 0 100 -> OK $_\n" } 0 .. 9, 0 .. 9



=== TEST 5: thirty at once
--- lua
    local script = "call_response: get_body call_response 0 100\n"
    for n = 1, 30 do
        script = script .. 'request_headers: http_call 127.0.0.1:1980 5000 "" :path=/?body=' .. n .. "\n"
    end
    assert(one(script) == "ok")
    for n = 1, 30 do
        assert(count("get_body call_response 0 100 %-> OK " .. n .. "\n") == 1, n)
    end



=== TEST 6: more than a timer takes at once
--- lua
    local script = "call_response: get_body call_response 0 100\n"
    for n = 1, 150 do
        script = script .. 'request_headers: http_call 127.0.0.1:1980 20000 "" :path=/?body=' .. n .. "\n"
    end
    local body = one(script, {callouts_per_request = 150})
    assert(body == "ok", body)
    for n = 1, 150 do
        assert(count("get_body call_response 0 100 %-> OK " .. n .. "\n") == 1, n)
    end
--- timeout: 20



=== TEST 7: a request that is not paused does not wait, if the plugin is loaded so
--- lua
    local script = [[
request_headers: http_call 127.0.0.1:1985 5000 "" :path=/hold?name=later
call_response: get_body call_response 0 100
]]
    local body = one(script, {wait_only_when_paused = true})
    assert(body == "ok", body)
    wait("free http context 2")
    assert(count("call_response 1:") == 0)
    release("later")
    wait("call_response 1: get_body call_response 0 100 %-> OK later")



=== TEST 8: but one that is paused does
--- lua
    local script = [[
request_headers: http_call 127.0.0.1:1980 5000 ""
request_headers: return 1
call_response: set_effective_context $stream
call_response: add_header request x-answer -yes
]]
    local body = one(script, {wait_only_when_paused = true})
    assert(body == "ok-yes", body)



=== TEST 9: a call and a reply in one callback: the later one counts
--- more
    location = /reply {
        content_by_lua_block {
            assert(require("plugins").wasm.on_http_request_headers(package.loaded.one))
            ngx.print("not replied")
        }
    }
--- lua
    local call, reply = 'request_headers: http_call 127.0.0.1:1980 5000 ""\n', "request_headers: send_local_response 403 denied\n"
    for n, case in pairs({
        {call .. reply, nil, "denied"},
        {reply .. call, nil, "not replied"},
        {call .. reply, {wait_only_when_paused = true}, "denied"},
        {reply .. call, {wait_only_when_paused = true}, "denied"},
    }) do
        package.loaded.one = configure(case[1] .. "call_response: log info an answer", case[2])
        local body = client("/reply")
        assert(body == case[3], n .. ": " .. body)
    end
    wait("an answer", 4)
--- no_error_log
[error]



=== TEST 10: the plugin replies to the first answer, the other one comes nevertheless
--- lua
    local body = one([[
request_headers: http_call[a] 127.0.0.1:1980 5000 ""
request_headers: http_call[b] 127.0.0.1:1985 5000 "" :path=/hold?name=second
request_headers: return 1
call_response[a]: set_effective_context $stream
call_response[a]: send_local_response 403 denied
call_response[b]: get_body call_response 0 100
]])
    assert(body == "denied", body)
    release("second")
    wait("call_response%[b%] 1: get_body call_response 0 100 %-> OK second")



=== TEST 11: a trap in the callback of an answer; the instance is another for the next request
--- lua
    local script = [[
request_headers: http_call[a] 127.0.0.1:1980 5000 "" :path=/?body=a
request_headers: http_call[b] 127.0.0.1:1985 5000 "" :path=/hold?name=never
request_headers: return 1
call_response[a]: trap
call_response[b]: log info an answer for nobody
]]
    assert(one(script) == "failed to run proxy_on_http_call_response")
    assert(client("/one") == "failed to run proxy_on_http_call_response")
    assert(count("an answer for nobody") == 0)
--- error_log
failed to call function
--- no_error_log
[alert]



=== TEST 12: the plugin traps after its call: nobody waits for the answer
--- lua
    local script = [[
request_headers: http_call 127.0.0.1:1985 5000 "" :path=/hold?name=never
request_headers: trap
call_response: log info an answer for nobody
]]
    assert(one(script) == "failed to run proxy_on_http_request_headers")
    assert(count("an answer for nobody") == 0)
--- error_log
failed to call function
--- no_error_log
[alert]



=== TEST 13: one plugin traps, the request of another context of its instance waits
--- lua
    local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
    package.loaded.one = assert(wasm.on_configure(plugin, [[
request_headers: http_call 127.0.0.1:1985 5000 "" :path=/hold?name=never
request_headers: return 1
]]))
    local ctx = assert(wasm.on_configure(plugin, "request_headers: trap"))
    local request = ngx.thread.spawn(client, "/one")
    wait("holds never;")
    assert(not wasm.on_http_request_headers(ctx))
    local _, body = ngx.thread.wait(request)
    assert(body == "failed to run proxy_on_http_call_response", body)
--- error_log
failed to call function
--- no_error_log
[alert]



=== TEST 14: two plugins in one request, each with callouts of its own
--- more
    location = /two {
        content_by_lua_block {
            local wasm = require("plugins").wasm
            assert(wasm.on_http_request_headers(package.loaded.first))
            assert(wasm.on_http_request_headers(package.loaded.second))
            assert(wasm.on_http_request_body(package.loaded.first, "x", true))
            ngx.print(ngx.var.http_x_first, " ", ngx.var.http_x_second, " ", ngx.var.http_x_body)
        }
    }
--- lua
    local script = [[
request_headers: http_call[h] 127.0.0.1:1980 5000 "" :path=/?body=NAME
request_headers: return 1
request_body: http_call[b] 127.0.0.1:1980 5000 "" :path=/?body=NAMEbody
request_body: return 1
call_response: get_body call_response 0 100
call_response: set_effective_context $stream
call_response[h]: add_header request x-NAME seen
call_response[b]: add_header request x-body of-NAME
call_response: continue_stream 0
]]
    package.loaded.first = configure((script:gsub("NAME", "first")))
    package.loaded.second = configure((script:gsub("NAME", "second")))
    local body = client("/two")
    assert(body == "seen seen of-first", body)
--- grep_error_log eval: qr/get_body call_response.*?(?=, client|$)|run http callback callout id: \d/
--- grep_error_log_out
run http callback callout id: 0
get_body call_response 0 100 -> OK first
run http callback callout id: 1
get_body call_response 0 100 -> OK second
run http callback callout id: 2
get_body call_response 0 100 -> OK firstbody



=== TEST 15: two plugins wait at once, in threads of one request
--- more
    location = /two {
        content_by_lua_block {
            local wasm = require("plugins").wasm
            local first = ngx.thread.spawn(wasm.on_http_request_headers, package.loaded.first)
            local second = ngx.thread.spawn(wasm.on_http_request_headers, package.loaded.second)
            assert(ngx.thread.wait(second))
            ngx.log(ngx.INFO, "the second goes on")
            assert(ngx.thread.wait(first))
            ngx.print("both")
        }
    }
--- lua
    local script = 'request_headers: http_call 127.0.0.1:1985 5000 "" :path=/hold?name=NAME'
    package.loaded.first = configure((script:gsub("NAME", "first")))
    package.loaded.second = configure((script:gsub("NAME", "second")))
    local request = ngx.thread.spawn(client, "/two")
    release("second")
    wait("the second goes on")
    release("first")
    local _, body = ngx.thread.wait(request)
    assert(body == "both", body)



=== TEST 16: the body that is paused can be read and changed when the answer comes
--- more
    location = /body {
        content_by_lua_block {
            ngx.req.read_body()
            assert(require("plugins").wasm.on_http_request_body(package.loaded.one, "the body", true))
            ngx.print(ngx.req.get_body_data())
        }
    }
--- lua
    package.loaded.one = configure([[
request_body: http_call 127.0.0.1:1980 5000 "" :path=/?body=answer
request_body: return 1
call_response: set_effective_context $stream
call_response: get_body request 0 100
call_response: set_body request 0 3 another
call_response: get_body request 0 100
call_response: continue_stream 0
]])
    local body = client("/body")
    assert(body == "another body", body)
--- grep_error_log eval: qr/[gs]et_body request.*?(?=, client)/
--- grep_error_log_out
get_body request 0 100 -> OK the body
set_body request 0 3 another -> OK
get_body request 0 100 -> OK another body



=== TEST 17: what the body's own callback changed is kept over the wait
--- more
    location = /body {
        content_by_lua_block {
            ngx.req.read_body()
            assert(require("plugins").wasm.on_http_request_body(package.loaded.one, "the body", true))
            ngx.print(ngx.req.get_body_data())
        }
    }
--- lua
    package.loaded.one = configure([[
request_body: set_body request 0 3 another
request_body: http_call 127.0.0.1:1980 5000 "" :path=/?body=answer
request_body: return 1
]])
    local body = client("/body")
    assert(body == "another body", body)



=== TEST 18: every callback can make a callout
--- http_config
    lua_shared_dict resty_wasm 1m;
--- more
    location = /all {
        access_by_lua_block {
            local wasm = require("plugins").wasm
            assert(wasm.on_http_request_headers(package.loaded.one))
            assert(wasm.on_http_request_body(package.loaded.one, "body", true))
        }
        content_by_lua_block { ngx.print("ok") }
        header_filter_by_lua_block { assert(require("plugins").wasm.on_http_response_headers(package.loaded.one)) }
        body_filter_by_lua_block { assert(require("plugins").wasm.on_http_response_body(package.loaded.one)) }
    }
--- lua
    local script = "configure: set_tick 1\ntick: set_tick 0\nconfigure: register_queue q\nstream_create: enqueue $queue x\nqueue_ready: dequeue $queue\n"
    local callbacks = {"configure", "tick", "queue_ready", "foreign_function", "stream_create", "request_headers", "request_body",
                       "response_headers", "response_body", "done", "log", "delete"}
    for _, callback in ipairs(callbacks) do
        script = script .. ([[
NAME: http_call[NAME] 127.0.0.1:1980 5000 "" :path=/?body=NAME
call_response[NAME]: get_body call_response 0 100
]]):gsub("NAME", callback)
    end
    package.loaded.one = configure(script)
    local body = client("/all")
    assert(body == "ok", body)
    assert(wasm.on_foreign_function(package.loaded.one, 1))
    for _, callback in ipairs(callbacks) do
        wait("call_response%[" .. callback .. "%] 1: get_body call_response 0 100 %-> OK " .. callback .. "\n")
    end



=== TEST 19: in every phase of a request, waiting where it can
--- more
    location = /phases {
        set_by_lua_block $set { return require("phase")("set") }
        rewrite_by_lua_block { require("phase")("rewrite") }
        access_by_lua_block { require("phase")("access") }
        content_by_lua_block { require("phase")("content") ngx.print("ok") }
        header_filter_by_lua_block { require("phase")("header_filter") }
        body_filter_by_lua_block { require("phase")("body_filter") }
        log_by_lua_block { require("phase")("log") }
    }
--- http_config
    server_rewrite_by_lua_block {
        if ngx.var.uri == "/phases" then require("phase")("server_rewrite") end
    }
--- lua
    local ctxs = {}
    package.loaded.phase = function(name)
        local script = ([[
request_headers: http_call 127.0.0.1:1980 5000 "" :path=/?body=NAME
call_response: get_body call_response 0 100
]]):gsub("NAME", name)
        ctxs[name] = ctxs[name] or configure(script)
        assert(wasm.on_http_request_headers(ctxs[name]))
        ngx.log(ngx.WARN, "the ", name, " phase goes on")
    end
    local phases = {"server_rewrite", "set", "rewrite", "access", "content", "header_filter", "body_filter", "log"}
    local waits = {server_rewrite = true, rewrite = true, access = true, content = true}
    local body = client("/phases")
    assert(body == "ok", body)
    local log = io.open(ngx.config.prefix() .. "logs/error.log")
    for _, name in ipairs(phases) do
        wait("get_body call_response 0 100 %-> OK " .. name .. "\n")
        wait("the " .. name .. " phase goes on")
    end
    local text = log:read("*a")
    for _, name in ipairs(phases) do
        local answered = text:find("get_body call_response 0 100 -> OK " .. name .. "\n", 1, true)
        local went_on = text:find("the " .. name .. " phase goes on", 1, true)
        assert((answered < went_on) == (waits[name] or false), name)
    end



=== TEST 20: in a timer
--- lua
    local semaphore = require("ngx.semaphore").new(0)
    local answered
    assert(ngx.timer.at(0, function()
        run([[
request_headers: http_call 127.0.0.1:1980 5000 "" :path=/?body=timer
call_response: get_body call_response 0 100
        ]])
        answered = count("get_body call_response 0 100 %-> OK timer\n")
        semaphore:post(1)
    end))
    assert(semaphore:wait(10))
    assert(answered == 1, answered)



=== TEST 21: configured in init_by_lua, or in init_worker_by_lua
--- http_config
    init_worker_by_lua_block {
        package.loaded.in_worker = require("plugins").configure([[
configure: http_call 127.0.0.1:1980 5000 "" :path=/?body=worker
call_response: get_body call_response 0 100
        ]])
    }
--- init
    package.loaded.in_master = require("plugins").configure([[
configure: http_call 127.0.0.1:1980 5000 "" :path=/?body=master
call_response: get_body call_response 0 100
    ]])
--- lua
    wait("get_body call_response 0 100 %-> OK worker\n")
    wait("get_body call_response 0 100 %-> OK master\n")
    assert(count("get_body call_response 0 100 %-> OK worker\n") == 1)
    assert(count("get_body call_response 0 100 %-> OK master\n") == 1)



=== TEST 22: ngx.exec while another callout is in flight: it keeps the stream context
--- more
    location = /exec {
        content_by_lua_block {
            assert(require("plugins").wasm.on_http_request_headers(package.loaded.one))
            ngx.exec("/body")
        }
    }
    location = /body {
        content_by_lua_block {
            assert(require("plugins").wasm.on_http_request_body(package.loaded.one, "x", true))
            ngx.print("ok ", table.concat(ngx.req.get_headers()["x-answer"], ", "))
        }
    }
--- lua
    package.loaded.one = configure([[
request_headers: http_call[a] 127.0.0.1:1985 5000 "" :path=/hold?name=first
request_headers: continue_stream 0
request_body: http_call[b] 127.0.0.1:1985 5000 "" :path=/hold?name=second
request_body: return 1
call_response: set_effective_context $stream
call_response: add_header request x-answer yes
]])
    local request = ngx.thread.spawn(client, "/exec")
    wait("holds first;")
    wait("holds second;")
    release("second")
    wait("call_response 1: add_header")
    release("first")
    local _, body = ngx.thread.wait(request)
    assert(body == "ok yes, yes", body)



=== TEST 23: a subrequest waits by itself
--- more
    location = /sub {
        content_by_lua_block {
            local response = ngx.location.capture("/one")
            ngx.print("sub ", response.body)
        }
    }
--- lua
    package.loaded.one = configure([[
request_headers: http_call 127.0.0.1:1980 5000 "" :path=/?body=first
call_response: set_effective_context $stream
call_response: add_header request x-answer -yes
]])
    local body = client("/sub")
    assert(body == "sub ok-yes", body)



=== TEST 24: a plugin context that Lua let go of lives until its callouts are answered
--- lua
    configure([[
configure: http_call 127.0.0.1:1985 5000 "" :path=/hold?name=late
call_response: get_body call_response 0 100
]])
    wait("holds late;")
    collectgarbage()
    collectgarbage()
    release("late")
    wait("free plugin context 1")
--- grep_error_log eval: qr/get_body call_response.*|free plugin context 1|unloaded wasm plugin/
--- grep_error_log_out
get_body call_response 0 100 -> OK late
free plugin context 1
unloaded wasm plugin



=== TEST 25: callouts_in_flight
--- lua
    assert(run([[
request_headers: http_call[a] 127.0.0.1:1980 5000 "" :path=/
request_headers: http_call[b] 127.0.0.1:1980 5000 "" :path=/
request_headers: http_call[c] 127.0.0.1:1980 5000 "" :path=/
call_response[b]: http_call[d] 127.0.0.1:1980 5000 "" :path=/
]], {callouts_in_flight = 2}) == "ok")
    wait("run http callback callout id: 2")
--- grep_error_log eval: qr/plugin "plugin": .*? wants .*?(?=, client)|http_call.*?-> .*?(?=, client|$)/
--- grep_error_log_out
http_call[a] 127.0.0.1:1980 5000 "" :path=/ -> OK 0
http_call[b] 127.0.0.1:1980 5000 "" :path=/ -> OK 1
plugin "plugin": proxy_on_request_headers wants 3 callouts in flight: callouts_in_flight allows 2
http_call[c] 127.0.0.1:1980 5000 "" :path=/ -> INTERNAL_FAILURE
http_call[d] 127.0.0.1:1980 5000 "" :path=/ -> OK 2
--- no_error_log
[alert]



=== TEST 26: callout_upstreams
--- lua
    local options = {callout_upstreams = {"127.0.0.1:1980", "*.example.com", "named"}}
    assert(run([[
request_headers: http_call 127.0.0.1:1980 5000 ""
request_headers: http_call 127.0.0.1:1985 5000 ""
request_headers: http_call other.test 5000 ""
request_headers: http_call example.com 5000 ""
]], options) == "ok")
    assert(run('request_headers: http_call 127.0.0.1:1980 5000 ""', {callout_upstreams = {}}) == "ok")
--- grep_error_log eval: qr/plugin "plugin" may .*?(?=, client)|-> .*?(?=, client|$)/
--- grep_error_log_out
-> OK 0
plugin "plugin" may not ask "127.0.0.1:1985": callout_upstreams does not name it
-> INTERNAL_FAILURE
plugin "plugin" may not ask "other.test": callout_upstreams does not name it
-> INTERNAL_FAILURE
plugin "plugin" may not ask "example.com": callout_upstreams does not name it
-> INTERNAL_FAILURE
plugin "plugin" may not ask "127.0.0.1:1980": callout_upstreams does not name it
-> INTERNAL_FAILURE
--- no_error_log
[alert]



=== TEST 27: wrong options are refused, and what is wrong is said
--- lua
    for _, options in ipairs({{callouts_in_flight = 0}, {callouts_in_flight = 1.5}, {callouts_in_flight = "1"}, {callouts_in_flight = 1/0},
                              {callout_response_size = 0}, {callout_response_size = -1}, {callout_response_size = {}},
                              {callout_upstreams = "a"}, {callout_upstreams = {1}}, {callout_upstreams = {a = "b"}},
                              {callout_http2 = true}, {callout_http2 = {false}}, {wait_only_when_paused = "yes"}}) do
        local plugin, err = wasm.load("plugin", "target/guests/script.wasm", options)
        ngx.say(plugin, " ", err)
    end
--- response_body
nil bad options: callouts_in_flight must be an integer, at least 1, got 0
nil bad options: callouts_in_flight must be an integer, at least 1, got 1.5
nil bad options: callouts_in_flight must be an integer, at least 1, got 1
nil bad options: callouts_in_flight must be an integer, at least 1, got inf
nil bad options: callout_response_size must be a number of bytes, at least 1, got 0
nil bad options: callout_response_size must be a number of bytes, at least 1, got -1
nil bad options: callout_response_size must be a number of bytes, at least 1, got a table
nil bad options: callout_upstreams must be a list of strings, got a
nil bad options: callout_upstreams must be a list of strings, got a table
nil bad options: callout_upstreams must be a list of strings, got a table
nil bad options: callout_http2 must be a list of strings, got true
nil bad options: callout_http2 must be a list of strings, got a table
nil bad options: wait_only_when_paused must be a boolean, got yes
passed



=== TEST 28: a plugin context that ends can ask something first, and wait for the answer
--- lua
    configure([[
plugin_done: http_call 127.0.0.1:1985 5000 "" :path=/hold?name=last
plugin_done: return 0
call_response: get_body call_response 0 100
call_response: done
]])
    collectgarbage()
    collectgarbage()
    wait("plugin context 1 waits for proxy_done")
    release("last")
    wait("free plugin context 1")
--- grep_error_log eval: qr/get_body call_response.*|waits for proxy_done|free plugin context 1|unloaded wasm plugin/
--- grep_error_log_out
waits for proxy_done
get_body call_response 0 100 -> OK last
free plugin context 1
unloaded wasm plugin



=== TEST 29: one that does not wait gets no answer
--- lua
    configure([[
plugin_done: http_call 127.0.0.1:1980 5000 "" :path=/
call_response: get_status
]])
    collectgarbage()
    collectgarbage()
    wait("free plugin context 1")
    assert(run('request_headers: http_call 127.0.0.1:1980 5000 ""') == "ok")
    assert(count("call_response 1") == 0)



=== TEST 30: when the worker ends it is too late
--- lua
    package.loaded.one = configure('plugin_done: http_call 127.0.0.1:1980 5000 "" :path=/\ncall_response: get_status')
--- shutdown_error_log
a callout is not sent: the worker ends
plugin_done 1: http_call 127.0.0.1:1980 5000 "" :path=/ -> INTERNAL_FAILURE
free plugin context 1



=== TEST 31: in exit_worker_by_lua nothing is sent any more
--- http_config
    exit_worker_by_lua_block {
        if package.loaded.one then
            ngx.log(ngx.WARN, "the last: ", require("plugins").wasm.on_foreign_function(package.loaded.one, 1))
        end
    }
--- lua
    package.loaded.one = configure('foreign_function: http_call 127.0.0.1:1980 5000 "" :path=/\ncall_response: get_status')
--- shutdown_error_log
the last: true
call_response 1: get_status -> OK 11 cancelled
free plugin context 1
--- no_shutdown_error_log
lua entry thread aborted
API disabled



=== TEST 32: a configuration that fails takes its callouts along
--- lua
    local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
    assert(not wasm.on_configure(plugin, [[
configure: http_call 127.0.0.1:1985 5000 "" :path=/hold?name=never
configure: return 0
call_response: get_status
]]))
    assert(run('request_headers: http_call 127.0.0.1:1980 5000 ""') == "ok")
    assert(count("call_response 1: get_body") == 0)
--- error_log
failed to configure plugin context
--- no_error_log
get_body
[alert]



=== TEST 33: Lua lets go of the plugin context while a request waits
--- lua
    package.loaded.one = configure([[
request_headers: http_call 127.0.0.1:1985 5000 "" :path=/hold?name=answer
request_headers: return 1
call_response: get_body call_response 0 100
]])
    local request = ngx.thread.spawn(client, "/one")
    wait("holds answer;")
    package.loaded.one = nil
    collectgarbage()
    collectgarbage()
    release("answer")
    local _, body = ngx.thread.wait(request)
    assert(body == "ok", body)
    collectgarbage()
    wait("free plugin context 1")
--- grep_error_log eval: qr/get_body call_response.*|free http context 2|free plugin context 1/
--- grep_error_log_out
get_body call_response 0 100 -> OK answer
free http context 2
free plugin context 1



=== TEST 34: no timer can be made
--- http_config
    lua_max_pending_timers 1;
--- lua
    ngx.timer.at(100, function() end)
    assert(run([[
request_headers: http_call 127.0.0.1:1980 5000 ""
call_response: get_status
    ]]) == "ok")
--- grep_error_log eval: qr/get_status -> .*/
--- grep_error_log_out
get_status -> OK 11 failed to create a timer: too many pending timers
--- error_log
http call failed: failed to create a timer: too many pending timers
--- no_error_log
[alert]



=== TEST 35: no timer can run: the callout waits for one, and later ones of the location do too
--- http_config
    lua_max_running_timers 2;
--- lua
    local semaphore = require("ngx.semaphore").new(0)
    local function occupy() semaphore:wait(30) end
    ngx.timer.at(0, occupy)
    ngx.timer.at(0, occupy)
    while ngx.timer.running_count() < 2 do ngx.sleep(0.001) end
    package.loaded.one = configure([[
request_headers: http_call 127.0.0.1:1980 20000 ""
log: http_call 127.0.0.1:1980 20000 "" :path=/?body=end
call_response: get_body call_response 0 100
    ]])
    local first, second = ngx.thread.spawn(client, "/one"), ngx.thread.spawn(client, "/one")
    wait("lua_max_running_timers are not enough")
    semaphore:post(2)
    for _, request in ipairs({first, second}) do
        local _, body = ngx.thread.wait(request)
        assert(body == "ok", body)
    end
    wait("get_body call_response 0 100 %-> OK end", 2)
--- timeout: 10
--- error_log
lua_max_running_timers are not enough
--- no_error_log
[error]



=== TEST 36: callout_bytes_in_flight: bodies and headers of callouts that are in flight
--- lua
    assert(run([[
request_headers: http_call[a] 127.0.0.1:1980 5000 "0123456789" :path=/
request_headers: http_call[b] 127.0.0.1:1980 5000 "" :path=/
call_response[a]: http_call[c] 127.0.0.1:1980 5000 "0123456789" :path=/
]], {callout_bytes_in_flight = 40}) == "ok")
    wait("run http callback callout id: 1")
--- grep_error_log eval: qr/plugin "plugin": .*? wants .*?(?=, client)|http_call.*?-> .*?(?=, client|$)/
--- grep_error_log_out
http_call[a] 127.0.0.1:1980 5000 "0123456789" :path=/ -> OK 0
plugin "plugin": proxy_on_request_headers wants 58 bytes of callouts in flight: callout_bytes_in_flight allows 40
http_call[b] 127.0.0.1:1980 5000 "" :path=/ -> INTERNAL_FAILURE
http_call[c] 127.0.0.1:1980 5000 "0123456789" :path=/ -> OK 1
--- no_error_log
[alert]



=== TEST 37: callouts_per_request, and without it 64
--- lua
    local call = 'request_headers: http_call 127.0.0.1:1980 5000 ""\n'
    assert(run(call:rep(66), {callouts_in_flight = 1000}) == "ok")
    assert(run(call:rep(3), {callouts_per_request = 2}) == "ok")
--- grep_error_log eval: qr/plugin "plugin": .*? wants .*?(?=, client)/
--- grep_error_log_out
plugin "plugin": proxy_on_request_headers wants 65 callouts of one request in flight: callouts_per_request allows 64
plugin "plugin": proxy_on_request_headers wants 65 callouts of one request in flight: callouts_per_request allows 64
plugin "plugin": proxy_on_request_headers wants 3 callouts of one request in flight: callouts_per_request allows 2
--- no_error_log
[alert]
