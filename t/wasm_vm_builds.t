# One file of the module wasm_vm for every nginx, and beside a module that has the same directive.

use strict;
use warnings;

use Cwd qw(cwd);
use File::Temp qw(tempdir);
use Test::More;

my $module = cwd() . '/target/release/libwasm_vm_directive.so';
my $dir    = tempdir(CLEANUP => 1);
my $nginx  = $ENV{OPENRESTY_PREFIX} ? "$ENV{OPENRESTY_PREFIX}/nginx/sbin/nginx" : 'nginx';
chomp(my $path = `which $nginx`);
mkdir "$dir/logs";

sub slurp { my ($file) = @_; open my $in, '<:raw', $file or die "$file: $!"; local $/; return scalar <$in> }

sub spew {
    my ($file, $content) = @_;
    open my $out, '>:raw', $file or die "$file: $!";
    print {$out} $content;
    close $out or die "$file: $!";
    chmod 0755, $file;
    return $file;
}

# What `nginx -t` says of a configuration with these modules.
sub says {
    my ($binary, $http, @modules) = @_;
    my $load = join '', map { "load_module $_;\n" } @modules;
    my $conf = spew("$dir/nginx.conf", "${load}pid $dir/nginx.pid;\nerror_log stderr;\nevents {}\nhttp { $http }\n");
    return scalar `$binary -p $dir/ -t -c $conf 2>&1`;
}

# A module of nginx's own has the signature of the binary; another build has another one.
my $signature = qr/(?<=\0)\d,\d,\d,([01]{20,})(?=\0)/;
my $other_build = slurp($path);
like($other_build, $signature, 'nginx has a signature');
$other_build =~ s/$signature/$& =~ tr,01,10,r/ge;
$other_build = spew("$dir/nginx", $other_build);

like(says($path, 'wasm_vm wasmtime;', $module), qr/test is successful/, 'the module loads in this nginx');
like(says($other_build, 'wasm_vm wasmtime;', $module), qr/test is successful/, 'and in one with another signature');

SKIP: {
    my ($modules) = `$path -V 2>&1` =~ /--modules-path=(\S+)/;
    skip 'this nginx has no dynamic module to compare with', 1 unless $modules && -e "$modules/ndk_http_module.so";
    like(says($other_build, '', "$modules/ndk_http_module.so"), qr/is not binary compatible/, 'which a module of the first build does not');
}

# Under another name it stands for wasm-nginx-module.
(my $twin = slurp($module)) =~ s/ngx_http_wasm_vm_module/ngx_http_wasm_xx_module/g;
$twin = spew("$dir/twin.so", $twin);
like(says($path, 'wasm_vm wasmtime;', $twin, $module), qr/test is successful/, 'two modules may have the directive');
like(says($path, 'wasm_vm wasmtime; wasm_vm wasmtime;', $twin, $module), qr/"wasm_vm" directive is duplicate/,
    'then the first one has it');
like(says($path, '', $module, $module), qr/is already loaded/, 'one module may not be loaded twice');

done_testing();
