;; on_configure is honest and keeps the configuration's first byte. From then on that says what the allocator does:
;;   h  honest                            0  returns null
;;   e  the memory's last byte            p  far past the end, 0xfffffff0
;;   t  traps                             g  grows the memory first, then honest
;;   r  asks the host for the header again, without end
;; on_request_headers gets the header "host" and logs the status; with "g" or "h" that is 0.
(module
  (import "env" "proxy_log" (func $proxy_log (param i32 i32 i32) (result i32)))
  (import "env" "proxy_get_buffer_bytes" (func $get_buffer (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_header_map_value" (func $get_header (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "host")
  (data (i32.const 32) "status 00")
  (global $lie (mut i32) (i32.const 104))
  (global $free (mut i32) (i32.const 1024))

  (func $get_host (result i32)
    (call $get_header (i32.const 0) (i32.const 16) (i32.const 4) (i32.const 0) (i32.const 4)))
  (func $memory_end (result i32) (i32.mul (memory.size) (i32.const 65536)))
  (func $lie_is (param $letter i32) (result i32) (i32.eq (global.get $lie) (local.get $letter)))

  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
    (if (call $lie_is (i32.const 48)) (then (return (i32.const 0))))                                       ;; 0
    (if (call $lie_is (i32.const 101)) (then (return (i32.sub (call $memory_end) (i32.const 1)))))         ;; e
    (if (call $lie_is (i32.const 112)) (then (return (i32.const 0xfffffff0))))                             ;; p
    (if (call $lie_is (i32.const 116)) (then unreachable))                                                 ;; t
    (if (call $lie_is (i32.const 114)) (then (drop (call $get_host))))                                     ;; r
    (if (call $lie_is (i32.const 103))                                                                     ;; g
      (then (drop (memory.grow (i32.const 16))) (return (i32.sub (call $memory_end) (i32.const 65536)))))
    global.get $free
    (global.set $free (i32.add (global.get $free) (local.get $size))))
  (func (export "proxy_on_configure") (param $plugin i32) (param $size i32) (result i32)
    (global.set $lie (i32.const 104))
    (drop (call $get_buffer (i32.const 7) (i32.const 0) (local.get $size) (i32.const 0) (i32.const 4)))
    (global.set $lie (i32.load8_u (i32.load (i32.const 0))))
    (i32.const 1))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (local $status i32)
    (local.set $status (call $get_host))
    (i32.store8 (i32.const 39) (i32.add (i32.const 48) (i32.div_u (local.get $status) (i32.const 10))))
    (i32.store8 (i32.const 40) (i32.add (i32.const 48) (i32.rem_u (local.get $status) (i32.const 10))))
    (drop (call $proxy_log (i32.const 2) (i32.const 32) (i32.const 9)))
    (i32.const 0)))
