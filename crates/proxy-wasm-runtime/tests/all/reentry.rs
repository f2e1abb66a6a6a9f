//! What the proxy may do while the guest runs: a finalizer can come at any time.

use std::cell::RefCell;

use proxy_wasm_memory::{Proxy, Request};
use proxy_wasm_runtime::{CallError, context::PluginContext, vm::Event};

use crate::guest::logging_guest;

thread_local! {
    static CONTEXT: RefCell<Option<PluginContext<Proxy>>> = const { RefCell::new(None) };
    static RESULT: RefCell<Option<CallError>> = const { RefCell::new(None) };
}

#[test]
fn a_plugin_context_that_is_dropped_inside_a_hostcall_ends_after_the_callback() {
    let proxy = Proxy::default();
    let plugin = proxy.load(&logging_guest("")).unwrap();
    let context = plugin.configure(b"a").unwrap();
    CONTEXT.set(Some(plugin.configure(b"b").unwrap()));
    let stream = context.open_stream(Request::default()).unwrap();
    proxy.take_log();

    proxy.on_log(Box::new(|message| {
        if message.starts_with("request_headers") {
            CONTEXT.take();
        }
    }));
    plugin.on_event(stream, Request::default(), Event::RequestHeaders).unwrap();
    assert_eq!(proxy.take_log(), ["stream: request_headers 3 0 1", "done 2", "delete 2", "free plugin context 2"]);
}

#[test]
fn a_callback_inside_of_a_hostcall_is_refused() {
    let proxy = Proxy::default();
    let plugin = proxy.load(&logging_guest("")).unwrap();
    let context = plugin.configure(b"a").unwrap();
    let stream = context.open_stream(Request::default()).unwrap();
    CONTEXT.set(Some(context));

    proxy.on_log(Box::new(|message| {
        if message.starts_with("request_headers") {
            let result = CONTEXT.with_borrow(|context| context.as_ref().map(|c| c.open_stream(Request::default())));
            RESULT.set(result.and_then(Result::err));
        }
    }));
    plugin.on_event(stream, Request::default(), Event::RequestHeaders).unwrap();
    assert_eq!(RESULT.take(), Some(CallError::Busy));
    CONTEXT.take();
}
