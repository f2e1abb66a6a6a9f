package Test::Nginx::Bundled::Server;

# One nginx in a server root of its own: its configuration, its processes and its logs.

use strict;
use warnings;

use File::Glob ':bsd_glob';
use File::Path qw(make_path remove_tree);
use POSIX qw(WNOHANG setpgid);
use Time::HiRes qw(sleep time);

# The value of TEST_NGINX_USE_VALGRIND is options for valgrind, or a number for these, as with Test::Nginx.
my $VALGRIND = $ENV{TEST_NGINX_USE_VALGRIND};
$VALGRIND = '--leak-check=full --show-possibly-lost=no --num-callers=100 --gen-suppressions=all'
    . (-f 'valgrind.suppress' ? ' --suppressions=valgrind.suppress' : '') if ($VALGRIND // '') =~ /^\d+$/;

# How much longer all may take under valgrind, on a busy machine.
use constant SLOWNESS => $ENV{TEST_NGINX_USE_VALGRIND} ? 20 : 1;

use constant {
    POLL_INTERVAL => 0.005,
    START_TIMEOUT => SLOWNESS * ($ENV{TEST_NGINX_START_TIMEOUT} || 30),
    STOP_TIMEOUT  => SLOWNESS * ($ENV{TEST_NGINX_STOP_TIMEOUT} || 5),
};

my @TEMP_PATHS = qw(client_body proxy fastcgi uwsgi scgi);

my %Running;    # master pid => server, for the clean-up at exit

sub new {
    my ($class, %option) = @_;
    my $root = $option{root};
    my $self = bless {
        binary    => $option{binary},
        root      => $root,
        html      => "$root/html",
        conf      => "$root/conf/nginx.conf",
        error_log => "$root/logs/error.log",
        pid_file  => "$root/logs/nginx.pid",
        stderr    => "$root/logs/stderr.log",
        valgrind  => "$root/valgrind",
        log_pos   => 0,
    }, $class;
    return $self;
}

sub version {
    my ($self) = @_;
    $self->{version_output} //= `$self->{binary} -V 2>&1` // '';
    my @version = $self->{version_output} =~ m{\w+/(\d+)\.(\d+)\.(\d+)}
        or die "no version in the output of '$self->{binary} -V': $self->{version_output}\n";
    return sprintf '%d.%03d%03d', @version;
}

# ---- configuration --------------------------------------------------------------------------

sub config_text {
    my ($self, %part) = @_;
    my @modules = split ' ', $ENV{TEST_NGINX_LOAD_MODULES} // '';
    %part = (env => [], main_config => '', http_config => '', config => '', %part);
    my $root = $self->{root};
    my $modules = join '', map { "load_module $_;\n" } @modules;
    my $user = $> == 0 ? "user root;\n" : '';
    my $env = join '', map { /\s/ ? "env '$_';\n" : "env $_;\n" } @{ $part{env} };
    my $temp_paths = join '', map { "    ${_}_temp_path $root/${_}_temp;\n" } @TEMP_PATHS;
    my $root_location = $part{root_location}
        ? "location / { root $self->{html}; index index.html index.htm; }" : '';

    return <<"_EOC_";
${modules}daemon off;
master_process $part{master};
worker_processes $part{workers};
error_log $self->{error_log} $part{log_level};
pid $self->{pid_file};
$user$env
$part{main_config}

events {
    accept_mutex off;
    worker_connections $part{worker_connections};
}

http {
    access_log $root/logs/access.log;
    default_type text/plain;
    keepalive_timeout 68;
$temp_paths
$part{http_config}

    server {
        listen $part{port};
        server_name 'localhost';
        client_max_body_size 30M;

$part{config}

        $root_location
    }
}
_EOC_
}

# `files` is a list of [name, content], relative names being under html/. A running nginx keeps its pid file.
sub populate {
    my ($self, $config, $files) = @_;
    my $root = $self->{root};
    # A wrong TEST_NGINX_SERVROOT must not cost anybody their files.
    my @present = glob "$root/*";
    die "$root is neither empty nor a server root\n" if @present && !-e $self->{conf};
    unlink grep { $_ ne $self->{pid_file} } glob "$root/logs/*";
    remove_tree($self->{html}, "$root/conf");
    remove_tree(map { "$root/${_}_temp" } @TEMP_PATHS) unless $self->{pid};
    make_path("$root/logs", "$root/conf", $self->{html});
    write_file("$self->{html}/index.html", '<html><body>It works!</body></html>');
    write_file($self->{conf}, $config);
    for my $file (@$files) {
        my ($name, $content) = @$file;
        write_file($name =~ m{^/} ? $name : "$self->{html}/$name", $content);
    }
    $self->{log_pos} = 0;
}

sub write_file {
    my ($path, $content) = @_;
    make_path($1) if $path =~ m{(.+)/} && !-d $1;
    open my $out, '>:raw', $path or die "cannot write $path: $!\n";
    print {$out} $content;
    close $out or die "cannot write $path: $!\n";
}

# ---- processes ------------------------------------------------------------------------------

# Each of the three returns nothing when all is well, else what went wrong.

sub start {
    my ($self) = @_;
    $self->kill_leftovers;
    $self->spawn;
    poll(START_TIMEOUT, sub { $self->exited || $self->listening })
        or return 'nginx did not start within ' . START_TIMEOUT . ' s';
    return $self->exited ? "nginx exited at start:\n" . slurp($self->{stderr}) : ();
}

sub reload {
    my ($self, $config, $files) = @_;
    my %old = map { $_ => 1 } $self->workers;
    $self->populate($config, $files);
    # As Test::Nginx does: what the old workers still log goes to the new files.
    $self->signal('USR1');
    poll(STOP_TIMEOUT, sub { -e $self->{error_log} }) or return 'nginx did not reopen its logs';
    $self->signal('HUP');
    my $refused;
    my $reloaded = poll(START_TIMEOUT, sub {
        my @now = $self->workers;
        ($refused) = grep { /\[emerg\] $self->{pid}#/ } $self->log_lines;   # a plugin may log it too
        return $refused || $self->exited || @now && !grep { $old{$_} } @now;
    });
    return "nginx refused to reload: $refused" if $refused;
    return 'nginx exited at reload' if $self->exited;
    return $reloaded ? () : 'nginx did not replace its workers within ' . START_TIMEOUT . ' s';
}

sub stop {
    my ($self) = @_;
    my $pid = $self->{pid} or return;
    my $problem;
    if ($self->exited) {
        $problem = 'nginx was gone before it was stopped, ' . $self->exit_text;
    } else {
        $self->signal('QUIT');
        if (!poll(STOP_TIMEOUT, sub { $self->exited })) {
            $problem = 'nginx did not stop within ' . STOP_TIMEOUT . ' s';
        } elsif ($self->{status} != 0) {
            $problem = 'nginx stopped, ' . $self->exit_text;
        }
    }
    $self->kill_all;
    return $problem // ();
}

sub spawn {
    my ($self) = @_;
    my @command = ($self->valgrind, $self->{binary}, '-p', "$self->{root}/", '-c', $self->{conf});
    # Lines before the configuration is read go to a compiled-in place, with Debian the standard error.
    push @command, '-e', $self->{error_log} if $self->version >= 1.019005;
    my $pid = fork // die "fork: $!\n";
    if ($pid == 0) {
        setpgid(0, 0);
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', $self->{stderr};
        open STDERR, '>&', \*STDOUT;
        exec @command or POSIX::_exit(127);
    }
    setpgid($pid, $pid);    # also here: whichever of the two processes comes first
    $self->{pid} = $pid;
    undef $self->{status};
    $Running{$pid} = $self;
}

# The start of the command line: valgrind follows forks by itself.
sub valgrind {
    my ($self) = @_;
    return unless $VALGRIND;
    remove_tree($self->{valgrind});
    $self->{found} = {};
    make_path($self->{valgrind});
    return ('valgrind', '-q', "--log-file=$self->{valgrind}/%p", split ' ', $VALGRIND);
}

sub signal {
    my ($self, $signal) = @_;
    kill $signal, $self->{pid} unless $self->exited;
}

sub exited {
    my ($self) = @_;
    if (!defined $self->{status} && waitpid($self->{pid}, WNOHANG) == $self->{pid}) {
        $self->{status} = $?;
    }
    return defined $self->{status};
}

sub exit_text {
    my ($self) = @_;
    my $signal = $self->{status} & 127;
    return $signal ? "killed by signal $signal" : 'exit code ' . ($self->{status} >> 8);
}

# nginx writes the pid file when its sockets listen and all of its start has succeeded.
sub listening {
    my ($self) = @_;
    return -s $self->{pid_file} && slurp($self->{pid_file}) =~ /^$self->{pid}\n/;
}

sub kill_all {
    my ($self) = @_;
    my $pid = delete $self->{pid} or return;
    kill 'KILL', -$pid;
    waitpid $pid, 0 unless defined $self->{status};
    poll(STOP_TIMEOUT, sub { !grep { $_->{group} == $pid } processes() });
    delete $Running{$pid};
    unlink $self->{pid_file};
}

# A runner that was itself killed leaves its nginx behind.
sub kill_leftovers {
    my ($self) = @_;
    my ($group) = slurp($self->{pid_file}) =~ /^(\d+)$/m or return;
    my $leftovers = sub { grep { $_->{group} == $group && $_->{name} =~ /nginx|memcheck/ } processes() };
    kill 'KILL', map { $_->{pid} } $leftovers->();
    poll(STOP_TIMEOUT, sub { !$leftovers->() });
    unlink $self->{pid_file};
}

sub workers {
    my ($self) = @_;
    return map { $_->{pid} } grep { $_->{parent} == $self->{pid} } processes();
}

sub processes {
    my @processes;
    for my $stat (glob '/proc/[0-9]*/stat') {
        my ($pid, $name, $state, $parent, $group) = slurp($stat) =~ /^(\d+) \((.*)\) (\S) (\d+) (\d+)/s or next;
        next if $state eq 'Z';
        push @processes, { pid => $pid, name => $name, parent => $parent, group => $group };
    }
    return @processes;
}

sub poll {
    my ($timeout, $condition) = @_;
    my $deadline = time + $timeout;
    until ($condition->()) {
        return 0 if time >= $deadline;
        sleep POLL_INTERVAL;
    }
    return 1;
}

# An END block below would be skipped by a signal's default action.
$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);

END {
    local $?;
    $_->kill_all for values %Running;
}

# ---- logs -----------------------------------------------------------------------------------

# The lines of the error log after the last `log_seen`.
sub log_lines {
    my ($self) = @_;
    open my $in, '<:raw', $self->{error_log} or return;
    seek $in, $self->{log_pos}, 0;
    my @lines = <$in>;
    $self->{log_end} = tell $in;
    return @lines;
}

sub log_seen {
    my ($self) = @_;
    $self->{log_pos} = $self->{log_end} // 0;
}

sub whole_log {
    my ($self) = @_;
    return split /^/, slurp($self->{error_log});
}

# What valgrind has found in the processes of the server since the last call.
sub findings {
    my ($self) = @_;
    return '' unless $VALGRIND;
    my $findings = '';
    for my $log (glob "$self->{valgrind}/*") {
        my $text = slurp($log);
        $findings .= substr $text, $self->{found}{$log} // 0;
        $self->{found}{$log} = length $text;
    }
    return $findings;
}

sub slurp {
    my ($path) = @_;
    open my $in, '<:raw', $path or return '';
    local $/;
    return scalar(<$in>) // '';
}

1;
