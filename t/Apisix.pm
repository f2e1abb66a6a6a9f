package t::Apisix;

# Apache APISIX as far as apisix-plugin/install.sh looks at it: directories laid out like its package, and an openresty that is the nginx of
# the tests.

use strict;
use warnings;

use Cwd qw(cwd);
use Digest::SHA qw(sha256_hex);
use Exporter qw(import);
use File::Find qw(find);
use File::Path qw(make_path);
use File::Temp qw(tempdir);

our @EXPORT = qw(apisix as_nobody conf_of install_sh openresty read_file root tree unpacked write_file);

# nginx's workers are not root: what they open is where anybody may look.
my $Root = tempdir(CLEANUP => 1);
chmod 0755, $Root;
my $Homes = 0;

sub root { return $Root }

sub read_file {
    my ($path) = @_;
    open my $in, '<:raw', $path or die "can't read $path: $!\n";
    local $/;
    return scalar <$in>;
}

sub write_file {
    my ($path, $content, $mode) = @_;
    make_path($path =~ s{/[^/]*$}{}r);
    open my $out, '>:raw', $path or die "can't write $path: $!\n";
    print {$out} $content;
    close $out or die "can't write $path: $!\n";
    chmod $mode // 0644, $path;
    return $path;
}

# The tarball and, unpacked, its directory.
my ($Tarball, $Unpacked);

sub unpacked {
    return $Tarball, $Unpacked if $Tarball;
    my $said = `tools/dist-apisix`;
    ($Tarball) = $said =~ /^(\S+), for glibc [\d.]+ and newer$/ or die "tools/dist-apisix said: $said\n";
    $Tarball = cwd() . "/$Tarball";
    make_path($Unpacked = "$Root/unpacked");
    system('tar', '-xzf', $Tarball, '-C', $Unpacked) == 0 or die "can't unpack $Tarball\n";
    return $Tarball, $Unpacked;
}

# A home of its own for each caller, of the given version.
sub apisix {
    my ($version) = @_;
    my $home = "$Root/home" . ++$Homes;
    write_file("$home/apisix/core/version.lua", qq{-- comment\nreturn {\n    VERSION = "$version"\n}\n});
    write_file("$home/apisix/cli/ngx_tpl.lua", <<'_EOC_');
return [=[
http {
    {% if wasm then %}
    wasm_vm wasmtime;
    {% end %}
    {% if wasm then %}
    set $wasm_process_req_body '';
    {% end %}
}
]=]
_EOC_
    write_file("$home/conf/config.yaml", "deployment:\n  role: data_plane\n");
    write_file("$home/deps/share/lua/5.1/resty/http.lua", "-- somebody else's\n");
    write_file("$home/deps/lib/lua/5.1/somebody.so", "somebody else's");
    # That of an OpenResty before 1.27.1.1, whatever this one is.
    write_file("$home/deps/share/lua/5.1/ngx/balancer.lua", "return {}\n");
    make_path("$home/logs");
    return $home;
}

# An OpenResty's directory. It is the nginx of the tests, with wasm-nginx-module only if that is named.
my $Nginx = $ENV{OPENRESTY_PREFIX} ? "$ENV{OPENRESTY_PREFIX}/nginx/sbin/nginx" : 'nginx';
my ($Arguments) = `$Nginx -V 2>&1` =~ /^configure arguments: (.*)/m or die "$Nginx -V has no arguments\n";
$Arguments =~ s/--add(?:-dynamic)?-module=\S*wasm-nginx-module\S*//;
$Arguments =~ s/'/"/g;

sub openresty {
    my ($name, $added) = @_;
    my $load = '';
    if ($Arguments !~ /lua-nginx-module|ngx_lua/) {
        my ($modules) = $Arguments =~ /--modules-path=(\S+)/;
        $load = "-g 'load_module $modules/ndk_http_module.so; load_module $modules/ngx_http_lua_module.so;'";
    }
    write_file("$Root/$name/bin/openresty", <<"_EOC_", 0755);
#!/bin/sh
if [ "\$1" = -V ]; then
  echo 'nginx version: openresty/1.27.1.2' >&2
  echo 'configure arguments: $Arguments $added' >&2
  exit
fi
exec $Nginx $load "\$@"
_EOC_
    return "$Root/$name";
}

# An nginx.conf as APISIX writes it, with lines of the test's own.
sub conf_of {
    my ($home, %part) = @_;
    my $http = join '', map { "    $_\n" } @{ $part{http} // [] };
    my $main = join '', map { "$_\n" } @{ $part{main} // [] };
    my $hook = $part{hook} ? qq{        require "$part{hook}"\n} : '';
    my $extra = $part{extra_lua_path} // '';
    return <<"_EOC_";
# main configuration snippet starts
$main# main configuration snippet ends
pid $home/logs/nginx.pid;
error_log $home/logs/error.log notice;
events {}
http {
    lua_package_path  "$extra\$prefix/deps/share/lua/5.1/?.lua;\$prefix/deps/share/lua/5.1/?/init.lua;$home/?.lua;$home/?/init.lua;;";
    lua_package_cpath "\$prefix/deps/lib64/lua/5.1/?.so;\$prefix/deps/lib/lua/5.1/?.so;;";
    access_log off;
@{[map { "    ${_}_temp_path $home/${_}_temp;\n" } qw(client_body proxy fastcgi uwsgi scgi)]}$http
    init_by_lua_block {
        require "resty.core"
$hook    }
}
_EOC_
}

# Runs an install.sh. Returns its exit status and what it said, on either stream.
sub install_sh {
    my ($script, @arguments) = @_;
    return run($script, @arguments);
}

sub as_nobody {
    return run('setpriv', '--reuid=nobody', '--regid=nogroup', '--clear-groups', @_);
}

sub run {
    my (@command) = @_;
    my $pid = open(my $out, '-|') // die "can't fork: $!\n";
    if (!$pid) {
        open STDERR, '>&', \*STDOUT;
        exec @command or die "can't run $command[0]: $!\n";
    }
    my $said = do { local $/; <$out> } // '';
    close $out;
    return ($? >> 8, $said);
}

# What is in a directory: name => kind, mode and content.
sub tree {
    my ($directory) = @_;
    my %tree;
    find({ no_chdir => 1, wanted => sub {
        my $name = substr $_, length $directory;
        my $mode = sprintf '%o', (stat)[2] & 07777;
        $tree{$name} = -d _ ? "directory $mode" : "file $mode " . sha256_hex(read_file($_));
    } }, $directory);
    return \%tree;
}

1;
