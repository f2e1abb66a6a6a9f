;; WASI under its old name. `_start` writes to stdout and asks for time and randomness; any errno there is a trap.
;; on_request_headers exits with 3, as AssemblyScript's abort does.
(module
  (import "wasi_unstable" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_unstable" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
  (import "wasi_unstable" "random_get" (func $random_get (param i32 i32) (result i32)))
  (import "wasi_unstable" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\10\00\00\00\12\00\00\00")  ;; where and how long
  (data (i32.const 16) "hello, old world!\n")

  (func $check (param $errno i32) (if (local.get $errno) (then unreachable)))

  (func (export "proxy_abi_version_0_2_0"))
  (func (export "malloc") (param i32) (result i32) (i32.const 1024))
  (func (export "_start")
    (call $check (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (call $check (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 64)))
    (call $check (i64.eqz (i64.load (i32.const 64))))
    (call $check (call $random_get (i32.const 64) (i32.const 8))))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (call $proc_exit (i32.const 3))
    (i32.const 0)))
