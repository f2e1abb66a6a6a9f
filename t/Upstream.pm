package t::Upstream;

# An upstream that takes requests for what they are in bytes: it writes down each head, and answers it with content-length 5 and the
# body "hello", or without the body when the head begins with "HEAD ". Connections are closed after an answer.
#
#   use t::Upstream;
#   start_upstream();      # at 127.0.0.1:1988, until this file's end
#
#   proxy_pass http://127.0.0.1:1988;
#   require("raw")("GOT\n", 1988)      -- the heads so far, once; bars for line ends, one head a line

use strict;
use warnings;

use Exporter qw(import);
use IO::Socket::INET;
use POSIX ();

our @EXPORT = qw(start_upstream);

my $ADDRESS = '127.0.0.1:1988';
my $Process;

# Starts the upstream, unless it runs.
sub start_upstream {
    return if $Process;
    my $listener = IO::Socket::INET->new(LocalAddr => $ADDRESS, Listen => 16, ReuseAddr => 1) or die "$ADDRESS: $@\n";
    $Process = fork // die "fork: $!\n";
    return if $Process;
    my @heads;
    while (my $socket = $listener->accept) {
        my $head = read_head($socket);
        if ($head eq "GOT\n") {
            print $socket map { "$_\n" } splice @heads;
        } elsif (length $head) {
            push @heads, $head =~ s/\r\n\r\n\z//r =~ s/\r\n/|/gr;
            print $socket "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n", $head =~ /^HEAD / ? '' : 'hello';
        }
        close $socket;
    }
    POSIX::_exit(0);
}

sub read_head {
    my ($socket) = @_;
    my $head = '';
    while ($head !~ /\r\n\r\n\z/ && $head ne "GOT\n") {
        sysread $socket, $head, 1, length $head or last;
    }
    return $head;
}

END {
    if ($Process) {
        local $?;
        kill 'KILL', $Process;
        waitpid $Process, 0;
    }
}

1;
