//! Who exceeds a limit is named, with the callback, the limit and the value.

use std::time::Duration;

use proxy_wasm_memory::{Proxy, Request};
use proxy_wasm_runtime::{
    context::{Options, Patience},
    vm::{Engine, Event, Outcome},
};

/// A guest whose `proxy_on_request_headers` does this.
fn guest(request_headers: &str) -> String {
    format!(
        r#"(module
            (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
            (import "env" "proxy_set_header_map_pairs" (func $set_pairs (param i32 i32 i32) (result i32)))
            (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_remove_header_map_value" (func $remove (param i32 i32 i32) (result i32)))
            (import "env" "proxy_set_property" (func $set_property (param i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_send_local_response" (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_call_foreign_function" (func $foreign (param i32 i32 i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 64)
            (table (export "table") 1 funcref)
            (table $other 1 funcref)
            (table $small 1 2 funcref)
            (func (export "proxy_abi_version_0_2_1"))
            (func $recursion (call $recursion) (call $recursion))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                {request_headers} (i32.const 0)))"#
    )
}

/// What is logged by one call of it.
fn logged_by(options: Options, request_headers: &str) -> Vec<String> {
    logged_by_calls(options, request_headers, 1)
}

fn logged_by_calls(options: Options, request_headers: &str, calls: usize) -> Vec<String> {
    let proxy = Proxy::default();
    let plugin = proxy.load_with(options, &guest(request_headers)).unwrap();
    let context = plugin.configure(b"conf").unwrap();
    let stream = context.open_stream(Request::default()).unwrap();
    proxy.take_log();
    for _ in 0..calls {
        let _ = plugin.on_event(stream, Request::default(), Event::RequestHeaders);
    }
    let log = proxy.take_log();
    plugin.close_stream(stream);
    log
}

fn stopped(request_headers: &str) -> String {
    let log = logged_by(Options::new("a plugin"), request_headers);
    let prefix = "plugin \"a plugin\": proxy_on_request_headers was stopped: ";
    log.iter().find_map(|line| line.strip_prefix(prefix)).unwrap_or_else(|| panic!("not stopped: {log:?}")).to_owned()
}

/// The log of a guest that was not stopped.
const NOTHING: &[&str] = &[];

/// It would take minutes to optimize; its code is not, and runs, with its stack limited.
#[test]
fn of_what_is_compiled() {
    let changed: String =
        (0..2000).map(|n| format!("(local.set {n} (i32.add (local.get {n}) (i32.const 1)))")).collect();
    let module = format!(
        r#"(module (memory (export "memory") 1)
            (func (local {}) {} {changed} {})
            (func $recursion (call $recursion) (call $recursion))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (call $recursion) (i32.const 0)))"#,
        "i32 ".repeat(2000),
        "(loop ".repeat(500),
        "(br_if 0 (local.get 0)))".repeat(500),
    );
    let proxy = Proxy::default();
    let plugin = proxy.load(&module).unwrap();
    let context = plugin.configure(b"conf").unwrap();
    let stream = context.open_stream(Request::default()).unwrap();
    plugin.on_event(stream, Request::default(), Event::RequestHeaders).unwrap_err();
    assert!(proxy.logged("its stack may have 524288 bytes, the guest wants more"));
}

#[test]
fn of_the_stack() {
    assert_eq!(stopped("(call $recursion)"), "its stack may have 524288 bytes, the guest wants more");
}

#[test]
fn of_a_table() {
    let grow = "(drop (table.grow 0 (ref.null func) (i32.const 2000000)))";
    assert_eq!(stopped(grow), "table_limit allows 1048576 elements of all tables, the guest wants 2000003");
}

#[test]
fn of_all_tables() {
    let grow = |table, count| format!("(drop (table.grow {table} (ref.null func) (i32.const {count})))");
    let all = [grow("0", 600_000), grow("$other", 500_000)].concat();
    assert_eq!(stopped(&all), "table_limit allows 1048576 elements of all tables, the guest wants 1100003");
    // What a table's own maximum refuses is nothing that the guest has.
    let refused =
        "(if (i32.ne (table.grow $small (ref.null func) (i32.const 900000)) (i32.const -1)) (then unreachable))";
    assert_eq!(logged_by(Options::new("a plugin"), &[refused, refused, &grow("0", 900_000)].concat()), NOTHING);
}

#[test]
fn of_the_memory() {
    assert_eq!(
        stopped("(drop (memory.grow (i32.const 5000)))"),
        "memory_limit allows 268435456 bytes of memory, the guest wants 331874304"
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

#[test]
fn of_what_a_callback_sets() {
    let add = "(drop (call $add (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 0) (i32.const 3193240)))";
    let remove = "(drop (call $remove (i32.const 0) (i32.const 0) (i32.const 968)))";
    let set = "(drop (call $set_property (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 998968)))";
    let all = [add, remove, set].concat();
    assert_eq!(logged_by_calls(Options::new("a plugin"), &all, 2), NOTHING, "each callback may");
    let more = "header_limit allows 4194304 bytes of headers and properties in a callback, the guest wants";
    for (one, size) in [(add, 3_194_272), (remove, 1000), (set, 999_000)] {
        assert_eq!(stopped(&[&*all, one].concat()), format!("{more} {}", 4_194_272 + size));
    }
}

#[test]
fn of_what_all_callbacks_of_a_stream_set() {
    let set = "(drop (call $set_property (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 968)))";
    let options = Options { pool_limit: 2500, ..Options::new("a plugin") };
    assert_eq!(logged_by_calls(options.clone(), set, 2), NOTHING);
    let line = "pool_limit allows 2500 bytes that are kept until the end of a request, the guest wants 3000";
    let logged = logged_by_calls(options, set, 3);
    assert!(logged.last().unwrap().ends_with(line), "{logged:?}");
}

#[test]
fn are_those_that_the_plugin_was_loaded_with() {
    let options = Options { table_limit: 5, header_limit: 100, ..Options::new("a plugin") };
    let table = logged_by(options.clone(), "(drop (table.grow 0 (ref.null func) (i32.const 3)))");
    assert!(table.last().unwrap().ends_with("stopped: table_limit allows 5 elements of all tables, the guest wants 6"));
    let reply = "(drop (call $reply (i32.const 403) (i32.const 0) (i32.const 37) (i32.const 0) (i32.const 0)
        (i32.const 0) (i32.const 0) (i32.const -1)))";
    let reply = logged_by(options, &reply.repeat(2));
    let line = "header_limit allows 100 bytes of headers and properties in a callback, the guest wants 138";
    assert!(reply.last().unwrap().ends_with(line), "{reply:?}");
}

#[test]
fn of_a_name() {
    let remove = |size| format!("(drop (call $remove (i32.const 0) (i32.const 0) (i32.const {size})))");
    assert_eq!(logged_by(Options::new("a plugin"), &remove(1 << 20)), NOTHING);
    assert_eq!(stopped(&remove((1 << 20) + 1)), "a name may have 1048576 bytes, the guest's has 1048577");
}

#[test]
fn of_a_local_reply() {
    let reply = |size| {
        format!(
            "(drop (call $reply (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const {size})
                (i32.const 0) (i32.const 0) (i32.const -1)))"
        )
    };
    let options = Options { body_limit: 10, ..Options::new("a plugin") };
    assert_eq!(logged_by(options.clone(), &reply(10)), NOTHING);
    let log = logged_by(options, &reply(11));
    assert_eq!(
        log.last().unwrap(),
        "plugin \"a plugin\": proxy_on_request_headers was stopped: body_limit allows 10 bytes of a body, the guest wants 11"
    );
}

