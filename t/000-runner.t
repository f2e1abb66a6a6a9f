# The test runner itself, on plain Lua: every section as the other files use it.
# That wrong expectations fail is the matter of t/lib/selftest.t.

use t::WASM 'no_plan';

repeat_each(2);
env_to_nginx('RUNNER_TEST=given value');

add_block_preprocessor(sub {
    my ($block) = @_;
    my $expected = delete $block->{expect_hello} or return;
    $block->set_value(config => 'location /t { return 200 "hello\n"; }');
    $block->set_value(response_body => $expected->[0]);
});

run_tests();

__DATA__

=== TEST 1: a request is GET /t, an answer 200
--- config
    location = /t {
        content_by_lua_block { ngx.say(ngx.req.get_method(), " ", ngx.var.http_host, " ", ngx.var.http_connection) }
    }
--- response_body
GET localhost close



=== TEST 2: a request with a body
--- config
    location = /t {
        content_by_lua_block {
            ngx.req.read_body()
            ngx.say(ngx.var.http_content_length, " ", ngx.req.get_body_data())
        }
    }
--- request
POST /t
two
lines
--- response_body
9 two
lines



=== TEST 3: HTTP/1.0 and the server's port
--- config
    location = /t {
        content_by_lua_block { ngx.print(ngx.req.http_version(), " ", ngx.var.server_port, " $TEST_NGINX_SERVER_PORT") }
    }
--- request
GET /t HTTP/1.0
--- response_headers
!Transfer-Encoding
Connection: close
--- response_body_like: ^1 (\d+) \1$



=== TEST 4: more headers, a status other than 200
--- config
    location = /t {
        content_by_lua_block {
            ngx.status = 403
            ngx.say(ngx.var.http_host, " ", ngx.var.http_x_one)
        }
    }
--- more_headers
Host: example.com
# a comment
X-One: a: b
--- error_code: 403
--- response_body
example.com a: b



=== TEST 5: several requests
--- config
    location /t {
        content_by_lua_block {
            if ngx.var.http_x then
                ngx.log(ngx.WARN, "asked")
                return ngx.say(ngx.var.uri, " ", ngx.var.http_x)
            end
            ngx.exit(404)
        }
    }
--- request eval
["GET /t/1", "HEAD /t/2", "GET /t/3"]
--- more_headers eval
["X: one", "X: two", "X: three"]
--- response_body eval
["/t/1 one\n", "", qr/3 three/]
--- response_headers eval
["Content-Type: text/plain", "Content-Type: text/plain", "!X"]
--- error_code eval
[200, 200, 200]
--- error_log
asked



=== TEST 6: pipelined requests
--- config
    location /t {
        content_by_lua_block { ngx.say(ngx.var.uri) }
    }
    location /length {
        return 201 "a known length";
    }
--- pipelined_requests eval
["GET /t/1", "GET /length", "GET /t/2"]
--- error_code eval
[200, 201, 200]
--- response_body eval
["/t/1\n", "a known length", "/t/2\n"]



=== TEST 7: a raw request, in packets
--- config
    location = /t {
        content_by_lua_block {
            ngx.req.read_body()
            ngx.say(ngx.req.get_body_data())
        }
    }
--- raw_request eval
["POST /t HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe", "llo\r\n0\r\n", "\r\n"]
--- raw_request_middle_delay: 0.01
--- response_body
hello



=== TEST 8: patterns for the response
--- config
    location = /t {
        content_by_lua_block {
            ngx.header["X-Many"] = {"one", "two"}
            ngx.header["X-Id"] = "id-1234"
            ngx.status = 204
            ngx.print("")
        }
    }
--- error_code_like: ^20[0-9]$
--- response_headers_like
X-Many: one, two
x-id: id-\d+
--- raw_response_headers_like chomp
X-Many: one\r\nX-Many: two\r\n
--- raw_response_headers_unlike: Powered
--- response_body_unlike: .



=== TEST 9: what the error log has and has not
--- config
    location = /t {
        content_by_lua_block {
            ngx.log(ngx.ERR, "first (", 1, ")")
            ngx.log(ngx.WARN, "second")
            ngx.say("ok")
        }
    }
--- response_body
ok
--- error_log eval
["first (1)", qr/\[warn\].*second, client/]
--- no_error_log
third



=== TEST 10: a line of the error log after the response
--- config
    location = /t {
        content_by_lua_block {
            assert(ngx.timer.at(0.1, function() ngx.log(ngx.WARN, "late line") end))
            ngx.say("ok")
        }
    }
--- wait: 0.15
--- error_log
late line



=== TEST 11: each run sees its own part of the error log
--- config
    location = /t {
        content_by_lua_block {
            local loaded = package.loaded
            loaded.runner_count = (loaded.runner_count or 0) + 1
            ngx.log(ngx.WARN, "item ", loaded.runner_count, ";")
            ngx.log(ngx.WARN, "item again;")
        }
    }
--- grep_error_log eval: qr/item \w+;/
--- grep_error_log_out eval
["item 1;\nitem again;\n", "item 2;\nitem again;\n"]



