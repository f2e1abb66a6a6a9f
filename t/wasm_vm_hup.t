# The directive of wasm-nginx-module in a configuration that is read again.

use Cwd qw(cwd);
BEGIN {
    $ENV{TEST_NGINX_USE_HUP} = 1;
    $ENV{TEST_NGINX_WASM_VM} = cwd() . '/target/release/libwasm_vm_directive.so';
}

use t::WASM 'no_plan';

# Each block is one generation of the configuration; nginx runs on between them.
add_block_preprocessor(sub {
    my ($block) = @_;
    my $generation = $block->response_body =~ s/\n//r;
    $block->set_value(main_config => 'load_module $TEST_NGINX_WASM_VM;') unless defined $block->main_config;
    $block->set_value(config => qq{location = /t { return 200 "$generation\\n"; }});
});

run_tests();

__DATA__

=== TEST 1: nginx starts with it
--- http_config
wasm_vm wasmtime;
--- response_body
first



=== TEST 2: it is no duplicate of the one before the reload
--- http_config
wasm_vm wasmtime;
--- response_body
second



=== TEST 3: without the directive
--- http_config
--- response_body
third



=== TEST 4: without the module
--- main_config
--- http_config
--- response_body
fourth



=== TEST 5: with both again
--- http_config
wasm_vm wasmtime;
--- response_body
fifth
