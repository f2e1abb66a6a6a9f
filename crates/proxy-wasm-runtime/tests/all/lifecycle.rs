use proxy_wasm_memory::{Proxy, Request};
use proxy_wasm_runtime::{
    CallError, Host,
    abi::HeaderMap,
    context::{Patience, PluginContext},
    store::prometheus,
    vm::{self, Event, Outcome},
};

use crate::guest::logging_guest;

#[test]
fn callbacks_come_in_the_order_of_the_specification() {
    let proxy = Proxy::default();
    let plugin = proxy.load(&logging_guest("")).unwrap();
    let context = plugin.configure(b"conf").unwrap();
    let stream = context.open_stream(Request::default()).unwrap();
    let request = Request::with_headers(&[("a", "1"), ("b", "2")]);
    plugin.on_event(stream, request.clone(), Event::RequestHeaders).unwrap();
    let body = Request::with_body("12345");
    plugin.on_event(stream, body.clone(), Event::RequestBody { end_of_stream: false }).unwrap();
    request.set_headers(HeaderMap::ResponseHeaders, &[("c", "3")]);
    plugin.on_event(stream, request, Event::ResponseHeaders).unwrap();
    plugin.on_event(stream, body, Event::ResponseBody { end_of_stream: true }).unwrap();
    plugin.close_stream(stream);
    drop(context);
    drop(plugin);
    assert_eq!(
        proxy.take_log(),
        [
            "loaded wasm plugin",
            "context_create 1 0",
            "vm_start 1 0",
            "configure 1 4",
            "create plugin context 1",
            "stream: context_create 2 1",
            "create http context 2",
            "stream: request_headers 2 2 1",
            "stream: request_body 2 5 0",
            "stream: response_headers 2 1 1",
            "stream: response_body 2 5 1",
            "stream: done 2",
            "stream: log 2",
            "stream: delete 2",
            "free http context 2",
            "done 1",
            "delete 1",
            "free plugin context 1",
            "unloaded wasm plugin",
        ]
    );
}

#[test]
fn the_virtual_machine_is_started_once() {
    let proxy = Proxy::default();
    let plugin = proxy.load(&logging_guest("")).unwrap();
    let _contexts = [plugin.configure(b"a").unwrap(), plugin.configure(b"b").unwrap()];
    let starts = proxy.take_log().into_iter().filter(|line| line.starts_with("vm_start"));
    assert_eq!(starts.count(), 1);
}

#[test]
fn a_plugin_context_stays_until_its_last_stream_context_is_closed() {
    let proxy = Proxy::default();
    let plugin = proxy.load(&logging_guest("")).unwrap();
    let context = plugin.configure(b"conf").unwrap();
    let streams = [(); 2].map(|()| context.open_stream(Request::default()).unwrap());
    drop(context);
    plugin.close_stream(streams[0]);
    assert!(!proxy.logged("free plugin context"));
    plugin.close_stream(streams[1]);
    assert_eq!(proxy.take_log().last().unwrap(), "free plugin context 1");
}

/// A guest that is never done with a plugin context by itself.
const NEVER_DONE: &str = r#"(module (memory (export "memory") 1) (func (export "proxy_abi_version_0_2_1"))
    (func (export "proxy_on_done") (param i32) (result i32) (i32.const 0)))"#;

#[test]
fn who_holds_a_context_that_has_ended_can_do_nothing_to_another_with_its_id() {
    let plugin = Proxy::default().load(NEVER_DONE).unwrap();
    let old = plugin.configure(b"old").unwrap();
    old.retire(Patience::Hurry);
    assert!(old.is_gone());
    let new = plugin.configure(b"new").unwrap();
    assert_eq!(new.id(), old.id());
    assert_eq!(old.open_stream(Request::default()), Err(CallError::Gone));
    old.retire(Patience::Hurry);
    drop(old);
    assert!(!new.is_gone());
}

#[test]
fn a_context_that_is_not_waited_for_is_not_waited_for_later_either() {
    let plugin = Proxy::default().load(NEVER_DONE).unwrap();
    let context = plugin.configure(b"conf").unwrap();
    let stream = context.open_stream(Request::default()).unwrap();
    context.retire(Patience::Hurry);
    context.retire(Patience::Wait);
    plugin.close_stream(stream);
    assert!(context.is_gone());
}

#[test]
fn closing_a_stream_twice_calls_nothing() {
    let proxy = Proxy::default();
    let plugin = proxy.load(&logging_guest("")).unwrap();
    let context = plugin.configure(b"conf").unwrap();
    let stream = context.open_stream(Request::default()).unwrap();
    plugin.close_stream(stream);
    proxy.take_log();
    plugin.close_stream(stream);
    assert_eq!(plugin.on_event(stream, Request::default(), Event::RequestHeaders), Err(CallError::Gone));
    assert_eq!(proxy.take_log(), [""; 0]);
}

