;; For the benchmark: asks the upstream that its configuration names, GET /, on request headers, lets the request wait, and reads
;; the answer's status and body.
(module
  (import "env" "proxy_get_buffer_bytes" (func $get_buffer (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_header_map_value" (func $get_header (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_http_call" (func $http_call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) ":status")
  ;; The header map: the number of pairs, the sizes of names and values, then both with a 0 behind each.
  (data (i32.const 32) "\03\00\00\00" "\07\00\00\00\03\00\00\00" "\05\00\00\00\01\00\00\00" "\0a\00\00\00\05\00\00\00"
    ":method\00GET\00" ":path\00/\00" ":authority\00bench\00")

  ;; Where the configuration is, and its size.
  (global $upstream (mut i32) (i32.const 0))
  (global $size (mut i32) (i32.const 0))
  (global $free (mut i32) (i32.const 1024))

  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param $size i32) (result i32)
    global.get $free
    (global.set $free (i32.add (global.get $free) (local.get $size))))
  (func (export "proxy_on_configure") (param $plugin i32) (param $bytes i32) (result i32)
    (drop (call $get_buffer (i32.const 7) (i32.const 0) (local.get $bytes) (i32.const 0) (i32.const 4)))
    (global.set $upstream (i32.load (i32.const 0)))
    (global.set $size (i32.load (i32.const 4)))
    (i32.const 1))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (if (call $http_call (global.get $upstream) (global.get $size) (i32.const 32) (i32.const 65) (i32.const 0) (i32.const 0)
          (i32.const 0) (i32.const 0) (i32.const 10000) (i32.const 8))
      (then unreachable))
    (i32.const 1))
  (func (export "proxy_on_http_call_response") (param $plugin i32) (param i32 i32) (param $size i32) (param i32)
    (global.set $free (i32.const 4096))  ;; what the last answer has left is done with
    (if (call $get_header (i32.const 6) (i32.const 16) (i32.const 7) (i32.const 0) (i32.const 4)) (then unreachable))
    (if (call $get_buffer (i32.const 4) (i32.const 0) (local.get $size) (i32.const 0) (i32.const 4)) (then unreachable))))
