package Test::Nginx::Bundled;

# Runs test files in the format of Test::Nginx::Socket where that is not installed.
# Sections and functions mean what they mean there; t/WASM.pm chooses between the two.

use Test::Base -base;

use File::Spec ();
use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw(sleep time);

use Test::Nginx::Bundled::Server;

our @EXPORT = qw(
    add_block_preprocessor add_cleanup_handler bail_out check_accum_error_log env_to_nginx html_dir is_str
    log_level master_off master_on no_long_string no_root_location no_shuffle repeat_each run_tests
    server_port server_root timeout use_hup worker_connections workers
);

# A section outside of this list is a mistake in the test file, which would otherwise check nothing.
my %KnownSection = map { $_ => 1 } qw(
    ONLY LAST SKIP skip_eval skip_nginx
    config http_config main_config user_files log_level must_die
    request raw_request raw_request_middle_delay pipelined_requests more_headers timeout abort wait
    ignore_response error_code error_code_like
    response_body response_body_like response_body_unlike
    response_headers response_headers_like raw_response_headers_like raw_response_headers_unlike
    error_log no_error_log grep_error_log grep_error_log_out shutdown_error_log no_shutdown_error_log
);

# How long an expected log line may take, and how long the log must have been quiet before it is read:
# lines of the log phase may come after the response.
my $Slowness   = Test::Nginx::Bundled::Server::SLOWNESS;
my $LogTimeout = $Slowness * ($ENV{TEST_NGINX_LOG_TIMEOUT} || 3);
my $LogQuiet   = $Slowness == 1 ? 0.045 : 0.2;
my $LogBusy    = $Slowness * 0.5;

my %Setting = (
    port               => $ENV{TEST_NGINX_SERVER_PORT} || $ENV{TEST_NGINX_PORT} || 1984,
    timeout            => $ENV{TEST_NGINX_TIMEOUT} || 3,
    use_hup            => $ENV{TEST_NGINX_USE_HUP},
    log_level          => $ENV{TEST_NGINX_LOG_LEVEL} || 'debug',
    master             => $ENV{TEST_NGINX_MASTER_PROCESS} || 'off',
    workers            => 1,
    worker_connections => 64,
    repeat_each        => 1,
    root_location      => 1,
    accum_error_log    => $ENV{TEST_NGINX_CHECK_ACCUM_ERR_LOG},
);
my (@EnvToNginx, @Preprocessors, @CleanupHandlers);

my $Server = Test::Nginx::Bundled::Server->new(
    binary => $ENV{TEST_NGINX_BINARY} || 'nginx',
    root   => File::Spec->rel2abs($ENV{TEST_NGINX_SERVROOT} || "t/servroot"),
);
$ENV{TEST_NGINX_SERVER_ROOT} = $Server->{root};

# ---- functions for test files ---------------------------------------------------------------

sub setting {
    my ($name, @value) = @_;
    $Setting{$name} = $value[0] if @value;
    return $Setting{$name};
}

sub log_level (@)          { setting(log_level => @_) }
sub repeat_each (@)        { setting(repeat_each => @_) }
sub server_port (@)        { setting(port => @_) }
sub timeout (@)            { setting(timeout => @_) }
sub workers (@)            { setting(workers => @_) }
sub worker_connections (@) { setting(worker_connections => @_) }
sub master_on ()             { setting(master => 'on') }
sub master_off ()            { setting(master => 'off') }
sub use_hup ()               { setting(use_hup => 1) }
sub no_root_location ()      { setting(root_location => 0) }
sub check_accum_error_log () { setting(accum_error_log => 1) }
sub server_root ()           { $Server->{root} }
sub html_dir ()              { $Server->{html} }
sub env_to_nginx (@)           { push @EnvToNginx, @_ }
sub add_block_preprocessor (&) { unshift @Preprocessors, @_ }
sub add_cleanup_handler ($)    { unshift @CleanupHandlers, @_ }

# Blocks are always run in order, and differences are always shown by Test::Base.
sub no_shuffle ()     { }
sub no_long_string () { }

sub is_str (@) {
    my ($got, $expected, $title) = @_;
    return ref $expected ? like($got, $expected, $title) : is($got, $expected, $title);
}

