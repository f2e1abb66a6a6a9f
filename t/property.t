# Properties: nginx's variables, and what plugins set for one another. Attributes are in attributes.t.

use t::WASM 'no_plan';

# --- script is the configuration of `script` and runs in the access phase, then the content phase says `$for_test`.
# --- one and --- two are those of two plugins, which run one after the other in a request.
# --- grep_error_log_out is what the scripts logged.
add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(grep_error_log => qr/[gs]et_property .*?(?=, client| while |$)/) unless defined $block->grep_error_log;
    my ($one, $two) = (delete $block->{one}, delete $block->{two});
    $block->set_value(config => <<"_EOC_") if $one;
    location = /t {
        access_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            if not package.loaded.ctxs then
                local one = assert(wasm.load("one", "target/guests/script.wasm"))
                local two = assert(wasm.load("two", "target/guests/script.wasm"))
                package.loaded.ctxs = {assert(wasm.on_configure(one, [[
$one->[0]
                ]])), assert(wasm.on_configure(two, [[
$two->[0]
                ]]))}
            end
            for _, ctx in ipairs(package.loaded.ctxs) do
                assert(wasm.on_http_request_headers(ctx))
            end
        }
        content_by_lua_block { ngx.say("passed") }
        header_filter_by_lua_block {
            for _, ctx in ipairs(package.loaded.ctxs) do
                assert(require("resty.proxy-wasm").on_http_response_headers(ctx))
            end
        }
    }
_EOC_
    my $script = delete $block->{script} or return;
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
set_property host new_value -> OK
get_property host -> OK localhost
--- error_log eval
qr/\[error\] \d+#\d+: \*\d+ variable "host" not changeable, client/



=== TEST 5: a variable that the configuration lacks is kept for the request
--- script
request_headers: get_property other
request_headers: set_property other new_value
request_headers: get_property other
--- grep_error_log_out
get_property other -> NOT_FOUND
set_property other new_value -> OK
get_property other -> OK new_value



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



=== TEST 8: ngx.VAR is a variable
--- script
request_headers: get_property ngx\0scheme
request_headers: get_property ngx\0for_test
request_headers: set_property ngx\0for_test "new value"
request_headers: get_property ngx\0for_test
request_headers: get_property for_test
request_headers: get_property ngx\0missing
request_headers: get_property ngx\0
request_headers: get_property ngx
--- response_body
new value 9
--- grep_error_log_out
get_property ngx\0scheme -> OK http
get_property ngx\0for_test -> OK initial
set_property ngx\0for_test "new value" -> OK
get_property ngx\0for_test -> OK new value
get_property for_test -> OK new value
get_property ngx\0missing -> NOT_FOUND
get_property ngx\0 -> NOT_FOUND
get_property ngx -> NOT_FOUND



=== TEST 9: ngx.VAR that can't be set
--- script
request_headers: set_property ngx\0host new_value
request_headers: set_property ngx\0missing new_value
request_headers: get_property ngx\0host
request_headers: get_property ngx\0missing
--- grep_error_log_out
set_property ngx\0host new_value -> OK
set_property ngx\0missing new_value -> OK
get_property ngx\0host -> OK localhost
get_property ngx\0missing -> NOT_FOUND
--- error_log
variable "host" not changeable
variable "missing" not found for writing



=== TEST 10: what a plugin sets is there for later plugins and phases of the request, and for no other request
--- one
request_headers: get_property my\0key
request_headers: set_property my\0key one
request_headers: set_property MyKey \x00\xff
response_headers: set_property my\0key ""
--- two
request_headers: get_property my\0key
request_headers: get_property my
request_headers: get_property MyKey
request_headers: get_property mykey
response_headers: get_property my\0key
response_headers: set_property my\0key two
log: get_property my\0key
log: get_property MyKey
--- request eval
["GET /t", "GET /t"]
--- response_body eval
["passed\n", "passed\n"]
--- grep_error_log_out
get_property my\0key -> NOT_FOUND
set_property my\0key one -> OK
set_property MyKey \x00\xff -> OK
get_property my\0key -> OK one
get_property my -> NOT_FOUND
get_property MyKey -> OK \0\xff
get_property mykey -> NOT_FOUND
set_property my\0key "" -> OK
get_property my\0key -> OK
set_property my\0key two -> OK
get_property my\0key -> OK two
get_property MyKey -> OK \0\xff



=== TEST 11: proxy_on_log of the first plugin sees what the second set, and sets it for the second's
--- one
log: get_property my\0key
log: set_property my\0key late
--- two
request_headers: set_property my\0key two
log: get_property my\0key
--- grep_error_log_out
set_property my\0key two -> OK
get_property my\0key -> OK two
set_property my\0key late -> OK
get_property my\0key -> OK late



