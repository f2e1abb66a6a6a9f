# What a plugin writes to the log arrives there: all of it, at its level, and never as anything else than a message.

use t::WASM 'no_plan';

# `--- conf` is the script of a plugin whose on_http_request_headers runs in /t. `require("logged")(SCRIPT)` runs a script and
# returns what the log has got.
my $logged = <<'_EOC_';
    init_by_lua_block {
        package.preload.logged = function()
            local wasm = require("resty.proxy-wasm")
            local plugin
            return function(script)
                plugin = plugin or assert(wasm.load("plugin", "target/guests/script.wasm"))
                local log = io.open("$TEST_NGINX_SERVER_ROOT/logs/error.log")
                log:seek("end")
                assert(wasm.on_http_request_headers(assert(wasm.on_configure(plugin, script))))
                local text = log:read("*a")
                log:close()
                return text
            end
        end
    }
_EOC_

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(http_config => $logged . ($block->http_config // ''));
    my ($conf, $location) = map { delete $block->{$_} } qw(conf location);
    return unless $conf;
    $block->set_value(config => <<"_EOC_");
    location = /t {
        @{[$location ? $location->[0] : '']}
        content_by_lua_block {
            require("logged")([==[\n$conf->[0]]==])
            ngx.print("ok")
        }
    }
_EOC_
    $block->set_value(response_body => 'ok');
});

run_tests();

__DATA__

=== TEST 1: what looks like a format is none
--- conf
request_headers: log info 100% of %s %n %d %V %Z %% end
--- error_log
100% of %s %n %d %V %Z %% end, client: 127.0.0.1



