//! Every status that a hostcall answers is one that the Rust SDK takes for it: the SDK panics on any other, which traps the plugin.

use proxy_wasm_memory::{Proxy, Request};
use proxy_wasm_runtime::{
    context::Options,
    hostcalls::{
        Capabilities,
        table::{HOSTCALLS, Hostcall},
    },
    vm::Event,
};

const OK: u32 = 0;
const NOT_FOUND: u32 = 1;
const BAD_ARGUMENT: u32 = 2;
const SERIALIZATION_FAILURE: u32 = 3;
const PARSE_FAILURE: u32 = 4;
const EMPTY: u32 = 7;
const CAS_MISMATCH: u32 = 8;
const INTERNAL_FAILURE: u32 = 10;

/// What proxy-wasm 0.2.5 for Rust takes. Of hostcalls that it does not have, what the specification names.
fn accepted(hostcall: &str) -> &'static [u32] {
    match hostcall {
        "proxy_get_buffer_bytes" | "proxy_get_header_map_value" => &[OK, NOT_FOUND],
        "proxy_get_buffer_status" | "proxy_get_configuration" => &[OK, NOT_FOUND],
        "proxy_get_header_map_size" => &[OK, BAD_ARGUMENT],
        "proxy_get_property" => &[OK, NOT_FOUND, SERIALIZATION_FAILURE, INTERNAL_FAILURE],
        "proxy_http_call" => &[OK, BAD_ARGUMENT, INTERNAL_FAILURE],
        "proxy_grpc_call" | "proxy_grpc_stream" => &[OK, PARSE_FAILURE, INTERNAL_FAILURE],
        "proxy_grpc_send" => &[OK, BAD_ARGUMENT, NOT_FOUND],
        "proxy_grpc_cancel" | "proxy_grpc_close" => &[OK, NOT_FOUND],
        "proxy_get_shared_data" => &[OK, NOT_FOUND],
        "proxy_set_shared_data" => &[OK, CAS_MISMATCH],
        "proxy_resolve_shared_queue" | "proxy_enqueue_shared_queue" => &[OK, NOT_FOUND],
        "proxy_dequeue_shared_queue" => &[OK, EMPTY, NOT_FOUND],
        "proxy_increment_metric" | "proxy_get_metric" => &[OK, NOT_FOUND, BAD_ARGUMENT],
        "proxy_record_metric" => &[OK, NOT_FOUND],
        "proxy_set_effective_context" => &[OK, BAD_ARGUMENT],
        "proxy_call_foreign_function" => &[OK, NOT_FOUND, BAD_ARGUMENT, SERIALIZATION_FAILURE, INTERNAL_FAILURE],
        _ => &[OK],
    }
}

/// Values for a parameter that the SDK can give it. Address 16 has the text "name", 32 a header map, 64 is free.
fn values(parameter: &str) -> &'static [i64] {
    match parameter {
        "map" => &[0, 1, 2, 3, 4, 5, 6, 7],
        "buffer" => &[0, 1, 4, 5, 6, 7],
        "metric_type" => &[0, 1, 2],
        "level" => &[0, 1, 2, 3, 4, 5],
        "stream_type" => &[0, 1, 2, 3],
        "start" | "size" | "max_size" => &[0, 2, 0x7fff_ffff, -1],
        "status" => &[200, 403, 999],
        "period" | "timeout" => &[0, 1000, 0x7fff_ffff],
        "grpc_status" => &[-1, 0, 14],
        "context" => &[0, 1, 2, 77],
        "cas" | "end_of_stream" => &[0, 1, 77],
        "offset" | "value_number" => &[0, 1, -1, i64::MAX, i64::MIN],
        "metric" | "queue" | "token" => &[0, 1, 2, 77],
        "pairs" | "headers" | "metadata" | "trailers" => &[32],
        "pairs_size" | "headers_size" | "metadata_size" | "trailers_size" => &[0, 4],
        "value" => &[16],
        out if out.ends_with("_out") => &[64],
        size if size.ends_with("_size") => &[0, 4],
        _pointer => &[16],
    }
}

/// As [`values`], where a name means another thing in some hostcall.
fn values_for(hostcall: &Hostcall, parameter: (&str, &str)) -> &'static [i64] {
    match (hostcall.name, parameter) {
        ("proxy_record_metric", ("value", _)) => values("value_number"),
        _ => values(parameter.0),
    }
}

/// As many combinations of arguments as the longest of their lists needs, and then some: each list is stepped through at a pace
/// of its own.
fn arguments(hostcall: &Hostcall) -> Vec<Vec<i64>> {
    let lists: Vec<&[i64]> = hostcall.parameters.iter().map(|parameter| values_for(hostcall, *parameter)).collect();
    let all: usize = lists.iter().map(|list| list.len()).product();
    let pick = |mut number: usize| {
        let choose = |list: &&[i64]| {
            let value = list[number % list.len()];
            number /= list.len();
            value
        };
        lists.iter().map(choose).collect()
    };
    (0..all.min(512)).map(|index| pick(index * (all / all.min(512)).max(1))).collect()
}