=== TEST 12: several runs, an expectation for each
--- config
    location = /t {
        content_by_lua_block { ngx.log(ngx.WARN, "plain text") }
    }
--- grep_error_log: plain text
--- grep_error_log_out
plain text



=== TEST 13: the error log of the shutdown
--- http_config
    exit_worker_by_lua_block { ngx.log(ngx.NOTICE, "worker says bye") }
--- config
    location = /t { return 204; }
--- error_code: 204
--- no_error_log
worker says bye
--- shutdown_error_log
worker says bye
--- no_shutdown_error_log
worker says hello



=== TEST 14: a level for the error log
--- log_level: error
--- config
    location = /t {
        content_by_lua_block {
            ngx.log(ngx.WARN, "a warning")
            ngx.log(ngx.ERR, "an error")
        }
    }
--- error_log
an error
--- no_error_log
a warning



=== TEST 15: a client that goes away
--- config
    lua_check_client_abort on;
    location = /t {
        content_by_lua_block {
            ngx.on_abort(function() ngx.log(ngx.WARN, "client is gone") ngx.exit(499) end)
            ngx.sleep(2)
        }
    }
--- timeout: 100ms
--- abort
--- ignore_response
--- wait: 0.1
--- error_log
client is gone



=== TEST 16: user files
--- config
    location = /t {
        content_by_lua_block {
            for _, name in ipairs({"one.txt", "deep/two.txt"}) do
                ngx.print(assert(io.open("$TEST_NGINX_HTML_DIR/" .. name)):read("*a"))
            end
        }
    }
--- user_files
>>> one.txt
first file
>>> deep/two.txt
second file
--- response_body
first file
second file



=== TEST 17: main and http configuration
--- main_config
    env RUNNER_MAIN=main;
--- http_config
    map $host $answer { default "http"; }
--- config
    location = /t {
        content_by_lua_block { ngx.say(os.getenv("RUNNER_MAIN"), " ", ngx.var.answer, " ", os.getenv("RUNNER_TEST")) }
    }
--- response_body
main http given value



=== TEST 18: nginx must refuse to start
--- http_config
    init_by_lua_block { error("not today") }
--- config
    location = /t { return 204; }
--- must_die
--- error_log
not today



=== TEST 19: nginx must refuse to start, with an exit code
--- config
    no_such_directive;
--- must_die: 1
--- error_log
unknown directive "no_such_directive"



=== TEST 20: a skipped block
--- SKIP
--- config
    location = /t { return 500; }



=== TEST 21: skipped by a condition
--- skip_eval: 1: 6 * 7 == 42
--- config
    location = /t { return 500; }



=== TEST 22: skipped by nginx's version
--- skip_nginx: 1: > 1.0.0: too new
--- config
    location = /t { return 500; }



=== TEST 23: not skipped
--- skip_eval: 1: 0
--- skip_nginx: 1: < 1.0.0
--- config
    location = /t { return 204; }
--- error_code: 204



=== TEST 24: a preprocessor of this file
--- expect_hello
hello



=== TEST 25: the backend logs what it is asked
--- config
    location = /t {
        proxy_pass http://127.0.0.1:1980/a/b?body=answer;
        proxy_set_header Host $host:1980;
        proxy_set_header Connection "";
    }
--- request
POST /t
payload
--- more_headers
X-Path: /a/b
--- response_body chomp
answer
--- grep_error_log eval: qr/hit with .*?(?=, client)/
--- grep_error_log_out
hit with [POST http://localhost/a/b?body=answer]
hit with headers {"content-length":"7","host":"localhost:1980","x-path":"/a/b"}
hit with body payload



=== TEST 26: the backend's repeated headers and pause
--- config
    location = /t/repeated { proxy_pass http://127.0.0.1:1980/repeated_headers; }
    location = /t/sleep { proxy_pass http://127.0.0.1:1980/sleep; }
    location = /t/time {
        content_by_lua_block {
            ngx.update_time()
            local start = ngx.now()
            ngx.location.capture("/t/sleep")
            ngx.update_time()
            ngx.say(ngx.now() - start >= 0.9)
        }
    }
--- request eval
["GET /t/repeated", "GET /t/time"]
--- response_headers eval
["foo: bar, baz", "!foo"]
--- response_body eval
["hello", "true\n"]



=== TEST 27: a worker that dies where that is expected
--- config
    location = /t {
        content_by_lua_block {
            require("ffi").cdef("int kill(int pid, int sig);")
            require("ffi").C.kill(ngx.worker.pid(), 9)
        }
    }
--- ignore_response
--- error_log
exited on signal 9
--- no_error_log
[emerg]



=== TEST 28: Lua modules come from lib/
--- config
    location = /t {
        content_by_lua_block { ngx.print(package.path) }
    }
--- response_body_like: ^/.+/lib/\?\.lua;.*;



=== TEST 29: a later block after all of this
--- config
    location = /t { return 204; }
--- error_code: 204
