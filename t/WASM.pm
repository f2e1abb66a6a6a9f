package t::WASM;

# What every t/*.t has in common. Runs on Test::Nginx::Socket::Lua where it is installed,
# else on t/lib/Test/Nginx/Bundled.pm.

use strict;
use warnings;

use Cwd qw(cwd);
use lib 't/lib';

BEGIN {
    $ENV{TEST_NGINX_BINARY} ||= $ENV{OPENRESTY_PREFIX} ? "$ENV{OPENRESTY_PREFIX}/nginx/sbin/nginx" : 'nginx';

    # Debian's nginx has lua as a dynamic module.
    my $about = `$ENV{TEST_NGINX_BINARY} -V 2>&1` // '';
    if ($about !~ /(?:lua-nginx-module|ngx_lua)/) {
        my $modules = $about =~ /--modules-path=(\S+)/ ? $1 : '/usr/lib/nginx/modules';
        $ENV{TEST_NGINX_LOAD_MODULES} //= "$modules/ndk_http_module.so $modules/ngx_http_lua_module.so";
    }

    my $runner = !$ENV{TEST_NGINX_BUNDLED} && eval { require Test::Nginx::Socket::Lua; 1 }
        ? 'Test::Nginx::Socket::Lua' : 'Test::Nginx::Bundled';
    eval "require $runner; 1" or die $@;
    $runner->import('-base');
}

my $CRASH = qr/AddressSanitizer|LeakSanitizer|signal 11|signal 6|exited on signal/;

my $KNOWS_SHUTDOWN_LOG = t::WASM->isa('Test::Nginx::Bundled')
    || Test::Nginx::Util->can('check_prev_block_shutdown_error_log');

# An upstream for callouts; what it was asked is in the error log.
our $PAGES = <<'_EOC_';
        location / {
            content_by_lua_block {
                local cjson = require("cjson")
                local var = ngx.var
                local function json(value)
                    return (cjson.encode(value):gsub("\\/", "/"))
                end

                ngx.req.read_body()
                ngx.log(ngx.WARN, "hit with [", var.request_method, " ", var.scheme, "://", var.host,
                        var.request_uri, "]")

                local headers = ngx.req.get_headers(0)
                local members = {}
                for name, value in pairs(headers) do
                    table.insert(members, json(name) .. ":" .. json(value))
                end
                table.sort(members)
                ngx.log(ngx.WARN, "hit with headers {", table.concat(members, ","), "}")

                if var.request_method == "POST" then
                    ngx.log(ngx.WARN, "hit with body ", ngx.req.get_body_data())
                end
                ngx.print(var.arg_body or "hello")
            }
        }

        location /repeated_headers {
            content_by_lua_block {
                ngx.header["foo"] = {"bar", "baz"}
                ngx.print("hello")
            }
        }

        location /sleep {
            content_by_lua_block {
                ngx.sleep(1)
                ngx.print("hello")
            }
        }
_EOC_
my $BACKEND = "    server {\n        listen 127.0.0.1:1980;\n\n$PAGES    }\n";

log_level('info');
master_on();
worker_connections(1024);
no_shuffle();
no_long_string();
$ENV{TEST_NGINX_HTML_DIR} ||= html_dir();

add_block_preprocessor(sub {
    my ($block) = @_;
    my $pwd = cwd();
    $block->set_value(http_config => qq{    lua_package_path "$pwd/lib/?.lua;$pwd/t/lib/?.lua;;";\n$BACKEND} . ($block->http_config // ''));
    default_request($block);
    default_no_error_log($block);
    default_shutdown_log($block);
});

sub default_request {
    my ($block) = @_;
    return if grep { defined $block->$_ } qw(request raw_request pipelined_requests);
    $block->set_value(request => 'GET /t');
}

sub default_no_error_log {
    my ($block) = @_;
    my @defaults = defined $block->error_log || defined $block->must_die ? '[alert]' : ('[error]', '[alert]');
    my @unwanted = defined $block->no_error_log
        ? patterns_of($block, 'no_error_log') : grep { !is_wanted($block, 'error_log', $_) } @defaults;
    push @unwanted, $CRASH unless is_wanted($block, 'error_log', 'signal');
    $block->set_value(no_error_log => \@unwanted);
}

sub default_shutdown_log {
    my ($block) = @_;
    my @sections = grep { defined $block->$_ } qw(shutdown_error_log no_shutdown_error_log);
    if (!$KNOWS_SHUTDOWN_LOG) {
        SKIP: { skip($block->name . ' - this Test::Nginx does not know the shutdown log', scalar @sections) if @sections }
        return;
    }
    # Test::Nginx looks at no_shutdown_error_log only beside a shutdown_error_log.
    $block->set_value(shutdown_error_log => '') unless defined $block->shutdown_error_log;
    my @unwanted = patterns_of($block, 'no_shutdown_error_log');
    push @unwanted, $CRASH unless is_wanted($block, 'shutdown_error_log', 'signal');
    $block->set_value(no_shutdown_error_log => \@unwanted);
}

sub patterns_of {
    my ($block, $section) = @_;
    my $value = $block->$section // '';
    return ref $value eq 'ARRAY' ? @$value : ref $value ? $value : split /\n+/, $value;
}

sub is_wanted {
    my ($block, $section, $text) = @_;
    return scalar grep { index($_, $text) >= 0 } patterns_of($block, $section);
}

1;
