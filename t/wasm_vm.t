# The directive of wasm-nginx-module, on an nginx without it.

use Cwd qw(cwd);
BEGIN { $ENV{TEST_NGINX_WASM_VM} = cwd() . '/target/release/libwasm_vm_directive.so' }

use t::WASM 'no_plan';

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(main_config => 'load_module $TEST_NGINX_WASM_VM;') unless defined $block->main_config;
    $block->set_value(config => 'location = /t { return 200 "served\n"; }') unless defined $block->config;
    $block->set_value(response_body => "served\n") unless defined $block->must_die;
});

run_tests();

__DATA__

=== TEST 1: as Apache APISIX writes it
--- http_config
wasm_vm wasmtime;



=== TEST 2: the other VM of wasm-nginx-module
--- http_config
wasm_vm wasmedge;



=== TEST 3: no directive
--- http_config



=== TEST 4: another VM
--- http_config
wasm_vm v8;
--- must_die
--- error_log
[emerg]
unsupported VM "v8" in "wasm_vm" directive, it must be "wasmtime" or "wasmedge" in



=== TEST 5: a name that begins as the right one does
--- http_config
wasm_vm wasmtime2;
--- must_die
--- error_log
unsupported VM "wasmtime2" in "wasm_vm" directive



=== TEST 6: a name without a letter
--- http_config
wasm_vm "";
--- must_die
--- error_log
unsupported VM "" in "wasm_vm" directive



=== TEST 7: twice
--- http_config
wasm_vm wasmtime;
wasm_vm wasmtime;
--- must_die
--- error_log
[emerg]
"wasm_vm" directive is duplicate in



=== TEST 8: no argument
--- http_config
wasm_vm;
--- must_die
--- error_log
[emerg]
invalid number of arguments in "wasm_vm" directive in



=== TEST 9: two arguments
--- http_config
wasm_vm wasmtime wasmedge;
--- must_die
--- error_log
invalid number of arguments in "wasm_vm" directive in



=== TEST 10: in server
--- config
wasm_vm wasmtime;
--- must_die
--- error_log
[emerg]
"wasm_vm" directive is not allowed here in



=== TEST 11: in location
--- config
location = /t {
    wasm_vm wasmtime;
}
--- must_die
--- error_log
"wasm_vm" directive is not allowed here in



=== TEST 12: outside of http
--- main_config
load_module $TEST_NGINX_WASM_VM;
wasm_vm wasmtime;
--- must_die
--- error_log
"wasm_vm" directive is not allowed here in



=== TEST 13: without the module nginx does not know it
--- main_config
--- http_config
wasm_vm wasmtime;
--- must_die
--- error_log
unknown directive "wasm_vm" in
