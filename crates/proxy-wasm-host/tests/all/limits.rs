//! Who exceeds a limit is named, with the callback, the limit and the value.

use proxy_wasm_host::{
    context::{Options, Patience},
    vm::Event,
};

use crate::proxy::{Proxy, Request};

/// A guest whose `proxy_on_request_headers` does this.
fn guest(request_headers: &str) -> String {
    format!(
        r#"(module
            (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
            (import "env" "proxy_set_header_map_pairs" (func $set_pairs (param i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 32)
            (table (export "table") 1 funcref)
            (func (export "proxy_abi_version_0_2_1"))
            (func $recursion (call $recursion) (call $recursion))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                {request_headers} (i32.const 0)))"#
    )
}

/// What is logged by one call of it.
fn logged_by(options: Options, request_headers: &str) -> Vec<String> {
    let proxy = Proxy::default();
    let plugin = proxy.load_with(options, &guest(request_headers)).unwrap();
    let context = plugin.configure(b"conf").unwrap();
    let stream = context.open_stream(Request::default()).unwrap();
    proxy.take_log();
    let _ = plugin.on_event(stream, Request::default(), Event::RequestHeaders);
    let log = proxy.take_log();
    plugin.close_stream(stream);
    log
}

fn stopped(request_headers: &str) -> String {
    let log = logged_by(Options::new("a plugin"), request_headers);
    let prefix = "plugin \"a plugin\": proxy_on_request_headers was stopped: ";
    log.iter().find_map(|line| line.strip_prefix(prefix)).unwrap_or_else(|| panic!("not stopped: {log:?}")).to_owned()
}

#[test]
fn of_the_stack() {
    assert_eq!(stopped("(call $recursion)"), "its stack may have 524288 bytes, the guest wants more");
}

#[test]
fn of_a_table() {
    let grow = "(drop (table.grow 0 (ref.null func) (i32.const 2000000)))";
    assert_eq!(stopped(grow), "a table may have 1048576 elements, the guest wants 2000001");
}

#[test]
fn of_the_memory() {
    assert_eq!(
        stopped("(drop (memory.grow (i32.const 5000)))"),
        "memory_limit allows 268435456 bytes of memory, the guest wants 329777152"
    );
}

#[test]
fn of_the_size_of_a_header_map() {
    assert_eq!(
        stopped("(drop (call $set_pairs (i32.const 0) (i32.const 0) (i32.const 1048577)))"),
        "a header map may have 1048576 bytes, the guest's has 1048577"
    );
}

#[test]
fn of_the_number_of_headers() {
    let store = "(i32.store (i32.const 0) (i32.const 1025))";
    assert_eq!(
        stopped(&format!("{store} (drop (call $set_pairs (i32.const 0) (i32.const 0) (i32.const 100000)))")),
        "a header map may have 1024 headers, the guest's has 1025"
    );
}

/// Calls a guest, which may log 3 messages in a second, until the log says how many it lacks.
fn flood(call: &str, message: &str) {
    let proxy = Proxy::default();
    let options = Options { log_rate: 3, ..Options::new("a plugin") };
    let plugin = proxy.load_with(options, &guest(call)).unwrap();
    let context = plugin.configure(b"conf").unwrap();
    let stream = context.open_stream(Request::default()).unwrap();
    proxy.take_log();
    let mut calls = 0;
    while !proxy.logged("were not logged") {
        plugin.on_event(stream, Request::default(), Event::RequestHeaders).unwrap();
        calls += 1;
    }
    let log = proxy.take_log();
    plugin.close_stream(stream);
    assert_eq!(log.iter().filter(|line| *line == message).count(), log.len() - 1, "{log:?}");
    let lacking = calls - (log.len() - 1);
    let notice = "messages until proxy_on_request_headers were not logged: log_rate allows 3 a second";
    assert_eq!(log[log.len() - 2], format!("stream: plugin \"a plugin\": {lacking} {notice}"));
    assert!(lacking > 0 && log.len() >= 5, "{log:?}");
}

#[test]
fn of_messages() {
    flood("(drop (call $log (i32.const 2) (i32.const 0) (i32.const 0)))", "stream: ");
}

#[test]
fn of_lines_on_stdout() {
    let write = r#"(i32.store (i32.const 0) (i32.const 8)) (i32.store (i32.const 4) (i32.const 2))
                   (i32.store16 (i32.const 8) (i32.const 0x0a61))
                   (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))"#;
    flood(write, "stream: a");
}

#[test]
fn of_plugin_contexts_that_are_never_done() {
    let proxy = Proxy::default();
    let plugin = proxy
        .load(
            r#"(module (memory (export "memory") 1) (func (export "proxy_abi_version_0_2_1"))
                (func (export "proxy_on_done") (param i32) (result i32) (i32.const 0)))"#,
        )
        .unwrap();
    let contexts: Vec<_> = (0..103).map(|_| plugin.configure(b"conf").unwrap()).collect();
    contexts.iter().for_each(|context| context.retire(Patience::Wait));
    assert_eq!(plugin.status().unwrap().plugin_contexts, 100);
    assert!(contexts[0].is_gone() && contexts[2].is_gone() && !contexts[3].is_gone());
    let line = "plugin \"a plugin\": 101 plugin contexts wait for proxy_done, 100 may: context 1 is deleted";
    assert!(proxy.take_log().iter().any(|other| other == line));
}
