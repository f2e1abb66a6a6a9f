# proxy_log: which level of nginx a plugin's message gets, and to which log it goes.

use t::WASM 'no_plan';

add_block_preprocessor(sub {
    my ($block) = @_;
    return if defined $block->config;
    $block->set_value(config => <<'_EOC_');
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            local ctx = assert(wasm.on_configure(plugin, [[
                configure: log critical ouch
                configure: log error ouch
                configure: log warn ouch
                configure: log info ouch
                configure: log debug ouch
                configure: log trace ouch
                configure: call proxy_log 42 0 0
            ]]))
        }
    }
_EOC_
});

run_tests();

__DATA__

=== TEST 1: each level has its counterpart, and a message of on_configure goes to the log of the server
--- log_level: debug
--- grep_error_log eval: qr/\[\w+\] \d+#\d+: ouch.*/
--- grep_error_log_out eval
qr/\A\[emerg\] \d+#\d+: ouch
\[error\] \d+#\d+: ouch
\[warn\] \d+#\d+: ouch
\[info\] \d+#\d+: ouch
\[debug\] \d+#\d+: ouch
\[debug\] \d+#\d+: ouch
\z/
--- no_error_log
[alert]



=== TEST 2: a message while a request is handled goes to the log of the request
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/lifecycle.wasm"))
            local ctx = assert(wasm.on_configure(plugin, "conf"))
            assert(wasm.on_http_request_headers(ctx))
        }
    }
--- grep_error_log eval: qr/\[info\] \d+#\d+: \*\d+ (?:create|run) http ctx.*?, client: [\d.]+, server: localhost, request: "GET.*/
--- grep_error_log_out eval
qr/\A\[info\] \d+#\d+: \*\d+ create http ctx 2, client: .*, host: "localhost"
\[info\] \d+#\d+: \*\d+ run http ctx 2 with conf conf, client: .*, host: "localhost"
\z/



=== TEST 3: error_log's level decides what is written
--- log_level: warn
--- grep_error_log eval: qr/\[\w+\] \d+#\d+: ouch.*/
--- grep_error_log_out eval
qr/\A\[emerg\] \d+#\d+: ouch
\[error\] \d+#\d+: ouch
\[warn\] \d+#\d+: ouch
\z/
--- no_error_log
[alert]



=== TEST 4: a level that is none is taken for error
--- grep_error_log eval: qr/call proxy_log.*/
--- grep_error_log_out
call proxy_log 42 0 0 -> OK
--- no_error_log
[alert]
