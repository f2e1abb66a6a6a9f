# Metrics: what plugins count, in all workers together, and how Prometheus reads it.

use t::WASM 'no_plan';

workers(3);

# `--- script` is a configuration of `script`, run at once by one request. `require("run")(SCRIPT, NAME)` does the same.
# `require("client")(URI)` is a request on a connection of its own; it returns the response's body.
# `--- dict` is the directive, by default `lua_shared_dict resty_wasm 1m;`.
my $lua = <<'_EOC_';
    init_by_lua_block {
        package.preload.run = function()
            return function(script, name)
                local wasm = require("resty.proxy-wasm")
                local plugin = assert(wasm.load(name or "plugin", "target/guests/script.wasm"))
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



=== TEST 4: a name is everybody's, with each type it has
--- config
    location = /t {
        content_by_lua_block {
            local run = require("run")
            run("configure: define_metric counter n\nrequest_headers: increment_metric 1 2", "one")
            run("configure: define_metric gauge other\nconfigure: define_metric counter n\nrequest_headers: get_metric $metric", "two")
            run("configure: define_metric counter n\nconfigure: define_metric gauge n\nrequest_headers: get_metric $metric", "three")
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
            require("run")("configure: define_metric counter " .. name .. "\nconfigure: increment_metric 1 1\nconfigure: get_metric $metric")
        }
    }
--- grep_error_log eval: qr/proxy_define_metric: .*|(?:incre|get_).*metric .*? -> \w+/
--- grep_error_log_out
proxy_define_metric: there is no room for it
increment_metric 1 1 -> NOT_FOUND
get_metric $metric -> NOT_FOUND
--- error_log
[error]
