//! Queues: who is told of messages, and what becomes of one that the guest has no memory for.

use std::time::{Duration, Instant};

use proxy_wasm_memory::{Proxy, Request};
use proxy_wasm_runtime::{
    context::Options,
    vm::{Event, QueuePoll},
};

/// Registers the queue "q" in `proxy_on_configure`, enqueues in `proxy_on_request_headers`, and in `proxy_on_queue_ready` dequeues
/// and logs the message.
const GUEST: &str = r#"(module
    (import "env" "proxy_register_shared_queue" (func $register (param i32 i32 i32) (result i32)))
    (import "env" "proxy_enqueue_shared_queue" (func $enqueue (param i32 i32 i32) (result i32)))
    (import "env" "proxy_dequeue_shared_queue" (func $dequeue (param i32 i32 i32) (result i32)))
    (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "q")
    (data (i32.const 8) "message")
    (func (export "malloc") (param i32) (result i32) (i32.const 4096))
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (drop (call $register (i32.const 0) (i32.const 1) (i32.const 16))) (i32.const 1))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (drop (call $enqueue (i32.load (i32.const 16)) (i32.const 8) (i32.const 7))) (i32.const 0))
    (func (export "proxy_on_queue_ready") (param i32 i32)
        (if (i32.ne (local.get 1) (i32.load (i32.const 16))) (then unreachable))
        (if (i32.ne (i32.const 0) (call $dequeue (local.get 1) (i32.const 20) (i32.const 24))) (then return))
        (drop (call $log (i32.const 2) (i32.load (i32.const 20)) (i32.load (i32.const 24))))))"#;

fn enqueue(plugin: &proxy_wasm_runtime::context::Plugin<Proxy>, stream: u32, times: usize) {
    for _ in 0..times {
        plugin.on_event(stream, Request::default(), Event::RequestHeaders).unwrap();
    }
}

/// A time that no poll reaches.
fn later() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

fn messages(proxy: &Proxy) -> usize {
    proxy.take_log().into_iter().filter(|line| line == "message").count()
}

#[test]
fn a_registered_plugin_context_is_told_of_each_message() {
    let proxy = Proxy::default();
    let plugin = proxy.load(GUEST).unwrap();
    assert_eq!(*proxy.queue_watches.lock().unwrap(), 0);
    let context = plugin.configure(b"conf").unwrap();
    assert_eq!(*proxy.queue_watches.lock().unwrap(), 1);
    assert_eq!(context.poll_queues(later()), QueuePoll::Idle);

    let stream = context.open_stream(Request::default()).unwrap();
    enqueue(&plugin, stream, 3);
    assert_eq!(*proxy.queue_polls.lock().unwrap(), 3);
    assert_eq!(context.poll_queues(later()), QueuePoll::Idle);
    assert_eq!(messages(&proxy), 3);
    assert_eq!(context.poll_queues(later()), QueuePoll::Idle);
    assert_eq!(messages(&proxy), 0);
}

#[test]
fn many_messages_are_told_of_in_several_polls() {
    let proxy = Proxy::default();
    let plugin = proxy.load(GUEST).unwrap();
    let context = plugin.configure(b"conf").unwrap();
    let stream = context.open_stream(Request::default()).unwrap();
    enqueue(&plugin, stream, 1000);
    assert_eq!(context.poll_queues(later()), QueuePoll::More);
    assert!(messages(&proxy) < 1000);
    enqueue(&plugin, stream, 0);
    while context.poll_queues(later()) == QueuePoll::More {}
    assert_eq!(context.poll_queues(later()), QueuePoll::Idle);
}

#[test]
fn of_two_virtual_machines_one_is_told() {
    let proxy = Proxy::default();
    let (one, other) = (proxy.load(GUEST).unwrap(), proxy.load(GUEST).unwrap());
    let (first, second) = (one.configure(b"conf").unwrap(), other.configure(b"conf").unwrap());
    let stream = first.open_stream(Request::default()).unwrap();
    enqueue(&one, stream, 1);
    second.poll_queues(later());
    first.poll_queues(later());
    assert_eq!(messages(&proxy), 1);
}

#[test]
fn without_a_queue_or_without_the_callback_nothing_is_polled() {
    for guest in
        [GUEST.replace("proxy_on_queue_ready", "proxy_on_other"), GUEST.replace("proxy_on_configure", "proxy_on_other")]
    {
        let plugin = Proxy::default().load(&guest).unwrap();
        assert_eq!(plugin.configure(b"conf").unwrap().poll_queues(later()), QueuePoll::Unused);
    }
}

#[test]
fn a_message_that_the_guest_has_no_memory_for_stays_in_the_queue() {
    let proxy = Proxy::default();
    let poor = GUEST.replace("(i32.const 4096)", "(i32.const 0)");
    let plugin = proxy.load(&poor).unwrap();
    let context = plugin.configure(b"conf").unwrap();
    let stream = context.open_stream(Request::default()).unwrap();
    enqueue(&plugin, stream, 1);
    context.poll_queues(later());
    assert!(proxy.logged("no memory"));
    drop(context);

    let plugin = proxy.load(GUEST).unwrap();
    let context = plugin.configure(b"conf").unwrap();
    let stream = context.open_stream(Request::default()).unwrap();
    enqueue(&plugin, stream, 1);
    context.poll_queues(later());
    // The one before is the first; the other waits for whoever asks.
    assert_eq!(messages(&proxy), 1);
    enqueue(&plugin, stream, 1);
    context.poll_queues(later());
    assert_eq!(messages(&proxy), 1);
}

