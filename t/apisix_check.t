# apisix-plugin/install.sh --check: what it finds, and what it misses.

use strict;
use warnings;

use t::Apisix;
use Test::More;

my ($tarball, $unpacked) = unpacked();
my $script  = "$unpacked/share/resty-wasm/install.sh";
my $runtime = openresty('runtime', '--add-module=../wasm-nginx-module-0.7.0');
my $stock   = openresty('stock', '--with-compat');
my $DICT    = 'lua_shared_dict resty_wasm 10m;';
my $MODULE  = 'load_module deps/lib/resty-wasm/ngx_http_wasm_vm_module.so;';

sub installed {
    my ($openresty, $version, @arguments) = @_;
    my $home = apisix($version);
    my ($status, $said) = install_sh($script, '--apisix-home', $home, '--openresty', $openresty, @arguments);
    die $said if $status;
    return $home;
}

sub conf {
    my ($home, %part) = @_;
    write_file("$home/conf/nginx.conf", conf_of($home, %part));
}

# check NAME, HOME, OPENRESTY, [MISSING...], [SAID...]: what is missing, as patterns in their order, and what is said besides.
sub check {
    my ($name, $home, $openresty, $missing, $besides) = @_;
    subtest $name => sub {
        my $before = tree($home);
        my ($status, $said) = install_sh($script, '--check', '--apisix-home', $home, '--openresty', $openresty);
        my @found = $said =~ /^missing  (.*)$/mg;
        is(scalar @found, scalar @$missing, 'so many things are missing') or diag $said;
        like($found[$_] // '', $missing->[$_], "missing: $missing->[$_]") for 0 .. $#$missing;
        like($said, $_, "says $_") for @{ $besides // [] };
        is($status, @$missing ? 1 : 0, 'the exit status says it, too');
        like($said, @$missing ? qr/\n\n@{[scalar @$missing]} missing\n\z/ : qr/\n\nall is well\n\z/, 'and so does the last line');
        is_deeply(tree($home), $before, 'nothing was changed');
    };
}

my $home = apisix('3.13.0');
check('before the installation', $home, $runtime, [qr{^resty-wasm: it is not installed in \Q$home\E/deps$}],
    [qr{^note     require\("resty\.proxy-wasm"\) gets nothing$}m]);
my $theirs = write_file("$home/resty/proxy-wasm.lua", "return {}\n");
check('with the module that goes with wasm-nginx-module', $home, $runtime, [qr{^resty-wasm: it is not installed}],
    [qr{^note     require\("resty\.proxy-wasm"\) gets \Q$theirs\E$}m]);

$home = installed($runtime, '3.13.0');
check('APISIX-Runtime, not started yet', $home, $runtime, [], [
    qr{^ok       Apache APISIX 3\.13\.0 in \Q$home\E$}m,
    qr{^ok       \S+: nginx 1\.\d+\.\d+, ngx_lua 0\.10\.\d+, LuaJIT 2\.1\S*, with wasm-nginx-module$}m,
    qr{^ok       resty-wasm \S+ in \Q$home\E/deps$}m,
    qr{^ok       require\("resty\.proxy-wasm"\) gets \Q$home\E/deps/share/lua/5\.1/resty/proxy-wasm\.lua$}m,
    qr{^ok       the user \S+ can open \Q$home\E/deps/lib/lua/5\.1/resty/wasm/native\.so$}m,
    qr{^note     conf/nginx\.conf is not there yet}m,
]);

conf($home, http => [$DICT, 'wasm_vm wasmtime;']);
check('APISIX-Runtime', $home, $runtime, [], [qr{^ok       conf/nginx\.conf has lua_shared_dict resty_wasm$}m]);

conf($home);
check('without the dict', $home, $runtime, [],
    [qr{^note     conf/nginx\.conf has no lua_shared_dict resty_wasm: each worker keeps its own}m]);

conf($home, extra_lua_path => "$home/extra/?.lua;");
my $other = write_file("$home/extra/resty/proxy-wasm.lua", "return {}\n");
check('another module comes first', $home, $runtime, [qr{^require\("resty\.proxy-wasm"\) gets \Q$other\E, not }]);

conf($home);
my $beside = "$home/deps/share/lua/5.1/resty/wasm/native.so";
write_file($beside, read_file("$home/deps/lib/lua/5.1/resty/wasm/native.so"), 0755);
check('another library comes first', $home, $runtime, [qr{^\Q$home\E/deps/lib/lua/5\.1/resty/wasm/native\.so: \Q$beside\E comes before it$}]);
unlink $beside;

write_file("$home/deps/share/lua/5.1/resty/wasm/metrics.lua", "-- changed\n");
check('a file that was changed', $home, $runtime,
    [qr{^files in \Q$home\E/deps as they were installed: share/lua/5\.1/resty/wasm/metrics\.lua: FAILED}]);

$home = installed($runtime, '3.13.0');
unlink "$home/deps/lib/lua/5.1/resty/wasm/native.so";
check('the library is gone', $home, $runtime, [
    qr{^files in \Q$home\E/deps as they were installed: .*native\.so},
    qr{^the library, opened by the user \w+: .*the native library is missing},
    qr{^a file that the user \w+ can read: \Q$home\E/deps/lib/lua/5\.1/resty/wasm/native\.so: No such file},
]);

SKIP: {
    skip 'only root has workers of another user', 3 if $> != 0;
    $home = installed($runtime, '3.13.0');
    my $native = "$home/deps/lib/lua/5.1/resty/wasm/native.so";
    my $wasm = write_file("$home/plugin.wasm", "\0asm", 0600);
    write_file("$home/conf/config.yaml", "wasm:\n  plugins:\n    - name: a\n      priority: 1\n      file: $wasm\n"
        . "    - file: \"$wasm\"   # again\n      name: b\nother:\n  file: /none\n");
    check('a plugin that workers may not read', $home, $runtime, [
        (qr{^a file that the user \w+ can read: \Q$wasm\E: Permission denied$}) x 2,
    ]);
    chmod 0644, $wasm;
    chmod 0700, $native;
    check('a library that workers may not read', $home, $runtime, [
        qr{^the library, opened by the user \w+: .*the native library is missing},
        qr{^a file that the user \w+ can read: \Q$native\E: Permission denied$},
    ]);
    conf($home, main => ['user root;']);
    check('workers that are root', $home, $runtime, [], [qr{^ok       the user root can open }m]);
}

$home = installed($stock, '3.13.0');
check('stock OpenResty, not started yet', $home, $stock, [qr{^conf/nginx\.conf, which 'apisix init' writes}], [qr{, stock OpenResty$}m]);

conf($home, main => [$MODULE], http => [$DICT, 'wasm_vm wasmtime;']);
check('stock OpenResty', $home, $stock, [], [
    qr{^ok       conf/nginx\.conf loads ngx_http_wasm_vm_module\.so$}m,
    qr{^ok       conf/nginx\.conf has lua_shared_dict resty_wasm$}m,
]);

conf($home, http => [$DICT]);
check('stock OpenResty without the module', $home, $stock,
    [qr{^in conf/nginx\.conf: load_module deps/lib/resty-wasm/ngx_http_wasm_vm_module\.so; see stock-openresty\.yaml$}]);

# OpenResty 1.27.1.1 and newer has such a function.
write_file("$home/deps/share/lua/5.1/ngx/balancer.lua", "return {enable_keepalive = function() end}\n");
conf($home, main => [$MODULE]);
check('an OpenResty that needs the hook', $home, $stock, [qr{^in conf/nginx\.conf: resty\.wasm\.apisix_hook, which this OpenResty needs}]);
conf($home, main => [$MODULE], hook => 'resty.wasm.apisix_hook');
check('and has it', $home, $stock, [], [qr{^ok       conf/nginx\.conf runs resty\.wasm\.apisix_hook$}m]);
write_file("$home/deps/share/lua/5.1/my_hook.lua", qq{require("resty.wasm.apisix_hook")\n});
conf($home, main => [$MODULE], hook => 'my_hook');
check('and has it in a hook of its own', $home, $stock, [], [qr{^ok       conf/nginx\.conf runs resty\.wasm\.apisix_hook$}m]);

$home = installed($stock, '3.14.1', '--without-directive-module');
conf($home, http => ['wasm_vm wasmtime;']);
check('stock OpenResty without the module, rendered before', $home, $stock,
    [qr{^conf/nginx\.conf without the directive wasm_vm: 'apisix init' writes it anew$}]);
conf($home);
check('stock OpenResty without the module, rendered since', $home, $stock, [], [qr{^ok       conf/nginx\.conf has no directive wasm_vm$}m]);

$home = installed($stock, '3.16.0');
conf($home, main => [$MODULE]);
check('an APISIX that is not for stock OpenResty', $home, $stock, [qr{^APISIX-Runtime, which APISIX 3\.16\.0 needs}]);

done_testing();
