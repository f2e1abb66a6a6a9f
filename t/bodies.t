# Plugins replace request and response bodies.

use t::WASM 'no_plan';

# --- script is the configuration of `script`. --- request_parts is a Lua list of what the request body callback gets,
# default the whole body; the location then proxies to a server that answers with the length and the body that it got.
# --- response_parts is a Lua list of what the content phase writes instead. --- response_headers_lua runs before that.
add_block_preprocessor(sub {
    my ($block) = @_;
    my ($script, $parts, $answer, $before) = map { (delete $block->{$_} // [])->[0] }
        qw(script request_parts response_parts response_headers_lua);
    return unless defined $script;
    $before //= '';
    my $content = $answer ? <<"_EOC_" : "proxy_pass http://127.0.0.1:\$server_port/upstream;";
        content_by_lua_block {
            $before
            for _, part in ipairs($answer) do
                ngx.print(part)
            end
        }
_EOC_
    $parts //= 'get_body()';
    $block->set_value(http_config => ($block->http_config // '') . <<"_EOC_");
    init_worker_by_lua_block {
        wasm = require("resty.proxy-wasm")
        ctx = assert(wasm.on_configure(assert(wasm.load("plugin", "target/guests/script.wasm")), [[
$script
        ]]))
        function get_body()
            ngx.req.read_body()
            local file = ngx.req.get_body_file()
            return {file and io.open(file):read("*a") or ngx.req.get_body_data()}
        end
    }
_EOC_
    $block->set_value(config => ($block->config // '') . <<"_EOC_");
    location = /t {
        set \$wasm_process_resp_body '';
        access_by_lua_block {
            assert(wasm.on_http_request_headers(ctx))
            local parts = $parts
            for i, part in ipairs(parts) do
                assert(wasm.on_http_request_body(ctx, part, i == #parts))
            end
            if #parts == 0 then
                assert(wasm.on_http_request_body(ctx, nil, true))
            end
        }
        $content
        header_filter_by_lua_block { assert(wasm.on_http_response_headers(ctx)) }
        body_filter_by_lua_block { assert(wasm.on_http_response_body(ctx)) }
    }
    location = /upstream {
        content_by_lua_block {
            local body = get_body()[1]
            ngx.header.etag = '"tag"'
            ngx.header.content_length = #(body or "") + #(ngx.var.http_content_length or "none") + 1
            ngx.print(ngx.var.http_content_length or "none", " ", body)
        }
    }
_EOC_
});

run_tests();

__DATA__

=== TEST 1: a request body is replaced, and its length is right
--- script
request_body: set_body request 0 -1 "something else"
request_body: get_body request 0 -1
--- request
POST /t
body
--- response_body chomp
14 something else
--- error_log
get_body request 0 -1 -> OK something else



=== TEST 2: what is set before the start, behind the end and in the middle
--- script
request_body: set_body request 0 0 <
request_body: set_body request 2147483647 0 >
request_body: set_body request 2 2 --
request_body: set_body request 5 0 +
request_body: get_body request 0 -1
request_body: buffer_status request
--- request
POST /t
body
--- response_body chomp
7 <b--y+>
--- error_log
get_body request 0 -1 -> OK <b--y+>
buffer_status request -> OK 7 0



=== TEST 3: a body that is emptied
--- script
request_body: set_body request 0 -1 ""
request_body: get_body request 0 -1
--- request
POST /t
body
--- response_body_like: ^(?:0|none) $
--- error_log
get_body request 0 -1 -> NOT_FOUND



=== TEST 4: a request without a body is given one
--- script
request_body: args
request_body: set_body request 0 0 given
--- request
POST /t
--- more_headers
Content-Length: 0
--- response_body chomp
5 given
--- error_log
request_body 2: args -> OK 2 0 1



=== TEST 5: a body in a temporary file is replaced
--- http_config
    client_body_buffer_size 1k;
    client_body_in_file_only clean;
--- script
request_body: set_body request 3 -1 "..."
--- request eval
"POST /t\n" . "abc" x 20000
--- response_body chomp
6 abc...



=== TEST 6: a body that comes in parts is put together again
--- script
request_body: set_body request 1 0 -
--- request
POST /t
unused
--- request_parts: {"one", "two", "three"}
--- response_body chomp
14 o-net-wot-hree



=== TEST 7: parts that no plugin changes leave the request as it is
--- script
request_body: args
--- request
POST /t
the request's own
--- request_parts: {"one", "two"}
--- response_body chomp
17 the request's own



=== TEST 8: a response body is changed chunk by chunk
--- script
response_body: set_body response 0 0 [
response_body: set_body response 2147483647 0 ]
--- response_parts: {"one", "two"}
--- response_body chomp
[one][two][]



=== TEST 9: chunks that the plugin holds back come together
--- script
response_body: args
response_body: get_body response 0 -1
response_body: return 1
--- response_parts: {"one", "two", "three"}
--- response_body chomp
onetwothree
--- grep_error_log eval: qr/response_body 2: (?:args|get_body)[^,]+/
--- grep_error_log_out
response_body 2: args -> OK 2 3 0
response_body 2: get_body response 0 -1 -> OK one
response_body 2: args -> OK 2 6 0
response_body 2: get_body response 0 -1 -> OK onetwo
response_body 2: args -> OK 2 11 0
response_body 2: get_body response 0 -1 -> OK onetwothree
response_body 2: args -> OK 2 11 1
response_body 2: get_body response 0 -1 -> OK onetwothree



=== TEST 10: what was changed while it was held back stays changed
--- script
response_body: set_body response 0 0 x
response_body: return 1
--- response_parts: {"one", "two"}
--- response_body chomp
xxxonetwo



=== TEST 11: an empty response body is given content
--- script
response_body: set_body response 0 0 content
--- response_parts: {""}
--- response_body_like: ^(?:content)+$



=== TEST 12: a plugin that asks for the body by APISIX's variable and changes it removes the length
--- script
response_headers: set_property wasm_process_resp_body true
response_headers: remove_header response content-length
response_body: set_body response 2147483647 0 +
--- request
POST /t
body
--- response_headers
!Content-Length
!ETag
Transfer-Encoding: chunked
--- response_body_like: ^4 body\++$



=== TEST 13: the same when it has asked before the response
--- script
request_headers: set_property wasm_process_resp_body true
response_headers: remove_header response content-length
response_body: set_body response 2147483647 0 +
--- request
POST /t
body
--- response_headers
!Content-Length
--- response_body_like: ^4 body\++$



=== TEST 14: the length is dropped when the plugin removes it
--- script
response_headers: remove_header response content-length
response_body: set_body response 2147483647 0 +
--- request
POST /t
body
--- response_headers
!Content-Length
--- response_body_like: ^4 body\++$



=== TEST 15: of a body that a plugin makes longer than the client was told the rest is cut
--- script
response_body: set_body response 2147483647 0 +
--- request
POST /t
body
--- response_headers
Content-Length: 6
--- response_body chomp
4 body
--- error_log
the response body is cut: plugin "plugin" leaves more than the content-length 6 that the client was told



=== TEST 16: a change of the same length is made
--- script
response_body: set_body response 0 1 5
response_body: return 1
--- response_headers_lua: ngx.header.content_length = 6
--- response_parts: {"4 body"}
--- response_headers
Content-Length: 6
--- response_body chomp
5 body



=== TEST 17: a body that is held back keeps its length
--- script
response_body: return 1
--- response_headers_lua: ngx.header.content_length = 6
--- response_parts: {"one", "two"}
--- response_headers
Content-Length: 6
--- response_body chomp
onetwo



=== TEST 18: a body that a plugin makes shorter than the client was told ends with the connection, and is never the original
--- script
response_body: set_body response 0 3 ""
--- response_headers_lua: ngx.header.content_length = 7
--- response_parts: {"one", "four"}
--- ignore_response
--- error_log
the response is cut off: plugin "plugin" leaves 1 bytes of the response body, less than the content-length 7 that the client was told
--- no_error_log
[alert]



=== TEST 19: a body can't be changed outside of its callback, nor another buffer
--- script
request_headers: set_body request 0 0 x
request_body: set_body plugin_configuration 0 0 x
request_body: set_body 5 0 0 x
--- request
POST /t
body
--- response_body chomp
4 body
--- grep_error_log eval: qr/set_buffer_bytes: \w+ can't be changed/
--- grep_error_log_out
set_buffer_bytes: RequestBody can't be changed
set_buffer_bytes: PluginConfiguration can't be changed
set_buffer_bytes: GrpcMessage can't be changed
--- no_error_log
[alert]



=== TEST 20: a change is gone with the callback that made it
--- script
request_body: set_body request 0 -1 changed
response_headers: get_body request 0 -1
response_body: get_body request 0 -1
--- request
POST /t
body
--- response_body chomp
7 changed
--- error_log
response_headers 2: get_body request 0 -1 -> NOT_FOUND
response_body 2: get_body request 0 -1 -> OK 7 changed
