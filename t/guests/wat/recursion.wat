;; on_request_headers calls itself without end.
(module
  (memory (export "memory") 1)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 1024))
  (func $again (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (i32.add (call $again (local.get 0) (local.get 1) (local.get 2)) (i32.const 1))))
