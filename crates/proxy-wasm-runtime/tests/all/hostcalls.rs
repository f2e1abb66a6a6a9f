use proxy_wasm_memory::{Proxy, Request};
use proxy_wasm_runtime::{
    abi::{HeaderMap, property::Value},
    context::Options,
    hostcalls::table::{HOSTCALLS, Hostcall},
    vm::{Event, Outcome},
};

/// A guest that calls `hostcall` with these arguments from `proxy_on_request_headers`.
fn calling_guest(hostcall: &Hostcall, arguments: &[i64]) -> String {
    let types: Vec<&str> = hostcall.parameters.iter().map(|(_, ty)| if *ty == "u64" { "i64" } else { "i32" }).collect();
    let arguments: String =
        types.iter().zip(arguments).map(|(ty, argument)| format!("({ty}.const {argument})")).collect();
    let parameters = if types.is_empty() { String::new() } else { format!("(param {})", types.join(" ")) };
    format!(
        r#"(module
            (import "env" "{}" (func $hostcall {parameters} (result i32)))
            (memory (export "memory") 1)
            (func (export "malloc") (param i32) (result i32) (i32.const 4096))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (drop (call $hostcall {arguments})) (i32.const 0)))"#,
        hostcall.name
    )
}

/// Whether the guest's callback ended without a trap.
fn survives(module: &str) -> bool {
    survives_with(Request::with_headers(&[("name", "value")]), module)
}

/// As [`survives`], with a request of the test's own.
fn survives_with(request: Request, module: &str) -> bool {
    let proxy = Proxy::default();
    let plugin = proxy.load(module).unwrap();
    let context = plugin.configure(b"conf").unwrap();
    let stream = context.open_stream(Request::default()).unwrap();
    let request = Request { body: Some(b"body"[..].into()), ..request };
    let outcome = plugin.on_event(stream, request, Event::RequestHeaders);
    plugin.close_stream(stream);
    assert!(outcome.is_ok() || proxy.logged("failed to call function"), "a failure has a reason in the log");

    // Whatever happened, the plugin can be used again.
    let stream = context.open_stream(Request::default()).unwrap();
    plugin.close_stream(stream);
    matches!(outcome, Ok(Outcome::Continue | Outcome::Reply(_)))
}

#[test]
fn hostile_arguments_trap_or_are_answered() {
    const PAGE: i64 = 65536;
    const HOSTILE: &[i64] = &[-1, -4, -8, PAGE - 1, PAGE - 4, PAGE, PAGE + 1, 1 << 31, i32::MAX as i64, 0, 1];
    let mut calls = 0;
    for hostcall in HOSTCALLS {
        for first in HOSTILE {
            for second in [first, &-1, &PAGE, &16] {
                let alternating = [*first, *second].into_iter().cycle();
                let arguments: Vec<i64> =
                    alternating.take(hostcall.parameters.len()).map(|argument| i64::from(argument as i32)).collect();
                survives(&calling_guest(hostcall, &arguments));
                calls += 1;
            }
        }
    }
    assert_eq!(calls, HOSTCALLS.len() * HOSTILE.len() * 4);
}

#[test]
fn a_pointer_past_the_end_traps_and_the_last_byte_does_not() {
    let log = HOSTCALLS.iter().find(|row| row.name == "proxy_log").unwrap();
    assert!(survives(&calling_guest(log, &[2, 65535, 1])));
    for (pointer, size) in [(65535, 2), (65536, 1), (-1, 1), (0, -1), (65537, -1)] {
        assert!(!survives(&calling_guest(log, &[2, pointer, size])), "{pointer} {size}");
    }
}

#[test]
fn a_result_that_would_be_written_past_the_end_traps() {
    let get = HOSTCALLS.iter().find(|row| row.name == "proxy_get_header_map_pairs").unwrap();
    assert!(survives(&calling_guest(get, &[0, 0, 4])));
    assert!(survives(&calling_guest(get, &[0, 65532, 65528])));
    assert!(!survives(&calling_guest(get, &[0, 65533, 0])));
    assert!(!survives(&calling_guest(get, &[0, 0, -1])));
}

