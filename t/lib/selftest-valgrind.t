# What valgrind finds must fail, in the master and in a worker: run by tools/valgrind, before the tests that must not.

use strict;
use warnings;

use File::Temp qw(tempdir);
use Test::More;

my $dir = tempdir(CLEANUP => 1);
$ENV{TEST_NGINX_BUNDLED}  = 1;
$ENV{TEST_NGINX_SERVROOT} = "$dir/servroot";
$ENV{TEST_NGINX_PORT}     = 1987;

my $READ_OF_FREED = 'local ffi = require("ffi") ffi.cdef("void *malloc(size_t n); void free(void *p); size_t strlen(const char *s);") '
    . 'local p = ffi.C.malloc(16) ffi.fill(p, 16) ffi.C.free(p) ffi.C.strlen(p)';

# name => [http_config, what is between the braces of content_by_lua_block, the findings]
my @cases = (
    'nothing'    => ['', '', 0],
    'a worker'   => ['', $READ_OF_FREED, 1],
    'the master' => ["init_by_lua_block { $READ_OF_FREED }", '', 1],
    'a worker that ends' => ["exit_worker_by_lua_block { $READ_OF_FREED }", '', 1],
);

while (my ($name, $case) = splice @cases, 0, 2) {
    my ($http, $content, $count) = @$case;
    my $file = "$dir/case.t";
    open my $out, '>', $file or die "$file: $!";
    print {$out} "use t::WASM 'no_plan';\nrun_tests();\n__DATA__\n\n=== TEST 1: case\n--- http_config\n$http\n"
        . "--- config\nlocation = /t { content_by_lua_block { $content ngx.say(1) } }\n--- response_body\n1\n";
    close $out or die "$file: $!";
    my $output = `$^X -I. -It/lib $file 2>&1`;
    my $status = $?;
    my ($found) = $output =~ /^not ok \d+ - TEST 1: case - errors found by valgrind: (\d+)$/m;
    is($found // 0, $count, "findings in $name") or diag($output);
    is($status != 0, $count != 0, "failure with findings in $name");
    like($output, qr/Invalid read of size 1\n.*strlen/, "report of findings in $name") if $count;
}

done_testing();
