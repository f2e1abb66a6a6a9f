# What a plugin reads of a request: nginx keeps some of it until the request ends.

use t::WASM 'no_plan';

# --- script is the configuration of a plugin that is run in all phases; `options` are those of load. /t answers what it has to.
add_block_preprocessor(sub {
    my ($block) = @_;
    my ($script, $options) = map { $_ ? $_->[0] : '' } map { delete $block->{$_} } qw(script options);
    $block->set_value(http_config => <<"_EOC_");
    init_by_lua_block {
        script = require("script")
        function of_request()
            local ctx = ngx.ctx.ctx or script.configure([==[
$script
]==], {$options})
            ngx.ctx.ctx = ctx
            return ctx
        end
    }
_EOC_
    $block->set_value(config => <<"_EOC_");
    location = /t {
        access_by_lua_block {
            local ok, err = script.wasm.on_http_request_headers(of_request())
            if not ok then
                ngx.log(ngx.ERR, err)
                return ngx.exit(503)
            end
        }
        header_filter_by_lua_block { script.wasm.on_http_response_headers(of_request()) }
        content_by_lua_block { ngx.say("passed") }
    }
_EOC_
    $block->set_value(response_body => "passed\n") unless defined $block->error_code;
});

run_tests();

__DATA__

=== TEST 1: a variable is evaluated once in a callback, until the plugin changes something
--- script
request_headers: get_property request_id
request_headers: get_property request_id
request_headers: add_header request x-added 1
request_headers: get_property request_id
request_headers: set_property of.plugin 1
request_headers: get_property request_id
response_headers: get_property request_id
--- grep_error_log eval: qr/get_property request_id -> OK \w{32}/
--- grep_error_log_out eval
qr/\A(get_property request_id -> OK \w{32}\n)\1(?!\1)(?:get_property request_id -> OK \w{32}\n){2,3}\z/
--- no_error_log
[error]



=== TEST 2: what nginx keeps for all readings of a request is limited
--- request eval
"GET /t?a=" . "x" x 900
--- script eval
"request_headers: get_property arg_a\nrequest_headers: get_property arg_a\n" x 3
. "request_headers: get_property arg_A\nresponse_headers: get_property arg_a\nresponse_headers: get_property arg_A\nresponse_headers: args"
--- options: pool_limit = 2800
--- grep_error_log eval: qr/get_property \w+ -> OK|plugin "plugin".* was stopped: .*?(?=, client|$)/
--- grep_error_log_out eval
"get_property arg_a -> OK\n" x 6 . "get_property arg_A -> OK\n" . "get_property arg_a -> OK\n"
. qq(plugin "plugin": proxy_on_response_headers was stopped: pool_limit allows 2800 bytes that are kept until the end of a request, the guest wants 3728\n)
--- no_error_log
[alert]



=== TEST 3: a guest that reads without end and changes something in between is stopped
--- request eval
"GET /t?a=" . "x" x 900
--- script eval
"request_headers: get_property arg_a\nrequest_headers: set_property of.plugin 1\n" x 30
--- options: pool_limit = 20000
--- error_code: 503
--- error_log
plugin "plugin": proxy_on_request_headers was stopped: pool_limit allows 20000 bytes that are kept until the end of a request, the guest wants
--- no_error_log
[alert]