/// Traps in the response headers' callback, and in no other.
fn trapping_guest() -> String {
    logging_guest("").replace(
        r#""proxy_on_response_headers") (param i32 i32 i32 ) (result i32)"#,
        r#""proxy_on_response_headers") (param i32 i32 i32) (result i32) (unreachable)"#,
    )
}

#[test]
fn after_a_trap_the_next_stream_has_a_new_instance_with_the_old_configuration() {
    let proxy = Proxy::default();
    let plugin = proxy.load(&trapping_guest()).unwrap();
    let context = plugin.configure(b"conf").unwrap();
    let stream = context.open_stream(Request::default()).unwrap();
    let trapped = plugin.on_event(stream, Request::default(), Event::ResponseHeaders);
    assert_eq!(trapped, Err(CallError::Trapped));
    assert!(proxy.logged("failed to call function: "));
    proxy.take_log();

    // The stream context died with the instance: nothing is called for it.
    assert_eq!(plugin.on_event(stream, Request::default(), Event::RequestHeaders), Err(CallError::Gone));
    plugin.close_stream(stream);
    assert_eq!(proxy.take_log(), ["free http context 2"]);

    let stream = context.open_stream(Request::default()).unwrap();
    let outcome = plugin.on_event(stream, Request::default(), Event::RequestHeaders);
    assert_eq!(outcome, Ok(Outcome::Continue));
    assert_eq!(
        proxy.take_log(),
        [
            "context_create 1 0",
            "vm_start 1 0",
            "configure 1 4",
            "stream: context_create 2 1",
            "create http context 2",
            "stream: request_headers 2 0 1",
        ]
    );
}

#[test]
fn a_stream_of_the_old_instance_is_not_taken_for_one_of_the_new() {
    let proxy = Proxy::default();
    let plugin = proxy.load(&trapping_guest()).unwrap();
    let context = plugin.configure(b"conf").unwrap();
    let old = context.open_stream(Request::default()).unwrap();
    let trapping = context.open_stream(Request::default()).unwrap();
    plugin.on_event(trapping, Request::default(), Event::ResponseHeaders).unwrap_err();
    let new = context.open_stream(Request::default()).unwrap();
    proxy.take_log();

    assert_eq!(plugin.on_event(old, Request::default(), Event::RequestHeaders), Err(CallError::Gone));
    assert_eq!(plugin.on_event(new, Request::default(), Event::RequestHeaders), Ok(Outcome::Continue));
    plugin.close_stream(old);
    assert_eq!(proxy.take_log(), [format!("stream: request_headers {new} 0 1"), format!("free http context {old}")]);
}

#[test]
fn a_plugin_that_traps_a_hundred_times_goes_on() {
    let proxy = Proxy::default();
    let plugin = proxy.load(&trapping_guest()).unwrap();
    let context = plugin.configure(b"conf").unwrap();
    for _ in 0..100 {
        let stream = context.open_stream(Request::default()).unwrap();
        plugin.on_event(stream, Request::default(), Event::RequestHeaders).unwrap();
        plugin.on_event(stream, Request::default(), Event::ResponseHeaders).unwrap_err();
        plugin.close_stream(stream);
        let served = context.open_stream(Request::default()).unwrap();
        plugin.close_stream(served);
    }
    assert_eq!(context.open_stream(Request::default()), Ok(2));
}

/// Has a stream of the guest of [`trapping_guest`] trap.
fn trap_a_stream(context: &PluginContext<Proxy>) -> Result<(), CallError> {
    let stream = context.open_stream(Request::default())?;
    context.plugin().on_event(stream, Request::default(), Event::ResponseHeaders).unwrap_err();
    context.plugin().close_stream(stream);
    Ok(())
}

#[test]
fn the_names_of_a_module_begin_no_message_in_the_log() {
    let proxy = Proxy::default();
    let module = r#"(module (memory (export "memory") 1)
        (func $"f\nworker process 1 exited" unreachable)
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            call $"f\nworker process 1 exited"
            i32.const 0))"#;
    let plugin = proxy.load(module).unwrap();
    let context = plugin.configure(b"conf").unwrap();
    let stream = context.open_stream(Request::default()).unwrap();
    plugin.on_event(stream, Request::default(), Event::RequestHeaders).unwrap_err();
    let log = proxy.take_log();
    assert!(log.iter().any(|message| message.contains("worker process 1 exited")), "{log:#?}");
    assert!(log.iter().all(|message| !message.contains('\n') && !message.starts_with("worker")), "{log:#?}");
}

#[test]
fn a_request_that_traps_again_and_again_fails_no_other() {
    let proxy = Proxy::default();
    let plugin = proxy.load(&trapping_guest()).unwrap();
    let context = plugin.configure(b"conf").unwrap();
    for _ in 0..30 {
        (0..3).for_each(|_| trap_a_stream(&context).unwrap());
        let served = context.open_stream(Request::default()).unwrap();
        assert_eq!(plugin.on_event(served, Request::default(), Event::RequestHeaders), Ok(Outcome::Continue));
        plugin.close_stream(served);
    }
    assert_eq!(plugin.status().unwrap().health, vm::Health::Running);
}

