//! What bodies cost that a guest holds back or makes longer, in bytes that are allocated, or moved when a buffer grows.

#![expect(unsafe_code, reason = "an allocator is")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use proxy_wasm_memory::{Proxy, Request};
use proxy_wasm_runtime::{
    context::Options,
    vm::{Event, Outcome},
};

struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does it all; the counter is a constant at first, and has nothing to drop.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + layout.size());
        // SAFETY: by the contract of this method, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: by the contract of this method; the system's allocator has made it.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + layout.size());
        // SAFETY: by the contract of this method; the system's allocator has made it.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CHUNK: usize = 4096;

/// How many bytes are allocated or moved, and what goes on at last, while a guest whose body callback does this gets so many chunks.
fn allocated_for(chunks: usize, callback: &str) -> (usize, Outcome) {
    let proxy = Proxy::default();
    let guest = format!(
        r#"(module
            (import "env" "proxy_get_buffer_bytes" (func $get (param i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_set_buffer_bytes" (func $set (param i32 i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
            (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32) {callback}))"#
    );
    let plugin = proxy.load_with(Options::new("a plugin"), &guest).unwrap();
    let stream = plugin.configure(b"conf").map(|context| (context.open_stream(Request::default()).unwrap(), context));
    let (stream, _context) = stream.unwrap();
    let request = Request::with_body(&"x".repeat(CHUNK));
    let before = ALLOCATED.get();
    for _ in 1..chunks {
        plugin.on_event(stream, request.clone(), Event::ResponseBody { end_of_stream: false }).unwrap();
    }
    let last = plugin.on_event(stream, request, Event::ResponseBody { end_of_stream: true }).unwrap();
    let allocated = ALLOCATED.get() - before;
    plugin.close_stream(stream);
    (allocated, last)
}

fn size(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Body(body) => body.len(),
        outcome => panic!("{outcome:?}"),
    }
}

#[test]
fn a_body_that_is_held_back_costs_no_more_than_three_times_its_size() {
    let (allocated, last) = allocated_for(2048, "(i32.const 1)");
    assert_eq!(size(&last), 2048 * CHUNK);
    assert!(allocated <= 3 * 2048 * CHUNK, "{allocated} bytes for {}", 2048 * CHUNK);
}

#[test]
fn nor_does_one_that_the_guest_reads_a_little_of_with_each_chunk() {
    let read =
        "(drop (call $get (i32.const 1) (i32.const 0) (i32.const 16) (i32.const 0) (i32.const 4))) (i32.const 1)";
    let (allocated, _) = allocated_for(2048, read);
    assert!(allocated <= 3 * 2048 * CHUNK, "{allocated} bytes for {}", 2048 * CHUNK);
}

#[test]
fn what_a_guest_appends_in_parts_costs_no_more_than_three_times_what_comes_of_it() {
    let append = "(local $i i32) (loop
        (drop (call $set (i32.const 1) (i32.const -1) (i32.const 0) (i32.const 0) (i32.const 4096)))
        (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 2048))))
        (i32.const 0)";
    let (allocated, last) = allocated_for(1, append);
    assert_eq!(size(&last), 2049 * CHUNK);
    assert!(allocated <= 3 * 2049 * CHUNK, "{allocated} bytes for {}", 2049 * CHUNK);
}
