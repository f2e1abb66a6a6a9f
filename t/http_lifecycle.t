# The plugin's context of a request: when it is created, which id it has, when it ends.

use t::WASM 'no_plan';

# --- lua handles the request, with these functions; `lifecycle` logs each callback.
add_block_preprocessor(sub {
    my ($block) = @_;
    my $lua = delete $block->{lua} or return;
    $block->set_value(config => <<"_EOC_" . ($block->config // ''));
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local function load()
                return assert(wasm.load("plugin", "target/guests/lifecycle.wasm"))
            end
            local function configure(plugin, conf)
                return assert(wasm.on_configure(plugin, conf or '{"body":512}'))
            end
$lua->[0]
        }
    }
_EOC_
});

# Sends GET /hit in two rounds of `parallel` requests.
my $rounds = <<'_EOC_';
    location = /t {
        content_by_lua_block {
            local function hit()
                local socket = ngx.socket.tcp()
                assert(socket:connect("127.0.0.1", $TEST_NGINX_SERVER_PORT))
                assert(socket:send("GET /hit HTTP/1.0\r\nHost: localhost\r\n\r\n"))
                assert(socket:receive("*a"))
            end
            for round = 1, 2 do
                local threads = {}
                for i = 1, ngx.var.arg_parallel do
                    threads[i] = ngx.thread.spawn(hit)
                end
                for _, thread in ipairs(threads) do
                    assert(ngx.thread.wait(thread))
                end
            end
        }
    }
_EOC_

add_block_preprocessor(sub {
    my ($block) = @_;
    my $request = $block->request // '';
    $block->set_value(config => $block->config . $rounds) if $request =~ /parallel/;
});

run_tests();

__DATA__

=== TEST 1: a request has one context, however many callbacks run
--- lua
    local ctx = configure(load())
    assert(wasm.on_http_request_headers(ctx))
    assert(wasm.on_http_request_headers(ctx))
--- grep_error_log eval: qr/\[info\] \d+#\d+: (?:create|free) http context \d+$/
--- grep_error_log_out eval
qr/\A\[info\] \d+#\d+: create http context 2
\[info\] \d+#\d+: free http context 2
\z/



=== TEST 2: a plugin context ends after the requests that use it
--- lua
    do
        local ctx = configure(load())
        assert(wasm.on_http_request_headers(ctx))
    end
    collectgarbage()
    ngx.log(ngx.INFO, "collected once")
--- grep_error_log eval: qr/free (?:plugin|http) context \d+|collected once/
--- grep_error_log_out
collected once
free http context 2
free plugin context 1



=== TEST 3: nine requests at once have nine contexts; the next nine use the ids again, the oldest first
--- http_config
    init_by_lua_block {
        local wasm = require("resty.proxy-wasm")
        local plugin = assert(wasm.load("plugin", "target/guests/lifecycle.wasm"))
        package.loaded.ctx = assert(wasm.on_configure(plugin, '{"body":512}'))
    }
--- config
    location = /hit {
        content_by_lua_block {
            assert(require("resty.proxy-wasm").on_http_request_headers(package.loaded.ctx))
            require("barrier")(9)
        }
    }
--- request
GET /t?parallel=9
--- grep_error_log eval: qr/create http context \d+/
--- grep_error_log_out eval
CORE::join("", map { "create http context $_\n" } 2 .. 10, 2 .. 10)



=== TEST 4: there are no more contexts than requests at once, in whatever order they end
--- http_config
    init_by_lua_block {
        local wasm = require("resty.proxy-wasm")
        local plugin = assert(wasm.load("plugin", "target/guests/lifecycle.wasm"))
        package.loaded.ctx = assert(wasm.on_configure(plugin, '{"body":512}'))
    }
--- config
    location = /hit {
        content_by_lua_block {
            assert(require("resty.proxy-wasm").on_http_request_headers(package.loaded.ctx))
            require("barrier")(9)
            ngx.sleep(math.random() / 10)
        }
    }
--- request
GET /t?parallel=9
--- grep_error_log eval: qr/(?:create|free) http context (?:1|1[1-9])$/
--- grep_error_log_out
--- error_log
free http context 2
free http context 10