/// What becomes of a body when the guest, which may make it 10 bytes long, has set `size` bytes at `start` to `value_size` others.
fn changed_body(body: &str, start: i32, size: i32, value_size: i32) -> Result<Vec<u8>, String> {
    let proxy = Proxy::default();
    let guest = format!(
        r#"(module
            (import "env" "proxy_set_buffer_bytes" (func $set (param i32 i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "XXXXXXXXXXXXXXXX")
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
                (call $set (i32.const 1) (i32.const {start}) (i32.const {size}) (i32.const 0) (i32.const {value_size}))))"#
    );
    let plugin = proxy.load_with(Options { body_limit: 10, ..Options::new("a plugin") }, &guest).unwrap();
    let context = plugin.configure(b"conf").unwrap();
    let stream = context.open_stream(Request::default()).unwrap();
    let request = Request { body: Some(body.as_bytes().into()), ..Request::default() };
    match plugin.on_event(stream, request, Event::ResponseBody { end_of_stream: true }) {
        Ok(Outcome::Body(body)) => Ok(body),
        Ok(outcome) => panic!("{outcome:?}"),
        Err(_) => Err(proxy.take_log().pop().unwrap()),
    }
}

#[test]
fn of_a_body() {
    assert_eq!(changed_body("0123456", 100, 0, 3).unwrap(), b"0123456XXX");
    assert_eq!(
        changed_body("0123456", 0, 1, 5).unwrap_err(),
        "plugin \"a plugin\": proxy_on_response_body was stopped: body_limit allows 10 bytes of a body, the guest wants 11"
    );
    // One that came longer than that may stay so, and become shorter.
    assert_eq!(changed_body("0123456789ab", 1, 3, 3).unwrap(), b"0XXX456789ab");
    assert_eq!(changed_body("0123456789ab", 0, 1, 0).unwrap(), b"123456789ab");
    assert!(changed_body("0123456789ab", 12, 0, 1).unwrap_err().ends_with("the guest wants 13"));
}

