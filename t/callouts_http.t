# HTTP/1.1 on the wire: what proxy_http_call sends, what its callback is told, and the connections.

use t::WASM 'no_plan';
use t::Servers;
use IO::Socket::INET;

workers(1);
start_servers();

my @servers = (start(tcp => 1986, \&mirror), start(udp => 1987, \&answer_names));
END {
    local $?;
    kill 'KILL', @servers;
    waitpid $_, 0 for @servers;
}

sub start {
    my ($protocol, $port, $serve) = @_;
    my @listen = $protocol eq 'tcp' ? (Listen => 5, ReuseAddr => 1) : ();
    my $socket = IO::Socket::INET->new(Proto => $protocol, LocalAddr => '127.0.0.1', LocalPort => $port, @listen)
        or die "port $port: $!\n";
    my $pid = fork // die "fork: $!\n";
    return $pid if $pid;
    @servers = ();
    $SIG{PIPE} = 'IGNORE';
    $serve->($socket);
}

# The answer's body is the request, byte for byte.
sub mirror {
    my ($listener) = @_;
    while (1) {
        my $socket = $listener->accept or next;
        my $request = '';
        1 while !is_whole($request) && sysread $socket, $request, 65536, length $request;
        my $head = sprintf "HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n", length $request;
        syswrite $socket, $head . $request;
    }
}

sub is_whole {
    my ($head, $body) = $_[0] =~ /\A(.*?)\r\n\r\n(.*)\z/s or return 0;
    return $body =~ /(?:\A|\r\n)0\r\n(?:.+\r\n)*\r\n\z/ if $head =~ /^transfer-encoding: chunked$/mi;
    return length $body >= ($head =~ /^content-length: (\d+)/mi ? $1 : 0);
}

# DNS: every name is 127.0.0.1, but those with a first label of seven letters do not exist.
sub answer_names {
    my ($socket) = @_;
    while (1) {
        my $from = recv $socket, my $query, 512, 0;
        my ($id, $question) = unpack 'a2 x10 a*', $query;
        my $exists = ord $question != 7;
        my $address = pack 'n n n N n C4', 0xc00c, 1, 1, 60, 4, 127, 0, 0, 1;
        my $head = $id . pack 'n5', $exists ? 0x8180 : 0x8183, 1, $exists, 0, 0;
        send $socket, $head . $question . ($exists ? $address : ''), 0, $from;
    }
}