=== TEST 5: two plugin contexts in one request have a context each
--- lua
    local plugin = load()
    local ctx1 = configure(plugin, '{"body":512}')
    local ctx2 = configure(plugin, '{"body":256}')
    assert(wasm.on_http_request_headers(ctx1))
    assert(wasm.on_http_request_headers(ctx2))
--- grep_error_log eval: qr/run http ctx \d+ with conf \S+/
--- grep_error_log_out
run http ctx 3 with conf {"body":512},
run http ctx 4 with conf {"body":256},



=== TEST 6: the configuration can be read while a request is handled
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            local script = "request_headers: get_body plugin_configuration 0 1024\n# "
            local ctx1 = assert(wasm.on_configure(plugin, script .. "first"))
            local ctx2 = assert(wasm.on_configure(plugin, script .. "second"))
            assert(wasm.on_http_request_headers(ctx1))
            assert(wasm.on_http_request_headers(ctx2))
        }
    }
--- grep_error_log eval: qr/request_headers \d+: get_body.*?(?=, client)/
--- grep_error_log_out
request_headers 3: get_body plugin_configuration 0 1024 -> OK request_headers: get_body plugin_configuration 0 1024\n# first
request_headers 4: get_body plugin_configuration 0 1024 -> OK request_headers: get_body plugin_configuration 0 1024\n# second



=== TEST 7: two plugins in one request count their contexts on their own
--- lua
    local ctx1 = configure(load(), '{"body":512}')
    local ctx2 = configure(load(), '{"body":256}')
    assert(wasm.on_http_request_headers(ctx1))
    assert(wasm.on_http_request_headers(ctx2))
--- grep_error_log eval: qr/run http ctx \d+ with conf \S+/
--- grep_error_log_out
run http ctx 2 with conf {"body":512},
run http ctx 2 with conf {"body":256},



=== TEST 8: the response is handled in the context of its request
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/lifecycle.wasm"))
            ngx.ctx.wasm = assert(wasm.on_configure(plugin, '{"body":512}'))
            assert(wasm.on_http_request_headers(ngx.ctx.wasm))
            ngx.say("hello")
        }
        header_filter_by_lua_block {
            assert(require("resty.proxy-wasm").on_http_response_headers(ngx.ctx.wasm))
        }
    }
--- response_body
hello
--- grep_error_log eval: qr/(?:create|free) http context \d+|on_http_(?:request|response)_headers \d+/
--- grep_error_log_out
create http context 2
on_http_request_headers 2
on_http_response_headers 2
free http context 2



=== TEST 9: a panic while the response is handled is an error, and the client still gets the response
--- config
    location = /t {
        content_by_lua_block {
            ngx.say("hello")
        }
        header_filter_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/lifecycle.wasm"))
            local ctx = assert(wasm.on_configure(plugin, "panic-in-response-headers"))
            local ok, err = wasm.on_http_response_headers(ctx)
            ngx.log(ngx.WARN, "result: ", ok, " ", err)
        }
    }
--- response_body
hello
--- error_log eval
[
    "panic in response headers",
    qr/\[error\] \d+#\d+: failed to call function: /,
    "result: nil failed to run proxy_on_http_response_headers,",
]



=== TEST 10: the id of a plugin context is used again, those of its requests are not
--- http_config
    init_worker_by_lua_block {
        local wasm = require("resty.proxy-wasm")
        package.loaded.plugin = assert(wasm.load("plugin", "target/guests/lifecycle.wasm"))
    }
--- config
    location = /hit {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            do
                local ctx = assert(wasm.on_configure(package.loaded.plugin, '{"body":512}'))
                assert(wasm.on_http_request_headers(ctx))
            end
            collectgarbage()
        }
    }
--- request
GET /t?parallel=1
--- grep_error_log eval: qr/(?:create|free) (?:plugin|http) context \d+/
--- grep_error_log_out
create plugin context 1
create http context 2
free http context 2
free plugin context 1
create plugin context 1
create http context 3
free http context 3
free plugin context 1