#[test]
fn after_a_trap_a_new_instance_is_told() {
    let proxy = Proxy::default();
    let trapping = GUEST.replace(
        "(if (i32.ne (local.get 1)",
        "(if (i32.eqz (i32.load (i32.const 32))) (then (i32.store (i32.const 16) (i32.const 0)) unreachable)) (if (i32.ne (local.get 1)",
    );
    let plugin = proxy.load(&trapping).unwrap();
    let context = plugin.configure(b"conf").unwrap();
    let stream = context.open_stream(Request::default()).unwrap();
    enqueue(&plugin, stream, 2);
    assert_eq!(context.poll_queues(later()), QueuePoll::Idle);
    assert!(proxy.logged("failed to call function"));
    proxy.take_log();
    // The instance is gone, its plugin context is not: the second message is told of in a new one, which traps, too.
    assert_eq!(context.poll_queues(later()), QueuePoll::Idle);
    assert!(proxy.logged("failed to call function"));
    proxy.take_log();
    assert_eq!(context.poll_queues(later()), QueuePoll::Idle);
    assert!(!proxy.logged("failed to call function"));
}

#[test]
fn a_poll_whose_time_is_over_stops_after_a_message() {
    let proxy = Proxy::default();
    let plugin = proxy.load(GUEST).unwrap();
    let context = plugin.configure(b"conf").unwrap();
    let stream = context.open_stream(Request::default()).unwrap();
    enqueue(&plugin, stream, 3);
    for _ in 0..3 {
        assert_eq!(context.poll_queues(Instant::now()), QueuePoll::More);
        assert_eq!(messages(&proxy), 1);
    }
    assert_eq!(context.poll_queues(Instant::now()), QueuePoll::Idle);
}

/// Registers the queues "0" to "7" and puts 100 messages into each; logs the name of the one that is ready.
const QUEUES: &str = r#"(module
    (import "env" "proxy_register_shared_queue" (func $register (param i32 i32 i32) (result i32)))
    (import "env" "proxy_enqueue_shared_queue" (func $enqueue (param i32 i32 i32) (result i32)))
    (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "01234567")
    (func (export "malloc") (param i32) (result i32) (i32.const 4096))
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (local $queue i32) (local $message i32)
        (loop $queues
            (drop (call $register (local.get $queue) (i32.const 1) (i32.add (i32.const 16) (i32.mul (local.get $queue) (i32.const 4)))))
            (local.set $message (i32.const 0))
            (loop $messages
                (drop (call $enqueue (i32.load (i32.add (i32.const 16) (i32.mul (local.get $queue) (i32.const 4)))) (i32.const 0) (i32.const 1)))
                (br_if $messages (i32.lt_u (local.tee $message (i32.add (local.get $message) (i32.const 1))) (i32.const 100))))
            (br_if $queues (i32.lt_u (local.tee $queue (i32.add (local.get $queue) (i32.const 1))) (i32.const 8))))
        (i32.const 1))
    (func (export "proxy_on_queue_ready") (param i32) (param $ready i32)
        (local $queue i32)
        (loop $queues
            (if (i32.eq (local.get $ready) (i32.load (i32.add (i32.const 16) (i32.mul (local.get $queue) (i32.const 4)))))
                (then (drop (call $log (i32.const 2) (local.get $queue) (i32.const 1)))))
            (br_if $queues (i32.lt_u (local.tee $queue (i32.add (local.get $queue) (i32.const 1))) (i32.const 8))))))"#;

#[test]
fn queues_take_turns_also_where_each_poll_is_stopped() {
    for until in [Duration::ZERO, Duration::from_secs(3600)] {
        let proxy = Proxy::default();
        let plugin = proxy.load(QUEUES).unwrap();
        let context = plugin.configure(b"conf").unwrap();
        proxy.take_log();
        let mut ready = Vec::new();
        while ready.len() < 8 * 16 {
            context.poll_queues(Instant::now() + until);
            ready.extend(proxy.take_log().into_iter().filter(|line| line.len() == 1));
        }
        for queue in 0..8 {
            let count = ready.iter().filter(|name| **name == queue.to_string()).count();
            assert_eq!(count, 16, "of queue {queue}");
        }
    }
}

#[test]
fn a_plugin_that_has_used_up_its_time_without_streams_rests_and_its_streams_do_not() {
    let proxy = Proxy::default();
    let options = Options { background_cpu: Duration::from_millis(1), ..Options::new("a plugin") };
    let plugin = proxy.load_with(options, GUEST).unwrap();
    let context = plugin.configure(b"conf").unwrap();
    assert_eq!(plugin.background_rest(), None);
    plugin.in_background(|| std::thread::sleep(Duration::from_millis(20)));
    assert!(plugin.background_rest().unwrap() > Duration::from_secs(1));
    plugin.in_background(|| ());
    let told = "plugin \"a plugin\": background_cpu allows it 1 ms a second in ticks";
    assert_eq!(proxy.take_log().iter().filter(|line| line.starts_with(told)).count(), 1);
    let stream = context.open_stream(Request::default()).unwrap();
    enqueue(&plugin, stream, 1);
}
