;; Adds headers to the request, and bytes to its body, without end.
(module
  (import "env" "proxy_add_header_map_value" (func $add_header (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_buffer_bytes" (func $set_buffer (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "name")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (loop $again
      (drop (call $add_header (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 4)))
      (br $again))
    (i32.const 0))
  (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
    (loop $again
      (drop (call $set_buffer (i32.const 0) (i32.const -1) (i32.const 0) (i32.const 0) (i32.const 65536)))
      (br $again))
    (i32.const 0)))
