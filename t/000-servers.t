# The servers that tests of callouts talk to, seen by curl.

use t::WASM 'no_plan';
use t::Servers;
use Cwd qw(cwd);
use Test::Nginx::Bundled::Server;

my ($ca, $folder) = ("$t::Servers::TLS/ca.pem", $t::Servers::FOLDER);
my $headers = "$folder/headers";

# The answer, the headers and trailers, and curl's exit code.
sub curl {
    open my $output, '-|', 'curl', '-sg', '-m', 20, '-D', $headers, @_ or die "curl: $!\n";
    my $answer = do { local $/; <$output> } // '';
    close $output;
    my $status = $? >> 8;
    open my $file, '<', $headers;
    my $head = do { local $/; <$file> } // '';
    unlink $headers;
    return ($answer, $head =~ s/\r//gr, $status);
}

sub message { pack('CN', 0, length $_[0]) . $_[0] }

my @GRPC = ('--http2-prior-knowledge', '-H', 'content-type: application/grpc', '-H', 'te: trailers');

# What the method of test.Echo answers to one message.
sub call {
    my ($method, $message, @options) = @_;
    my $path = "$folder/request";
    open my $file, '>:raw', $path;
    print {$file} message($message);
    close $file;
    return curl(@GRPC, '--data-binary', "\@$path", @options, "http://$t::Servers::GRPC/test.Echo/$method");
}

sub messages_are {
    my ($method, $message, $expected, $status, $name) = @_;
    my ($answer, $head, $exit) = call($method, $message);
    is($answer, join('', map { message($_) } @$expected), "$name: messages");
    like($head, qr/^grpc-status: $status$/m, "$name: status");
    is($exit, 0, "$name: curl");
}

start_servers();
alarm 60;    # what hangs is wrong

messages_are('Unary', 'hello', ['hello'], 0, 'Unary');
messages_are('ClientStream', 'one', ['one'], 0, 'ClientStream');
messages_are('ServerStream', '3 some text', ['some text 0', 'some text 1', 'some text 2'], 0, 'ServerStream');
messages_are('Bidirectional', 'one', ['one'], 0, 'Bidirectional');
messages_are('Size', 200_000, ['x' x 200_000], 0, 'Size');
messages_are('Wait', '1 later', ['later'], 0, 'Wait');
messages_are('FailLater', '7 why', ['first'], 7, 'FailLater');
messages_are('Fail', '5 no such thing', [], 5, 'Fail');
messages_are('Fail', 'nothing', [], 3, 'a wrong message');
messages_are('None', '', [], 12, 'an unknown method');

my ($answer, $head, $exit) = call('Fail', '13 a b%');
like($head, qr/^grpc-message: a%20b%25$/m, "the status' text");
unlike($head, qr/^\n.*\n/ms, 'a failure has no trailers of its own');

($answer, $head) = call('Metadata', '', '-H', 'x-one: 1', '-H', 'y-two: 2', '-H', 'grpc-timeout: 7S');
is($answer, message('7S'), 'Metadata: grpc-timeout');
is(scalar(() = $head =~ /^x-one: 1$/mg), 2, 'Metadata: before and behind the message');
unlike($head, qr/y-two/, 'Metadata: x-* alone');

my ($first) = call('Connection', '');
my ($second) = call('Connection', '');
is(substr($second, 5) - substr($first, 5), 1, 'Connection: another one');

my %broken = (
    # method => [message, answer, curl's exit codes]
    NoStatus   => ['', message('first'), qr/^0$/],
    Truncated  => ['', pack('CN', 0, 10) . 'abc', qr/^0$/],
    Compressed => ['', pack('CN', 1, 5) . 'first', qr/^0$/],
    HttpStatus => [503, '', qr/^0$/],
);
for my $method (sort keys %broken) {
    my ($message, $expected, $code) = @{ $broken{$method} };
    ($answer, $head, $exit) = call($method, $message);
    is($answer, $expected, "$method: answer");
    like($exit, $code, "$method: curl");
    unlike($head, qr/grpc-status/, "$method: no status") unless $method =~ /Truncated|Compressed/;
}
like((call('HttpStatus', 503))[1], qr{^HTTP/2 503}, 'HttpStatus: status');

for my $method (qw(Never Silent)) {
    ($answer, $head, $exit) = call($method, '', '-m', 0.2);
    is($answer, $method eq 'Never' ? '' : message('first'), "$method: answer");
    is($exit, 28, "$method: curl gives up");
}

# HTTP/2 by hand: curl cannot wait between two messages, and does not show what came before a reset.
package Http2 {
    sub new {
        my ($class, $path) = @_;
        my $self = bless { socket => IO::Socket::IP->new($t::Servers::GRPC) || die "connect: $@\n" }, $class;
        my %request = (':method' => 'POST', ':path' => $path, ':scheme' => 'http', ':authority' => 'localhost',
            'content-type' => 'application/grpc', 'te' => 'trailers');
        syswrite $self->{socket}, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        $self->send(SETTINGS => 0, 0, '');
        $self->send(HEADERS => 4, 1, join '', map { pack 'x C/a C/a', $_, $request{$_} } sort keys %request);
        return $self;
    }

    my @TYPES = qw(DATA HEADERS PRIORITY RST_STREAM SETTINGS PUSH_PROMISE PING GOAWAY WINDOW_UPDATE);
    my %TYPE = map { $TYPES[$_] => $_ } 0 .. $#TYPES;

    sub send {
        my ($self, $type, $flags, $stream, $payload) = @_;
        syswrite $self->{socket}, substr(pack('N', length $payload), 1) . pack('CCN', $TYPE{$type}, $flags, $stream) . $payload;
    }

    sub bytes {
        my ($self, $size) = @_;
        my $bytes = '';
        while (length $bytes < $size) { sysread $self->{socket}, $bytes, $size - length $bytes, length $bytes or last }
        return $bytes;
    }

    # The next of these frames: type and payload; nothing at the end of the connection.
    sub next {
        my ($self, @wanted) = @_;
        while (length(my $head = $self->bytes(9)) == 9) {
            my ($type, $payload) = ($TYPES[unpack 'x3 C', $head], $self->bytes(unpack 'N', "\0$head"));
            return ($type, $payload) if grep { $_ eq $type } @wanted;
        }
        return;
    }
}

{
    my $stream = Http2->new('/test.Echo/Bidirectional');
    for my $text (qw(one two)) {
        $stream->send(DATA => 0, 1, message($text));
        is(($stream->next('DATA'))[1], message($text), "Bidirectional: $text comes back at once");
    }
}

# GOAWAY may come before, between or behind the others.
my %frames = (Die => 'HEADERS DATA', Reset => 'HEADERS DATA RST_STREAM', GoAway => 'HEADERS DATA HEADERS');
for my $method (sort keys %frames) {
    my $stream = Http2->new("/test.Echo/$method");
    $stream->send(DATA => 1, 1, message('first'));
    my @wanted = qw(HEADERS DATA RST_STREAM GOAWAY);
    my @frames = map { ($stream->next(@wanted))[0] // () } 1 .. ($method eq 'Reset' ? 3 : 4);
    is(join(' ', grep { $_ ne 'GOAWAY' } @frames), $frames{$method}, "$method: frames");
    is(scalar(grep { $_ eq 'GOAWAY' } @frames), $method eq 'GoAway' ? 1 : 0, "$method: GOAWAY");
}

like((call('Unary', 'x', '--unix-socket', "$folder/grpc.sock"))[0], qr/x$/, 'gRPC at a unix socket');
my @unary = (@GRPC, '--data-binary', "\@$folder/request");
shift @unary;
($answer, $head, $exit) = curl('--http2', '--cacert', $ca, @unary, "https://$t::Servers::GRPC_TLS/test.Echo/Unary");
is($answer, message('x'), 'gRPC by TLS');
is((curl('--http2', @unary, "https://$t::Servers::GRPC_TLS/test.Echo/Unary"))[2], 60, 'gRPC by TLS, without the CA');
SKIP: {
    skip 'no IPv6', 1 unless $t::Servers::HAS_IPV6;
    is((curl('--http2-prior-knowledge', @unary, "http://$t::Servers::GRPC_IPV6/test.Echo/Unary"))[0], message('x'), 'gRPC by IPv6');
}

# ---- garbage --------------------------------------------------------------------------------

sub garbage {
    my ($kind, @options) = @_;
    return curl(@options, "http://$t::Servers::GARBAGE{$kind}/");
}

my $raw = "HTTP/1.1 103 Early Hints\r\na: b\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    . "2\r\nhi\r\n0\r\nx-trailer: yes\r\n\r\n";
($answer, $head, $exit) = garbage('raw', '--data-binary', $raw);
is($answer, 'hi', 'raw: body');
like($head, qr/^x-trailer: yes$/m, 'raw: trailer');
is($exit, 0, 'raw: curl');

my %garbage = (
    # kind => [options, answer, curl's exit codes]
    'closes'           => [[], '', qr/^(?:52|56)$/],
    'silent'           => [['-m', 0.2], '', qr/^28$/],
    'garbage'          => [[], '', qr/^1$/],
    'truncated'        => [[], 'short', qr/^18$/],
    'broken-chunks'    => [[], 'first', qr/^56$/],
    'truncated-chunks' => [[], 'firstsecond', qr/^18$/],
    'http1'            => [[], 'html', qr/^0$/],
    'http2-garbage'    => [['--http2-prior-knowledge'], '', qr/^(?:16|52|55|56|92)$/],
    'trickle'          => [['-m', 0.3], '', qr/^28$/],
);
for my $kind (sort keys %garbage) {
    my ($options, $expected, $code) = @{ $garbage{$kind} };
    ($answer, $head, $exit) = garbage($kind, @$options);
    is($answer, $expected, "$kind: answer");
    like($exit, $code, "$kind: curl");
}
isnt((garbage('http1', '--http2-prior-knowledge'))[2], 0, 'http1 is no answer by HTTP/2');
($answer, $head, $exit) = garbage('endless-headers');
is($exit, 56, 'endless-headers: curl has enough of them');
is((garbage('endless-body', '-m', 0.3))[2], 28, 'endless-body: curl gives up');

# ---- nginx ----------------------------------------------------------------------------------

my $nginx = Test::Nginx::Bundled::Server->new(binary => $ENV{TEST_NGINX_BINARY}, root => cwd() . '/t/servroot');
my %config = (
    port => 1984, master => 'on', workers => 1, worker_connections => 64, log_level => 'info', http_config => $t::Servers::BACKENDS,
);
$nginx->populate($nginx->config_text(%config), []);
is($nginx->start, undef, 'nginx starts');

my @tls = ('--cacert', $ca);
my %backend = (
    # URL => [options, curl's exit code, version of HTTP]
    'https://127.0.0.1:1970/'         => [[@tls, '--http2'], 0, '1.1'],
    'https://localhost:1971/'         => [[@tls, '--http2'], 0, '2'],
    'https://a.test.example:1971/'    => [[@tls, '--http1.1', '--resolve', 'a.test.example:1971:127.0.0.1'], 0, '1.1'],
    'https://b.a.test.example:1971/'  => [[@tls, '--resolve', 'b.a.test.example:1971:127.0.0.1'], 60],
    'http://127.0.0.1:1972/'          => [['--http2-prior-knowledge'], 0, '2'],
    'https://127.0.0.1:1973/'         => [[@tls], 60],
    'https://127.0.0.1:1974/'         => [[@tls], 60],
    'https://localhost:1974/'         => [['--cacert', "$t::Servers::TLS/other-ca.pem"], 0, '1.1'],
    'https://127.0.0.1:1975/'         => [[@tls, '--cert', "$t::Servers::TLS/server.pem", '--key', "$t::Servers::TLS/server.key"], 0, '1.1'],
    'http://one.socket/'              => [['--unix-socket', "$folder/http.sock"], 0, '1.1'],
    'http://two.socket/'              => [['--unix-socket', "$folder/http2.sock", '--http2-prior-knowledge'], 0, '2'],
    $t::Servers::HAS_IPV6 ? (
        'http://[::1]:1980/'          => [[], 0, '1.1'],
        'https://[::1]:1970/'         => [[@tls], 0, '1.1'],
    ) : (),
);
for my $url (sort keys %backend) {
    my ($options, $code, $version) = @{ $backend{$url} };
    ($answer, $head, $exit) = curl(@$options, $url);
    is($exit, $code, "$url: curl");
    is($answer, $code ? '' : 'hello', "$url: answer");
    like($head, qr{^HTTP/\Q$version\E 200}, "$url: version") if $version;
}
like((curl(@tls, 'https://127.0.0.1:1975/'))[1], qr{^HTTP/1.1 400}, 'without the certificate that 1975 wants');
is($nginx->stop, undef, 'nginx stops');

t::Servers::stop_servers();
is((curl("http://$t::Servers::GARBAGE{raw}/"))[2], 7, 'the servers are gone');

run_tests();

__DATA__

=== TEST 1: the backends in a block
--- http_config eval: $t::Servers::BACKENDS
--- config
    location = /t {
        content_by_lua_block {
            local function get(address, port, tls)
                local socket = ngx.socket.tcp()
                assert(socket:connect(address, port))
                if tls then
                    assert(socket:sslhandshake(nil, "a.test.example", true))
                end
                socket:send("GET /?body=" .. address:match("^%w+") .. " HTTP/1.0\r\nHost: a\r\n\r\n")
                ngx.say(socket:receive("*a"):match("\r\n\r\n(.*)"))
            end
            get("unix:$TEST_NGINX_SOCKETS/http.sock")
            get("127.0.0.1", 1970, true)
        }
        lua_ssl_trusted_certificate $TEST_NGINX_TLS/ca.pem;
    }
--- response_body
unix
127