sub bail_out (@) {
    $Server->kill_all;
    Test::More::BAIL_OUT(@_);
}

sub run_tests () {
    $ENV{TEST_NGINX_SERVER_PORT} //= $Setting{port};
    for my $block (blocks()) {
        $_->($block) for @Preprocessors;
        run_block($block);
    }
    if ($Setting{use_hup}) {
        stop_server('at the end');
        check_findings('at the end');
    }
    $_->() for @CleanupHandlers;
}

# ---- one block ------------------------------------------------------------------------------

sub run_block {
    my ($block) = @_;
    my $name = $block->name;
    if (my ($count, $reason) = skip_reason($block)) {
        SKIP: { skip "$name - $reason", $count }
        return;
    }
    my $failures = failures();
    my $run = defined $block->must_die ? \&run_refused : \&run_served;
    eval {
        check_sections($block);
        $run->($block);
        1;
    } or fail("$name - " . $@ =~ s/\s+\z//r);
    finish_block($block);
    diag_log() if failures() > $failures;
}

sub failures {
    return scalar grep { !$_ } Test::More->builder->summary;
}

sub check_sections {
    my ($block) = @_;
    my $map = $block->_section_map;
    for my $section (grep { exists $block->{$_} } @{ $block->_section_order }) {
        die "unknown section --- $section\n" unless $KnownSection{$section};
        my $value = $block->$section;
        # The eval filter of Test::Base answers an error's text as the value.
        if ($map->{$section}{filters} =~ /\beval\b/ && ($value // '') =~ /\bat \(eval \d+\) line \d+/) {
            die "--- $section eval: $value\n";
        }
    }
    die "no --- config\n" unless defined $block->config;
    die "--- grep_error_log and --- grep_error_log_out need each other\n"
        if defined $block->grep_error_log != defined $block->grep_error_log_out;
}

sub skip_reason {
    my ($block) = @_;
    if (defined(my $spec = $block->skip_eval)) {
        my ($count, $code) = $spec =~ /^\s*(\d+)\s*:\s*(.*)/s or bail_out("invalid --- skip_eval: $spec");
        my $skip = eval "package main; $code";
        bail_out("--- skip_eval: $@") if $@;
        return ($count, 'skip_eval') if $skip;
    }
    if (defined(my $spec = $block->skip_nginx)) {
        my ($count, $operator, $version, $reason) = $spec =~ /^\s*(\d+)\s*:\s*([<>]=?)\s*([\d.]+)(?:\s*:\s*(.*?))?\s*$/
            or bail_out("invalid --- skip_nginx: $spec");
        my $limit = sprintf '%d.%03d%03d', split /\./, $version;
        return ($count, $reason || "nginx version $operator $version")
            if eval $Server->version . " $operator $limit";
    }
    return;
}

sub run_served {
    my ($block) = @_;
    my @layout = (config_of($block), [files_of($block)]);
    my $problem;
    if ($Setting{use_hup} && $Server->{pid}) {
        $problem = $Server->reload(@layout);
    } else {
        $Server->populate(@layout);
        $problem = $Server->start;
    }
    if ($problem) {
        $Server->kill_all;
        die $problem;
    }
    for my $repeat (0 .. $Setting{repeat_each} - 1) {
        run_requests($block, $repeat);
    }
}

sub run_refused {
    my ($block) = @_;
    my $name = $block->name;
    my $code = $block->must_die;
    stop_server($name);
    $Server->populate(config_of($block), [files_of($block)]);
    for my $repeat (0 .. $Setting{repeat_each} - 1) {
        my $problem = $Server->start;
        my $status = $Server->{status};
        if (!defined $status) {
            fail("$name - nginx must die but it " . ($problem ? 'hangs' : 'runs'));
        } elsif ($status & 127) {
            fail("$name - nginx must refuse to start but was " . $Server->exit_text);
        } elsif ($code =~ /^\s*(\d+)\s*$/) {
            is($status >> 8, $1, "$name - die with the expected exit code");
        } else {
            isnt($status, 0, "$name - die as expected");
        }
        $Server->kill_all;
        check_error_log($block, $repeat);
    }
}

sub finish_block {
    my ($block) = @_;
    my $served = $Server->{pid};
    if ($served && !$Setting{use_hup}) {
        stop_server($block->name);
        check_shutdown_log($block);
    } elsif ($served) {
        skip_shutdown_log($block);
    }
    check_crashes($block);
    check_findings($block->name);
}

sub stop_server {
    my ($name) = @_;
    my $problem = $Server->stop;
    fail("$name - $problem") if $problem;
}

sub config_of {
    my ($block) = @_;
    return $Server->config_text(
        %Setting,
        env         => \@EnvToNginx,
        log_level   => $block->log_level || $Setting{log_level},
        main_config => expand_env($block->main_config),
        http_config => expand_env($block->http_config),
        config      => expand_env($block->config),
    );
}

sub files_of {
    my ($block) = @_;
    my $files = $block->user_files // '';
    if (!ref $files) {
        my (undef, @parts) = split /^>>> (\S+).*\n/m, $files;
        $files = [];
        push @$files, [splice @parts, 0, 2] while @parts;
    }
    return map { [$_->[0], expand_env($_->[1])] } @$files;
}

sub expand_env {
    my ($text) = @_;
    $text //= '';
    $text =~ s/\$(TEST_NGINX_[_A-Z0-9]+)/$ENV{$1} \/\/ die "no environment variable $1\n"/ge;
    return $text;
}

# ---- requests -------------------------------------------------------------------------------

sub run_requests {
    my ($block, $repeat) = @_;
    my $pipelined = $block->pipelined_requests;
    my @requests = requests_of($block);
    my $many = @requests > 1 || $pipelined;
    my $index = 0;
    for my $request (@requests) {
        my $is_head = $request->[0] =~ /^HEAD / ? 1 : 0;
        my $raw = send_request($block, $request);
        for (1 .. ($pipelined ? @$pipelined : 1)) {
            my $title = $block->name . " (run $repeat, request $index)";
            $raw = check_response($block, $raw, $is_head, $index, $many, $title)
                unless defined $block->ignore_response;
            sleep $block->wait if $block->wait;
            check_error_log($block, $repeat);
            $index++;
        }
        diag($block->name . " - unexpected bytes after the response: $raw")
            if !defined $block->ignore_response && length $raw;
    }
}

# A request is a list of packets.
sub requests_of {
    my ($block) = @_;
    if (defined(my $raw = $block->raw_request)) {
        return ref $raw ? [@$raw] : [$raw];
    }
    if (my $pipelined = $block->pipelined_requests) {
        my $last = $#$pipelined;
        return [join '', map {
            build_request($pipelined->[$_], more_headers($block, $_), $_ == $last ? 'close' : 'keep-alive')
        } 0 .. $last];
    }
    my $request = $block->request // die "no --- request\n";
    my @requests = ref $request ? @$request : ($request);
    return map { [build_request($requests[$_], more_headers($block, $_), 'close')] } 0 .. $#requests;
}

sub more_headers {
    my ($block, $index) = @_;
    my $headers = $block->more_headers // '';
    $headers = $headers->[$index] // die "--- more_headers lacks request $index\n" if ref $headers;
    return map { /^([^:]*)(?::\s*(.*))?$/s ? [$1, $2 // ''] : () } grep { !/^\s*#/ } split /\n+/, $headers;
}

sub build_request {
    my ($text, @headers) = @_;
    my $connection = pop @headers;
    die "a request must be a string: " . ref($text) . "\n" if ref $text;
    1 while $text =~ s/\A(?:\s*#[^\n]+\s+|\s+)//;
    my ($line, $body) = split /\n/, $text, 2;
    my ($method, $uri, $version, $surplus) = split ' ', $line // '';
    die "invalid request line: $text\n" if !defined $method || defined $surplus;
    $body //= '';

    my %given = map { lc $_->[0] => $_->[1] } @headers;
    unshift @headers, [Connection => $connection] unless exists $given{connection};
    unshift @headers, [Host => 'localhost'] unless exists $given{host};
    my $chunked = ($given{'transfer-encoding'} // '') eq 'chunked';
    if (length $body && !$chunked && !exists $given{'content-length'}) {
        $body =~ s/^\s+|\s+$//g;
        push @headers, ['Content-Length' => length $body];
    }
    return join("\r\n", join(' ', $method, $uri // '/', $version // 'HTTP/1.1'),
        map({ "$_->[0]: $_->[1]" } @headers), '', $body);
}

sub seconds {
    my ($time) = @_;
    return $time =~ /^\s*([\d.]+)\s*ms\s*$/ ? $1 / 1000 : $time =~ /^\s*([\d.]+)/ ? $1 : die "invalid time: $time\n";
}

sub send_request {
    my ($block, $packets) = @_;
    my $timeout = $Slowness * seconds($block->timeout // $Setting{timeout});
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $Setting{port}, Timeout => $timeout)
        or die "cannot connect to port $Setting{port}: $!\n";
    my ($raw, $problem) = exchange($socket, $timeout, scalar $block->raw_request_middle_delay, @$packets);
    if (($problem // '') eq 'timeout') {
        fail('client socket timed out - ' . $block->name) unless defined $block->abort;
    } elsif ($problem) {
        diag($block->name . " - client socket: $problem");
    }
    return $raw;
}

# The connection's end is the response's end, as with Test::Nginx.
sub exchange {
    my ($socket, $timeout, $delay, $unsent, @packets) = @_;
    local $SIG{PIPE} = 'IGNORE';
    $socket->blocking(0);
    my $select = IO::Select->new($socket);
    my $raw = '';
    while (1) {
        my ($readable, $writable) = IO::Select->select($select, length $unsent ? $select : undef, undef, $timeout);
        return ($raw, 'timeout') unless $readable;
        if (@$writable) {
            my $sent = syswrite $socket, $unsent;
            substr($unsent, 0, $sent) = '' if defined $sent;
            # nginx may have answered and closed without reading it all
            ($unsent, @packets) = ('') if !defined $sent && !$!{EAGAIN};
            if (!length $unsent && @packets) {
                sleep $delay if $delay;
                $unsent = shift @packets;
            }
        }
        if (@$readable) {
            my $read = sysread $socket, $raw, 65536, length $raw;
            return ($raw, "$!") if !defined $read && !$!{EAGAIN};
            return ($raw) if defined $read && $read == 0;
        }
    }
}

# ---- responses ------------------------------------------------------------------------------

sub parse_response {
    my ($raw, $is_head) = @_;
    my ($head, $rest) = $raw =~ /\A(.*?\r\n)\r\n(.*)\z/s
        or return { status => '', head => $raw, headers => {}, body => '', rest => '' };
    my ($status_line, @lines) = split /\r\n/, $head;
    my %response = (head => $head, headers => {}, body => '', rest => '');
    $response{status} = $status_line =~ m{^HTTP/\S+ (\d+)} ? $1 : '';
    for my $line (@lines) {
        my ($name, $value) = split /:\s*/, $line, 2;
        push @{ $response{headers}{lc $name} }, $value;
    }
    my $length = header(\%response, 'content-length');
    if ($is_head || $response{status} =~ /^(?:101|204|304)$/) {
        $response{rest} = $rest;
    } elsif (header(\%response, 'transfer-encoding') eq 'chunked') {
        @response{qw(body rest problem)} = dechunk($rest);
    } elsif (length $length) {
        $response{body} = substr $rest, 0, $length;
        $response{rest} = length $rest > $length ? substr $rest, $length : '';
        diag("response body truncated: $length expected, but got " . length $rest) if length $rest < $length;
    } else {
        $response{body} = $rest;
    }
    return \%response;
}

sub dechunk {
    my ($raw) = @_;
    my $body = '';
    while ($raw =~ /\G[ \t]*([0-9A-Fa-f]+)[^\r\n]*\r\n/gc) {
        my ($size, $start) = (hex $1, pos $raw);
        if ($size == 0) {
            return ($body, substr($raw, $start + 2)) if substr($raw, $start, 2) eq "\r\n";
            last;
        }
        return ($body, '', 'a chunk is cut short') if length $raw < $start + $size + 2;
        $body .= substr $raw, $start, $size;
        return ($body, '', 'a chunk does not end with CRLF') if substr($raw, $start + $size, 2) ne "\r\n";
        pos($raw) = $start + $size + 2;
    }
    return ($body, '', 'no last chunk found');
}

sub header {
    my ($response, $name) = @_;
    return join ', ', @{ $response->{headers}{lc $name} || [] };
}

# Answers the bytes after the response.
sub check_response {
    my ($block, $raw, $is_head, $index, $many, $title) = @_;
    my $response = parse_response($raw, $is_head);
    my $failures = failures();
    my $expected = sub { indexed($block, $_[0], $index, $many) };
    fail("$title - invalid chunked body: $response->{problem}") if $response->{problem};
    check_status($response, $expected, $title);
    check_headers($response, $expected, $title);
    check_body($response, $expected, $title);
    diag("response of $title:\n", substr $raw, 0, 2000) if failures() > $failures;
    return $response->{rest};
}

# With several requests every expectation is an array.
sub indexed {
    my ($block, $section, $index, $many) = @_;
    my $value = $block->$section;
    return $value if !defined $value;
    return $value->[$many ? $index : 0] if ref $value eq 'ARRAY';
    die "--- $section must be an array for several requests\n" if $many;
    return $value;
}

sub check_status {
    my ($response, $expected, $title) = @_;
    if (defined(my $pattern = $expected->('error_code_like'))) {
        like($response->{status}, qr/$pattern/sm, "$title - status code ok");
    } else {
        is($response->{status}, $expected->('error_code') // 200, "$title - status code ok");
    }
}

sub check_headers {
    my ($response, $expected, $title) = @_;
    my $pattern;
    like($response->{head}, qr/$pattern/s, "$title - raw response headers like")
        if defined($pattern = $expected->('raw_response_headers_like'));
    unlike($response->{head}, qr/$pattern/s, "$title - raw response headers unlike")
        if defined($pattern = $expected->('raw_response_headers_unlike'));

    if (defined(my $headers = $expected->('response_headers'))) {
        for my $line (header_lines($headers)) {
            my ($absent, $name, $value) = @$line;
            if ($absent) {
                unlike($response->{head}, qr/^\s*\Q$name\E\s*:/mi, "$title - header $name not present");
            } else {
                is(header($response, $name), expand_port($value), "$title - header $name ok");
            }
        }
    } elsif (defined($headers = $expected->('response_headers_like'))) {
        for my $line (header_lines($headers)) {
            my (undef, $name, $value) = @$line;
            like(header($response, $name), qr/^$value$/, "$title - header $name like ok");
        }
    }
}

sub header_lines {
    my ($text) = @_;
    return map {
        my ($absent, $name, $value) = /^\s*(!)?\s*([^:]+?)\s*(?::\s*(.*?))?\s*$/ or die "invalid header: $_\n";
        die "no value for header: $_\n" unless $absent || defined $value;
        [$absent, $name, $value];
    } grep { /\S/ } split /\n/, $text;
}

sub check_body {
    my ($response, $expected, $title) = @_;
    my $body = $response->{body};
    my $value;
    if (defined($value = $expected->('response_body'))) {
        is_str($body, expand_port($value), "$title - response_body is expected");
    } elsif (defined($value = $expected->('response_body_like'))) {
        $value = expand_port($value);
        like($body, qr/$value/s, "$title - response_body_like");
    } elsif (defined($value = $expected->('response_body_unlike'))) {
        $value = expand_port($value);
        unlike($body, qr/$value/s, "$title - response_body_unlike");
    }
}

sub expand_port {
    my ($text) = @_;
    $text =~ s/\$ServerPort(?:ForClient)?\b/$Setting{port}/g unless ref $text;
    return $text;
}

# ---- logs -----------------------------------------------------------------------------------

sub patterns {
    my ($value) = @_;
    return @$value if ref $value eq 'ARRAY';
    return $value if ref $value;
    return split /\n+/, $value // '';
}

sub matches {
    my ($line, $pattern) = @_;
    return ref $pattern ? $line =~ $pattern : index($line, $pattern) >= 0;
}

sub any_match {
    my ($pattern, @lines) = @_;
    my ($line) = grep { matches($_, $pattern) } @lines;
    return $line;
}

# As in Test::Nginx each check sees the lines since the last check.
sub check_error_log {
    my ($block, $repeat) = @_;
    my $name = $block->name;
    my @wanted = patterns($block->error_log);
    my ($grep, $grep_out) = map { ref($_) eq 'ARRAY' ? $_->[$repeat] : $_ }
        scalar $block->grep_error_log, scalar $block->grep_error_log_out;
    my @lines = settled_log(sub {
        my $got = \@_;
        return !grep({ !any_match($_, @$got) } @wanted) && (!defined $grep || grep_is($grep, $grep_out, @$got));
    });
    $Server->log_seen unless $Setting{accum_error_log};

    is_str(grep_log($grep, @lines), $grep_out, "$name - grep_error_log_out (run $repeat)") if defined $grep;
    check_wanted($name, 'error_log', \@wanted, @lines);
    check_unwanted($name, 'no_error_log', [patterns($block->no_error_log)], @lines);
}

sub settled_log {
    my ($satisfied) = @_;
    my $start = time;
    my ($count, $changed) = (-1, $start);
    while (1) {
        my @lines = $Server->log_lines;
        my $now = time;
        ($count, $changed) = (scalar @lines, $now) if @lines != $count;
        return @lines if $now - $start >= $LogTimeout;
        return @lines if ($now - $changed >= $LogQuiet || $now - $start >= $LogBusy) && $satisfied->(@lines);
        sleep 0.01;
    }
}

sub grep_log {
    my ($pattern, @lines) = @_;
    my $regexp = ref $pattern ? $pattern : qr/\Q$pattern\E/;
    my @found = map { /($regexp)/ ? $1 : () } @lines;
    return join '', map { "$_\n" } grep { !/\n/ } @found;
}

sub grep_is {
    my ($pattern, $expected, @lines) = @_;
    my $got = grep_log($pattern, @lines);
    return ref $expected ? $got =~ $expected : $got eq $expected;
}

sub check_wanted {
    my ($name, $section, $patterns, @lines) = @_;
    for my $pattern (@$patterns) {
        ok(defined any_match($pattern, @lines), qq{$name - $section: "$pattern" should match a line of error.log});
    }
}

sub check_unwanted {
    my ($name, $section, $patterns, @lines) = @_;
    for my $pattern (@$patterns) {
        my $line = any_match($pattern, @lines);
        ok(!defined $line, qq{$name - $section: "$pattern" should not match a line of error.log})
            or diag("but matches: $line");
    }
}

sub check_shutdown_log {
    my ($block) = @_;
    my $name = $block->name;
    my @lines = $Server->log_lines;
    check_wanted($name, 'shutdown_error_log', [patterns($block->shutdown_error_log)], @lines);
    check_unwanted($name, 'no_shutdown_error_log', [patterns($block->no_shutdown_error_log)], @lines);
}

sub skip_shutdown_log {
    my ($block) = @_;
    my $count = grep { length } patterns($block->shutdown_error_log), patterns($block->no_shutdown_error_log);
    SKIP: { skip $block->name . ' - shutdown log with TEST_NGINX_USE_HUP', $count if $count }
}

# A crash is a failure, whatever else a block says, unless it asks for that very line.
sub check_crashes {
    my ($block) = @_;
    my $crash = qr/exited on signal \d+/;
    my @asked = (patterns($block->error_log), patterns($block->shutdown_error_log));
    return if grep { /exited on signal/ } @asked;
    my $line = any_match($crash, $Server->whole_log);
    fail($block->name . " - a worker crashed: $line") if defined $line;
}

sub check_findings {
    my ($name) = @_;
    my $findings = $Server->findings or return;
    my $count = () = $findings =~ /^==\d+== \S.*\n==\d+==    at /mg;
    fail("$name - errors found by valgrind: $count");
    diag($findings);
}

sub diag_log {
    my @lines = $Server->whole_log;
    my $first = @lines > 60 ? @lines - 60 : 0;
    diag("end of $Server->{error_log}:\n", @lines[$first .. $#lines]);
}

1;
