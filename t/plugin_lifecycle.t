# From load to unload: plugins and their contexts, without requests.

use t::WASM 'no_plan';

# What the Lua code of every block starts with. `lifecycle` logs each callback.
add_block_preprocessor(sub {
    my ($block) = @_;
    my $lua = delete $block->{lua} or return;
    $block->set_value(config => <<"_EOC_");
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local function load()
                return assert(wasm.load("plugin", "target/guests/lifecycle.wasm"))
            end
$lua->[0]
        }
    }
_EOC_
});

run_tests();

__DATA__

=== TEST 1: a plugin is loaded
--- lua
    load()
--- error_log eval: qr/\[info\] \d+#\d+: loaded wasm plugin$/
--- no_error_log
[error]



=== TEST 2: the same file is loaded several times
--- lua
    for i = 1, 3 do
        load()
    end
--- grep_error_log: loaded wasm plugin
--- grep_error_log_out eval
"loaded wasm plugin\n" x 3



=== TEST 3: on_configure gives the plugin its configuration
--- lua
    assert(wasm.on_configure(load(), '{"body":512}'))
--- error_log
plugin config: {"body":512}
create plugin context 1
--- no_error_log
[error]



=== TEST 4: a plugin's stderr and stdout are in the error log, and nginx's environment is not the plugin's
--- main_config
    env PATH;
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            assert(wasm.on_configure(plugin, [[
                configure: stderr writeFile failed\n
                configure: stdout file "is there"\n
                configure: environ
            ]]))
        }
    }
--- grep_error_log eval: qr/\[\w+\] \d+#\d+: (?:writeFile|file|configure 1: environ) .*/
--- grep_error_log_out eval
qr/\A\[error\] \d+#\d+: writeFile failed
\[info\] \d+#\d+: file is there
\[info\] \d+#\d+: configure 1: environ -> OK 0
\z/
--- no_error_log
[alert]



=== TEST 5: each plugin context has its own id and ends with the worker
--- lua
    local plugin = load()
    local ctxs = {}
    for i = 1, 3 do
        ctxs[i] = assert(wasm.on_configure(plugin, '{"body":512}'))
    end
    package.loaded.ctxs = ctxs
--- grep_error_log eval: qr/proxy_on_(?:configure|done) \d+/
--- grep_error_log_out
proxy_on_configure 1
proxy_on_configure 2
proxy_on_configure 3
--- shutdown_error_log
proxy_on_done 1
proxy_on_done 2
proxy_on_done 3



=== TEST 6: ids of collected plugin contexts are used again
--- lua
    local plugin = load()
    local kept
    for i = 1, 2 do
        for j = 1, 2 do
            wasm.on_configure(plugin, '{"body":512}')
        end
        if i == 1 then
            kept = assert(wasm.on_configure(plugin, '{"body":512}'))
        end
        collectgarbage()
    end
    package.loaded.kept = kept
--- grep_error_log eval: qr/proxy_on_(?:configure|done) \d+/
--- grep_error_log_out eval
qr/\Aproxy_on_configure 1
proxy_on_configure 2
proxy_on_configure 3
proxy_on_done [12]
proxy_on_done [12]
proxy_on_configure [12]
proxy_on_configure [12]
proxy_on_done [12]
proxy_on_done [12]
\z/
--- shutdown_error_log
proxy_on_done 3



=== TEST 7: a plugin without a handle lives as long as its last context
--- lua
    local plugin = load()
    for i = 1, 2 do
        wasm.on_configure(plugin, '{"body":512}')
    end
    package.loaded.kept = assert(wasm.on_configure(plugin, '{"body":512}'))
    plugin = nil
    collectgarbage()
    ngx.log(ngx.INFO, "collected once")
    collectgarbage()
--- grep_error_log eval: qr/proxy_on_(?:configure|done) \d+|collected once|unloaded wasm plugin/
--- grep_error_log_out eval
qr/\Aproxy_on_configure 1
proxy_on_configure 2
proxy_on_configure 3
proxy_on_done [12]
proxy_on_done [12]
collected once
\z/
--- shutdown_error_log eval
["proxy_on_done 3", qr/\[info\] \d+#\d+: unloaded wasm plugin$/]



=== TEST 8: each loaded plugin counts its contexts on its own
--- lua
    for i = 1, 2 do
        do
            local plugin = load()
            for j = 1, 2 do
                wasm.on_configure(plugin, '{"body":512}')
            end
        end
        collectgarbage()
    end
--- grep_error_log eval: qr/proxy_on_(?:configure|done) \d+|unloaded wasm plugin/
--- grep_error_log_out eval
qr/\A(?:proxy_on_configure 1
proxy_on_configure 2
proxy_on_done [12]
proxy_on_done [12]
unloaded wasm plugin
){2}\z/



=== TEST 9: a context ends even when its on_done returns false
--- lua
    package.loaded.ctx = assert(wasm.on_configure(load(), 'done-false'))
--- no_error_log
[error]
--- shutdown_error_log eval
[
    qr/\[error\] \d+#\d+: failed to mark context 1 as done, rc: 0$/,
    qr/\[info\] \d+#\d+: free plugin context 1$/,
    "unloaded wasm plugin",
]



=== TEST 10: an empty configuration is refused
--- lua
    local ctx, err = wasm.on_configure(load(), '')
    ngx.say(ctx, " ", err)
--- response_body
nil bad conf