#[test]
fn of_random_bytes() {
    const INVAL: i32 = 28;
    let get = |size, errno| {
        format!("(if (i32.ne (call $random (i32.const 0) (i32.const {size})) (i32.const {errno})) (then unreachable))")
    };
    assert_eq!(logged_by(Options::new("a plugin"), &[get(1 << 20, 0), get((1 << 20) + 1, INVAL)].concat()), NOTHING);
}

/// Hostcalls that take long end with the callback's time: no loop and no function of the guest comes after it.
#[test]
fn of_time_in_a_hostcall() {
    let tick = "(drop (call $log (i32.const 2) (i32.const 0) (i32.const 4)))";
    let call = |name: i32, name_size: i32, arguments: i32, size: i32| {
        format!(
            "(if (call $foreign (i32.const {name}) (i32.const {name_size}) (i32.const {arguments}) (i32.const {size})
                (i32.const 0) (i32.const 0)) (then unreachable))"
        )
    };
    let calls = [call(16, 8, 0, 4), call(14, 10, 48, 13), call(32, 4, 64, 14)];
    for (index, call) in calls.iter().enumerate() {
        let data = r#"(data (i32.const 0) "tick") (data (i32.const 14) "uncompress") (data (i32.const 32) "sign")
            (data (i32.const 48) "\78\9c\cb\48\cd\c9\c9\07\00\06\2c\02\15")
            (data (i32.const 64) "\0a\06sha256\12\01K\1a\01T")"#;
        let with_data = |body: &str| guest(body).replacen("(func $recursion", &format!("{data} (func $recursion"), 1);
        for is_late in [false, true] {
            let body = if is_late { [tick, call].concat() } else { call.clone() };
            let proxy = Proxy::default();
            let engine = Engine::new().unwrap();
            let ticker = engine.ticker();
            proxy.on_log(Box::new(move |message| {
                if message == "tick" {
                    ticker.tick()
                }
            }));
            let options = Options { callback_timeout: Duration::ZERO, ..Options::new("a plugin") };
            let plugin = engine.load(proxy.clone(), options, &wat::parse_str(with_data(&body)).unwrap()).unwrap();
            let context = plugin.configure(b"conf").unwrap();
            let stream = context.open_stream(Request::default()).unwrap();
            let result = plugin.on_event(stream, Request::default(), Event::RequestHeaders);
            assert_eq!(result.is_err(), is_late, "{index}: {:?}", proxy.take_log());
            let stopped = "proxy_on_request_headers was stopped: callback_timeout allows it 0 ms";
            assert_eq!(proxy.logged(stopped), is_late, "{index}");
            assert_eq!(proxy.logged("proxy_call_foreign_function"), is_late, "{index}");
        }
    }
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
fn of_a_message() {
    let log = |size| format!("(drop (call $log (i32.const 2) (i32.const 0) (i32.const {size})))");
    let written = format!("stream: {}", "\0".repeat(1 << 20));
    assert_eq!(logged_by(Options::new("a plugin"), &log(1 << 20)), [&*written]);
    let notice =
        "stream: plugin \"a plugin\": proxy_on_request_headers logs a message of 1048577 bytes: 1048576 are written";
    assert_eq!(logged_by(Options::new("a plugin"), &log((1 << 20) + 1)), [&*written, notice]);
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