=== TEST 12: attributes can't be set
--- script
request_headers: set_property request\0path /other
request_headers: set_property request\0headers\0x-api other
request_headers: set_property plugin_name other
request_headers: set_property route_name other
request_headers: get_property request\0path
request_headers: get_property request\0headers\0x-api
request_headers: get_property plugin_name
request_headers: get_property route_name
--- grep_error_log_out
set_property request\0path /other -> OK
set_property request\0headers\0x-api other -> OK
set_property plugin_name other -> OK
set_property route_name other -> OK
get_property request\0path -> OK /t
get_property request\0headers\0x-api -> NOT_FOUND
get_property plugin_name -> OK plugin
get_property route_name -> NOT_FOUND
--- error_log
property request.path can't be set: it is an attribute
property request.headers.x-api can't be set: it is an attribute
property plugin_name can't be set: it is an attribute
property route_name can't be set: it is an attribute



=== TEST 13: paths that are near an attribute's
--- script
request_headers: set_property request\0paths 1
request_headers: set_property request 2
request_headers: set_property request.path 3
request_headers: set_property request\0headers_bytes\0x 4
request_headers: get_property request\0paths
request_headers: get_property request
request_headers: get_property request.path
request_headers: get_property request\0headers_bytes\0x
request_headers: get_property \0request\0path
request_headers: get_property ""
--- grep_error_log_out
set_property request\0paths 1 -> OK
set_property request 2 -> OK
set_property request.path 3 -> OK
set_property request\0headers_bytes\0x 4 -> OK
get_property request\0paths -> OK 1
get_property request -> OK GET /t HTTP/1.1
get_property request.path -> OK 3
get_property request\0headers_bytes\0x -> OK 4
get_property \0request\0path -> NOT_FOUND
get_property "" -> NOT_FOUND
--- error_log
variable "request" not changeable



=== TEST 14: a name of any length and with any text is kept
--- config
    location = /t {
        access_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local names = {("n"):rep(5000), [[host\" not changeable]], [[x\" not found for writing]], "%s%n"}
            local script = {}
            for n, name in ipairs(names) do
                script[#script + 1] = 'request_headers: set_property "' .. name .. '" value-' .. n
                script[#script + 1] = 'request_headers: get_property "' .. name .. '"'
            end
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            local ctx = assert(wasm.on_configure(plugin, table.concat(script, "\n")))
            assert(wasm.on_http_request_headers(ctx))
        }
        content_by_lua_block { ngx.say("passed") }
    }
--- grep_error_log eval: qr/-> OK value-\d/
--- grep_error_log_out
-> OK value-1
-> OK value-2
-> OK value-3
-> OK value-4



=== TEST 15: a request keeps 1 MiB of properties
--- config
    location = /t {
        access_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local large = ("v"):rep(700000)
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            local ctx = assert(wasm.on_configure(plugin, "request_headers: set_property one " .. large .. [[

                request_headers: set_property two ]] .. large .. [[

                request_headers: get_property two
                request_headers: set_property one small
                request_headers: set_property two ]] .. large .. [[

                request_headers: set_property two large
                request_headers: get_property one
                request_headers: get_property two
            ]]))
            assert(wasm.on_http_request_headers(ctx))
        }
        content_by_lua_block { ngx.say("passed") }
    }
--- log_level: error
--- ignore_response
--- grep_error_log eval: qr/property two of 700003 bytes is not kept: those of a request have 1048576 bytes in all/
--- grep_error_log_out
property two of 700003 bytes is not kept: those of a request have 1048576 bytes in all
--- error_log
is not kept



=== TEST 16: in a plugin context there is nothing to set, and only what the plugin was loaded with to get
--- script
configure: set_property my\0key one
configure: set_property for_test one
configure: get_property my\0key
configure: get_property scheme
configure: get_property request\0path
configure: get_property plugin_name
configure: get_property plugin_vm_id
--- grep_error_log_out
set_property my\0key one -> OK
set_property for_test one -> OK
get_property my\0key -> NOT_FOUND
get_property scheme -> NOT_FOUND
get_property request\0path -> NOT_FOUND
get_property plugin_name -> OK plugin
get_property plugin_vm_id -> OK plugin
--- error_log
proxy_set_property: there is no stream in a plugin context



=== TEST 17: a callback in log_by_lua* has the attributes, and nothing is kept any more
--- config
    location = /t {
        content_by_lua_block { ngx.say("passed") }
        log_by_lua_block {
            ngx.ctx.api_ctx = {route_id = "1"}
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            local ctx = assert(wasm.on_configure(plugin, [[
                request_headers: get_property request\0path
                request_headers: get_property route_name
                request_headers: set_property my\0key value
                request_headers: get_property my\0key
            ]]))
            assert(wasm.on_http_request_headers(ctx))
        }
    }
--- grep_error_log_out
get_property request\0path -> OK /t
get_property route_name -> OK 1
set_property my\0key value -> OK
get_property my\0key -> NOT_FOUND
--- error_log
property my.key is not kept: the request has ended
