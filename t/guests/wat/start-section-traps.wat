;; The wasm start section traps: the module cannot even be instantiated.
(module
  (memory (export "memory") 1)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 1024))
  (func $start unreachable)
  (start $start))
