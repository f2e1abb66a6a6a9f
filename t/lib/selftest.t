# Wrong expectations must fail: each case below runs one block in a runner of its own and names
# the test that has to fail in it. The runner's positive half is t/000-runner.t.

use strict;
use warnings;

use Cwd qw(cwd);
use File::Temp qw(tempdir);
use Test::More;

my $dir = tempdir(CLEANUP => 1);
$ENV{TEST_NGINX_BUNDLED}       = 1;
$ENV{TEST_NGINX_SERVROOT}      = "$dir/servroot";
$ENV{TEST_NGINX_PORT}          = 1987;
$ENV{TEST_NGINX_LOG_TIMEOUT}   = 0.3;
$ENV{TEST_NGINX_STOP_TIMEOUT}  = 1;
$ENV{TEST_NGINX_START_TIMEOUT} = 3;

my $HELLO = 'location = /t { content_by_lua_block { ngx.header.a = "b" ngx.log(ngx.WARN, "noted") ngx.say("hello") } }';

# name => [sections, what the failed test's name must contain]
my @wrong = (
    'status'                    => ['--- error_code: 404', 'status code ok'],
    'status pattern'            => ['--- error_code_like: ^4', 'status code ok'],
    'body'                      => ["--- response_body\nhallo", 'response_body is expected'],
    'body without its newline'  => ["--- response_body chomp\nhello", 'response_body is expected'],
    'body pattern'              => ['--- response_body_like: ^ello', 'response_body_like'],
    'body pattern to be absent' => ['--- response_body_unlike: ello', 'response_body_unlike'],
    'header value'              => ["--- response_headers\nA: c", 'header A ok'],
    'header that is missing'    => ["--- response_headers\nB: b", 'header B ok'],
    'header to be absent'       => ["--- response_headers\n!A", 'header A not present'],
    'header pattern'            => ["--- response_headers_like\nA: .b", 'header A like ok'],
    'raw headers pattern'       => ['--- raw_response_headers_like: a: c', 'raw response headers like'],
    'raw headers to be absent'  => ['--- raw_response_headers_unlike: a: b', 'raw response headers unlike'],
    'log line'                  => ["--- error_log\nnot there", 'error_log: "not there"'],
    'one log line of two'       => ["--- error_log\nnoted\nnot there", 'error_log: "not there"'],
    'log pattern'               => ["--- error_log eval\nqr/not.x/", 'error_log: "(?^:not.x)"'],
    'log line to be absent'     => ["--- no_error_log\nnoted", 'no_error_log: "noted"'],
    'grep of the log'           => ["--- grep_error_log: noted\n--- grep_error_log_out\nother", 'grep_error_log_out'],
    'grep that must be empty'   => ["--- grep_error_log: noted\n--- grep_error_log_out", 'grep_error_log_out'],
    'grep that is empty'        => ["--- grep_error_log: nope\n--- grep_error_log_out\nnope", 'grep_error_log_out'],
    'shutdown line'             => ["--- shutdown_error_log\nnot there", 'shutdown_error_log: "not there"'],
    'shutdown line to be absent' => ["--- no_shutdown_error_log\ngracefully", 'no_shutdown_error_log: "gracefully"'],
    'second of two requests'    => ["--- request eval\n['GET /t', 'GET /t']\n--- response_body eval\n[\"hello\\n\", 'x']", 'request 1) - response_body'],
    'one expectation for two requests' => ["--- request eval\n['GET /t', 'GET /t']\n--- response_body\nhello", 'must be an array'],
    'second pipelined response' => ["--- pipelined_requests eval\n['GET /t', 'GET /t']\n--- error_code eval\n[200, 201]", 'request 1) - status code ok'],
    'unknown section'           => ["--- respons_body\nhello", 'unknown section --- respons_body'],
    'syntax error in an eval'   => ["--- response_body_unlike eval\n[1", '--- response_body_unlike eval:'],
    'must_die of what starts'   => ['--- must_die', 'nginx must die but it runs'],
    'no such variable'          => ["--- main_config\n# \$TEST_NGINX_NONE", 'no environment variable TEST_NGINX_NONE'],
);

# the same with a configuration of its own
my @wrong_config = (
    'error in the log, by default' =>
        ['location = /t { content_by_lua_block { ngx.log(ngx.ERR, "oops") } }', '', 'no_error_log: "[error]"'],
    'error in the log, late' =>
        ['location = /t { content_by_lua_block { ngx.timer.at(0.02, function() ngx.log(ngx.ERR, "oops") end) } }', '',
            'no_error_log: "[error]"'],
    'alert beside an expected line' =>
        ['location = /t { content_by_lua_block { ngx.log(ngx.ERR, "oops") ngx.log(ngx.ALERT, "worse") } }',
            "--- error_log\noops", 'no_error_log: "[alert]"'],
    'configuration that nginx refuses' => ['no_such_directive;', '', 'nginx exited at start'],
    'refusal with another exit code' => ['no_such_directive;', '--- must_die: 2', 'die with the expected exit code'],
    'refusal for another reason' => ['no_such_directive;', "--- must_die\n--- error_log\nother", 'error_log: "other"'],
    'no answer in time' =>
        ['location = /t { content_by_lua_block { ngx.sleep(0.5) } }', "--- timeout: 0.1\n--- ignore_response",
            'client socket timed out'],
    'no answer at all' => ['location = /t { return 444; }', '', 'status code ok'],
    'broken chunks' =>
        ['location = /t { content_by_lua_block { local s = ngx.req.socket(true) '
            . 's:send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel") } }', '', 'invalid chunked body'],
    'worker that spins' =>
        ['location = /t { content_by_lua_block { while true do end } }', '--- timeout: 0.2', 'nginx did not stop'],
    'worker that crashes' =>
        ['location = /t { content_by_lua_block { require("ffi").cast("int *", 8)[0] = 1 } }',
            "--- ignore_response\n--- no_error_log\nnone", 'a worker crashed'],
);
push @wrong_config, 'worker that crashes at shutdown' =>
    ["location = /t { return 200; }\n--- http_config\n"
        . 'exit_worker_by_lua_block { require("ffi").cast("int *", 8)[0] = 1 }', '', 'a worker crashed'];

