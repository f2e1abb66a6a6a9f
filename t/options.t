# What load takes as its third argument.

use t::WASM 'no_plan';

# --- lua runs in the content phase, with wasm and load(OPTIONS, GUEST), which returns what wasm.load does.
add_block_preprocessor(sub {
    my ($block) = @_;
    my $lua = (delete $block->{lua} // return)->[0];
    $block->set_value(config => <<"_EOC_");
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local function load(options, guest)
                return wasm.load("plugin", "target/guests/" .. (guest or "script") .. ".wasm", options)
            end
$lua
        }
    }
_EOC_
});

run_tests();

__DATA__

=== TEST 1: wrong options are refused, and what is wrong is said
--- lua
    for _, options in ipairs({1, "vm_id", true, {vm_ids = "x"}, {1}, {vm_id = 1}, {vm_configuration = {}}, {escape_invalid_utf8 = "yes"},
                              {request_body = 1}, {response_body = "true"}, {shared_data_ttl = 0}, {shared_data_ttl = -1},
                              {shared_data_ttl = 0/0}, {shared_data_ttl = 1/0}, {shared_data_ttl = "1"}, {shared_data_limit = 0},
                              {shared_queue_limit = 0}, {metric_limit = 1.5}, {metrics_limit = 1}}) do
        local plugin, err = load(options)
        ngx.say(plugin, " ", err)
    end
--- response_body
nil bad options: a table expected, got number
nil bad options: a table expected, got string
nil bad options: a table expected, got boolean
nil bad options: there is no option vm_ids, did you mean vm_id?
nil bad options: there is no option 1
nil bad options: vm_id must be a string, got 1
nil bad options: vm_configuration must be a string, got a table
nil bad options: escape_invalid_utf8 must be a boolean, got yes
nil bad options: request_body must be a boolean, got 1
nil bad options: response_body must be a boolean, got true
nil bad options: shared_data_ttl must be a number of seconds, more than 0 and at most 10 years, got 0
nil bad options: shared_data_ttl must be a number of seconds, more than 0 and at most 10 years, got -1
nil bad options: shared_data_ttl must be a number of seconds, more than 0 and at most 10 years, got nan
nil bad options: shared_data_ttl must be a number of seconds, more than 0 and at most 10 years, got inf
nil bad options: shared_data_ttl must be a number of seconds, more than 0 and at most 10 years, got 1
nil bad options: shared_data_limit must be a number of bytes, at least 1, got 0
nil bad options: shared_queue_limit must be a number of bytes, at least 1, got 0
nil bad options: metric_limit must be a number of bytes, at least 1, got 1.5
nil bad options: there is no option metrics_limit, did you mean metric_limit?



=== TEST 2: no options, and empty ones
--- lua
    ngx.say(load(nil) ~= nil, load({}) ~= nil)
--- response_body
truetrue



=== TEST 3: proxy_on_vm_start is told the size of the VM configuration
--- lua
    assert(wasm.on_configure(assert(load({vm_configuration = "a\0b"}, "lifecycle")), "conf"))
    ngx.say("ok")
--- response_body
ok
--- error_log
vm_start 1 with 3 bytes



=== TEST 4: the VM configuration can be read in every callback
--- lua
    local ctx = assert(wasm.on_configure(assert(load({vm_configuration = "of the vm"})), [[
configure: get_body vm_configuration 0 100
request_headers: get_body vm_configuration 3 3
]]))
    assert(wasm.on_http_request_headers(ctx))
    ngx.say("ok")
--- response_body
ok
--- grep_error_log eval: qr/get_body .*?(?=, client|$)/
--- grep_error_log_out
get_body vm_configuration 0 100 -> OK of the vm
get_body vm_configuration 3 3 -> OK the



=== TEST 5: without a VM configuration there is none
--- lua
    assert(wasm.on_configure(assert(load()), "configure: get_body vm_configuration 0 100"))
    ngx.say("ok")
--- response_body
ok
--- error_log
get_body vm_configuration 0 100 -> NOT_FOUND