/// A guest that makes the call in proxy_on_configure, proxy_on_request_headers, proxy_on_response_body, proxy_on_log and
/// proxy_on_tick, and logs each status as a letter behind "status ".
fn guest(hostcall: &Hostcall, arguments: &[i64]) -> String {
    let types: Vec<&str> = hostcall.parameters.iter().map(|(_, ty)| if *ty == "u64" { "i64" } else { "i32" }).collect();
    let arguments: String = types.iter().zip(arguments).map(|(ty, value)| format!("({ty}.const {value})")).collect();
    let parameters = if types.is_empty() { String::new() } else { format!("(param {})", types.join(" ")) };
    format!(
        r#"(module
            (import "env" "{}" (func $hostcall {parameters} (result i32)))
            (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 16) "name") (data (i32.const 128) "status ?")
            (func (export "malloc") (param i32) (result i32) (i32.const 4096))
            (func $try
                (i32.store8 (i32.const 135) (i32.add (i32.const 65) (call $hostcall {arguments})))
                (drop (call $log (i32.const 2) (i32.const 128) (i32.const 8))))
            (func (export "proxy_on_configure") (param i32 i32) (result i32) (call $try) (i32.const 1))
            (func (export "proxy_on_tick") (param i32) (call $try))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $try) (i32.const 0))
            (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32) (call $try) (i32.const 0))
            (func (export "proxy_on_log") (param i32) (call $try)))"#,
        hostcall.name
    )
}

/// The statuses that the call is answered with, in each of the guest's callbacks.
fn statuses(options: Options, hostcall: &Hostcall, arguments: &[i64]) -> Vec<u32> {
    let proxy = Proxy::default();
    let plugin = proxy.load_with(options, &guest(hostcall, arguments)).unwrap();
    let context = plugin.configure(b"conf").unwrap_or_else(|_| panic!("{} {arguments:?}", hostcall.name));
    context.on_tick().unwrap();
    let request = Request { body: Some(b"body"[..].into()), ..Request::with_headers(&[("name", "value")]) };
    let stream = context.open_stream(request.clone()).unwrap();
    for event in [Event::RequestHeaders, Event::ResponseBody { end_of_stream: true }] {
        plugin.on_event(stream, request.clone(), event).unwrap();
    }
    plugin.close_stream(stream);
    let status = |line: String| Some(u32::from(*line.rsplit_once("status ")?.1.as_bytes().first()?) - 65);
    proxy.take_log().into_iter().filter_map(status).collect()
}

#[test]
fn every_status_is_one_that_the_rust_sdk_takes() {
    for hostcall in HOSTCALLS {
        for arguments in arguments(hostcall) {
            let statuses = statuses(Options::new("a plugin"), hostcall, &arguments);
            assert_eq!(statuses.len(), 5, "{} {arguments:?}", hostcall.name);
            for status in statuses {
                assert!(accepted(hostcall.name).contains(&status), "{} {arguments:?} answers {status}", hostcall.name);
            }
        }
    }
}

#[test]
fn a_denied_hostcall_is_answered_by_a_status_that_the_rust_sdk_takes_too() {
    for hostcall in HOSTCALLS.iter().filter(|hostcall| hostcall.name != "proxy_log") {
        let capabilities = Capabilities::new(None, &[hostcall.name.to_owned()]).unwrap();
        let options = Options { capabilities, ..Options::new("a plugin") };
        let arguments = vec![64; hostcall.parameters.len()];
        let statuses = statuses(options, hostcall, &arguments);
        assert_eq!(statuses.len(), 5, "{}", hostcall.name);
        for status in statuses {
            assert!(accepted(hostcall.name).contains(&status), "{} answers {status}", hostcall.name);
        }
    }
}

#[test]
fn what_is_not_among_the_capabilities_is_denied_and_said_once() {
    let hostcall = HOSTCALLS.iter().find(|hostcall| hostcall.name == "proxy_http_call").unwrap();
    let capabilities = Capabilities::new(Some(&["proxy_log".to_owned()]), &[]).unwrap();
    let proxy = Proxy::default();
    let plugin =
        proxy.load_with(Options { capabilities, ..Options::new("a plugin") }, &guest(hostcall, &[64; 10])).unwrap();
    let context = plugin.configure(b"conf").unwrap();
    context.on_tick().unwrap();
    let lines = proxy.take_log();
    let said = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!(said("plugin \"a plugin\" may not call proxy_http_call: it is answered InternalFailure"), 1);
    assert_eq!(said("status K"), 2);
    assert!(Capabilities::new(None, &["proxy_never".to_owned()]).is_err());
}
