package t::Traffic;

# Clients that send one request after the other, each on a connection of its own, until they are stopped.
#
#   my $traffic = t::Traffic->start(1984, 4, '/a', '/b');
#   my $result = $traffic->stop;     # { answers => { '/a 200' => 17, ... }, unanswered => ['/b: closed without an answer', ...] }

use strict;
use warnings;

use IO::Socket::INET;
use POSIX ();
use Time::HiRes qw(sleep);

use Test::Nginx::Bundled::Server;

# How long an answer may take, in seconds: longer than anything that is not stuck.
my $TIMEOUT = 60 * Test::Nginx::Bundled::Server::SLOWNESS;

sub start {
    my ($class, $port, $clients, @paths) = @_;
    my @clients = map { spawn($port, $_, @paths) } 1 .. $clients;
    return bless { clients => \@clients }, $class;
}

# Waits until as many more requests have been answered.
sub wait_for {
    my ($self, $count) = @_;
    for my $client (@{ $self->{clients} }) {
        my $from = $client->{from};
        for (1 .. $count / @{ $self->{clients} }) {
            my $line = <$from> // die "a client has ended\n";
            $self->note($line);
        }
    }
}

sub stop {
    my ($self) = @_;
    local $?;
    kill 'TERM', map { $_->{pid} } @{ $self->{clients} };
    for my $client (@{ $self->{clients} }) {
        my $from = $client->{from};
        while (my $line = <$from>) { $self->note($line) }
        waitpid $client->{pid}, 0;
    }
    $self->{clients} = [];
    return { answers => $self->{answers} // {}, unanswered => $self->{unanswered} // [] };
}

sub DESTROY { $_[0]->stop }

sub note {
    my ($self, $line) = @_;
    chomp $line;
    if ($line =~ / \d{3}$/) { $self->{answers}{$line}++ } else { push @{ $self->{unanswered} }, $line }
}

sub spawn {
    my ($port, $first, @paths) = @_;
    pipe my $from, my $to or die "pipe: $!\n";
    my $parent = $$;
    my $pid = fork // die "fork: $!\n";
    if ($pid) {
        close $to;
        return { pid => $pid, from => $from };
    }
    close $from;
    $to->autoflush(1);
    my $ends = 0;
    $SIG{TERM} = sub { $ends = 1 };
    until ($ends || getppid() != $parent) {
        my $path = $paths[$first++ % @paths];
        my $answer = request($port, $path);
        print {$to} "$path$answer\n";
        sleep 0.01 if $answer !~ /\d$/;
    }
    POSIX::_exit(0);
}

# ` STATUS`, or what went wrong.
sub request {
    my ($port, $path) = @_;
    my $socket;
    # A signal that ends the client may come in the middle of it.
    until ($socket = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port")) { return ": can't connect: $!" unless $!{EINTR} }
    my $text = '';
    local $SIG{PIPE} = 'IGNORE';
    print {$socket} "GET $path HTTP/1.0\r\nHost: localhost\r\n\r\n";
    $socket->flush;
    local $SIG{ALRM} = sub { die "timeout\n" };
    alarm $TIMEOUT;
    my $read = eval {
        my $count;
        do { $count = sysread $socket, $text, 65536, length $text } while $count || !defined $count && $!{EINTR};
        $count;
    };
    my $error = $@ ? 'no answer within ' . $TIMEOUT . ' s' : defined $read ? 'closed without an answer' : "$!";
    alarm 0;
    return $text =~ m{^HTTP/1\.[01] (\d{3}) .*?\r\n\r\n}s ? " $1" : ": $error";
}

1;
