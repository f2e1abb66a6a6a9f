//! A panic of the host in the middle of a hostcall ends the plugin's instance, and nothing else.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
};

use proxy_wasm_memory::{Proxy, Request};
use proxy_wasm_runtime::{
    CallError, TrapKind,
    context::{Patience, Plugin, PluginContext},
    vm::{Event, Health, Outcome},
};

/// What a defect of the host would do in the middle of a hostcall: the first message "panic" makes the proxy panic.
fn panicking_proxy() -> Proxy {
    let proxy = Proxy::default();
    proxy.on_log(Box::new(|message| assert_ne!(message, "panic")));
    proxy
}

/// A guest that logs "panic" in a callback. It does so once in a process: the first
/// byte of the shared data remembers it over instances.
fn guest(callback: &str, parameters: &str, result: &str) -> String {
    let value = if result.is_empty() { "" } else { "(i32.const 1)" };
    format!(
        r#"(module
        (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
        (import "env" "proxy_set_shared_data" (func $set (param i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_get_shared_data" (func $get (param i32 i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "panic")
        (func (export "malloc") (param i32) (result i32) (i32.const 1024))
        (func (export "{callback}") {parameters} {result}
            (if (i32.eq (call $get (i32.const 0) (i32.const 5) (i32.const 64) (i32.const 68) (i32.const 72)) (i32.const 1))
                (then
                    (drop (call $set (i32.const 0) (i32.const 5) (i32.const 0) (i32.const 5) (i32.const 0)))
                    (drop (call $log (i32.const 2) (i32.const 0) (i32.const 5)))))
            {value}))"#
    )
}

/// Runs what may panic, and returns whether it did.
fn panics(call: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(call)).is_err()
}

/// The plugin serves a stream, in an instance that was built after the panic.
fn goes_on(proxy: &Proxy, plugin: &Rc<Plugin<Proxy>>, context: &PluginContext<Proxy>) {
    assert_eq!(*proxy.running.lock().unwrap(), 0, "no guest runs any more");
    assert!(proxy.logged("the host panicked while proxy_on_"));
    assert_eq!(plugin.status().unwrap().health, Health::Trapped);
    let stream = context.open_stream(Request::default()).unwrap();
    assert_eq!(plugin.on_event(stream, Request::default(), Event::RequestHeaders), Ok(Outcome::Continue));
    plugin.close_stream(stream);
    let status = plugin.status().unwrap();
    let count = |kind| status.traps.iter().find(|(other, _)| *other == kind).map(|(_, count)| *count);
    assert_eq!((count(TrapKind::Panic), status.rebuilds), (Some(1), 1));
    assert_eq!(*proxy.running.lock().unwrap(), 0);
}

#[test]
fn in_a_callback_of_a_request_it_goes_to_who_called() {
    let proxy = panicking_proxy();
    let plugin = proxy.load(&guest("proxy_on_request_headers", "(param i32 i32 i32)", "(result i32)")).unwrap();
    let context = plugin.configure(b"conf").unwrap();
    let stream = context.open_stream(Request::default()).unwrap();
    assert!(panics(|| drop(plugin.on_event(stream, Request::default(), Event::RequestHeaders))));
    plugin.close_stream(stream);
    goes_on(&proxy, &plugin, &context);
}

#[test]
fn in_a_new_stream_context_it_goes_to_who_called() {
    let proxy = panicking_proxy();
    let body = guest("proxy_on_context_create", "(param $id i32) (param $parent i32)", "");
    // Not for the plugin context.
    let module = body
        .replace("(if (i32.eq (call $get", "(if (i32.eqz (local.get $parent)) (then return)) (if (i32.eq (call $get");
    let plugin = proxy.load(&module).unwrap();
    let context = plugin.configure(b"conf").unwrap();
    assert!(panics(|| _ = context.open_stream(Request::default())));
    goes_on(&proxy, &plugin, &context);
}

#[test]
fn in_a_tick_and_in_a_foreign_function_it_is_an_error() {
    for (callback, parameters) in
        [("proxy_on_tick", "(param i32)"), ("proxy_on_foreign_function", "(param i32 i32 i32)")]
    {
        let proxy = panicking_proxy();
        let plugin = proxy.load(&guest(callback, parameters, "")).unwrap();
        let context = plugin.configure(b"conf").unwrap();
        let result = if callback == "proxy_on_tick" { context.on_tick() } else { context.on_foreign_function(1, b"") };
        assert_eq!(result, Err(CallError::Panicked));
        goes_on(&proxy, &plugin, &context);
    }
}

#[test]
fn at_the_end_of_a_stream_it_ends_there() {
    for (callback, result) in [("proxy_on_done", "(result i32)"), ("proxy_on_log", ""), ("proxy_on_delete", "")] {
        let proxy = panicking_proxy();
        let plugin = proxy.load(&guest(callback, "(param i32)", result)).unwrap();
        let context = plugin.configure(b"conf").unwrap();
        let stream = context.open_stream(Request::default()).unwrap();
        plugin.close_stream(stream);
        goes_on(&proxy, &plugin, &context);
    }
}

#[test]
fn in_a_configuration_and_at_the_end_of_a_plugin_context_it_ends_there() {
    let proxy = panicking_proxy();
    let plugin = proxy.load(&guest("proxy_on_configure", "(param i32 i32)", "(result i32)")).unwrap();
    assert_eq!(plugin.configure(b"conf").err(), Some(CallError::Panicked));
    let context = plugin.configure(b"conf").unwrap();
    assert_eq!(*proxy.running.lock().unwrap(), 0);
    drop(context);

    let proxy = panicking_proxy();
    let plugin = proxy.load(&guest("proxy_on_done", "(param i32)", "(result i32)")).unwrap();
    let (ends, stays) = (plugin.configure(b"ends").unwrap(), plugin.configure(b"stays").unwrap());
    ends.retire(Patience::Wait);
    goes_on(&proxy, &plugin, &stays);
}
