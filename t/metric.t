# Metrics: what plugins count, in all workers together, and how Prometheus reads it.

use t::WASM 'no_plan';

workers(3);

# `--- script` is a configuration of `script`, run at once by one request. `require("run")(SCRIPT, NAME, OPTIONS)` does the same.
# `require("client")(URI)` is a request on a connection of its own; it returns the response's body.
# `--- dict` is the directive, by default `lua_shared_dict resty_wasm 1m;`.
my $lua = <<'_EOC_';
    init_by_lua_block {
        package.preload.run = function()
            return function(script, name, options)
                local wasm = require("resty.proxy-wasm")
                local plugin = assert(wasm.load(name or "plugin", "target/guests/script.wasm", options))
                local ctx = assert(wasm.on_configure(plugin, script))
                return wasm.on_http_request_headers(ctx)
            end
        end
    }
_EOC_

add_block_preprocessor(sub {
    my ($block) = @_;
    my $dict = delete $block->{dict};
    $dict = $dict ? $dict->[0] : 'lua_shared_dict resty_wasm 1m; lua_shared_dict test 1m;';
    $block->set_value(http_config => "$dict\n$lua" . ($block->http_config // ''));
    $block->set_value(grep_error_log => qr/\b\w+_metric .*?(?=, client|$)/)
        if defined $block->grep_error_log_out && !defined $block->grep_error_log;
    my $script = delete $block->{script} or return;
    $block->set_value(config => <<"_EOC_");
    location = /t { content_by_lua_block { assert(require("run")([[$script->[0]]])) } }
_EOC_
});

run_tests();

__DATA__

=== TEST 1: defining and changing metrics is no error
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
--- grep_error_log eval: qr/call proxy_.*?-> \w+|Record success/
--- grep_error_log_out
call proxy_define_metric 0 $scratch $len $out -> OK
call proxy_increment_metric $value 1 -> OK
call proxy_record_metric $value 42 -> OK
call proxy_increment_metric $value 1 -> OK
Record success
--- no_error_log
[warn]
[error]



=== TEST 2: a counter only grows, a gauge goes up and down, a histogram only records
--- script
configure: define_metric counter c
request_headers: increment_metric $metric 5
request_headers: increment_metric $metric 0
request_headers: increment_metric $metric -1
request_headers: record_metric $metric 10
request_headers: get_metric $metric
request_headers: define_metric gauge g
request_headers: record_metric $metric 10
request_headers: increment_metric $metric -3
request_headers: increment_metric $metric 0
request_headers: get_metric $metric
request_headers: define_metric histogram h
request_headers: record_metric $metric 42
request_headers: increment_metric $metric 1
request_headers: get_metric $metric
--- grep_error_log_out
define_metric counter c -> OK 1
increment_metric $metric 5 -> OK
increment_metric $metric 0 -> BAD_ARGUMENT
increment_metric $metric -1 -> BAD_ARGUMENT
record_metric $metric 10 -> OK
get_metric $metric -> OK 15
define_metric gauge g -> OK 2
record_metric $metric 10 -> OK
increment_metric $metric -3 -> OK
increment_metric $metric 0 -> OK
get_metric $metric -> OK 7
define_metric histogram h -> OK 3
record_metric $metric 42 -> OK
increment_metric $metric 1 -> BAD_ARGUMENT
get_metric $metric -> BAD_ARGUMENT



=== TEST 3: what is not defined is not found; a type that is none is a bad argument
--- script
request_headers: increment_metric 1 1
request_headers: define_metric 3 n
request_headers: define_metric -1 n
request_headers: define_metric counter n
request_headers: record_metric 0 1
request_headers: get_metric 2
request_headers: get_metric -1
--- grep_error_log_out
increment_metric 1 1 -> NOT_FOUND
define_metric 3 n -> BAD_ARGUMENT
define_metric -1 n -> BAD_ARGUMENT
define_metric counter n -> OK 1
record_metric 0 1 -> NOT_FOUND
get_metric 2 -> NOT_FOUND
get_metric -1 -> NOT_FOUND



=== TEST 4: a name is that of all plugins with one vm_id, with each type it has
--- config
    location = /t {
        content_by_lua_block {
            local run = require("run")
            local shared = {vm_id = "shared"}
            run("configure: define_metric counter n\nrequest_headers: increment_metric 1 2", "one", shared)
            run("configure: define_metric gauge other\nconfigure: define_metric counter n\nrequest_headers: get_metric $metric", "two", shared)
            run("configure: define_metric counter n\nconfigure: define_metric gauge n\nrequest_headers: get_metric $metric", "three", shared)
        }
    }
--- grep_error_log_out
define_metric counter n -> OK 1
increment_metric 1 2 -> OK
define_metric gauge other -> OK 1
define_metric counter n -> OK 2
get_metric $metric -> OK 2
define_metric counter n -> OK 1
define_metric gauge n -> OK 2
get_metric $metric -> OK 0



=== TEST 5: pointers outside of the memory trap
--- config
    location = /t {
        content_by_lua_block {
            for _, call in ipairs({"define_metric 0 $end 1 $out", "define_metric 0 0 1 $end-3", "get_metric 1 $end-7"}) do
                ngx.say(require("run")("configure: define_metric counter n\nrequest_headers: call proxy_" .. call))
            end
        }
    }
--- response_body
nilfailed to run proxy_on_http_request_headers
nilfailed to run proxy_on_http_request_headers
nilfailed to run proxy_on_http_request_headers
--- error_log
failed to call function



=== TEST 6: all workers count together, and any of them gives the text
--- http_config
    init_worker_by_lua_block {
        assert(ngx.timer.at(0, function()
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            local ctx = assert(wasm.on_configure(plugin, [[
                configure: define_metric counter waf_filter.tx.interruptions_ruleid=949110_phase=http_request_headers_authority=a.example
                request_headers: increment_metric $metric 1
            ]]))
            for _ = 1, 1000 do
                assert(wasm.on_http_request_headers(ctx))
            end
            ngx.shared.test:incr("complete", 1, 0)
        end))
    }
--- config
    location = /t {
        content_by_lua_block {
            repeat ngx.sleep(0.001) until ngx.shared.test:get("complete") == 3
            ngx.print(require("metrics")())
        }
    }
--- timeout: 60
--- response_body
# TYPE waf_filter_tx_interruptions counter
waf_filter_tx_interruptions{ruleid="949110",phase="http_request_headers",authority="a.example"} 3000



=== TEST 7: labels, types, histograms as text
--- config
    location = /t {
        content_by_lua_block {
            require("run")([[
                configure: define_metric counter "reporter=.=source;.;response_code=.=200;.;istio_requests_total"
                configure: increment_metric $metric 7
                configure: define_metric gauge istio_requests_total
                configure: record_metric $metric 3
                configure: define_metric gauge "quoted_v=\"\\\n"
                configure: define_metric histogram "d.uration_route=a"
                configure: record_metric $metric 1
                configure: record_metric $metric 30
                configure: record_metric $metric 99999999
            ]])
            ngx.print(require("metrics")())
        }
    }
--- response_body
# TYPE d_uration histogram
d_uration_bucket{route="a",le="0.5"} 0
d_uration_bucket{route="a",le="1"} 1
d_uration_bucket{route="a",le="5"} 1
d_uration_bucket{route="a",le="10"} 1
d_uration_bucket{route="a",le="25"} 1
d_uration_bucket{route="a",le="50"} 2
d_uration_bucket{route="a",le="100"} 2
d_uration_bucket{route="a",le="250"} 2
d_uration_bucket{route="a",le="500"} 2
d_uration_bucket{route="a",le="1000"} 2
d_uration_bucket{route="a",le="2500"} 2
d_uration_bucket{route="a",le="5000"} 2
d_uration_bucket{route="a",le="10000"} 2
d_uration_bucket{route="a",le="30000"} 2
d_uration_bucket{route="a",le="60000"} 2
d_uration_bucket{route="a",le="300000"} 2
d_uration_bucket{route="a",le="600000"} 2
d_uration_bucket{route="a",le="1800000"} 2
d_uration_bucket{route="a",le="3600000"} 2
d_uration_bucket{route="a",le="+Inf"} 3
d_uration_sum{route="a"} 100000030
d_uration_count{route="a"} 3
# TYPE istio_requests_total counter
istio_requests_total{reporter="source",response_code="200"} 7
# TYPE istio_requests_total_gauge gauge
istio_requests_total_gauge 3
# TYPE quoted gauge
quoted{v="\"\\\n"} 0



=== TEST 8: without any plugin the text is empty
--- config
    location = /t { content_by_lua_block { ngx.say("[", require("resty.wasm.metrics").prometheus(), "]") } }
--- response_body
[]



=== TEST 9: metrics survive a reload
--- http_config
    init_worker_by_lua_block { package.loaded.generation = ngx.shared.test:get("generation") or 1 }
--- config
    location = /run {
        content_by_lua_block { ngx.print(package.loaded.generation, " ", require("metrics")()) }
    }
    location = /t {
        content_by_lua_block {
            require("run")("configure: define_metric counter n\nrequest_headers: increment_metric $metric 5")
            ngx.print(require("reload")("/run"))
        }
    }
--- timeout: 60
--- response_body
2 # TYPE n counter
n 5



=== TEST 10: without the dict a worker counts for itself, and says so once
--- dict
lua_shared_dict test 1m;
--- config
    location = /t {
        content_by_lua_block {
            require("run")("configure: define_metric counter n\nrequest_headers: increment_metric $metric 5")
            ngx.print(require("metrics")())
        }
    }
--- response_body
# TYPE n counter
n 5
--- grep_error_log eval: qr/kept for each worker alone: .*/
--- grep_error_log_out
kept for each worker alone: the http block lacks "lua_shared_dict resty_wasm 10m;"



=== TEST 11: when the dict has no room for a metric, that is logged and answered with OK
--- dict
lua_shared_dict resty_wasm 12k;
--- config
    location = /t {
        content_by_lua_block {
            local name = ("n"):rep(8000)
            local script = "configure: define_metric counter " .. name .. "\nconfigure: increment_metric 1 1\nconfigure: get_metric $metric"
            require("run")(script, "plugin", {metric_limit = 1000000})
        }
    }
--- grep_error_log eval: qr/proxy_define_metric: .*|(?:incre|get_).*metric .*? -> \w+/
--- grep_error_log_out
proxy_define_metric: there is no room for it
increment_metric 1 1 -> NOT_FOUND
get_metric $metric -> OK
--- error_log
[error]



=== TEST 12: what another plugin defines changes no metric of one
--- config
    location = /t {
        content_by_lua_block {
            local run = require("run")
            run("configure: define_metric gauge n\nrequest_headers: record_metric $metric 7", "one")
            run([[
                configure: define_metric gauge n
                configure: record_metric $metric 999
                configure: define_metric counter n
                configure: increment_metric $metric 998
                configure: define_metric gauge vm_id=.=one;.;n
                request_headers: record_metric $metric 997
            ]], "two")
            run("configure: define_metric gauge n\nrequest_headers: get_metric $metric", "one")
            ngx.print(require("metrics")())
        }
    }
--- response_body
# TYPE n gauge
n 7
n{label_vm_id="one",vm_id="two"} 997
n{vm_id="two"} 999
# TYPE n_counter counter
n_counter{vm_id="two"} 998
--- error_log
get_metric $metric -> OK 7



=== TEST 13: a metric of the library's own is refused, however its name is written, and counts nothing
--- config
    location = /t {
        content_by_lua_block {
            require("run")([[
                configure: define_metric gauge resty_wasm_running
                configure: record_metric $metric 0
                configure: get_metric $metric
                configure: define_metric counter resty.wasm.calls-total_plugin=plugin
                configure: increment_metric $metric 1000000
                configure: define_metric counter plugin=.=plugin;.;resty_wasm_traps_total
                configure: define_metric histogram resty_wasm
                configure: define_metric counter my_resty_wasm_counter
            ]])
            local text = require("resty.wasm.metrics").prometheus()
            for _, pattern in ipairs({"resty_wasm_running{[^\n]*", "my_resty_wasm_counter %d", "resty_wasm_traps", "1000000", "resty_wasm_sum"}) do
                ngx.say(text:match(pattern))
            end
        }
    }
--- response_body_like
^resty_wasm_running\{plugin="plugin",worker="\d"\} 1
my_resty_wasm_counter 0
nil
nil
nil$
--- grep_error_log eval: qr/plugin "plugin": proxy_on_configure: .*? own|\b\w+_metric .*?(?=, client|$)/
--- grep_error_log_out
plugin "plugin": proxy_on_configure: proxy_define_metric: "resty_wasm_running" is not defined: names that begin with resty_wasm_ are the host's own
define_metric gauge resty_wasm_running -> OK 0
record_metric $metric 0 -> OK
get_metric $metric -> OK 0
plugin "plugin": proxy_on_configure: proxy_define_metric: "resty.wasm.calls-total_plugin=plugin" is not defined: names that begin with resty_wasm_ are the host's own
define_metric counter resty.wasm.calls-total_plugin=plugin -> OK 0
increment_metric $metric 1000000 -> OK
plugin "plugin": proxy_on_configure: proxy_define_metric: "plugin=.=plugin;.;resty_wasm_traps_total" is not defined: names that begin with resty_wasm_ are the host's own
define_metric counter plugin=.=plugin;.;resty_wasm_traps_total -> OK 0
plugin "plugin": proxy_on_configure: proxy_define_metric: "resty_wasm" is not defined: names that begin with resty_wasm_ are the host's own
define_metric histogram resty_wasm -> OK 0
define_metric counter my_resty_wasm_counter -> OK 1
--- error_log
[error]



=== TEST 14: metrics take no more of the dict than metric_limit, also after a trap, and more when series have gone
--- config
    location = /t {
        content_by_lua_block {
            local wasm, dict, contexts = require("resty.proxy-wasm"), ngx.shared.resty_wasm, {}
            package.loaded.contexts = contexts
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm", {metric_limit = 768}))
            local function configure(script)
                contexts[#contexts + 1] = assert(wasm.on_configure(plugin, script))
            end
            configure("configure: define_metric counter a\nconfigure: define_metric counter b\nconfigure: define_metric counter c\nrequest_headers: trap")
            ngx.say(wasm.on_http_request_headers(contexts[1]))
            configure("configure: define_metric counter d\nconfigure: increment_metric $metric 1")
            for _, key in ipairs(dict:get_keys(0)) do
                if key:find("6:plugin:0a", 1, true) or key:find("^counted:") then dict:delete(key) end
            end
            configure("configure: define_metric counter e\nconfigure: increment_metric $metric 1")
        }
    }
--- response_body
nilfailed to run proxy_on_http_request_headers
--- grep_error_log eval: qr/plugin "plugin": proxy_on_configure: .*? would be \d+|\b\w+_metric .*?(?=, client|$)/
--- grep_error_log_out
define_metric counter a -> OK 1
define_metric counter b -> OK 2
plugin "plugin": proxy_on_configure: proxy_define_metric: "c" is not defined: metric_limit allows 768 bytes, with it there would be 1152
define_metric counter c -> OK 0
define_metric counter a -> OK 1
define_metric counter b -> OK 2
plugin "plugin": proxy_on_configure: proxy_define_metric: "c" is not defined: metric_limit allows 768 bytes, with it there would be 1152
define_metric counter c -> OK 0
plugin "plugin": proxy_on_configure: proxy_define_metric: "d" is not defined: metric_limit allows 768 bytes, with it there would be 1152
define_metric counter d -> OK 0
increment_metric $metric 1 -> OK
define_metric counter e -> OK 3
increment_metric $metric 1 -> OK
--- error_log
[error]



=== TEST 15: a plugin can define 10000 metrics, whatever it traps in between
--- dict
lua_shared_dict resty_wasm 16m; lua_shared_dict test 1m;
--- config
    location = /t {
        content_by_lua_block {
            local run, options = require("run"), {metric_limit = 10000000, log_rate = 1000000}
            local lines = {}
            for n = 1, 10000 do lines[n] = "request_headers: define_metric counter n" .. n end
            lines[#lines + 1] = "request_headers: trap"
            run(table.concat(lines, "\n"), "plugin", options)
            run("configure: define_metric counter one-more\nconfigure: define_metric counter n1\nconfigure: log info end", "plugin", options)
        }
    }
--- timeout: 60
--- grep_error_log eval: qr/plugin "plugin": proxy_on_configure: .*? no more|define_metric counter (?:one-more|n1|n10000) -> \w+ \w+/
--- grep_error_log_out
define_metric counter n1 -> OK 1
define_metric counter n10000 -> OK 10000
plugin "plugin": proxy_on_configure: proxy_define_metric: "one-more" is not defined: there are 10000 metrics, and may be no more
define_metric counter one-more -> OK 0
define_metric counter n1 -> OK 1
--- error_log
[error]
