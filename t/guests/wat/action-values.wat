;; Header and body callbacks return the number in the configuration: 0, 1, 99, -1, … (the last configuration counts).
(module
  (import "env" "proxy_get_buffer_bytes" (func $get_buffer (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (global $action (mut i32) (i32.const 0))

  ;; The decimal number from $at to $end.
  (func $parse (param $at i32) (param $end i32) (result i32)
    (local $number i32)
    (if (i32.eq (i32.load8_u (local.get $at)) (i32.const 45))  ;; '-'
      (then (return (i32.sub (i32.const 0) (call $parse (i32.add (local.get $at) (i32.const 1)) (local.get $end))))))
    (loop $digit
      (local.set $number (i32.add (i32.mul (local.get $number) (i32.const 10))
                                  (i32.sub (i32.load8_u (local.get $at)) (i32.const 48))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $digit (i32.lt_u (local.get $at) (local.get $end))))
    (local.get $number))

  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_configure") (param $plugin i32) (param $size i32) (result i32)
    (drop (call $get_buffer (i32.const 7) (i32.const 0) (local.get $size) (i32.const 0) (i32.const 4)))
    (global.set $action
      (call $parse (i32.load (i32.const 0)) (i32.add (i32.load (i32.const 0)) (i32.load (i32.const 4)))))
    (i32.const 1))
  (func $act (param i32 i32 i32) (result i32) (global.get $action))
  (export "proxy_on_request_headers" (func $act))
  (export "proxy_on_request_body" (func $act))
  (export "proxy_on_response_headers" (func $act))
  (export "proxy_on_response_body" (func $act)))