sub run_file {
    my ($blocks) = @_;
    my $file = "$dir/case.t";
    open my $out, '>', $file or die "$file: $!";
    print {$out} "use t::WASM 'no_plan';\nrun_tests();\n__DATA__\n\n$blocks\n";
    close $out or die "$file: $!";
    my $output = `$^X -I. -It/lib $file 2>&1`;
    return ($?, $output);
}

sub block {
    my ($config, $sections) = @_;
    return "=== TEST 1: case\n--- config\n$config\n$sections\n";
}

sub leftovers {
    return grep { (readlink // '') =~ m{^\Q$dir\E/servroot/logs/error} } glob '/proc/[0-9]*/fd/*';
}

sub must_fail {
    my ($name, $blocks, $expected) = @_;
    my ($status, $output) = run_file($blocks);
    my $failed = $output =~ /^not ok \d+ - .*\Q$expected\E/m;
    ok($status != 0 && $failed, "fails: $name") or diag("exit status $status, expected '$expected' in:\n$output");
    is(scalar leftovers(), 0, "leaves no nginx: $name");
}

my ($status, $output) = run_file(block($HELLO, "--- response_body\nhello"));
is($status, 0, 'a right expectation succeeds') or diag($output);

while (my ($name, $case) = splice @wrong, 0, 2) {
    my ($sections, $expected) = @$case;
    must_fail($name, block($HELLO, $sections), $expected);
}
while (my ($name, $case) = splice @wrong_config, 0, 2) {
    my ($config, $sections, $expected) = @$case;
    must_fail($name, block($config, $sections), $expected);
}

($status, $output) = run_file('');
isnt($status, 0, 'fails: a file without blocks');

{
    local $ENV{TEST_NGINX_SERVROOT} = "$dir/precious";
    mkdir $_ for "$dir/precious", "$dir/precious/html";
    must_fail('a server root with other files', block($HELLO, '') x 2, 'neither empty nor a server root');
    ok(-d "$dir/precious/html" && !-e "$dir/precious/html/index.html", 'and leaves them alone');
}

# A failure is no reason to stop: the block after it runs, and counts.
($status, $output) = run_file(block('no_such_directive;', '') . "\n" . block($HELLO, "--- response_body\nhello"));
isnt($status, 0, 'fails: the first of two blocks');
like($output, qr/^ok \d+ - TEST 1: case \(run 0, request 0\) - response_body/m, 'runs the block after a failure');

subtest 'with SIGHUP between the blocks' => sub {
    local $ENV{TEST_NGINX_USE_HUP} = 1;
    my ($status, $output) = run_file(
        block($HELLO, "--- response_body\nhello\n--- error_log\nnoted")
        . block('location = /t { return 200 "second"; }', "--- response_body chomp\nsecond\n--- error_log\nreconfiguring"));
    is($status, 0, 'the second block is a reload with its own configuration') or diag($output);

    must_fail('configuration that nginx refuses to load',
        block($HELLO, '') . block('no_such_directive;', ''), 'nginx refused to reload');
    my $spinning = block('location = /t { content_by_lua_block { while true do end } }',
        "--- timeout: 0.2\n--- abort\n--- ignore_response");
    must_fail('worker that spins until the end', $spinning, 'nginx did not stop');
    must_fail('worker that spins across a reload', $spinning . block($HELLO, ''), 'nginx did not replace its workers');

    ($status, $output) = do {
        local $ENV{TEST_NGINX_LOG_TIMEOUT} = 3;
        my $all = `$^X -I. -It/lib t/000-runner.t 2>&1`;
        ($?, $all);
    };
    is($status, 0, 't/000-runner.t succeeds') or diag($output);
};

subtest 'after a runner that was killed' => sub {
    my $sleeper = block('location = /t { content_by_lua_block { ngx.sleep(60) } }', '--- timeout: 60');
    open my $out, '>', "$dir/killed.t" or die "$dir/killed.t: $!";
    print {$out} "use t::WASM 'no_plan';\nrun_tests();\n__DATA__\n\n$sleeper";
    close $out;
    my $start = sub {
        my $pid = fork // die "fork: $!";
        return $pid if $pid;
        open STDOUT, '>', '/dev/null';
        open STDERR, '>', '/dev/null';
        exec $^X, '-I.', '-It/lib', "$dir/killed.t";
    };
    my $wait_for = sub { my $deadline = time + 10; select undef, undef, undef, 0.02 until $_[0]->() || time > $deadline };

    my $pid = $start->();
    $wait_for->(sub { leftovers() });
    kill 'TERM', $pid;
    waitpid $pid, 0;
    is(scalar leftovers(), 0, 'SIGTERM takes nginx along');

    $pid = $start->();
    $wait_for->(sub { leftovers() });
    kill 'KILL', $pid;
    waitpid $pid, 0;
    cmp_ok(scalar leftovers(), '>', 0, 'SIGKILL leaves it behind');
    my ($status, $output) = run_file(block($HELLO, "--- response_body\nhello"));
    is($status, 0, 'and the next run removes it') or diag($output);
    is(scalar leftovers(), 0, 'for good');
};

done_testing();
