;; The gRPC hostcalls as the AssemblyScript SDK declares them: without metadata. The configuration is the upstream. On request
;; headers it calls test.Echo/Unary with "hello" and opens test.Echo/Bidirectional, and logs `call STATUS TOKEN` and
;; `stream STATUS TOKEN`.
(module
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
  (import "env" "proxy_get_buffer_bytes" (func $get_buffer (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_grpc_call"
    (func $grpc_call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_grpc_stream" (func $grpc_stream (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "test.Echo")
  (data (i32.const 32) "Unary")
  (data (i32.const 48) "Bidirectional")
  (data (i32.const 64) "hello")
  (data (i32.const 80) "call ")
  (data (i32.const 96) "stream ")

  ;; Where the configuration is, and its size; 8 is where tokens go.
  (global $upstream (mut i32) (i32.const 0))
  (global $size (mut i32) (i32.const 0))

  ;; Writes the decimal number at $at, and says where it ends.
  (func $print (param $at i32) (param $number i32) (result i32)
    (if (i32.ge_u (local.get $number) (i32.const 10))
      (then (local.set $at (call $print (local.get $at) (i32.div_u (local.get $number) (i32.const 10))))))
    (i32.store8 (local.get $at) (i32.add (i32.rem_u (local.get $number) (i32.const 10)) (i32.const 48)))
    (i32.add (local.get $at) (i32.const 1)))

  ;; Logs a word of the data with its blank, the status and the token.
  (func $report (param $word i32) (param $length i32) (param $status i32)
    (local $end i32)
    (local.set $end (call $print (i32.add (local.get $word) (local.get $length)) (local.get $status)))
    (i32.store8 (local.get $end) (i32.const 32))
    (local.set $end (call $print (i32.add (local.get $end) (i32.const 1)) (i32.load (i32.const 8))))
    (drop (call $log (i32.const 2) (local.get $word) (i32.sub (local.get $end) (local.get $word)))))

  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_configure") (param $plugin i32) (param $bytes i32) (result i32)
    (drop (call $get_buffer (i32.const 7) (i32.const 0) (local.get $bytes) (i32.const 0) (i32.const 4)))
    (global.set $upstream (i32.load (i32.const 0)))
    (global.set $size (i32.load (i32.const 4)))
    (i32.const 1))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (i32.store (i32.const 8) (i32.const 0))
    (call $report (i32.const 80) (i32.const 5)
      (call $grpc_call (global.get $upstream) (global.get $size) (i32.const 16) (i32.const 9) (i32.const 32) (i32.const 5)
        (i32.const 64) (i32.const 5) (i32.const 1000) (i32.const 8)))
    (i32.store (i32.const 8) (i32.const 0))
    (call $report (i32.const 96) (i32.const 7)
      (call $grpc_stream (global.get $upstream) (global.get $size) (i32.const 16) (i32.const 9) (i32.const 48) (i32.const 13)
        (i32.const 8)))
    (i32.const 0)))
