# nginx's variables are the plugin's properties.

use t::WASM 'no_plan';

# --- script is the configuration of `script` and runs in the access phase, then the content phase says `$for_test`.
# --- grep_error_log_out is what the script logged.
add_block_preprocessor(sub {
    my ($block) = @_;
    my $script = delete $block->{script};
    $block->set_value(config => <<"_EOC_");
    location = /t {
        set \$for_test "initial";
        access_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            local ctx = assert(wasm.on_configure(plugin, [[
$script->[0]
            ]]))
            assert(wasm.on_http_request_headers(ctx))
        }
        content_by_lua_block {
            ngx.say(ngx.var.for_test, " ", #ngx.var.for_test)
        }
    }
_EOC_
    $block->set_value(grep_error_log => qr/[gs]et_property .*?(?=, client|$)/);
});

run_tests();

__DATA__

=== TEST 1: variables, and the name that the plugin was loaded by
--- script
request_headers: get_property plugin_root_id
request_headers: get_property scheme
request_headers: get_property host
request_headers: get_property uri
request_headers: get_property arg_test
request_headers: get_property request_uri
--- request
GET /t?test=yeah
--- grep_error_log_out
get_property plugin_root_id -> OK plugin
get_property scheme -> OK http
get_property host -> OK localhost
get_property uri -> OK /t
get_property arg_test -> OK yeah
get_property request_uri -> OK /t?test=yeah



=== TEST 2: a missing property is not found
--- script
request_headers: get_property does_not_exist
request_headers: get_property arg_test
--- grep_error_log_out
get_property does_not_exist -> NOT_FOUND
get_property arg_test -> NOT_FOUND



=== TEST 3: a variable of the configuration can be set
--- script
request_headers: get_property for_test
request_headers: set_property for_test new_value
request_headers: get_property for_test
--- response_body
new_value 9
--- grep_error_log_out
get_property for_test -> OK initial
set_property for_test new_value -> OK
get_property for_test -> OK new_value



=== TEST 4: a built-in variable can't be set
--- script
request_headers: set_property host new_value
request_headers: get_property host
--- grep_error_log_out
set_property host new_value -> INTERNAL_FAILURE
get_property host -> OK localhost
--- error_log eval
qr/\[error\] \d+#\d+: \*\d+ variable "host" not changeable, client/



=== TEST 5: a variable that the configuration lacks can't be set
--- script
request_headers: set_property other new_value
--- grep_error_log_out
set_property other new_value -> NOT_FOUND
--- error_log eval
qr/\[error\] \d+#\d+: \*\d+ variable "other" not found for writing; maybe it is a built-in variable/



=== TEST 6: the plugin's name is known before any request
--- script
configure: get_property plugin_root_id
stream_create: get_property plugin_root_id
--- grep_error_log_out
get_property plugin_root_id -> OK plugin
get_property plugin_root_id -> OK plugin



=== TEST 7: a path may end with NUL, as the C++ SDK gives it
--- script
request_headers: get_property plugin_root_id\0
request_headers: get_property scheme\0
request_headers: set_property for_test\0 set
--- response_body
set 3
--- grep_error_log_out
get_property plugin_root_id\0 -> OK plugin
get_property scheme\0 -> OK http
set_property for_test\0 set -> OK
