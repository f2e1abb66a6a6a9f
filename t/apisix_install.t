# apisix-plugin/install.sh and the tarball: what they put into Apache APISIX, and take out.

use strict;
use warnings;

use Cwd qw(cwd);
use t::Apisix;
use Test::More;

my ($tarball, $unpacked) = unpacked();
my $script  = "$unpacked/share/resty-wasm/install.sh";
my $runtime = openresty('runtime', '--add-module=../wasm-nginx-module-0.7.0 --with-compat');
my $stock   = openresty('stock', '--with-compat');
my $version = read_file("$unpacked/share/resty-wasm/VERSION") =~ /^version (\S+)$/m ? $1 : die 'no version';

sub config { return read_file("apisix-plugin/config/$_[0].yaml") }

# The inodes: a file that was written again has another one.
sub inodes {
    my ($home) = @_;
    return { map { $_ => (stat "$home$_")[1] } keys %{ tree($home) } };
}

subtest 'APISIX-Runtime' => sub {
    my $home   = apisix('3.14.1');
    my $before = tree($home);
    my ($status, $said) = install_sh($script, '--apisix-home', $home, '--openresty', $runtime);
    is($status, 0, 'installs') or diag $said;
    like($said, qr{^resty-wasm \Q$version\E is now in \Q$home\E/deps\.$}m, 'says so');
    like($said, qr/^Nothing in conf\/config\.yaml has to change/m, 'nothing has to be configured');
    ok(index($said, "\n\n" . config('apisix-runtime') . "\n") > 0, 'prints config/apisix-runtime.yaml');

    my $after = tree($home);
    is_deeply({ map { $_ => $after->{$_} } keys %$before }, $before, 'what was there is as before');
    ok($after->{"/deps/$_"}, $_) for qw(
        share/lua/5.1/resty/proxy-wasm.lua share/lua/5.1/resty/wasm.lua share/lua/5.1/resty/wasm/native_module.lua
        lib/lua/5.1/resty/wasm/native.so share/resty-wasm/MANIFEST share/resty-wasm/install.sh);
    is_deeply([grep { /\.part$/ } keys %$after], [], 'no temporary file is left');

    my $by_hand = apisix('3.14.1');
    is(system('tar', '-xzf', $tarball, '-C', "$by_hand/deps"), 0, 'the tarball unpacks into deps');
    is_deeply(tree($by_hand), $after, 'which is the whole installation');

    my $from_source = apisix('3.14.1');
    install_sh('apisix-plugin/install.sh', '--apisix-home', $from_source, '--openresty', $runtime);
    is_deeply(tree($from_source), $after, 'from the source tree the same is installed');

    my $inodes = inodes($home);
    ($status, $said) = install_sh($script, '--apisix-home', $home, '--openresty', $runtime);
    is($status, 0, 'installs again') or diag $said;
    like($said, qr{^resty-wasm \Q$version\E is in \Q$home\E/deps already; nothing was changed\.$}m, 'says that it is there');
    is_deeply(inodes($home), $inodes, 'no file was touched');

    ($status, $said) = install_sh("$home/deps/share/resty-wasm/install.sh", '--uninstall');
    is($status, 0, 'is removed by the script that was installed, which knows its home') or diag $said;
    like($said, qr{^resty-wasm is no longer in \Q$home\E/deps\.}m, 'says so');
    is_deeply(tree($home), $before, 'all is as before the installation');

    ($status, $said) = install_sh($script, '--apisix-home', $home, '--uninstall');
    is($status, 1, 'is not removed twice');
    like($said, qr{^install\.sh: resty-wasm is not installed in \Q$home\E}, 'says why');
};

