;; on_request_headers writes, if it is configured with `store`, or reads outside of its memory.
(module
  (memory (export "memory") 1)
  (global $size (mut i32) (i32.const 0))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (global.set $size (local.get 1))
    (i32.const 1))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (if (i32.eq (global.get $size) (i32.const 5)) (then (i32.store (i32.const -4) (i32.const 1))))
    (i32.load (i32.const 65533))))