my $pages = <<'_EOC_';
    server {
        listen 127.0.0.1:1985;
        client_max_body_size 30m;
        client_body_buffer_size 3m;

        location = /connection {
            content_by_lua_block { ngx.print("request ", ngx.var.connection_requests) }
        }
        location = /last {
            keepalive_timeout 0;
            content_by_lua_block { ngx.print("request ", ngx.var.connection_requests) }
        }
        location = /once {
            content_by_lua_block {
                if tonumber(ngx.var.connection_requests) > 1 then
                    ngx.log(ngx.WARN, "not twice")
                    return ngx.exit(444)
                end
                ngx.print("once")
            }
        }
        location = /size {
            content_by_lua_block {
                ngx.req.read_body()
                ngx.print(#(ngx.req.get_body_data() or ""), " bytes, ", ngx.var.http_content_length or "no length")
            }
        }
        location = /length {
            content_by_lua_block {
                local body = string.rep("x", ngx.var.arg_size - 3) .. "end"
                ngx.header.content_length = #body
                ngx.print(body)
            }
        }
        location = /chunked {
            content_by_lua_block {
                for _ = 1, ngx.var.arg_chunks do
                    ngx.print(string.rep("y", 1000))
                    ngx.flush(true)
                end
                ngx.print("end")
            }
        }
        location = /trailers {
            add_trailer x-one 1;
            add_trailer x-two 2;
            add_trailer x-two 3;
            content_by_lua_block { ngx.print("hello") }
        }
        location = /redirect { return 302 http://127.0.0.1:1980/; }
        location = /nothing { return 204; }
    }
_EOC_

# --- script is the configuration of `script`, whose callback for request headers runs in the content phase. --- told is what the
# answer's callbacks logged. With `upstream` the script is one call there, and its answer.
add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(http_config => $pages . $t::Servers::BACKENDS . ($block->http_config // ''));
    $block->set_value(response_body => 'ok');
    return if defined $block->config;
    my ($script, $told, $upstream, $options) = map { $_ ? $_->[0] : '' } map { delete $block->{$_} } qw(script told upstream options);
    if ($upstream) {
        my $timeout = $upstream =~ /silent|trickle/ ? 400 : 20000;
        $upstream = $t::Servers::GARBAGE{$upstream} // $upstream;
        $script = <<"_EOC_";
request_headers: http_call $upstream $timeout ""
call_response: args
call_response: get_header call_response :dispatch_status
call_response: get_headers call_response
call_response: get_body call_response 0 100
call_response: get_status
_EOC_
    }
    $script =~ s/\$RAW/$t::Servers::GARBAGE{raw}/g;
    s/\$TEST_NGINX_SOCKETS/$t::Servers::FOLDER/g for $script, $options;
    $block->set_value(config => <<"_EOC_");
    location = /t {
        content_by_lua_block {
            assert(require("run")([==[
$script
            ]==], nil, {$options}))
            ngx.print("ok")
        }
    }
_EOC_
    return if defined $block->grep_error_log;
    $block->set_value(grep_error_log => qr/(?<=call_response 1: ).*?(?=, client|$)/);
    $block->set_value(grep_error_log_out => $told);
});

run_tests();

__DATA__

=== TEST 1: a request as it is on the wire: names as the plugin spelled them; the connection is not its own
--- script
request_headers: http_call 127.0.0.1:1986 20000 "" :method=GET :path=/a?b=c X-First=1 second=2 X-FIRST=3 connection=close
call_response: get_body call_response 0 1000
--- told
get_body call_response 0 1000 -> OK GET /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:1986\r\nX-First: 1\r\nX-FIRST: 3\r\nsecond: 2\r\n\r\n



=== TEST 2: a body has its length, whatever the plugin says
--- script
request_headers: http_call 127.0.0.1:1986 20000 "x" :method=PUT :path=/ :authority=name.example.com content-length=5 transfer-encoding=chunked
call_response: get_body call_response 0 1000
--- told
get_body call_response 0 1000 -> OK PUT / HTTP/1.1\r\nhost: name.example.com\r\ncontent-length: 1\r\n\r\nx



=== TEST 3: no body, with a method that usually has one
--- script
request_headers: http_call 127.0.0.1:1986 20000 "" :method=POST :path=/
call_response: get_body call_response 0 1000
--- told
get_body call_response 0 1000 -> OK POST / HTTP/1.1\r\nhost: 127.0.0.1:1986\r\ncontent-length: 0\r\n\r\n



=== TEST 4: trailers
--- script
request_headers: http_call 127.0.0.1:1986 20000 "body" :method=POST :path=/ -- x-sum=1 x-other=2 x-sum=3
call_response: get_body call_response 0 1000
--- told
get_body call_response 0 1000 -> OK POST / HTTP/1.1\r\nhost: 127.0.0.1:1986\r\ntrailer: x-sum, x-other\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nx-sum: 1\r\nx-sum: 3\r\nx-other: 2\r\n\r\n



=== TEST 5: trailers without a body
--- script
request_headers: http_call 127.0.0.1:1986 20000 "" :method=POST :path=/ -- x-sum=1
call_response: get_body call_response 0 1000
--- told
get_body call_response 0 1000 -> OK POST / HTTP/1.1\r\nhost: 127.0.0.1:1986\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-sum: 1\r\n\r\n



=== TEST 6: a request body of 1 MiB
--- script
request_headers: grow 20
request_headers: scratch 127.0.0.1:1985\x02\x00\x00\x00\x07\x00\x00\x00\x04\x00\x00\x00\x05\x00\x00\x00\x05\x00\x00\x00:method\x00POST\x00:path\x00/size\x00
request_headers: call proxy_http_call $scratch 14 $scratch+14 45 $end-1048576 1048576 0 0 5000 $out
call_response: get_body call_response 0 100
--- told
get_body call_response 0 100 -> OK 1048576 bytes, 1048576



=== TEST 7: a response body with a length
--- script
request_headers: http_call 127.0.0.1:1985 20000 "" :path=/length?size=70000
call_response: args
call_response: get_header call_response content-length
call_response: get_body call_response 69995 100
--- told
args -> OK 1 0 6 70000 0
get_header call_response content-length -> OK 70000
get_body call_response 69995 100 -> OK xxend



=== TEST 8: a response body of 10 MiB
--- script
request_headers: http_call 127.0.0.1:1985 10000 "" :path=/length?size=10485760
call_response: args
call_response: get_body call_response 10485755 100
--- told
args -> OK 1 0 6 10485760 0
get_body call_response 10485755 100 -> OK xxend



=== TEST 9: many chunks
--- script
request_headers: http_call 127.0.0.1:1985 5000 "" :path=/chunked?chunks=300
call_response: args
call_response: get_header call_response transfer-encoding
call_response: get_body call_response 299998 100
--- told
args -> OK 1 0 6 300003 0
get_header call_response transfer-encoding -> OK chunked
get_body call_response 299998 100 -> OK yyend



=== TEST 10: a response body that ends with the connection
--- script
request_headers: http_call $RAW 20000 "HTTP/1.1 200 OK\r\nX-Name: Value\r\n\r\nto the end" :method=POST
call_response: args
call_response: get_headers call_response
call_response: get_body call_response 0 100
--- told
args -> OK 1 0 2 10 0
header :status: 200
header x-name: Value
get_headers call_response -> OK 2
get_body call_response 0 100 -> OK to the end



=== TEST 11: of HTTP/1.0
--- script
request_headers: http_call $RAW 20000 "HTTP/1.0 200 OK\r\n\r\nold" :method=POST
call_response: args
call_response: get_body call_response 0 100
--- told
args -> OK 1 0 1 3 0
get_body call_response 0 100 -> OK old



=== TEST 12: what comes before the response proper is passed over
--- script
request_headers: http_call $RAW 20000 "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok" :method=POST
call_response: args
call_response: get_header call_response :status
call_response: get_header call_response link
call_response: get_body call_response 0 100
--- told
args -> OK 1 0 2 2 0
get_header call_response :status -> OK 201
get_header call_response link -> NOT_FOUND
get_body call_response 0 100 -> OK ok



=== TEST 13: trailers of a response
--- script
request_headers: http_call $RAW 20000 "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-One: 1\r\nx-two: 2\r\nx-two: 3\r\n\r\n" :method=POST
call_response: args
call_response: get_headers call_trailers
call_response: get_header call_trailers X-TWO
call_response: get_header call_response x-one
call_response: headers_size call_trailers
--- told
args -> OK 1 0 2 5 3
header x-one: 1
header x-two: 2
header x-two: 3
get_headers call_trailers -> OK 3
get_header call_trailers X-TWO -> OK 2
get_header call_response x-one -> NOT_FOUND
headers_size call_trailers -> OK 52



=== TEST 14: trailers that nginx sends
--- script
request_headers: http_call 127.0.0.1:1985 20000 "" :path=/trailers te=trailers
call_response: args
call_response: get_headers call_trailers
--- told
args -> OK 1 0 6 5 3
header x-one: 1
header x-two: 2
header x-two: 3
get_headers call_trailers -> OK 3



=== TEST 15: the map of the answer's headers can't be changed
--- script
request_headers: http_call 127.0.0.1:1980 20000 ""
call_response: add_header call_response a b
call_response: remove_header call_response :status
call_response: get_header call_response a
call_response: get_header call_response :status
--- told
add_header call_response a b -> OK
remove_header call_response :status -> OK
get_header call_response a -> NOT_FOUND
get_header call_response :status -> OK 200
--- error_log
proxy_add_header_map_value
proxy_remove_header_map_value
--- no_error_log
[alert]



=== TEST 16: HEAD has no body, whatever length the answer tells
--- script
request_headers: http_call[a] 127.0.0.1:1985 20000 "" :method=HEAD :path=/length?size=70000
call_response[a]: args
call_response[a]: get_header call_response content-length
call_response[a]: set_effective_context $stream
call_response[a]: http_call[b] 127.0.0.1:1985 20000 "" :path=/connection
call_response[b]: get_body call_response 0 100
--- grep_error_log eval: qr/args -> .*|get_header .*|get_body .*?(?=, client|$)/
--- grep_error_log_out
args -> OK 1 0 6 0 0
get_header call_response content-length -> OK 70000
get_body call_response 0 100 -> OK request 2



=== TEST 17: 204 has none
--- script
request_headers: http_call[a] 127.0.0.1:1985 20000 "" :path=/nothing
call_response[a]: get_header call_response :status
call_response[a]: get_body call_response 0 100
call_response[a]: set_effective_context $stream
call_response[a]: http_call[b] 127.0.0.1:1985 20000 "" :path=/connection
call_response[b]: get_body call_response 0 100
--- grep_error_log eval: qr/get_header .*|get_body .*?(?=, client|$)/
--- grep_error_log_out
get_header call_response :status -> OK 204
get_body call_response 0 100 -> NOT_FOUND
get_body call_response 0 100 -> OK request 2



=== TEST 18: a redirect is the answer
--- script
request_headers: http_call 127.0.0.1:1985 20000 "" :path=/redirect
call_response: get_header call_response :status
call_response: get_header call_response location
--- told
get_header call_response :status -> OK 302
get_header call_response location -> OK http://127.0.0.1:1980/
--- no_error_log
hit with
[error]



=== TEST 19: a unix socket
--- script
request_headers: http_call unix:$TEST_NGINX_SOCKETS/http.sock 20000 "" :path=/?body=x
call_response: get_body call_response 0 100
--- options: callout_upstreams = {"unix:$TEST_NGINX_SOCKETS/http.sock"}
--- told
get_body call_response 0 100 -> OK x
--- error_log
hit with headers {"host":"localhost"}
--- no_error_log
[error]



=== TEST 20: an address of IPv6
--- skip_eval: 4: !$t::Servers::HAS_IPV6
--- script
request_headers: http_call [::1]:1980 20000 "" :path=/?body=x
call_response: get_body call_response 0 100
--- told
get_body call_response 0 100 -> OK x
--- error_log
hit with headers {"host":"[::1]:1980"}
--- no_error_log
[error]



=== TEST 21: names are looked up by the location's resolver
--- http_config
resolver 127.0.0.1:1987 ipv6=off;
--- script
request_headers: http_call[a] some.example.com:1980 20000 "" :path=/?body=x
call_response[a]: get_body call_response 0 100
call_response[a]: set_effective_context $stream
call_response[a]: http_call[b] unknown.example.com:1980 20000 ""
call_response[b]: get_header call_response :dispatch_status
call_response[b]: get_status
--- grep_error_log eval: qr/get_(?:body|header|status).*/
--- grep_error_log_out
get_body call_response 0 100 -> OK x
get_header call_response :dispatch_status -> OK resolver failure
get_status -> OK 11 unknown.example.com could not be resolved (3: Host not found)
--- error_log
hit with headers {"host":"some.example.com:1980"}
http call failed: unknown.example.com could not be resolved
--- no_error_log
[alert]



=== TEST 22: one connection is used again and again
--- script
request_headers: http_call[a] 127.0.0.1:1985 20000 "" :path=/connection
call_response[a]: get_body call_response 0 100
call_response[a]: set_effective_context $stream
call_response[a]: http_call[b] 127.0.0.1:1985 20000 "x" :path=/connection :method=POST
call_response[b]: get_body call_response 0 100
call_response[b]: set_effective_context $stream
call_response[b]: http_call[c] 127.0.0.1:1985 20000 "" :path=/connection
call_response[c]: get_body call_response 0 100
--- grep_error_log eval: qr/get_body .*?(?=, client|$)/
--- grep_error_log_out
get_body call_response 0 100 -> OK request 1
get_body call_response 0 100 -> OK request 2
get_body call_response 0 100 -> OK request 3



=== TEST 23: not when the server says that it was the last request
--- script
request_headers: http_call[a] 127.0.0.1:1985 20000 "" :path=/last
call_response[a]: get_body call_response 0 100
call_response[a]: set_effective_context $stream
call_response[a]: http_call[b] 127.0.0.1:1985 20000 "" :path=/last
call_response[b]: get_body call_response 0 100
--- grep_error_log eval: qr/get_body .*?(?=, client|$)/
--- grep_error_log_out
get_body call_response 0 100 -> OK request 1
get_body call_response 0 100 -> OK request 1



=== TEST 24: a kept connection that the server closes instead of an answer: again on a new one
--- script
request_headers: http_call[a] 127.0.0.1:1985 20000 "" :path=/once
call_response[a]: set_effective_context $stream
call_response[a]: http_call[b] 127.0.0.1:1985 20000 "" :path=/once
call_response[b]: get_body call_response 0 100
--- grep_error_log eval: qr/not twice|get_body .*?(?=, client|$)/
--- grep_error_log_out
not twice
get_body call_response 0 100 -> OK once



=== TEST 25: also when all connections that are kept are such
--- config
    location = /t {
        content_by_lua_block {
            local run = require("run")
            assert(run(string.rep('request_headers: http_call 127.0.0.1:1985 20000 "" :path=/once\n', 3)))
            assert(run('request_headers: http_call 127.0.0.1:1985 20000 "" :path=/once\ncall_response: get_body call_response 0 100'))
            ngx.print("ok")
        }
    }
--- grep_error_log eval: qr/not twice|get_body .*?(?=, client|$)/
--- grep_error_log_out
not twice
not twice
not twice
get_body call_response 0 100 -> OK once



=== TEST 26: but what might be done twice is not sent again
--- script
request_headers: http_call[a] 127.0.0.1:1985 20000 "" :path=/once
call_response[a]: set_effective_context $stream
call_response[a]: http_call[b] 127.0.0.1:1985 20000 "x" :method=POST :path=/once
call_response[b]: args
call_response[b]: get_status
--- grep_error_log eval: qr/not twice|(?<=\[b\] 1: ).*?(?=, client|$)/
--- grep_error_log_out
not twice
args -> OK 1 1 0 0 0
get_status -> OK 11 the peer closed the connection before the answer was complete
--- error_log
http call failed: the peer closed the connection before the answer was complete
--- no_error_log
[alert]



=== TEST 27: what can't be sent is refused
--- script
request_headers: http_call 127.0.0.1:1980 20000 "" :scheme=ftp
request_headers: http_call 127.0.0.1:1980 20000 "" :method="GET /"
request_headers: http_call 127.0.0.1:1980 20000 "" ":path=/a b"
request_headers: http_call 127.0.0.1:1980 20000 "" ":path=/a\r\nx: y"
request_headers: http_call 127.0.0.1:1980 20000 "" ":authority=a b"
request_headers: http_call 127.0.0.1:1980 20000 "" "a b=c"
request_headers: http_call 127.0.0.1:1980 20000 "" "a=b\r\nc: d"
request_headers: http_call 127.0.0.1:1980 20000 "" =c
request_headers: http_call 127.0.0.1:1980 20000 "" :other=c
request_headers: http_call 127.0.0.1:1980 20000 "" -- "a b=c"
request_headers: http_call 127.0.0.1:1980 20000 "" -- ":path=/"
--- grep_error_log eval: qr/-> .*?(?=, client|$)/
--- grep_error_log_out eval
"-> BAD_ARGUMENT\n" x 11
--- no_error_log
hit with
[alert]



=== TEST 28: refused: the callback runs once, and is told what happened
--- upstream: 127.0.0.1:1979
--- told
args -> OK 1 0 0 0 0
get_header call_response :dispatch_status -> OK broken connection
get_headers call_response -> OK 0
get_body call_response 0 100 -> NOT_FOUND
get_status -> OK 11 connection refused
--- error_log
http call failed: connection refused, uri: http://127.0.0.1:1979, client
--- no_error_log
[alert]



=== TEST 29: closed without an answer, or reset
--- upstream: closes
--- grep_error_log eval: qr/(?<=call_response 1: ).*/
--- grep_error_log_out eval
qr/\Aargs -> OK 1 0 0 0 0
get_header call_response :dispatch_status -> OK broken connection
get_headers call_response -> OK 0
get_body call_response 0 100 -> NOT_FOUND
get_status -> OK 11 (?:the peer closed the connection before the answer was complete|connection reset by peer|broken pipe)
\z/
--- error_log
http call failed:
--- no_error_log
[alert]



=== TEST 30: no answer in time
--- upstream: silent
--- told
args -> OK 1 0 0 0 0
get_header call_response :dispatch_status -> OK timeout
get_headers call_response -> OK 0
get_body call_response 0 100 -> NOT_FOUND
get_status -> OK 11 timeout
--- error_log
http call failed: timeout
--- no_error_log
[alert]



=== TEST 31: the time is for all of the answer, however often a part of it comes
--- upstream: trickle
--- told
args -> OK 1 0 0 0 0
get_header call_response :dispatch_status -> OK timeout
get_headers call_response -> OK 0
get_body call_response 0 100 -> NOT_FOUND
get_status -> OK 11 timeout
--- error_log
http call failed: timeout
--- no_error_log
[alert]



=== TEST 32: a name, and no resolver
--- upstream: some.example.com:80
--- told
args -> OK 1 0 0 0 0
get_header call_response :dispatch_status -> OK resolver failure
get_headers call_response -> OK 0
get_body call_response 0 100 -> NOT_FOUND
get_status -> OK 11 no resolver defined to resolve "some.example.com"
--- error_log
http call failed: no resolver defined
--- no_error_log
[alert]



=== TEST 33: no unix socket
--- upstream: unix:/nowhere/at/all
--- options: callout_upstreams = {"unix:/nowhere/at/all"}
--- told
args -> OK 1 0 0 0 0
get_header call_response :dispatch_status -> OK broken connection
get_headers call_response -> OK 0
get_body call_response 0 100 -> NOT_FOUND
get_status -> OK 11 no such file or directory
--- error_log
http call failed: no such file or directory, uri: http://unix:/nowhere/at/all
--- no_error_log
[alert]



=== TEST 34: an answer that is no HTTP
--- upstream: garbage
--- told
args -> OK 1 0 0 0 0
get_header call_response :dispatch_status -> OK reader failure
get_headers call_response -> OK 0
get_body call_response 0 100 -> NOT_FOUND
get_status -> OK 11 the answer is malformed: invalid HTTP version parsed
--- error_log
http call failed: the answer is malformed: invalid HTTP version parsed
--- no_error_log
[alert]



=== TEST 35: frames of HTTP/2
--- upstream: http2-garbage
--- told
args -> OK 1 0 0 0 0
get_header call_response :dispatch_status -> OK reader failure
get_headers call_response -> OK 0
get_body call_response 0 100 -> NOT_FOUND
get_status -> OK 11 the answer is malformed: invalid HTTP version parsed
--- error_log
http call failed: the answer is malformed: invalid HTTP version parsed
--- no_error_log
[alert]



=== TEST 36: a body that is shorter than its length; what came of it is gone
--- upstream: truncated
--- told
args -> OK 1 0 0 0 0
get_header call_response :dispatch_status -> OK broken connection
get_headers call_response -> OK 0
get_body call_response 0 100 -> NOT_FOUND
get_status -> OK 11 the peer closed the connection before the answer was complete
--- error_log
http call failed: the peer closed the connection before the answer was complete
--- no_error_log
[alert]



=== TEST 37: a chunk whose size is none
--- upstream: broken-chunks
--- told
args -> OK 1 0 0 0 0
get_header call_response :dispatch_status -> OK reader failure
get_headers call_response -> OK 0
get_body call_response 0 100 -> NOT_FOUND
get_status -> OK 11 the answer is malformed: error reading a body from connection: Invalid chunk size line: missing size digit
--- error_log
http call failed: the answer is malformed: error reading a body from connection: Invalid chunk size line: missing size digit
--- no_error_log
[alert]



=== TEST 38: a chunk that ends early
--- upstream: truncated-chunks
--- told
args -> OK 1 0 0 0 0
get_header call_response :dispatch_status -> OK broken connection
get_headers call_response -> OK 0
get_body call_response 0 100 -> NOT_FOUND
get_status -> OK 11 the peer closed the connection before the answer was complete
--- error_log
http call failed: the peer closed the connection before the answer was complete
--- no_error_log
[alert]



=== TEST 39: headers without end
--- upstream: endless-headers
--- told
args -> OK 1 0 0 0 0
get_header call_response :dispatch_status -> OK reader failure
get_headers call_response -> OK 0
get_body call_response 0 100 -> NOT_FOUND
get_status -> OK 11 the answer is malformed: message head is too large
--- error_log
http call failed: the answer is malformed: message head is too large
--- no_error_log
[alert]



=== TEST 40: a body without end
--- upstream: endless-body
--- options: callout_response_size = 100000
--- told
args -> OK 1 0 0 0 0
get_header call_response :dispatch_status -> OK reader failure
get_headers call_response -> OK 0
get_body call_response 0 100 -> NOT_FOUND
get_status -> OK 11 the response has more than 100000 bytes, which callout_response_size allows
--- error_log
http call failed: the response has more than 100000 bytes, which callout_response_size allows
--- no_error_log
[alert]



=== TEST 41: callout_response_size is the greatest size
--- options: callout_response_size = 70000
--- script
request_headers: http_call[a] 127.0.0.1:1985 20000 "" :path=/length?size=70000
call_response[a]: args
call_response[a]: set_effective_context $stream
call_response[a]: http_call[b] 127.0.0.1:1985 20000 "" :path=/length?size=70001
call_response[b]: args
--- grep_error_log eval: qr/args -> .*/
--- grep_error_log_out
args -> OK 1 0 6 70000 0
args -> OK 1 1 0 0 0
--- error_log
http call failed: the response has more than 70000 bytes
--- no_error_log
[alert]