subtest 'stock OpenResty' => sub {
    my $home   = apisix('3.14.1');
    my $before = tree($home);
    my ($status, $said) = install_sh($script, '--apisix-home', $home, '--openresty', $stock);
    is($status, 0, 'installs') or diag $said;
    like($said, qr{is stock OpenResty: put these lines into \Q$home\E/conf/config\.yaml}, 'says what is to be configured');
    ok(index($said, "\n\n" . config('stock-openresty') . "\n") > 0, 'prints config/stock-openresty.yaml');
    unlike($said, qr/APISIX-Runtime/, 'asks for nothing else');
    my $with_module = tree($home);
    my ($module) = config('stock-openresty') =~ /load_module (\S+);/;
    ok(-x "$home/$module", "$module, which it loads, is there");
    my ($hook) = config('stock-openresty') =~ /lua_module_hook: (\S+)/;
    ok(-f "$home/deps/share/lua/5.1/" . ($hook =~ tr{.}{/}r) . '.lua', "$hook, which it requires, is there");

    ($status, $said) =
        install_sh($script, '--apisix-home', $home, '--openresty', $stock, '--without-directive-module');
    is($status, 0, 'installs with a template in the place of the module') or diag $said;
    ok(index($said, "\n\n" . config('stock-openresty-without-directive-module') . "\n") > 0,
        'prints config/stock-openresty-without-directive-module.yaml');
    ok(-f "$home/deps/share/lua/5.1/apisix/cli/ngx_tpl.lua", 'the template is there');

    ($status) = install_sh($script, '--apisix-home', $home, '--openresty', $stock);
    is($status, 0, 'installs with the module again');
    is_deeply(tree($home), $with_module, 'the template is gone');

    install_sh($script, '--apisix-home', $home, '--openresty', $stock, '--without-directive-module');
    ($status) = install_sh($script, '--apisix-home', $home, '--uninstall');
    is($status, 0, 'is removed');
    is_deeply(tree($home), $before, 'all is as before the installation');

    my $newer = apisix('3.15.0');
    ($status, $said) = install_sh($script, '--apisix-home', $newer, '--openresty', $stock);
    like($said, qr/^APISIX 3\.15\.0 needs APISIX-Runtime: stock OpenResty is for APISIX up to 3\.14\.$/m,
        'says which APISIX it is not for');
    is(config('stock-openresty-without-directive-module'),
        join('', grep { !/wasm_vm_module|main_configuration_snippet|knows the directive/ } split /^/, config('stock-openresty')),
        'the two snippets are one but for the module');
};

subtest 'an upgrade' => sub {
    my $home = apisix('3.14.1');
    install_sh($script, '--apisix-home', $home, '--openresty', $runtime);
    my $new      = tree($home);
    my $manifest = "$home/deps/share/resty-wasm/MANIFEST";
    my $changed  = "$home/deps/share/lua/5.1/resty/proxy-wasm.lua";
    write_file($changed, "-- an older version\n");
    write_file("$home/deps/share/lua/5.1/resty/wasm/old/part.lua", "-- no longer there\n");
    write_file($manifest, read_file($manifest) . '0' x 64 . "  share/lua/5.1/resty/wasm/old/part.lua\n");

    my ($status, $said) = install_sh($script, '--apisix-home', $home, '--openresty', $runtime);
    is($status, 0, 'installs') or diag $said;
    like($said, qr/ is now in /, 'says so');
    is_deeply(tree($home), $new, 'old files are replaced or gone, and their directories');

    write_file($changed, "-- damaged\n");
    ($status, $said) = install_sh($script, '--apisix-home', $home, '--openresty', $runtime);
    like($said, qr/ is now in /, 'a damaged file of the same version is replaced');
    is_deeply(tree($home), $new, 'by that of the version');
};

subtest 'what is in the way' => sub {
    my $home    = apisix('3.14.1');
    my $foreign = write_file("$home/deps/share/lua/5.1/resty/wasm.lua", "-- somebody else's\n");
    my $before  = tree($home);
    my ($status, $said) = install_sh($script, '--apisix-home', $home, '--openresty', $runtime);
    is($status, 1, 'refused');
    is($said, "install.sh: $foreign is there and not of resty-wasm: move it away; nothing was changed\n", 'says why');
    is_deeply(tree($home), $before, 'nothing was changed');

    unlink $foreign;
    my $file = write_file("$home/deps/share/resty-wasm", "a file\n");
    ($status, $said) = install_sh($script, '--apisix-home', $home, '--openresty', $runtime);
    is($said, "install.sh: $file is in the way: it is no directory\n", 'a file where a directory is to be');
};

