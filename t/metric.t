# Metrics: plugins that use them run, though the host does not keep them yet.

use t::WASM 'no_plan';

run_tests();

__DATA__

=== TEST 1: defining and changing metrics is no error, the log says once for each call that it does nothing
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            local ctx = assert(wasm.on_configure(plugin, [[
                configure: scratch requests
                configure: call proxy_define_metric 0 $scratch $len $out
                request_headers: call proxy_increment_metric $value 1
                request_headers: call proxy_record_metric $value 42
                request_headers: call proxy_increment_metric $value 1
                request_headers: log info Record success
            ]]))
            assert(wasm.on_http_request_headers(ctx))
        }
    }
--- grep_error_log eval: qr/\[warn\] .*|call proxy_.*?-> \w+|Record success/
--- grep_error_log_out eval
my $warning = sub { qr/\[warn\] \d+#\d+: .*?plugin "plugin" calls $_[0], which this host does not have yet: it answers Ok.*\n/ };
qr/\A${\ $warning->('proxy_define_metric')}call proxy_define_metric 0 \$scratch \$len \$out -> OK
${\ $warning->('proxy_increment_metric')}call proxy_increment_metric \$value 1 -> OK
${\ $warning->('proxy_record_metric')}call proxy_record_metric \$value 42 -> OK
call proxy_increment_metric \$value 1 -> OK
Record success
\z/
