package t::Http2;

# Real clients of HTTP/2: curl, nghttp, and tonic's of gRPC. Lua code of a test asks for them (t/lib/http2.lua), so that a test looks like any other:
#
#   use t::Http2;
#   start_clients();       # until this file's end
#
#   --- config
#       listen 127.0.0.1:1985 http2;        # besides the port of the test itself, for the same locations
#       location = /x { … }
#       location = /t { content_by_lua_block { ngx.print(require("http2").get("http://127.0.0.1:1985/x")) } }

use strict;
use warnings;

use Exporter qw(import);
use IO::Socket::INET;
use POSIX ();

require t::WASM;
require Test::Nginx::Bundled::Server;

our @EXPORT = qw(start_clients);

# Where a process of this module runs commands: a line of its words, separated by NUL; the answer is what they wrote.
my $ADDRESS = '127.0.0.1:1959';
my $TIMEOUT = 10 * Test::Nginx::Bundled::Server::SLOWNESS;

my $Process;

# Starts what runs the clients, unless it runs.
sub start_clients {
    return if $Process;
    my $listener = IO::Socket::INET->new(LocalAddr => $ADDRESS, Listen => 16, ReuseAddr => 1) or die "$ADDRESS: $@\n";
    $Process = fork // die "fork: $!\n";
    return if $Process;
    while (my $socket = $listener->accept) {
        my $pid = fork // POSIX::_exit(1);
        if ($pid == 0) {
            chomp(my $line = <$socket> // '');
            print {$socket} answer(split /\0/, $line);
            $socket->close;
            POSIX::_exit(0);
        }
        $socket->close;
        1 while waitpid(-1, POSIX::WNOHANG()) > 0;
    }
    POSIX::_exit(0);
}

sub answer {
    my ($client, @arguments) = @_;
    return output('curl', '-sS', '-i', '-m', $TIMEOUT, '--http2-prior-knowledge', @arguments) if $client eq 'curl';
    return exchange(output('nghttp', '-v', '-t', $TIMEOUT, @arguments)) if $client eq 'nghttp';
    return output('timeout', $TIMEOUT, 'target/servers/debug/grpc-client', @arguments) if $client eq 'tonic';
    return "no such client: $client\n";
}

sub output {
    my (@command) = @_;
    my $pid = open(my $from, '-|') // return "fork: $!\n";
    if ($pid == 0) {
        open STDERR, '>&', \*STDOUT;
        open STDIN, '<', '/dev/null';
        exec @command or POSIX::_exit(127);
    }
    binmode $from;
    local $/;
    my $output = <$from> // '';
    close $from;
    return $output;
}

# What nghttp has received, but for `server` and `date`: `NAME: VALUE` for each header, `body BYTES` for all of the body, `trailer NAME:
# VALUE`, `reset CODE` and `goaway CODE` of the server, `refused CODE` when it breaks the protocol, `end` when the stream has ended.
sub exchange {
    my ($output) = @_;
    my ($blocks, $ended, $body, @headers, @rest) = (0, 0);
    while ($output =~ /\[ *[\d.]+\] (?:(recv|send) ([A-Z_]+) frame <length=(\d+), flags=0x(\w+)|recv \(stream_id=\d+[^)]*\) ([^\n]*))/g) {
        my ($start, $direction, $type, $size, $flags, $header) = ($-[0], $1, $2, $3, $4, $5);
        if (defined $header) {
            if ($blocks) { push @rest, "trailer $header" } else { push @headers, $header }
        } elsif ($type eq 'RST_STREAM' || $type eq 'GOAWAY') {
            my ($code) = substr($output, $start) =~ /error_code=(\w+)/;
            my $word = $direction eq 'send' ? 'refused' : $type eq 'GOAWAY' ? 'goaway' : 'reset';
            push @rest, "$word $code" unless $code eq 'NO_ERROR';
        } elsif ($direction eq 'recv') {
            $blocks++ if $type eq 'HEADERS';
            $body .= substr $output, $start - $size, $size if $type eq 'DATA';   # it stands right before
            $ended = 1 if $type =~ /^(?:DATA|HEADERS)$/ && hex($flags) & 1;
        }
    }
    @headers = grep { !/^(?:server|date):/ } @headers;
    return join '', map { "$_\n" } @headers, defined $body ? "body $body" : (), @rest, $ended ? 'end' : ();
}

END {
    if ($Process) {
        local $?;
        kill 'KILL', $Process;
        waitpid $Process, 0;
    }
}

1;
