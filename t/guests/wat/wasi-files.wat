;; Asks WASI for files that a plugin does not have, and about stdout; another answer than expected is a trap.
;; `_start` leaves a line on stdout without an end.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $fd_fdstat_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_get" (func $fd_filestat_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_seek" (func $fd_seek (param i32 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_sync" (func $fd_sync (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\10\00\00\00\0b\00\00\00")  ;; where and how long
  (data (i32.const 16) "no line end")
  (data (i32.const 32) "/etc/passwd")

  (func $expect (param $expected i32) (param $errno i32)
    (if (i32.ne (local.get $expected) (local.get $errno)) (then unreachable)))

  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 1024))
  (func (export "_start")
    (call $expect (i32.const 0) (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))

  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (i64.store (i32.const 64) (i64.const -1))
    (i64.store (i32.const 72) (i64.const -1))
    (i64.store (i32.const 80) (i64.const -1))
    ;; a character device that can be written, and nothing else
    (call $expect (i32.const 0) (call $fd_fdstat_get (i32.const 1) (i32.const 64)))
    (call $expect (i32.const 2) (i32.load16_u (i32.const 64)))
    (if (i64.ne (i64.load (i32.const 72)) (i64.const 64)) (then unreachable))
    (if (i64.ne (i64.load (i32.const 80)) (i64.const 0)) (then unreachable))
    (call $expect (i32.const 0) (call $fd_fdstat_get (i32.const 2) (i32.const 64)))
    (call $expect (i32.const 8) (call $fd_fdstat_get (i32.const 0) (i32.const 64)))
    (call $expect (i32.const 8) (call $fd_fdstat_get (i32.const 3) (i32.const 64)))
    (call $expect (i32.const 21) (call $fd_fdstat_get (i32.const 1) (i32.const 65513)))

    (call $expect (i32.const 8) (call $fd_filestat_get (i32.const 1) (i32.const 64)))
    (call $expect (i32.const 52) (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (call $expect (i32.const 0) (call $fd_seek (i32.const 1) (i64.const 0) (i32.const 0) (i32.const 8)))
    (call $expect (i32.const 58) (call $fd_sync (i32.const 1)))
    (call $expect (i32.const 44) (call $path_open (i32.const 3) (i32.const 0) (i32.const 32) (i32.const 11)
      (i32.const 0) (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 8)))
    (call $expect (i32.const 0) (call $fd_close (i32.const 1)))
    (i32.const 0)))