=== TEST 2: control characters are escaped, other bytes are kept: a message can't look like two, or command a terminal
--- config
    location = /t {
        content_by_lua_block {
            local text = require("logged")([[
                request_headers: log info one\ntwo\r\nthree\0four\x01\x1b[1m\x7f\ttab \xc2\x9b[1m \xc2\xa0 \xff\xfe five]])
            ngx.say(text:find([[one\ntwo\r\nthree\x00four\x01\x1b[1m\x7f]] .. "\ttab " .. [[\xc2\x9b[1m ]] .. "\194\160 \255\254 five, client", 1, true) ~= nil)
            ngx.say(text:gsub("\n%d", ""):find("[\n\r%z\27\127]%S") == nil)
        }
    }
--- response_body
true
true



=== TEST 3: an empty message is a line
--- conf
request_headers: log info
request_headers: log info behind it
--- error_log eval
[qr/\[info\] \d+#\d+: \*\d+ , client: 127\.0\.0\.1/, "behind it, client"]



=== TEST 4: long messages arrive whole, in several lines
--- config
    location = /t {
        content_by_lua_block {
            for _, size in ipairs({1, 1000, 1536, 1537, 2000, 2048, 4096, 5000, 100000}) do
                local text = require("logged")("request_headers: log info " .. ("Q"):rep(size) .. "<the end>")
                local _, count = text:gsub("Q", "")
                local lines, longest = 0, 0
                for line in text:gmatch("[^\n]+") do
                    lines = lines + (line:find("Q") and 1 or 0)
                    longest = math.max(longest, #line)
                end
                ngx.say(size, ": ", count == size, " ", text:find("<the end>, client", 1, true) ~= nil,
                        " ", lines == 1 or lines >= size / 1536, " ", longest <= 2048)
            end
        }
    }
--- response_body eval
CORE::join '', map { "$_: true true true true\n" } 1, 1000, 1536, 1537, 2000, 2048, 4096, 5000, 100000



=== TEST 5: each line of a long message has its time, level and request
--- config
    location = /t {
        content_by_lua_block {
            local text = require("logged")("request_headers: log warn " .. ("Q"):rep(5000))
            for line in text:gmatch("[^\n]*Q[^\n]*") do
                assert(line:find("^%d+/%d+/%d+ [%d:]+ %[warn%] [%d#]+: %*%d+ Q+, client: 127.0.0.1"), line)
            end
            ngx.print("ok")
        }
    }
--- response_body chomp
ok



=== TEST 6: a long message is not split inside of a character
--- config
    location = /t {
        content_by_lua_block {
            local text, count
            for _, character in ipairs({"\195\169", "\226\130\172", "\240\159\146\150"}) do
                text = require("logged")("request_headers: log info x" .. character:rep(2000))
                _, count = text:gsub(character, "")
                ngx.say(count)
            end
        }
    }
--- response_body
2000
2000
2000



=== TEST 7: bytes that are no text are not lost where a line is split
--- config
    location = /t {
        content_by_lua_block {
            local text = require("logged")("request_headers: log info " .. ("\\x80"):rep(5000) .. "<the end>")
            local _, count = text:gsub("\128", "")
            ngx.say(count, " ", text:find("<the end>", 1, true) ~= nil)
        }
    }
--- response_body
5000 true



=== TEST 8: the levels
--- log_level: debug
--- conf
request_headers: log trace at trace
request_headers: log debug at debug
request_headers: log info at info
request_headers: log warn at warn
request_headers: log error at error
request_headers: log critical at critical
request_headers: get_log_level
--- error_log eval
[qr/\[debug\].*at trace/, qr/\[debug\].*at debug/, qr/\[info\].*at info/, qr/\[warn\].*at warn/, qr/\[error\].*at error/,
 qr/\[emerg\].*at critical/, "get_log_level -> OK 0"]



=== TEST 9: a level that is not logged is not logged
--- log_level: warn
--- conf
request_headers: log trace at trace
request_headers: log debug at debug
request_headers: log info at info
request_headers: stdout at stdout
request_headers: log warn at warn
request_headers: log error at error
--- error_log
at warn
at error
--- no_error_log
at trace
at debug
at info
at stdout



=== TEST 10: get_log_level with error_log at info
--- log_level: info
--- conf
request_headers: get_log_level
--- error_log
get_log_level -> OK 2



=== TEST 11: get_log_level with error_log at notice: a message of this level is logged, one below is not
--- log_level: notice
--- conf
request_headers: scratch the least level
request_headers: call proxy_get_log_level $out
request_headers: call proxy_log $value $scratch $len
request_headers: scratch one below
request_headers: call proxy_log $value-1 $scratch $len
--- error_log eval
qr/\[warn\].*the least level/
--- no_error_log
one below



=== TEST 12: get_log_level with error_log at warn
--- log_level: warn
--- conf
request_headers: scratch the least level
request_headers: call proxy_get_log_level $out
request_headers: call proxy_log $value $scratch $len
request_headers: scratch one below
request_headers: call proxy_log $value-1 $scratch $len
--- error_log eval
qr/\[warn\].*the least level/
--- no_error_log
one below



=== TEST 13: get_log_level with error_log at error
--- log_level: error
--- conf
request_headers: scratch the least level
request_headers: call proxy_get_log_level $out
request_headers: call proxy_log $value $scratch $len
request_headers: scratch one below
request_headers: call proxy_log $value-1 $scratch $len
--- error_log eval
qr/\[error\].*the least level/
--- no_error_log
one below



=== TEST 14: get_log_level with error_log at crit
--- log_level: crit
--- conf
request_headers: scratch the least level
request_headers: call proxy_get_log_level $out
request_headers: call proxy_log $value $scratch $len
request_headers: scratch one below
request_headers: call proxy_log $value-1 $scratch $len
--- error_log eval
qr/\[emerg\].*the least level/
--- no_error_log
one below



=== TEST 15: a location has a level of its own
--- log_level: error
--- conf
configure: log info of the plugin
request_headers: get_log_level
--- location
        error_log $TEST_NGINX_SERVER_ROOT/logs/error.log info;
--- error_log
get_log_level -> OK 2
--- no_error_log
of the plugin



=== TEST 16: stdout and stderr are logged line by line, also when they are written in pieces
--- conf
request_headers: stdout "first "
request_headers: stderr "second "
request_headers: stdout "line\nthird line\nfo"
request_headers: stderr "line\n"
request_headers: stdout "urth line"
request_headers: stdout "\n\n100% %s\n"
--- error_log eval
[qr/\[info\].*: \*\d+ first line, client/, qr/\[info\].*: \*\d+ third line, client/, qr/\[error\].*: \*\d+ second line, client/,
 qr/\[info\].*: \*\d+ fourth line, client/, qr/\[info\].*: \*\d+ 100% %s, client/]



=== TEST 17: what has no line break is logged at the callback's end
--- conf
request_headers: stdout no break
request_headers: log info last message
--- grep_error_log eval: qr/no break(?=,)|last message(?=,)/
--- grep_error_log_out
last message
no break



=== TEST 18: what a plugin wrote before it trapped is logged
--- config
    location = /t {
        content_by_lua_block {
            local wasm = require("resty.proxy-wasm")
            local plugin = assert(wasm.load("plugin", "target/guests/script.wasm"))
            local ctx = assert(wasm.on_configure(plugin, [[
                request_headers: stdout a word
                request_headers: log info a message
                request_headers: panic with these words
            ]]))
            ngx.say(wasm.on_http_request_headers(ctx))
        }
    }
--- response_body
nilfailed to run proxy_on_http_request_headers
--- error_log eval
[qr/\[info\].*a word, client/, "a message, client", qr/\[error\].*panicked at/, "with these words"]



=== TEST 19: long lines on stderr arrive whole
--- log_level: error
--- config
    location = /t {
        content_by_lua_block {
            for _, size in ipairs({4095, 4096, 4097, 5000, 20000}) do
                for _, ending in ipairs({"\\n", ""}) do
                    local text = require("logged")("request_headers: stderr " .. ("Q"):rep(size) .. "<the end>" .. ending)
                    local _, count = text:gsub("Q", "")
                    ngx.say(size, ": ", count, " ", text:find("<the end>, client", 1, true) ~= nil)
                end
            end
        }
    }
--- response_body eval
CORE::join '', map { "$_: $_ true\n" x 2 } 4095, 4096, 4097, 5000, 20000
--- no_error_log
[alert]



=== TEST 20: a plugin context logs without a request
--- conf
configure: log warn in configure
configure: stdout on stdout
--- error_log eval
[qr/\[warn\] [\d#]+: in configure$/, qr/\[info\] [\d#]+: on stdout$/]



=== TEST 21: a level that the ABI does not know is an error's
--- conf
request_headers: log 6 at six
request_headers: log 99 at ninety-nine
request_headers: log -1 at minus one
--- error_log eval
[qr/\[error\].*at six/, qr/\[error\].*at ninety-nine/, qr/\[error\].*at minus one/]



=== TEST 22: what has no line break is logged where the callback's own context logs, whatever the effective one is
--- conf
request_headers: set_effective_context 1
request_headers: stdout no break
--- error_log eval
qr/no break, client/



=== TEST 23: control characters in what the host says of a guest's names are escaped as well
--- conf
request_headers: add_header request bad\nname\x1b[1m value
request_headers: replace_header request :sche\rme value
request_headers: set_property request\0path\nx value
request_headers: set_property hos\nt value
request_headers: call_foreign no\nsuch arguments
request_headers: http_call 127.0.0.1\n:1980 100 "" :method=GET :path=/ :authority=localhost
request_headers: define_metric counter na\nme
--- grep_error_log eval: qr/^(?!\d{4}\/).+|\x1b/m
--- grep_error_log_out
--- error_log eval
[qr/failed to set request header bad\\nname\\x1b\[1m: /, qr/define_metric counter na\\nme -> OK/]
--- no_error_log
[alert]
