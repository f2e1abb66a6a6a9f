# What apisix-plugin/install.sh puts into Apache APISIX on stock OpenResty, in a running nginx.

use strict;
use warnings;

use File::Copy qw(copy);
use IO::Socket::INET;
use POSIX qw(WNOHANG);
use t::Apisix;
use Test::More;
use Time::HiRes qw(sleep);

my ($tarball, $unpacked) = unpacked();
my $script = "$unpacked/share/resty-wasm/install.sh";
my $stock  = openresty('stock', '--with-compat');
my $port   = $ENV{TEST_NGINX_SERVER_PORT} || 1984;

sub installed {
    my $home = apisix('3.13.0');
    my ($status, $said) = install_sh($script, '--apisix-home', $home, '--openresty', $stock, @_);
    die $said if $status;
    return $home;
}

# What `code` prints in nginx's init_by_lua.
sub printed {
    my ($home, $path, $code) = @_;
    write_file("$home/conf/print.conf", "daemon off; master_process off; pid $home/logs/nginx.pid; error_log stderr; events {}\nhttp {\n"
        . join('', map { "${_}_temp_path $home/${_}_temp;\n" } qw(client_body proxy fastcgi uwsgi scgi))
        . "lua_package_path '$path;;';\ninit_by_lua_block { $code os.exit(0) }\n}\n");
    return scalar `$stock/bin/openresty -p $home/ -c $home/conf/print.conf 2>&1`;
}

# The answer to a request, once somebody listens.
sub answer {
    my ($pid) = @_;
    for (1 .. 3000) {
        my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port);
        if ($socket) {
            print {$socket} "GET /t HTTP/1.0\r\n\r\n";
            local $/;
            return scalar <$socket>;
        }
        waitpid($pid, WNOHANG) == $pid and return 'nginx has ended';
        sleep 0.01;
    }
    return 'nobody listens';
}

# Waits until the log has a text so often.
sub logged {
    my ($home, $text, $count) = @_;
    for (1 .. 3000) {
        return 1 if (() = read_file("$home/logs/error.log") =~ /\Q$text\E/g) >= $count;
        sleep 0.01;
    }
    return 0;
}

subtest 'a plugin runs, in workers that are not root' => sub {
    my $home = installed();
    copy('target/guests/fault-injection.wasm', "$home/plugin.wasm") or die "target/guests/fault-injection.wasm: $!\n";
    my $yaml = read_file("$unpacked/share/resty-wasm/config/stock-openresty.yaml");
    my ($snippet) = $yaml =~ /main_configuration_snippet: \|\n((?: {4}.*\n)+)/;
    my ($hook)    = $yaml =~ /lua_module_hook: (\S+)/;
    my ($dict)    = $yaml =~ /resty_wasm: (\w+)/;
    write_file("$home/conf/nginx.conf", conf_of($home, hook => $hook, main => ['daemon off;', $snippet], http => [
        "lua_shared_dict resty_wasm $dict;",
        'wasm_vm wasmtime;',
        'init_worker_by_lua_block {',
        '    local wasm = require("resty.proxy-wasm")',
        qq{    local plugin = assert(wasm.load("plugin", "$home/plugin.wasm"))},
        '    ctx = assert(wasm.on_configure(plugin, [[{"http_status": 200, "body": "from the plugin"}]]))',
        '    ngx.log(ngx.NOTICE, "configured")',
        '}',
        "server { listen 127.0.0.1:$port; location / {",
        '    access_by_lua_block { assert(require("resty.proxy-wasm").on_http_request_headers(ctx)) }',
        '} }',
    ]));
    my ($status, $said) = install_sh($script, '--check', '--apisix-home', $home, '--openresty', $stock);
    is($status, 0, 'install.sh --check finds nothing missing') or diag $said;

    my $pid = fork // die "can't fork: $!\n";
    if (!$pid) {
        exec "$stock/bin/openresty", '-p', "$home/", '-c', "$home/conf/nginx.conf";
        die "can't run $stock/bin/openresty: $!\n";
    }
    like(answer($pid), qr{^HTTP/1\.1 200 .*\r\n\r\nfrom the plugin\z}s, 'a request is answered by the plugin');
    kill HUP => $pid;
    ok(logged($home, 'configured', 2), 'after a reload a new worker configures it');
    like(answer($pid), qr{from the plugin\z}, 'and answers');
    kill QUIT => $pid;
    is(waitpid($pid, 0), $pid, 'nginx ends');
    is($?, 0, 'with 0');
    unlike(read_file("$home/logs/error.log"), qr/\[(?:error|crit|alert|emerg)\]/, 'nothing is wrong in the log');
};

subtest 'the template of nginx.conf without the directive' => sub {
    my $home = installed('--without-directive-module');
    my $own  = read_file("$home/apisix/cli/ngx_tpl.lua") =~ /\[=\[\n(.*)\]=\]/s ? $1 : die 'no template';
    my $code = 'io.write(require("apisix.cli.ngx_tpl"))';
    is(printed($home, "$home/?.lua", $code), $own, 'the template of APISIX');
    my $expected = $own =~ s/wasm_vm wasmtime;//r;
    isnt($expected, $own, 'has the directive');
    my $deps = "$home/deps/share/lua/5.1/?.lua";
    is(printed($home, "$deps;$home/?.lua", $code), $expected, 'which is left out, and nothing else');
    is(printed($home, "$deps;$home/conf/../deps/share/lua/5.1/?.lua;$home/?.lua", $code), $expected, 'also when two paths lead to the file');
    like(printed($home, $deps, $code), qr{no apisix/cli/ngx_tpl\.lua of APISIX in \Q$deps\E}, 'without a template of APISIX it says so');
};

subtest 'the hook' => sub {
    my $home = installed();
    my $deps = "$home/deps/share/lua/5.1";
    write_file("$deps/ngx/balancer.lua", "return {enable_keepalive = 'there'}\n");
    my $code = 'require("resty.wasm.apisix_hook") io.write(tostring(require("ngx.balancer").enable_keepalive))';
    is(printed($home, "$deps/?.lua", $code), 'nil', "takes away OpenResty's enable_keepalive");
    write_file("$home/extra/resty/apisix/patch.lua", "error('not to be run')\n");
    is(printed($home, "$deps/?.lua;$home/extra/?.lua", $code), 'there', "leaves that of apisix-nginx-module");
};

done_testing();
