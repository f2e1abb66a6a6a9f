# Plugins that are loaded when nginx starts, before and after SIGHUP.

BEGIN { $ENV{TEST_NGINX_USE_HUP} = 1 }

use t::WASM 'no_plan';

# Each block is one generation of the configuration; nginx runs on between them. --- loads is the directive that loads.
# The message at emerg comes with the request: during a reload it would be a failure to the test runner.
add_block_preprocessor(sub {
    my ($block) = @_;
    my $directive = delete($block->{loads})->[0];
    $block->set_value(http_config => <<"_EOC_");
    $directive {
        local wasm = require("resty.proxy-wasm")
        local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
        package.loaded.ctx = assert(wasm.on_configure(plugin, [[
            configure: log error ouch
            configure: log warn ouch
            request_headers: log critical hello
            request_headers: log info hello
        ]]))
    }
_EOC_
    $block->set_value(config => <<'_EOC_');
    location = /t {
        content_by_lua_block {
            assert(require("resty.proxy-wasm").on_http_request_headers(package.loaded.ctx))
        }
    }
_EOC_
    $block->set_value(grep_error_log => qr/\[\w+\] \d+#\d+: (?:ouch|\*\d+ hello)/);
    $block->set_value(grep_error_log_out => qr/\A\[error\] \d+#\d+: ouch
\[warn\] \d+#\d+: ouch
\[emerg\] \d+#\d+: \*\d+ hello
\[info\] \d+#\d+: \*\d+ hello
\z/);
    $block->set_value(no_error_log => "[alert]\n");
});

run_tests();

__DATA__

=== TEST 1: a plugin runs that the worker has loaded
--- loads: init_worker_by_lua_block



=== TEST 2: after SIGHUP the new worker loads it anew
--- loads: init_worker_by_lua_block



=== TEST 3: after SIGHUP a plugin runs that the master has loaded
--- loads: init_by_lua_block



=== TEST 4: after another SIGHUP the master loads it anew
--- loads: init_by_lua_block



=== TEST 5: after a last SIGHUP the worker loads it again
--- loads: init_worker_by_lua_block