#[test]
fn an_allocator_that_fails_or_lies_traps() {
    let get = HOSTCALLS.iter().find(|row| row.name == "proxy_get_header_map_pairs").unwrap();
    let module = calling_guest(get, &[0, 0, 4]);
    for lie in ["(i32.const 0)", "(i32.const 65535)", "(i32.const -16)", "(unreachable)"] {
        assert!(!survives(&module.replace("(i32.const 4096)", lie)), "{lie}");
    }
    assert!(!survives(&module.replace(r#"(export "malloc")"#, r#"(export "none")"#)));
}

#[test]
fn the_allocator_may_not_use_the_host() {
    let get = HOSTCALLS.iter().find(|row| row.name == "proxy_get_header_map_pairs").unwrap();
    let recursive = calling_guest(get, &[0, 0, 4]).replace(
        "(i32.const 4096)",
        "(drop (call $hostcall (i32.const 0) (i32.const 0) (i32.const 4))) (i32.const 4096)",
    );
    assert!(!survives(&recursive));
}

#[test]
fn the_allocator_is_not_called_while_it_runs() {
    let get = HOSTCALLS.iter().find(|row| row.name == "proxy_get_buffer_bytes").unwrap();
    let once = calling_guest(get, &[7, 0, 4, 0, 4]).replace(
        "(i32.const 4096)",
        "(if (i32.eqz (i32.load (i32.const 8))) (then
            (i32.store (i32.const 8) (i32.const 1))
            (drop (call $hostcall (i32.const 7) (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 4)))))
         (i32.const 4096)",
    );
    assert!(!survives(&once));
}

/// A guest that writes `parts` at `vectors` to stdout, and traps unless so many bytes are taken.
fn writing_guest(parts: u32, vectors: &str, taken: u32) -> String {
    format!(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 2)
            {vectors}
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (if (call $write (i32.const 1) (i32.const 0) (i32.const {parts}) (i32.const 32)) (then unreachable))
                (if (i32.ne (i32.load (i32.const 32)) (i32.const {taken})) (then unreachable))
                (i32.const 0)))"#
    )
}