=== TEST 6: request_body and response_body ask APISIX for the bodies by its variables, at each request
--- config
    location = /t {
        set $wasm_process_req_body '';
        set $wasm_process_resp_body '';
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm", {request_body = true, response_body = true}))
            package.loaded.ctx = assert(wasm.on_configure(plugin, "request_headers: log info here"))
            for _ = 1, 2 do
                ngx.var.wasm_process_req_body = ""
                assert(wasm.on_http_request_headers(package.loaded.ctx))
                ngx.header["x-request"] = ngx.var.wasm_process_req_body
            end
            ngx.header.content_length = 3
            ngx.print("ok", ngx.var.wasm_process_resp_body, "\n")
        }
        header_filter_by_lua_block {
            assert(require("resty.proxy-wasm").on_http_response_headers(package.loaded.ctx))
            ngx.header["x-response"] = ngx.var.wasm_process_resp_body
        }
    }
--- response_headers
x-request: true
x-response: true
content-length: 3
--- response_body
ok



=== TEST 7: one of them alone
--- config
    location = /t {
        set $wasm_process_req_body '';
        set $wasm_process_resp_body '';
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm", {request_body = true}))
            local ctx = assert(wasm.on_configure(plugin, "request_headers: log info here"))
            assert(wasm.on_http_request_headers(ctx))
            ngx.say(ngx.var.wasm_process_req_body, " ", #ngx.var.wasm_process_resp_body)
        }
    }
--- response_body
true 0



=== TEST 8: where there are no such variables nothing happens
--- lua
    local ctx = assert(wasm.on_configure(assert(load({request_body = true, response_body = true})), "request_headers: log info here"))
    assert(wasm.on_http_request_headers(ctx))
    ngx.say("ok")
--- response_body
ok



=== TEST 9: in APISIX the options are what the plugin's entry has beside APISIX's own keys
--- lua
    local plugins = {
        {name = "other", file = "other.wasm", vm_configuration = "other"},
        {name = "plugin", file = "plugin.wasm", priority = 1, http_request_phase = "access", vm_configuration = "from config.yaml"},
    }
    package.loaded["apisix.core.config_local"] = {local_conf = function() return {wasm = {plugins = plugins}} end}
    assert(wasm.on_configure(assert(load(), "configure: get_body vm_configuration 0 100"), "configure: get_body vm_configuration 0 100"))
    assert(wasm.on_configure(assert(load({})), "configure: get_body vm_configuration 0 100"))
    plugins[2].vm_config = "misspelt"
    ngx.say(load())
    plugins[2] = nil
    ngx.say(load() ~= nil)
    for _, conf in ipairs({false, {}, {wasm = 1}, {wasm = {plugins = "x"}}, {plugin_attr = "x"}, {plugin_attr = {plugin = 1}}}) do
        package.loaded["apisix.core.config_local"].local_conf = function() return conf end
        ngx.say(load() ~= nil)
    end
    plugins[2] = {name = "plugin", file = "plugin.wasm", priority = 1, fail = "open"}
    local attributes = {other = {nonsense = 1}, plugin = {vm_configuration = "from plugin_attr", fail = "nonsense"}}
    package.loaded["apisix.core.config_local"].local_conf = function() return {wasm = {plugins = plugins}, plugin_attr = attributes} end
    assert(wasm.on_configure(assert(load()), "configure: get_body vm_configuration 0 100"))
    attributes.plugin.bodylimit = 1
    ngx.say(load())
    package.loaded["apisix.core.config_local"] = nil
--- response_body
nilbad options: there is no option vm_config
true
true
true
true
true
true
true
nilbad options: there is no option bodylimit, did you mean body_limit?
--- grep_error_log eval: qr/get_body .*?(?=, client|$)/
--- grep_error_log_out
get_body vm_configuration 0 100 -> OK from config.yaml
get_body vm_configuration 0 100 -> NOT_FOUND
get_body vm_configuration 0 100 -> OK from plugin_attr