#[test]
fn a_plugin_that_fails_in_most_of_many_calls_rests() {
    let proxy = Proxy::default();
    let plugin = proxy.load(&trapping_guest()).unwrap();
    let context = plugin.configure(b"conf").unwrap();
    let traps = (0..200).take_while(|_| trap_a_stream(&context).is_ok()).count();
    assert_eq!(traps, 100);
    assert_eq!(context.open_stream(Request::default()), Err(CallError::Resting));
    assert!(proxy.logged("plugin \"a plugin\" has failed in 100 of its last 101 calls: it is not called for 100 ms"));
    assert_eq!(plugin.status().unwrap().health, vm::Health::Resting);
}

#[test]
fn a_configuration_that_traps_is_not_tried_again_at_once() {
    let proxy = Proxy::default();
    let module = r#"(module (memory (export "memory") 1)
        (func (export "proxy_on_configure") (param i32) (param $size i32) (result i32)
            (if (i32.eq (local.get $size) (i32.const 3)) (then unreachable))
            (i32.const 1)))"#;
    let plugin = proxy.load(module).unwrap();
    let context = plugin.configure(b"good").unwrap();
    assert_eq!(plugin.configure(b"bad").err(), Some(CallError::Trapped));
    let stream = context.open_stream(Request::default()).unwrap();
    assert_eq!(plugin.configure(b"bad").err(), Some(CallError::Refused));
    assert_eq!(plugin.on_event(stream, Request::default(), Event::RequestHeaders), Ok(Outcome::Continue));
}

#[test]
fn a_stream_context_that_traps_when_it_is_created_does_not_keep_its_plugin_context() {
    let proxy = Proxy::default();
    let module = r#"(module (memory (export "memory") 1)
        (func (export "proxy_on_context_create") (param $id i32) (param $parent i32)
            (if (local.get $parent) (then unreachable))))"#;
    let plugin = proxy.load(module).unwrap();
    let context = plugin.configure(b"conf").unwrap();
    assert_eq!(context.open_stream(Request::default()), Err(CallError::Trapped));
    drop(context);
    assert!(proxy.logged("free plugin context 1"));
}

#[test]
fn a_virtual_machine_that_did_not_start_is_not_used() {
    let proxy = Proxy::default();
    // The same instance would accept at the second time.
    let module = r#"(module (memory (export "memory") 1)
        (global $asked (mut i32) (i32.const 0))
        (func (export "proxy_on_vm_start") (param i32 i32) (result i32)
            (global.get $asked) (global.set $asked (i32.const 1))))"#;
    let plugin = proxy.load(module).unwrap();
    for _ in 0..3 {
        assert_eq!(plugin.configure(b"conf").err(), Some(CallError::Refused));
    }
}

#[test]
fn a_new_instance_that_refuses_an_old_configuration_is_not_used() {
    let proxy = Proxy::default();
    // Accepts context 1, and after it any other.
    let module = r#"(module (memory (export "memory") 1)
        (global $accepts (mut i32) (i32.const 0))
        (func (export "proxy_on_configure") (param $id i32) (param i32) (result i32)
            (global.set $accepts (i32.or (global.get $accepts) (i32.eq (local.get $id) (i32.const 1))))
            (global.get $accepts))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) unreachable))"#;
    let plugin = proxy.load(module).unwrap();
    let first = plugin.configure(b"conf").unwrap();
    let second = plugin.configure(b"conf").unwrap();
    drop(first);
    let stream = second.open_stream(Request::default()).unwrap();
    plugin.on_event(stream, Request::default(), Event::RequestHeaders).unwrap_err();
    assert_eq!(second.open_stream(Request::default()), Err(CallError::Refused));
    assert!(proxy.logged("plugin \"a plugin\" has failed to start 1 times in a row: it is not called for 100 ms"));
    assert_eq!(second.open_stream(Request::default()), Err(CallError::Resting));
    let metrics = prometheus(proxy.dict());
    for (kind, count) in plugin.status().unwrap().traps.into_iter().filter(|(_, count)| *count > 0) {
        let line = format!("resty_wasm_traps_total{{plugin=\"a plugin\",kind=\"{}\"}} {count}", kind.name());
        assert!(metrics.lines().any(|other| other == line), "{line} is not in:\n{metrics}");
    }
}

#[test]
fn the_calls_of_a_plugin_that_is_gone_are_counted() {
    let proxy = Proxy::default();
    drop(proxy.load(&logging_guest("")).unwrap().configure(b"conf").unwrap());
    let metrics = prometheus(proxy.dict());
    // on_context_create, on_vm_start, on_configure, on_done, on_delete
    assert!(metrics.contains("resty_wasm_calls_total{plugin=\"a plugin\"} 5\n"), "{metrics}");
}
