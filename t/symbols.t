# What the library looks up in nginx: names that differ between builds, what it can do without, and what it says of what is missing.

use Cwd qw(getcwd);

# The object is preloaded into nginx; LuaJIT's own look-ups are left alone.
my $object;
BEGIN {
    $object = getcwd() . '/target/dlsym.so';
    system('cc', '-shared', '-fPIC', '-O1', '-Wall', '-Werror', '-o', $object, 't/symbols/dlsym.c', '-ldl') == 0
        or die "cc can't build $object\n";
    $ENV{LD_PRELOAD} = $object;
}

use t::WASM 'no_plan';

workers(1);

# `--- symbols` is what t/symbols/dlsym.c lets the library find.
add_block_preprocessor(sub {
    my ($block) = @_;
    my $symbols = delete($block->{symbols})->[0];
    chomp $symbols;
    $block->set_value(http_config => <<"_EOC_" . ($block->http_config // ''));
    init_worker_by_lua_block {
        local ffi = require("ffi")
        ffi.cdef("int setenv(const char *, const char *, int);")
        ffi.C.setenv("TEST_SYMBOLS", "$symbols", 1)
    }
_EOC_
    $block->set_value(config => <<'_EOC_') unless defined $block->config;
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin, err = wasm.load("plugin", "target/guests/script.wasm")
            if not plugin then return ngx.say(err) end
            ngx.say(wasm.on_http_request_headers(assert(wasm.on_configure(plugin, [[
                request_headers: set_shared key value 0
                request_headers: get_shared key
                request_headers: define_metric counter requests
                request_headers: increment_metric 1 1
            ]]))))
            local dict = ngx.shared.resty_wasm
            ngx.say("in the shared dict: ", dict ~= nil and #dict:get_keys(0) > 0)
        }
    }
_EOC_
});

run_tests();

__DATA__

=== TEST 1: the functions of shared dicts are found under the names that APISIX-Runtime gives them
--- symbols
runtime
--- http_config
    lua_shared_dict resty_wasm 1m;
--- response_body
true
in the shared dict: true
--- error_log
get_shared key -> OK value
--- no_error_log
[error]
[warn]



=== TEST 2: without functions of shared dicts each worker keeps its own, and one warning says so
--- symbols
no dict
--- http_config
    lua_shared_dict resty_wasm 1m;
--- response_body
true
in the shared dict: false
--- grep_error_log eval: qr/\[warn\].*/
--- grep_error_log_out eval
qr/\A\[warn\] \S+ shared data, queues and metrics are kept for each worker alone: this nginx lacks ngx_http_lua_ffi_shdict_udata_to_zone or ngx_meta_lua_ffi_shdict_udata_to_zone \(ngx_lua 0\.10\.19 and newer, or apisix-nginx-module\), .*\n\z/
--- error_log
get_shared key -> OK value
--- no_error_log
[error]



=== TEST 3: what the library can't do without is named, with the versions that run
--- symbols
no semaphores
--- response_body_like eval
qr/^resty\.wasm: can't use '\S+': .*nginx \d+\.\d+\.\d+ with ngx_lua 0\.10\.\d+ lacks ngx_http_lua_ffi_sema_post \(ngx_lua 0\.10\.19 and newer\)/
--- no_error_log
[error]
