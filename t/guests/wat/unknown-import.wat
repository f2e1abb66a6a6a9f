;; Imports what no host has, or with another type: it has to load. on_request_headers calls one of them and logs the result.
(module
  (import "env" "proxy_log" (func $proxy_log (param i32 i32 i32) (result i32)))
  (import "env" "proxy_never_heard_of" (func $never_heard_of (param i32) (result i32)))
  (import "env" "some_f64" (func (param f64) (result f64)))
  (import "env" "proxy_grpc_call" (func (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 128) "proxy_never_heard_of -> ")

  ;; Logs "TEXT NUMBER"; the digits end at 96.
  (func $log_number (param $text i32) (param $size i32) (param $number i32)
    (local $at i32)
    (local.set $at (i32.const 96))
    (loop $digit
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10))))
      (br_if $digit (local.tee $number (i32.div_u (local.get $number) (i32.const 10)))))
    (local.set $at (i32.sub (local.get $at) (local.get $size)))
    (memory.copy (local.get $at) (local.get $text) (local.get $size))
    (drop (call $proxy_log (i32.const 2) (local.get $at) (i32.sub (i32.const 96) (local.get $at)))))

  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (call $log_number (i32.const 128) (i32.const 24) (call $never_heard_of (i32.const 7)))
    (i32.const 0)))
