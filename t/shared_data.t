# Data that plugins share: in one worker and between workers, kept in lua_shared_dict.

use t::WASM 'no_plan';

workers(3);

# `--- script` is a configuration of `script`, run at once by one request. `require("run")(SCRIPT, VM_ID, OPTIONS)` does the same.
# `require("client")(URI)` is a request on a connection of its own; it returns the response's body.
# `--- options` are those of `--- script`. `--- in_master` is Lua code of init_by_lua; `--- dict` is the directive, by default `lua_shared_dict resty_wasm 1m;`.
add_block_preprocessor(sub {
    my ($block) = @_;
    my $dict = delete $block->{dict};
    $dict = $dict ? $dict->[0] : 'lua_shared_dict resty_wasm 1m; lua_shared_dict test 1m;';
    my $master = (delete $block->{in_master} // [''])->[0];
    $block->set_value(http_config => "$dict\ninit_by_lua_block {\n$master}\n" . ($block->http_config // ''));
    my $options = (delete $block->{options} // ['nil'])->[0];
    my $script = delete $block->{script} or return;
    $block->set_value(config => <<"_EOC_");
    location = /t { content_by_lua_block { assert(require("run")([[$script->[0]]], nil, $options)) } }
_EOC_
    $block->set_value(grep_error_log => qr/(?:\b\w+_shared .*?|\bcall proxy_\w+ .*?)(?=, client|$)/) unless defined $block->grep_error_log;
});

run_tests();

__DATA__

=== TEST 1: a value is set, read, changed by its cas, deleted
--- script
request_headers: get_shared key
request_headers: has_shared key
request_headers: set_shared key "a value\0\xff" 0
request_headers: get_shared key
request_headers: has_shared key
request_headers: set_shared key second $cas
request_headers: set_shared key third $cas
request_headers: get_shared key
request_headers: set_shared key fourth 0
request_headers: get_shared key
request_headers: delete_shared key 0
request_headers: get_shared key
request_headers: delete_shared key 0
--- grep_error_log_out
get_shared key -> NOT_FOUND
has_shared key -> NOT_FOUND
set_shared key "a value\0\xff" 0 -> OK
get_shared key -> OK a value\0\xff
has_shared key -> OK
set_shared key second $cas -> OK
set_shared key third $cas -> CAS_MISMATCH
get_shared key -> OK second
set_shared key fourth 0 -> OK
get_shared key -> OK fourth
delete_shared key 0 -> OK
get_shared key -> NOT_FOUND
delete_shared key 0 -> OK



=== TEST 2: a key that is deleted and set again has another cas; a missing one takes any
--- script
request_headers: set_shared key one 4711
request_headers: get_shared key
request_headers: delete_shared key $cas+1
request_headers: delete_shared key $cas
request_headers: set_shared key one 0
request_headers: set_shared key late $cas
request_headers: get_shared key
--- grep_error_log_out
set_shared key one 4711 -> OK
get_shared key -> OK one
delete_shared key $cas+1 -> CAS_MISMATCH
delete_shared key $cas -> OK
set_shared key one 0 -> OK
set_shared key late $cas -> CAS_MISMATCH
get_shared key -> OK one



=== TEST 3: an empty value is one, also under the empty key
--- script
configure: set_shared "" "" 0
request_headers: has_shared ""
request_headers: get_shared ""
request_headers: call proxy_get_shared_data 0 0 $out $out2 $out3
request_headers: delete_shared "" $cas
request_headers: has_shared ""
--- grep_error_log_out
set_shared "" "" 0 -> OK
has_shared "" -> OK
get_shared "" -> OK
call proxy_get_shared_data 0 0 $out $out2 $out3 -> OK
delete_shared "" $cas -> OK
has_shared "" -> NOT_FOUND



=== TEST 4: plugins share by vm_id, which is the plugin's name unless they are loaded with another
--- config
    location = /t {
        content_by_lua_block {
            local run = require("run")
            assert(run("request_headers: set_shared key of-plugin 0"))
            assert(run("request_headers: set_shared key of-other 0", "other"))
            assert(run("request_headers: get_shared key", "plugin"))
            assert(run("request_headers: get_shared key", "other"))
            assert(run("request_headers: get_shared key", "third"))
        }
    }
--- grep_error_log eval: qr/get_shared key -> [\w -]+/
--- grep_error_log_out
get_shared key -> OK of-plugin
get_shared key -> OK of-other
get_shared key -> NOT_FOUND



=== TEST 5: what does not fit is logged and answered with OK
--- dict
lua_shared_dict resty_wasm 64k;
--- options
{shared_data_limit = 1000000}
--- script
configure: scratch x
request_headers: set_shared key small 0
request_headers: call proxy_set_shared_data $scratch 1 0 500000 0
request_headers: call proxy_set_shared_data 0 65530 0 1 0
request_headers: call proxy_get_shared_data 0 65530 $out $out2 $out3
request_headers: get_shared key
--- grep_error_log_out
set_shared key small 0 -> OK
call proxy_set_shared_data $scratch 1 0 500000 0 -> OK
call proxy_set_shared_data 0 65530 0 1 0 -> OK
call proxy_get_shared_data 0 65530 $out $out2 $out3 -> NOT_FOUND
get_shared key -> NOT_FOUND
--- error_log eval
[qr/\[error\].*proxy_set_shared_data: "x" is not set to a value of 500000 bytes: there is no room for it/,
 qr/\[error\].*proxy_set_shared_data: ".*" is not set to a value of 1 bytes: its key must have 1 to 65535 bytes, but has 65549/]



=== TEST 6: pointers outside of the memory trap
--- config
    location = /t {
        content_by_lua_block {
            local run = require("run")
            for _, call in ipairs({
                "proxy_set_shared_data $end 1 0 0 0", "proxy_set_shared_data 0 1 -1 2 0", "proxy_get_shared_data -1 1 $out $out2 $out3",
            }) do
                ngx.say(run("request_headers: call " .. call))
            end
            assert(run("request_headers: set_shared key value 0"))
            ngx.say(run("request_headers: scratch key\nrequest_headers: call proxy_get_shared_data $scratch $len $out $out2 $end"))
            ngx.say(run("request_headers: scratch key\nrequest_headers: call proxy_get_shared_data $scratch $len $end $out2 $out3"))
            assert(run("request_headers: get_shared key"))
        }
    }
--- response_body
nilfailed to run proxy_on_http_request_headers
nilfailed to run proxy_on_http_request_headers
nilfailed to run proxy_on_http_request_headers
nilfailed to run proxy_on_http_request_headers
nilfailed to run proxy_on_http_request_headers
--- error_log
get_shared key -> OK value



=== TEST 7: a value is forgotten after the time that the plugin was loaded with
--- config
    location = /t {
        content_by_lua_block {
            local run, options = require("run"), {shared_data_ttl = 0.2}
            assert(run("request_headers: set_shared key value 0\nrequest_headers: get_shared key", "vm", options))
            local count = 0
            for _, key in ipairs(ngx.shared.resty_wasm:get_keys(0)) do
                count = count + (key:find("data:", 1, true) == 1 and 1 or 0)
            end
            ngx.say(count)
            local deadline = ngx.now() + 20
            repeat
                ngx.sleep(0.02)
                assert(run("request_headers: get_shared key", "vm", options))
                local log = io.open("$TEST_NGINX_SERVER_ROOT/logs/error.log"):read("*a")
            until log:find("get_shared key -> NOT_FOUND", 1, true) or ngx.now() > deadline
        }
    }
--- timeout: 30
--- response_body
1
--- error_log
get_shared key -> OK value
get_shared key -> NOT_FOUND



=== TEST 8: without the dict data is shared in the worker, and the log says once which directive is missing
--- dict
lua_shared_dict test 1m;
--- script
configure: set_shared key value 0
request_headers: get_shared key
request_headers: set_shared key other $cas
request_headers: set_shared key late $cas
request_headers: get_shared key
--- grep_error_log eval: qr/get_shared .*?(?=, client|$)|kept for each worker alone: .*/
--- grep_error_log_out
kept for each worker alone: the http block lacks "lua_shared_dict resty_wasm 10m;"
get_shared key -> OK value
get_shared key -> OK other



=== TEST 9: a lock that a worker left behind holds the others up no longer than it lasts
--- config
    location = /t {
        content_by_lua_block {
            assert(ngx.shared.resty_wasm:add("lock:data:6:plugin:key", "1", 0.3))
            assert(require("run")("request_headers: set_shared key value 0\nrequest_headers: get_shared key"))
            ngx.print("waited")
        }
    }
--- timeout: 30
--- response_body chomp
waited
--- error_log
set_shared key value 0 -> OK
get_shared key -> OK value



=== TEST 10: increments by cas in several workers lose none
--- http_config
    init_worker_by_lua_block {
        assert(ngx.timer.at(0, function()
            local wasm, test = require("resty.proxy-wasm"), ngx.shared.test
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            local ctx = assert(wasm.on_configure(plugin, "request_headers: increment_shared count 100"))
            test:incr("ready", 1, 0)
            repeat ngx.sleep(0.001) until test:get("go")
            for _ = 1, 30 do
                assert(wasm.on_http_request_headers(ctx))
                ngx.sleep(0)
            end
            test:incr("complete", 1, 0)
        end))
    }
--- config
    location = /t {
        content_by_lua_block {
            local test = ngx.shared.test
            assert(require("run")("request_headers: set_shared count 0 0"))
            repeat ngx.sleep(0.001) until test:get("ready") == 3
            test:set("go", true)
            repeat ngx.sleep(0.001) until test:get("complete") == 3
            assert(require("run")("request_headers: get_shared count"))
        }
    }
--- timeout: 60
--- error_log
get_shared count -> OK 9000



=== TEST 11: none is lost either when workers are killed in between
--- http_config
    init_worker_by_lua_block {
        assert(ngx.timer.at(0, function()
            local wasm, test, pid = require("resty.proxy-wasm"), ngx.shared.test, ngx.worker.pid()
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            local ctx = assert(wasm.on_configure(plugin, "request_headers: increment_shared count 1"))
            test:rpush("pids", pid)
            repeat ngx.sleep(0.001) until test:get("go")
            while not test:get("enough") do
                for _ = 1, 50 do
                    assert(wasm.on_http_request_headers(ctx))
                    test:incr("finished", 1, 0)
                end
                ngx.sleep(0)
            end
            test:incr("complete", 1, 0)
        end))
    }
--- config
    location = /t {
        content_by_lua_block {
            local test, own, killed = ngx.shared.test, ngx.worker.pid(), 0
            assert(require("run")("request_headers: set_shared count 0 0"))
            repeat ngx.sleep(0.001) until test:llen("pids") == 3
            test:set("finished", 0)
            test:set("go", true)
            while killed < 5 do
                local pid = test:lpop("pids")
                local at_least = test:get("finished") + 300
                repeat ngx.sleep(0.001) until test:get("finished") > at_least
                if pid and pid ~= own then
                    os.execute("kill -9 " .. pid)
                    killed = killed + 1
                end
            end
            test:set("enough", true)
            repeat ngx.sleep(0.001) until test:get("complete") == 3
            local finished = test:get("finished")
            assert(require("run")("request_headers: get_shared count"))
            local count = ngx.shared.resty_wasm:get("data:6:plugin:count")
            -- A worker that is killed may have counted once more than it could tell.
            ngx.print(finished <= tonumber(count) and tonumber(count) <= finished + killed)
        }
    }
--- timeout: 90
--- response_body chomp
true
--- error_log
exited on signal 9
--- no_error_log
[error]



=== TEST 12: what is shared survives a reload, also when the master has loaded the plugin
--- http_config
    init_worker_by_lua_block {
        local test = ngx.shared.test
        package.loaded.generation = test:get("generation") or 1
    }
--- config
    location = /run {
        content_by_lua_block {
            assert(require("run")("request_headers: get_shared key"))
            ngx.print(package.loaded.generation)
        }
    }
    location = /t {
        content_by_lua_block {
            local client = require("client")
            assert(require("run")("request_headers: set_shared key before 0"))
            require("reload")("/run")
            -- in a worker of the first generation, which is about to end
            assert(require("run")("request_headers: set_shared key after 0"))
            client("/run")
        }
    }
--- timeout: 60
--- error_log
get_shared key -> OK before
get_shared key -> OK after



=== TEST 13: what the master shares its workers see; those that start after a reload that failed, too
--- in_master
        local wasm = require("resty.proxy-wasm")
        local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
        package.loaded.ctx = assert(wasm.on_configure(plugin, [[
            configure: set_shared key "of the master" 0
            request_headers: get_shared key
        ]]))
        assert(not ngx.shared.test:get("fail"), "this configuration fails")
--- config
    location = /run {
        content_by_lua_block {
            assert(require("resty.proxy-wasm").on_http_request_headers(package.loaded.ctx))
            ngx.print(ngx.worker.pid())
        }
    }
    location = /t {
        content_by_lua_block {
            local client, own, before = require("client"), tostring(ngx.worker.pid()), {}
            local function other()
                local pid
                repeat pid = client("/run") until pid and pid ~= own and not before[pid]
                return pid
            end
            ngx.shared.test:set("fail", true)
            os.execute("kill -HUP $(cat $TEST_NGINX_SERVER_ROOT/logs/nginx.pid)")
            repeat
                ngx.sleep(0.001)
                local log = io.open("$TEST_NGINX_SERVER_ROOT/logs/error.log"):read("*a")
            until log:find("this configuration fails", 1, true)
            for _ = 1, 2 do
                local pid = other()
                before[pid] = true
                os.execute("kill -9 " .. pid)
            end
            other()
            ngx.print("respawned")
        }
    }
--- timeout: 60
--- response_body chomp
respawned
--- error_log
get_shared key -> OK of the master
this configuration fails
exited on signal 9
--- no_error_log
exited on signal 11
get_shared key -> NOT_FOUND



=== TEST 14: what plugins with one vm_id share is limited, and says so
--- options
{shared_data_limit = 256}
--- script
request_headers: set_shared key 0123456789 0
request_headers: set_shared other 0123456789 0
request_headers: set_shared key "too long to be set beside the other, because an entry has twice the size with it" 0
request_headers: get_shared key
request_headers: delete_shared other 0
request_headers: set_shared key "no longer too long when it is alone, although an entry has twice the size with it" 0
request_headers: get_shared key
--- grep_error_log_out
set_shared key 0123456789 0 -> OK
set_shared other 0123456789 0 -> OK
set_shared key "too long to be set beside the other, because an entry has twice the size with it" 0 -> OK
get_shared key -> OK 0123456789
delete_shared other 0 -> OK
set_shared key "no longer too long when it is alone, although an entry has twice the size with it" 0 -> OK
get_shared key -> OK no longer too long when it is alone, although an entry has twice the size with it
--- error_log eval
qr/\[error\].* plugin "plugin": proxy_on_request_headers: proxy_set_shared_data: "key" is not set to a value of 80 bytes: shared_data_limit allows 256 bytes, with it there would be 384,/



=== TEST 15: nobody may have more than a quarter of the dict unless it is said
--- dict
lua_shared_dict resty_wasm 64k;
--- script
configure: scratch x
request_headers: call proxy_set_shared_data $scratch 1 0 16000 0
request_headers: call proxy_set_shared_data $scratch 1 0 16384 0
--- grep_error_log_out
call proxy_set_shared_data $scratch 1 0 16000 0 -> OK
call proxy_set_shared_data $scratch 1 0 16384 0 -> OK
--- error_log eval
qr/"x" is not set to a value of 16384 bytes: shared_data_limit allows 16384 bytes, with it there would be 20480,/



=== TEST 16: what the dict has dropped makes room again
--- config
    location = /t {
        content_by_lua_block {
            local run, options = require("run"), {shared_data_limit = 128}
            assert(run("request_headers: set_shared first 0123456789 0", "vm", options))
            for _, key in ipairs(ngx.shared.resty_wasm:get_keys(0)) do
                if key:find("first", 1, true) then ngx.shared.resty_wasm:delete(key) end
            end
            assert(run("request_headers: set_shared second 0123456789 0\nrequest_headers: get_shared second", "vm", options))
        }
    }
--- error_log
get_shared second -> OK 0123456789



=== TEST 17: a plugin's small values, messages and metrics, each as many as it may have, leave what another shares where it is
--- config
    location = /t {
        content_by_lua_block {
            local run = require("run")
            local lines = {"request_headers: register_queue q"}
            for n = 1, 20 do run("request_headers: set_shared key" .. n .. " " .. ("v"):rep(5000) .. " 0", "victim") end
            for n = 1, 6000 do
                lines[#lines + 1] = "request_headers: set_shared " .. n .. " v 0"
                lines[#lines + 1] = "request_headers: enqueue $queue m"
                lines[#lines + 1] = "request_headers: define_metric counter n" .. n
            end
            assert(run(table.concat(lines, "\n"), "flood", {log_rate = 1000000}))
            for n = 1, 20 do assert(run("request_headers: has_shared key" .. n, "victim")) end
        }
    }
--- timeout: 60
--- grep_error_log eval: qr/has_shared key\d+ -> \w+/
--- grep_error_log_out eval
CORE::join "", map { "has_shared key$_ -> OK\n" } 1 .. 20
--- error_log
shared_data_limit allows 262144 bytes
shared_queue_limit allows 131072 bytes
metric_limit allows 65536 bytes
