# Reloads, upgrades, exits and kills while requests run through plugins: each request is answered, and nothing crashes.

use strict;
use warnings;

use Cwd qw(cwd);
use Test::More;
use Time::HiRes qw(sleep);

use t::Traffic;
use t::WASM ();
use Test::Nginx::Bundled::Server;

my $PORT = $ENV{TEST_NGINX_PORT} || 1984;
my $root = cwd();
# nginx starts a new binary by the path that it was started with itself.
my ($binary) = grep { -x } map { "$_/$ENV{TEST_NGINX_BINARY}" } '', split /:/, "$ENV{PATH}:/usr/sbin";

# nginx with two workers, each of which loads a plugin that uses shared data. `init_worker` runs before that.
sub start {
    my (%option) = @_;
    my $server = Test::Nginx::Bundled::Server->new(binary => $binary, root => "$root/t/servroot");
    my $config = $server->config_text(
        master => 'on', workers => 2, worker_connections => 1024, log_level => 'info', port => $PORT,
        http_config => qq{
            lua_package_path "$root/lib/?.lua;$root/t/lib/?.lua;;";
            lua_shared_dict resty_wasm 1m;
            lua_shared_dict test 1m;
            init_worker_by_lua_block {
                @{[ $option{init_worker} // "" ]}
                wasm = require("resty.proxy-wasm")
                ctx = assert(wasm.on_configure(assert(wasm.load("plugin", "$root/target/guests/script.wasm")), [[
request_headers: set_shared key value 0
request_headers: get_shared key
request_headers: add_header response x-plugin 1
response_headers: get_headers response
                ]]))
            }
        },
        config => q{
            location = /plugin {
                access_by_lua_block { assert(wasm.on_http_request_headers(ctx)) }
                content_by_lua_block { ngx.say(ngx.worker.pid()) }
                header_filter_by_lua_block { assert(wasm.on_http_response_headers(ctx)) }
                body_filter_by_lua_block { assert(wasm.on_http_response_body(ctx)) }
            }
            location = /slow {
                access_by_lua_block { assert(wasm.on_http_request_headers(ctx)) ngx.sleep(0.3) }
                content_by_lua_block { ngx.say("slow") }
                header_filter_by_lua_block { assert(wasm.on_http_response_headers(ctx)) }
            }
        } . ($option{config} // ''),
    );
    # A master that is not a daemon takes no new binary.
    $config =~ s/^daemon off;/daemon on;/m if $option{daemon};
    $server->populate($config, []);
    my @problem = $option{daemon} ? start_daemon($server) : $server->start;
    die "@problem\n" if @problem;
    return $server;
}

# Starts nginx so that it is no child of this process.
sub start_daemon {
    my ($server) = @_;
    $server->kill_leftovers;
    system($server->{binary}, '-p', "$server->{root}/", '-c', $server->{conf}) == 0 or return 'nginx did not start';
    # A signal that comes before there are workers is noticed with the next one.
    poll(sub { $server->{pid} = pid_in($server->{pid_file}) and workers_of($server->{pid}) == 2 }) or return 'there are no workers';
    return;
}

my @Daemons;

END { kill 'KILL', map { $_, workers_of($_) } grep { is_alive($_) } @Daemons }

sub is_alive { my ($pid) = @_; return scalar grep { $_->{pid} == $pid } Test::Nginx::Bundled::Server::processes() }

sub ends { my ($pid, $name) = @_; ok(poll(sub { !is_alive($pid) }), $name) }

# Tells of everything that the error log must not have.
sub is_clean {
    my ($server, $name, $but) = @_;
    my @bad = grep { /\[(?:error|crit|alert|emerg)\]|panicked/ } $server->whole_log;
    @bad = grep { !/$but/ } @bad if $but;
    is(join('', @bad), '', "$name: the error log");
}

sub all_answered {
    my ($traffic, $name) = @_;
    my $result = $traffic->stop;
    is_deeply($result->{unanswered}, [], "$name: every request is answered");
    my @unexpected = grep { !/ 200$/ } keys %{ $result->{answers} };
    is_deeply(\@unexpected, [], "$name: with 200");
    cmp_ok($result->{answers}{'/plugin 200'} // 0, '>', 50, "$name: there were requests");
}

sub poll { Test::Nginx::Bundled::Server::poll(60 * Test::Nginx::Bundled::Server::SLOWNESS, @_) }

sub pid_in { my ($file) = @_; return Test::Nginx::Bundled::Server::slurp($file) =~ /^(\d+)\n/ ? $1 : 0 }

# The pid of the master that a new binary has, once it runs.
sub upgraded {
    my ($server, $name) = @_;
    push @Daemons, $server->{pid};
    kill 'USR2', $server->{pid};
    my $new;
    ok(poll(sub { ($new = pid_in($server->{pid_file})) && $new != $server->{pid} }), "$name: there is another master");
    ok(poll(sub { workers_of($new) == 2 }), "$name: with workers");
    push @Daemons, $new;
    return $new;
}

sub workers_of { my ($master) = @_; return grep { $_->{parent} == $master } Test::Nginx::Bundled::Server::processes() }

sub stops {
    my ($server, $name) = @_;
    is(join('', $server->stop // ()), '', "$name: nginx stops by itself");
}

{
    my $name = 'twenty reloads in a row';
    my $server = start();
    my @first = $server->workers;
    my $traffic = t::Traffic->start($PORT, 4, '/plugin');
    for (1 .. 20) {
        $traffic->wait_for(8);
        $server->signal('HUP');
    }
    $traffic->wait_for(100);
    ok(poll(sub { my %now = map { $_ => 1 } $server->workers; keys %now == 2 && !grep { $now{$_} } @first }),
        "$name: the old workers end");
    all_answered($traffic, $name);
    stops($server, $name);
    is_clean($server, $name);
}

{
    my $name = 'reloads while workers load';
    my $server = start(init_worker => qq{
        ngx.log(ngx.NOTICE, "worker loads")
        -- It takes a while to start.
        assert(require("resty.proxy-wasm").load("slow", "$root/target/guests/slow-start.wasm", {callback_timeout = 600000}))
        ngx.log(ngx.NOTICE, "worker has loaded")
    });
    my $count = sub { my ($text) = @_; scalar grep { /\Q$text\E/ } $server->whole_log };
    my $traffic = t::Traffic->start($PORT, 4, '/plugin');
    for (1 .. 5) {
        my $before = $count->('worker loads');
        $server->signal('HUP');
        ok(poll(sub { $count->('worker loads') > $before }), "$name: a worker loads");
        $server->signal('HUP');
    }
    ok(poll(sub { $server->workers == 2 && $count->('worker loads') == $count->('worker has loaded') }), "$name: all end well");
    $traffic->wait_for(100);
    all_answered($traffic, $name);
    stops($server, $name);
    is_clean($server, $name);
}

{
    my $name = 'quit';
    my $server = start();
    my $traffic = t::Traffic->start($PORT, 4, '/slow', '/plugin');
    $traffic->wait_for(40);
    is(join('', $server->stop // ()), '', "$name: nginx stops by itself");
    my $result = $traffic->stop;
    # nginx does not accept what is in the listening sockets' queues when it closes them.
    my @lost = grep { !/can't connect|Connection reset/ } @{ $result->{unanswered} };
    is_deeply(\@lost, [], "$name: whoever was accepted is answered");
    is_deeply([grep { !/ 200$/ } keys %{ $result->{answers} }], [], "$name: with 200");
    is_clean($server, $name);
}

{
    my $name = 'an upgrade of the binary that is taken back';
    my $server = start(daemon => 1);
    my $traffic = t::Traffic->start($PORT, 4, '/plugin');
    $traffic->wait_for(40);
    my $new = upgraded($server, $name);
    my $old = $server->{pid};
    kill 'WINCH', $old;
    ok(poll(sub { workers_of($old) == 1 }), "$name: the old workers end");   # the other master is the one
    $traffic->wait_for(100);
    kill 'HUP', $old;
    ok(poll(sub { workers_of($old) == 3 }), "$name: the old master has workers again");
    kill 'QUIT', $new;
    ends($new, "$name: the other master ends");
    $traffic->wait_for(100);
    all_answered($traffic, $name);
    kill 'QUIT', $old;
    ends($old, "$name: the old master ends");
    is_clean($server, $name);
}

{
    my $name = 'an upgrade of the binary';
    my $server = start(daemon => 1);
    my $traffic = t::Traffic->start($PORT, 4, '/plugin');
    my $new = upgraded($server, $name);
    $traffic->wait_for(40);
    kill 'QUIT', $server->{pid};
    ends($server->{pid}, "$name: the old master ends");
    $traffic->wait_for(100);
    all_answered($traffic, $name);
    kill 'QUIT', $new;
    ends($new, "$name: the other master ends");
    is_clean($server, $name);
}

{
    my $name = 'workers that are killed';
    my $server = start();
    my $traffic = t::Traffic->start($PORT, 4, '/plugin');
    for (1 .. 5) {
        $traffic->wait_for(40);
        my ($victim) = $server->workers;
        kill 'KILL', $victim;
        ok(poll(sub { my %now = map { $_ => 1 } $server->workers; keys %now == 2 && !$now{$victim} }), "$name: one is replaced");
    }
    # Those of a killed worker's connections are lost; what it shared, and the locks that it held, do not stop the others.
    $traffic->wait_for(200);
    my $result = $traffic->stop;
    cmp_ok(@{ $result->{unanswered} }, '<=', 5 * 4, "$name: nobody else's requests are lost");
    is_deeply([keys %{ $result->{answers} }], ['/plugin 200'], "$name: all others are answered with 200");
    stops($server, $name);
    is_clean($server, $name, qr/exited on signal 9/);
}

{
    my $name = 'versions that follow each other under load';
    my $server = start(config => qq{
        location = /load {
            content_by_lua_block {
                local files = {"script", "lifecycle", "empty"}
                local number = ngx.shared.test:incr("loads", 1, 0)
                require("replace")("$root/t/servroot/plugin.wasm", files[number % 3 + 1])
                local plugin = wasm.load("replaced", "$root/t/servroot/plugin.wasm")
                if plugin and not replaced then replaced = wasm.on_configure(plugin, "request_headers: args") end
                collectgarbage()
                ngx.say("loaded")
            }
        }
        location = /replaced {
            content_by_lua_block {
                if replaced then assert(wasm.on_http_request_headers(replaced)) end
                ngx.say("ok")
            }
            header_filter_by_lua_block { if replaced then assert(wasm.on_http_response_headers(replaced)) end }
        }
    });
    my $traffic = t::Traffic->start($PORT, 4, '/replaced', '/plugin', '/replaced', '/load', '/replaced');
    $traffic->wait_for(400);
    all_answered($traffic, $name);
    ok(scalar(grep { /goes on as \d+ of a newer version/ } $server->whole_log), "$name: contexts have moved");
    stops($server, $name);
    is_clean($server, $name);
}

done_testing();
