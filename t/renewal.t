# A plugin's file changes and is loaded again: contexts that live move over at their next use, streams in flight stay.

use t::WASM 'no_plan';

workers(1);

# `put(GUEST)` makes the file FILE one of the guests; `load()` loads it; `--- lua` runs in the content phase; `use(ctx)` is a
# request of its own with that context, whose answer is "true" or an error.
add_block_preprocessor(sub {
    my ($block) = @_;
    my ($lua) = map { $_ ? $_->[0] : '' } delete $block->{lua};
    $block->set_value(config => <<"_EOC_");
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local file = "$ENV{PWD}/t/servroot/plugin.wasm"
            local function put(guest) require("replace")(file, guest) end
            local function load(name, opts) return wasm.load(name or "plugin", file, opts) end
            local function use(ctx)
                package.loaded.ctx = ctx
                return (assert(require("client")("/use")))
            end
            local function collect() collectgarbage() collectgarbage() end
$lua
        }
    }
    location = /use { content_by_lua_block { ngx.print(require("resty.proxy-wasm").on_http_request_headers(package.loaded.ctx)) } }
_EOC_
});

run_tests();

__DATA__

=== TEST 1: a context moves to the newer version at its next use, with its configuration
--- lua
    put("script")
    local old = assert(load())
    local ctx = assert(wasm.on_configure(old, "request_headers: log info from the old"))
    ngx.say(use(ctx))
    put("lifecycle")
    local new = assert(load())
    ngx.say(use(ctx))
    ngx.say(use(ctx))
    old = nil
    collect()
    ngx.say(#wasm.status())
--- response_body
true
true
true
1
--- grep_error_log eval: qr/(?<=\d )from the old(?=,)|goes on as \d of a newer version|create plugin context \d|free plugin context \d|unloaded wasm plugin/
--- grep_error_log_out eval
qr/\Acreate plugin context 1
from the old
create plugin context 1
goes on as 1 of a newer version
free plugin context 1
unloaded wasm plugin
\z/
--- no_error_log
[error]



=== TEST 2: the same bytes again are no newer version
--- lua
    put("script")
    local old = assert(load())
    local ctx = assert(wasm.on_configure(old, "request_headers: args"))
    local again = assert(load())
    ngx.say(use(ctx))
    local statuses = wasm.status()
    ngx.say(statuses[1].plugin_contexts, " ", statuses[2].plugin_contexts)
--- response_body
true
1 0
--- no_error_log
newer version
[error]



=== TEST 3: a version that can't be loaded leaves the old one in service
--- lua
    put("script")
    local old = assert(load())
    local ctx = assert(wasm.on_configure(old, "request_headers: args"))
    put("start-traps")
    ngx.say(load())
    ngx.say(use(ctx))
--- response_body
nilfailed to load wasm plugin
true
--- no_error_log
newer version
[alert]
--- error_log
failed to call function



=== TEST 4: a version that refuses the configuration is asked once, and the old one stays
--- lua
    put("script")
    local old = assert(load())
    local ctx = assert(wasm.on_configure(old, "request_headers: log info from the old"))
    put("configure-false")
    local new = assert(load())
    ngx.say(use(ctx), use(ctx), use(ctx))
--- response_body
truetruetrue
--- grep_error_log eval: qr/(?<=\d )from the old(?=,)|the guest refused: the newer version of its plugin is not used for it, the old one goes on/
--- grep_error_log_out
the guest refused: the newer version of its plugin is not used for it, the old one goes on
from the old
from the old
from the old
--- no_error_log
[alert]



=== TEST 5: a stream in flight ends on the version that it began on
--- lua
    put("script")
    local old = assert(load())
    local ctx = assert(wasm.on_configure(old, "request_headers: log info first\nrequest_body: log info second\ndelete: log info end"))
    assert(wasm.on_http_request_headers(ctx))
    put("lifecycle")
    local new = assert(load())
    ngx.say(use(ctx))
    assert(wasm.on_http_request_body(ctx, "body", true))
--- response_body
true
--- grep_error_log eval: qr/(?<=\d )(?:first|second|end)(?=,)|goes on as \d of a newer version|free plugin context \d/
--- grep_error_log_out
first
goes on as 1 of a newer version
second
end
free plugin context 1
--- no_error_log
[error]



=== TEST 6: another name, or another file, is another plugin
--- lua
    put("script")
    local one = assert(load("one"))
    local ctx = assert(wasm.on_configure(one, "request_headers: args"))
    put("lifecycle")
    local two = assert(load("two"))
    ngx.say(use(ctx))
--- response_body
true
--- no_error_log
newer version
[error]



=== TEST 7: many contexts, and versions that follow each other
--- lua
    put("script")
    local plugins = {assert(load())}
    local ctxs = {}
    for i = 1, 50 do ctxs[i] = assert(wasm.on_configure(plugins[1], "request_headers: args")) end
    for version = 1, 4 do
        put(version % 2 == 1 and "lifecycle" or "script")
        plugins[1] = assert(load())
        for i = version, 50, 3 do assert(use(ctxs[i]) == "true") end
        collect()
    end
    for i = 1, 50 do assert(use(ctxs[i]) == "true") end
    collect()
    local statuses = wasm.status()
    ngx.say(#statuses, " ", statuses[1].plugin_contexts, " ", statuses[1].stream_contexts)
    ctxs = nil
    package.loaded.ctx = nil
    collect()
    ngx.say(wasm.status()[1].plugin_contexts)
--- response_body
1 50 0
0
--- no_error_log
[error]



=== TEST 8: a version that has more than a module may have is refused, and the old one stays in service
--- lua
    put("script")
    local ctx = assert(wasm.on_configure(assert(load()), "request_headers: args"))
    -- A function with 50,001 locals.
    local to = assert(io.open(file, "wb"))
    to:write("\0asm\1\0\0\0\1\4\1\96\0\0\3\2\1\0\10\8\1\6\1\209\134\3\127\11")
    to:close()
    ngx.say(load())
    ngx.say(use(ctx))
    ngx.say(#wasm.status())
--- response_body
nilfailed to load wasm plugin
true
1
--- error_log
failed to new module: function 0 has 50001 locals, 50000 are allowed
--- no_error_log
[alert]