#[test]
fn one_write_takes_no_more_than_64_kib() {
    let parts =
        [r#"(data (i32.const 0) "\00\00\00\00\ff\ff\00\00")"#, r#"(data (i32.const 8) "\00\00\00\00\04\00\00\00")"#];
    assert!(survives(&writing_guest(1, &parts.concat(), 65535)));
    assert!(survives(&writing_guest(2, &parts.concat(), 65536)));
}

#[test]
fn lines_on_stdout_are_messages_that_the_log_rate_limits() {
    let line = r#"(data (i32.const 0) "\40\00\00\00\06\00\00\00") (data (i32.const 64) "1\0a2\0a3\0a")"#;
    let proxy = Proxy::default();
    let options = Options { log_rate: 2, ..Options::new("a plugin") };
    let plugin = proxy.load_with(options, &writing_guest(1, line, 6)).unwrap();
    let context = plugin.configure(b"conf").unwrap();
    let stream = context.open_stream(Request::default()).unwrap();
    proxy.take_log();
    plugin.on_event(stream, Request::default(), Event::RequestHeaders).unwrap();
    assert_eq!(proxy.take_log(), ["stream: 1", "stream: 2"]);
}

/// What the body is after `proxy_set_buffer_bytes` in its callback; `None` when it was not changed.
fn spliced(body: &str, start: i64, size: i64, value: &str) -> Option<String> {
    let set = HOSTCALLS.iter().find(|row| row.name == "proxy_set_buffer_bytes").unwrap();
    let module = calling_guest(set, &[1, start, size, 16, value.len() as i64])
        .replace("proxy_on_request_headers", "proxy_on_response_body")
        .replace("(func (export \"malloc\")", &format!("(data (i32.const 16) \"{value}\") (func (export \"malloc\")"));
    let plugin = Proxy::default().load(&module).unwrap();
    let context = plugin.configure(b"conf").unwrap();
    let stream = context.open_stream(Request::default()).unwrap();
    let event = Event::ResponseBody { end_of_stream: true };
    match plugin.on_event(stream, Request::with_body(body), event).unwrap() {
        Outcome::Body(body) => Some(String::from_utf8(body).unwrap()),
        _ => None,
    }
}

#[test]
fn a_body_is_replaced_prepended_appended_and_spliced() {
    let cases = [
        (0, -1, "new", "new"),
        (0, 4, "new", "new"),
        (0, 0, "<", "<body"),
        (4, 0, ">", "body>"),
        (i64::from(i32::MAX), 0, ">", "body>"),
        (-1, -1, ">", "body>"),
        (1, 2, "--", "b--y"),
        (2, 0, "+", "bo+dy"),
        (2, 1 << 30, "", "bo"),
        (0, -1, "", ""),
    ];
    for (start, size, value, expected) in cases {
        assert_eq!(spliced("body", start, size, value).as_deref(), Some(expected), "{start} {size} {value:?}");
    }
}

#[test]
fn a_map_whose_headers_are_not_all_known_is_not_replaced_the_stream_is_closed() {
    let set = HOSTCALLS.iter().find(|row| row.name == "proxy_set_header_map_pairs").unwrap();
    // The four bytes at 0 are an empty map.
    let module = calling_guest(set, &[0, 0, 4]);
    for (hides_headers, expected) in [(false, Outcome::Continue), (true, Outcome::Close)] {
        let proxy = Proxy::default();
        let plugin = proxy.load(&module).unwrap();
        let context = plugin.configure(b"conf").unwrap();
        let request = Request { hides_headers, ..Request::with_headers(&[("set-cookie", "secret")]) };
        let stream = context.open_stream(request.clone()).unwrap();
        assert_eq!(plugin.on_event(stream, request.clone(), Event::RequestHeaders), Ok(expected));
        assert_eq!(request.map(HeaderMap::RequestHeaders).is_empty(), !hides_headers);
        assert_eq!(proxy.logged("not all of RequestHeaders are known"), hides_headers);
    }
}

#[test]
fn a_missing_header_is_not_found_and_in_abi_0_1_0_empty() {
    let module = |version: &str, answer: u32| {
        format!(
            r#"(module
                (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
                (memory (export "memory") 1)
                (data (i32.const 0) "missing")
                (func (export "proxy_abi_version_{version}"))
                (func (export "malloc") (param i32) (result i32) (i32.const 4096))
                (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                    (if (i32.ne (i32.const {answer})
                            (call $get (i32.const 0) (i32.const 0) (i32.const 7) (i32.const 16) (i32.const 20)))
                        (then unreachable))
                    (if (i32.load (i32.const 20)) (then unreachable))
                    (i32.const 0)))"#
        )
    };
    assert!(survives(&module("0_1_0", 0)));
    assert!(survives(&module("0_2_0", 1)));
    assert!(survives(&module("0_2_1", 1)));
}

/// Whether `proxy_get_property` answers `status`, and with 0 a value that is `wire`. The guest asks for it twice, with and
/// without NUL at the end.
fn property_is(path: &str, status: u32, wire: &[u8]) -> bool {
    let escaped = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\{byte:02x}")).collect::<String>();
    let same: String = (0..wire.len())
        .map(|n| {
            format!(
                "(if (i32.ne (i32.load8_u offset={n} (i32.load (i32.const 256))) (i32.load8_u (i32.const {})))
                    (then unreachable))",
                512 + n
            )
        })
        .collect();
    let ask = |size: usize| {
        format!(
            "(if (i32.ne (i32.const {status})
                    (call $get (i32.const 0) (i32.const {size}) (i32.const 256) (i32.const 260)))
                (then unreachable))
            (if (i32.ne (i32.load (i32.const 260)) (i32.const {})) (then unreachable)) {same}",
            wire.len()
        )
    };
    let request = Request::default();
    request.set_property(b"known", Value::from(&b"value"[..]));
    request.set_property(b"number\0one", Value::Uint(1));
    survives_with(
        request,
        &format!(
            r#"(module
            (import "env" "proxy_get_property" (func $get (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "{}\00") (data (i32.const 512) "{}")
            (func (export "malloc") (param i32) (result i32) (i32.const 4096))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                {} {} (i32.const 0)))"#,
            escaped(path.as_bytes()),
            escaped(wire),
            ask(path.len()),
            ask(path.len() + 1),
        ),
    )
}

#[test]
fn a_property_is_in_its_wire_form() {
    assert!(property_is("known", 0, b"value"));
    assert!(!property_is("known", 0, b"valve"));
    assert!(property_is("number\0one", 0, &[1, 0, 0, 0, 0, 0, 0, 0]));
    assert!(property_is("unknown", 1, b""));
}

#[test]
fn the_plugins_own_properties_are_what_it_was_loaded_with() {
    for path in ["plugin_name", "plugin_root_id", "plugin_vm_id"] {
        assert!(property_is(path, 0, b"a plugin"), "{path}");
    }
}

#[test]
fn setting_a_property_is_always_ok() {
    let module = r#"(module
        (import "env" "proxy_set_property" (func $set (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func $check (if (call $set (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 4)) (then unreachable)))
        (func (export "proxy_on_configure") (param i32 i32) (result i32) (call $check) (i32.const 1))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $check) (i32.const 0)))"#;
    assert!(survives(module));
}
