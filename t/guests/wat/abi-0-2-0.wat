;; ABI 0.2.0: `_initialize`, then `main(0, 0)`; `malloc` only. Logs its start, its configuration and the header callbacks.
(module
  (import "env" "proxy_log" (func $proxy_log (param i32 i32 i32) (result i32)))
  (import "env" "proxy_get_buffer_bytes" (func $get_buffer (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 16) "_initialize")
  (data (i32.const 32) "main")
  (data (i32.const 48) "main with arguments")
  (data (i32.const 96) "on_request_headers")
  (data (i32.const 128) "on_response_headers")
  (global $free (mut i32) (i32.const 4096))

  (func $log (param $text i32) (param $size i32)
    (drop (call $proxy_log (i32.const 2) (local.get $text) (local.get $size))))

  (func (export "proxy_abi_version_0_2_0"))
  (func (export "malloc") (param $size i32) (result i32)
    global.get $free
    (global.set $free (i32.add (global.get $free) (local.get $size))))

  (func (export "_initialize") (call $log (i32.const 16) (i32.const 11)))
  (func (export "main") (param $count i32) (param $list i32) (result i32)
    (if (i32.or (local.get $count) (local.get $list))
      (then (call $log (i32.const 48) (i32.const 19)))
      (else (call $log (i32.const 32) (i32.const 4))))
    (i32.const 0))
  (func (export "proxy_on_configure") (param $plugin i32) (param $size i32) (result i32)
    (drop (call $get_buffer (i32.const 7) (i32.const 0) (local.get $size) (i32.const 0) (i32.const 4)))
    (call $log (i32.load (i32.const 0)) (i32.load (i32.const 4)))
    (i32.const 1))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (call $log (i32.const 96) (i32.const 18)) (i32.const 0))
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
    (call $log (i32.const 128) (i32.const 19)) (i32.const 0)))
