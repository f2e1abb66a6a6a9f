;; Hands the host malformed header maps. The configuration is two letters. The first is what to do with the map:
;;   l  in on_request_headers, proxy_send_local_response(403, "lied", map)
;;   s  in on_request_headers, proxy_set_header_map_pairs(request, map)
;;   r  in on_response_headers, proxy_set_header_map_pairs(response, map)
;; The second is the map, see the table below. The status of the call is logged: "status 00".
(module
  (import "env" "proxy_log" (func $proxy_log (param i32 i32 i32) (result i32)))
  (import "env" "proxy_get_buffer_bytes" (func $get_buffer (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_send_local_response" (func $send (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_header_map_pairs" (func $set_pairs (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "lied")
  (data (i32.const 32) "status 00")
  (global $do (mut i32) (i32.const 0))
  (global $map (mut i32) (i32.const 0))

  ;; Map X lies at 64 * X; the byte 63 behind its start is its size.
  ;; g: good, a: b
  (data (i32.const 6592) "\01\00\00\00\01\00\00\00\01\00\00\00a\00b\00") (data (i32.const 6655) "\10")
  ;; z: of size 0
  (data (i32.const 7871) "\00")
  ;; c: counts 0xffffffff pairs
  (data (i32.const 6336) "\ff\ff\ff\ff\01\00\00\00\01\00\00\00a\00b\00") (data (i32.const 6399) "\10")
  ;; w: counts 0x20000000 pairs: times 8 that is 0 in 32 bits
  (data (i32.const 7616) "\00\00\00\20\01\00\00\00\01\00\00\00a\00b\00") (data (i32.const 7679) "\10")
  ;; p: a value longer than the map
  (data (i32.const 7168) "\01\00\00\00\01\00\00\00\64\00\00\00a\00b\00") (data (i32.const 7231) "\10")
  ;; h: both of 0x7fffffff bytes
  (data (i32.const 6656) "\01\00\00\00\ff\ff\ff\7f\ff\ff\ff\7fa\00b\00") (data (i32.const 6719) "\10")
  ;; f: both of 0xffffffff bytes: with their NULs that is 0 in 32 bits
  (data (i32.const 6528) "\01\00\00\00\ff\ff\ff\ff\ff\ff\ff\ffa\00b\00") (data (i32.const 6591) "\10")
  ;; n: no NULs
  (data (i32.const 7040) "\01\00\00\00\01\00\00\00\01\00\00\00axby") (data (i32.const 7103) "\10")
  ;; m: the last NUL is missing
  (data (i32.const 6976) "\01\00\00\00\01\00\00\00\01\00\00\00a\00b") (data (i32.const 7039) "\0f")
  ;; t: trailing bytes
  (data (i32.const 7424) "\01\00\00\00\01\00\00\00\01\00\00\00a\00b\00trail") (data (i32.const 7487) "\15")
  ;; e: an empty name
  (data (i32.const 6464) "\01\00\00\00\00\00\00\00\01\00\00\00\00b\00") (data (i32.const 6527) "\0f")
  ;; i: a name and a value that would break out of the header
  (data (i32.const 6720) "\01\00\00\00\03\00\00\00\07\00\00\00a\0d\0a\00b\0d\0ac: d\00") (data (i32.const 6783) "\18")
  ;; 1 … 7: so many bytes of a map
  (data (i32.const 3136) "\01") (data (i32.const 3199) "\01")
  (data (i32.const 3200) "\01\00") (data (i32.const 3263) "\02")
  (data (i32.const 3264) "\01\00\00") (data (i32.const 3327) "\03")
  (data (i32.const 3328) "\01\00\00\00") (data (i32.const 3391) "\04")
  (data (i32.const 3392) "\01\00\00\00\01") (data (i32.const 3455) "\05")
  (data (i32.const 3456) "\01\00\00\00\01\00") (data (i32.const 3519) "\06")
  (data (i32.const 3520) "\01\00\00\00\01\00\00") (data (i32.const 3583) "\07")

  (func $size (result i32) (i32.load8_u offset=63 (global.get $map)))
  (func $log_status (param $status i32)
    (i32.store8 (i32.const 39) (i32.add (i32.const 48) (i32.div_u (local.get $status) (i32.const 10))))
    (i32.store8 (i32.const 40) (i32.add (i32.const 48) (i32.rem_u (local.get $status) (i32.const 10))))
    (drop (call $proxy_log (i32.const 2) (i32.const 32) (i32.const 9))))

  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 16384))
  (func (export "proxy_on_configure") (param $plugin i32) (param $size i32) (result i32)
    (drop (call $get_buffer (i32.const 7) (i32.const 0) (local.get $size) (i32.const 0) (i32.const 4)))
    (global.set $do (i32.load8_u (i32.load (i32.const 0))))
    (global.set $map (i32.mul (i32.load8_u offset=1 (i32.load (i32.const 0))) (i32.const 64)))
    (i32.const 1))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (if (i32.eq (global.get $do) (i32.const 108))  ;; l
      (then (call $log_status (call $send (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 16) (i32.const 4)
                                          (global.get $map) (call $size) (i32.const -1)))
            (return (i32.const 1))))
    (if (i32.eq (global.get $do) (i32.const 115))  ;; s
      (then (call $log_status (call $set_pairs (i32.const 0) (global.get $map) (call $size)))))
    (i32.const 0))
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
    (if (i32.eq (global.get $do) (i32.const 114))  ;; r
      (then (call $log_status (call $set_pairs (i32.const 2) (global.get $map) (call $size)))))
    (i32.const 0)))