subtest 'missing permissions' => sub {
    plan skip_all => 'only root can become somebody else' if $> != 0;
    my $home   = apisix('3.14.1');
    my $before = tree($home);
    my ($status, $said) = as_nobody($script, '--apisix-home', $home, '--openresty', $runtime);
    is($status, 1, 'nobody may not install');
    like($said, qr{^install\.sh: nobody may not write into \Q$home\E/deps/\S+, which is root's; nothing was changed$}m, 'says why');
    is_deeply(tree($home), $before, 'nothing was changed');

    install_sh($script, '--apisix-home', $home, '--openresty', $runtime);
    my $installed = tree($home);
    ($status, $said) = as_nobody($script, '--apisix-home', $home, '--uninstall');
    is($status, 1, 'nobody may not uninstall');
    like($said, qr{^install\.sh: nobody may not write into \Q$home\E/deps/}m, 'says why');
    is_deeply(tree($home), $installed, 'nothing was changed');
};

subtest 'a library that this nginx cannot open' => sub {
    my $payload = root() . '/damaged';
    system('cp', '-a', $unpacked, $payload);
    my $native = "$payload/lib/lua/5.1/resty/wasm/native.so";
    write_file($native, 'no library', 0755);
    my $home   = apisix('3.14.1');
    my $before = tree($home);
    my @install = ("$payload/share/resty-wasm/install.sh", '--apisix-home', $home, '--openresty', $runtime);
    my ($status, $said) = install_sh(@install);
    is($status, 1, 'a damaged download is refused');
    is($said, "install.sh: $payload is incomplete: lib/lua/5.1/resty/wasm/native.so: FAILED\n", 'by its checksum');

    system("cd $payload && cut -c 67- share/resty-wasm/MANIFEST | xargs sha256sum >manifest && mv manifest share/resty-wasm/MANIFEST");
    ($status, $said) = install_sh(@install);
    is($status, 1, 'one that nginx cannot open is refused, too');
    like($said, qr{^install\.sh: \Q$runtime\E/bin/openresty can't run resty-wasm, nothing was changed: .*\Q$native\E.*(?:too short|invalid ELF)}m,
        'says what nginx said');
    is_deeply(tree($home), $before, 'nothing was changed');
};

subtest 'a file that cannot be written' => sub {
    my $home   = apisix('3.14.1');
    my $before = tree($home);
    my ($status, $said) = install_sh('sh', '-c', 'trap "" XFSZ; ulimit -f 2000; exec "$@"', 'sh', $script,
        '--apisix-home', $home, '--openresty', $runtime);
    isnt($status, 0, 'the installation fails');
    like($said, qr{native\.so\.part.*: File too large}, 'says why');
    is_deeply(tree($home), $before, 'nothing is left of it');
};

subtest 'wrong use' => sub {
    my $home  = apisix('3.14.1');
    my $none  = root() . '/none';
    my $empty = root() . '/empty';
    mkdir $empty;
    my $before = tree($home);
    my @wrong = (
        ['--apisix-hom', $home] => 2, "unknown option '--apisix-hom'; --help says more",
        [$home] => 2, "unknown option '$home'; --help says more",
        ['--apisix-home'] => 2, '--apisix-home needs a directory; --help says more',
        ['--openresty', ''] => 2, '--openresty needs a directory; --help says more',
        ['--check', '--uninstall'] => 2, '--check and --uninstall exclude each other; --help says more',
        ['--apisix-home', $none] => 1, "--apisix-home $none: there is no such directory",
        ['--apisix-home', $empty] => 1, "--apisix-home $empty: no Apache APISIX is there, which would have apisix/core/version.lua",
        ['--apisix-home', $home, '--openresty', $none] => 1, "--openresty $none: there is no such directory",
        ['--apisix-home', $home, '--openresty', $empty] => 1,
            "--openresty $empty: no OpenResty is there, which would have bin/openresty or nginx/sbin/nginx",
        ['--apisix-home', $home, '--openresty', $runtime, '--without-directive-module'] => 1,
            "--without-directive-module is for stock OpenResty: $runtime/bin/openresty has wasm-nginx-module, and the directive with it",
    );
    while (my ($arguments, $code, $message) = splice @wrong, 0, 3) {
        my ($status, $said) = install_sh($script, @$arguments);
        is($said, "install.sh: $message\n", "@$arguments");
        is($status, $code, "exits with $code");
    }
    is_deeply(tree($home), $before, 'nothing was changed');
    my ($status, $said) = install_sh($script, '--help');
    is($status, 0, '--help');
    like($said, qr/^\s+\Q$_\E /m, "tells of $_") for qw(--apisix-home --openresty --check --uninstall --without-directive-module);
};

subtest 'the tarball' => sub {
    my $first = read_file($tarball);
    is(system('tools/dist-apisix >/dev/null'), 0, 'is made again');
    ok(read_file($tarball) eq $first, 'the same bytes come out');
    my @directories = grep { m{/$} } split /\n/, `tar -tzf $tarball`;
    is_deeply(\@directories, [], 'it has no directories, whose modes and owners it would change');
    like(`tar -tvzf $tarball`, qr{\A(?:-rw[-x]r-[-x]r-[-x] 0/0 .*\n)+\z}, 'all is for everybody to read');
    like($tarball, qr{/resty-wasm-\Q$version\E-apisix-\w+\.tar\.gz$}, 'its name tells version and architecture');
};

done_testing();
