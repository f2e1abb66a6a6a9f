package t::Servers;

# What tests of callouts talk to, each at its address. Ports not in this list: 1980 is the backend of t::WASM, 1984 the server under
# test, 1985 to 1989 are free for a file's own servers.
#
#   start_servers();                             # t/servers, until this file's end
#   start_resolvers();                           # for nginx's `resolver`, until this file's end
#   --- http_config eval: $t::Servers::BACKENDS  # nginx, as part of the server under test
#
# In the sections of a test $TEST_NGINX_TLS is the folder of the certificates, $TEST_NGINX_SOCKETS that of the unix sockets.

use strict;
use warnings;

use Cwd qw(cwd);
use Exporter qw(import);
use File::Glob qw(bsd_glob);
use File::Path qw(make_path);
use IO::Select;
use IO::Socket::IP;
use POSIX ();

require t::WASM;

our @EXPORT = qw(start_servers start_resolvers);

our $GRPC     = '127.0.0.1:1990';
our $GRPC_TLS = '127.0.0.1:1991';
our $GRPC_IPV6 = '[::1]:1990';

# What they answer for each name, except those under `.unknown`.
our %RESOLVERS = ('127.0.0.1:1953' => '127.0.0.1', '127.0.0.1:1954' => '127.0.0.2');

# The kinds are explained in t/servers/src/garbage.rs.
our %GARBAGE = (
    'raw'              => '127.0.0.1:2000',
    'closes'           => '127.0.0.1:2001',
    'silent'           => '127.0.0.1:2002',
    'garbage'          => '127.0.0.1:2003',
    'truncated'        => '127.0.0.1:2004',
    'broken-chunks'    => '127.0.0.1:2005',
    'truncated-chunks' => '127.0.0.1:2006',
    'http1'            => '127.0.0.1:2007',
    'http2-garbage'    => '127.0.0.1:2008',
    'endless-headers'  => '127.0.0.1:2009',
    'endless-body'     => '127.0.0.1:2010',
    'trickle'          => '127.0.0.1:2011',
);

chomp(our $TLS = `tools/make-test-certificates`);
die "tools/make-test-certificates failed\n" if $?;
$ENV{TEST_NGINX_TLS} = $TLS;

our $FOLDER = $ENV{TEST_NGINX_SOCKETS} = cwd() . '/target/sockets';
make_path($FOLDER);
unlink bsd_glob("$FOLDER/*.sock");          # what a killed nginx has left

our $HAS_IPV6 = defined IO::Socket::IP->new(LocalHost => '::1', LocalPort => 0, Listen => 1);

# The same pages as on 127.0.0.1:1980 (t::WASM), at
#   127.0.0.1:1970 TLS, HTTP/1.1            127.0.0.1:1973 TLS, an expired certificate
#   127.0.0.1:1971 TLS, HTTP/2 and /1.1     127.0.0.1:1974 TLS, signed by other-ca.pem
#   127.0.0.1:1972 HTTP/2, cleartext        127.0.0.1:1975 TLS, wants a client certificate of ca.pem
#   [::1]:1980     HTTP/1.1                 [::1]:1970     TLS, HTTP/1.1 (both if $HAS_IPV6)
#   unix:target/sockets/http.sock           unix:target/sockets/http2.sock (HTTP/2, cleartext)
our $BACKENDS = join '',
    server('127.0.0.1:1970 ssl', 'server'),
    server('127.0.0.1:1971 ssl http2', 'server'),
    server('127.0.0.1:1972 http2'),
    server('127.0.0.1:1973 ssl', 'expired'),
    server('127.0.0.1:1974 ssl', 'other'),
    server('127.0.0.1:1975 ssl', 'server', "ssl_client_certificate $TLS/ca.pem; ssl_verify_client on;"),
    $HAS_IPV6 ? (server('[::1]:1980'), server('[::1]:1970 ssl', 'server')) : (),
    server("unix:$FOLDER/http.sock"),
    server("unix:$FOLDER/http2.sock http2");

sub server {
    my ($listen, $certificate, $directives) = @_;
    my $tls = $certificate ? "ssl_certificate $TLS/$certificate.pem; ssl_certificate_key $TLS/$certificate.key;" : '';
    $directives //= '';
    return <<"_EOC_";
    server {
        listen $listen;
        $tls $directives
$t::WASM::PAGES
    }
_EOC_
}

my $Process;    # the servers end with their standard input

# Starts t/servers, unless they run: gRPC at $GRPC, $GRPC_TLS, $GRPC_IPV6 and unix:$FOLDER/grpc.sock, and %GARBAGE.
sub start_servers {
    return if $Process;
    my $program = 'target/servers/debug/grpc-server';
    die "no $program: tools/build-servers makes it\n" unless -x $program;
    my @arguments = (
        '--listen', $GRPC, $HAS_IPV6 ? ('--listen', $GRPC_IPV6) : (),
        '--listen', "unix:$FOLDER/grpc.sock",
        '--listen-tls', $GRPC_TLS, "$TLS/server.pem", "$TLS/server.key",
        map { ('--garbage', "$_=$GARBAGE{$_}") } sort keys %GARBAGE,
    );
    pipe my $from, my $output or die "pipe: $!\n";
    pipe my $input, my $to or die "pipe: $!\n";
    my $pid = fork // die "fork: $!\n";
    if ($pid == 0) {
        open STDIN, '<&', $input;
        open STDOUT, '>&', $output;
        exec $program, @arguments or POSIX::_exit(127);
    }
    close $output;
    my $line = <$from> // '';
    die "the servers did not start\n" unless $line eq "listening\n";
    $Process = { pid => $pid, input => $to };
}

sub stop_servers {
    my $process = $Process or return;
    undef $Process;
    close $process->{input};
    local $?;
    waitpid $process->{pid}, 0;
}

my @Resolvers;

# Starts %RESOLVERS, unless they run.
sub start_resolvers {
    return if @Resolvers;
    my $parent = $$;
    for my $listen (sort keys %RESOLVERS) {
        my $socket = IO::Socket::IP->new(LocalAddr => $listen, Proto => 'udp') or die "$listen: $@\n";
        my $pid = fork // die "fork: $!\n";
        if ($pid == 0) {
            my $select = IO::Select->new($socket);
            while (getppid() == $parent) { resolve($socket, $RESOLVERS{$listen}) if $select->can_read(1) }
            POSIX::_exit(0);
        }
        push @Resolvers, $pid;
    }
}

# Answers a DNS query with one question (RFC 1035 §4).
sub resolve {
    my ($socket, $address) = @_;
    $socket->recv(my $query, 512);
    my ($id, $question) = unpack 'n x10 a*', $query;
    my ($name, $type) = $question =~ /^(.+?\0)(..)/s or return;
    my $is_unknown = $name =~ /\x07unknown\0$/;
    my $is_answered = !$is_unknown && unpack('n', $type) == 1;
    my $answer = pack 'n n n N n C4', 0xc00c, 1, 1, 60, 4, split /\./, $address;
    $socket->send(pack('n6', $id, 0x8180 | ($is_unknown ? 3 : 0), 1, $is_answered ? 1 : 0, 0, 0)
        . $question . ($is_answered ? $answer : ''));
}

sub stop_resolvers {
    local $?;
    kill 'KILL', @Resolvers;
    waitpid $_, 0 for splice @Resolvers;
}

END { stop_resolvers(); stop_servers() }    # the resolvers have the servers' standard input, too

1;
