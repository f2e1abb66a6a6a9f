//! Callouts: who may make them, what streams wait for, and what guests are told.

use std::rc::Rc;

use proxy_wasm_memory::{Proxy, Request};
use proxy_wasm_runtime::{
    CallError, Host,
    callout::{Callout, Event, HttpFailure, HttpResponse, Upstreams},
    context::{Options, Plugin, PluginContext},
    vm::{self, Outcome},
};

/// A guest that calls `a` in the callbacks of requests with a header "call", and does what `callbacks` say. It can
/// `(call $http)`, `(call $grpc)`, `(call $stream)`, `(call $say (i32.const LETTER))`, `(call $reply)`, `(call $continue)`; the
/// token that it was given last is in `$token`.
fn guest(callbacks: &str) -> String {
    format!(
        r#"(module
            (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
            (import "env" "proxy_http_call" (func $http_call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_grpc_call" (func $grpc_call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_grpc_stream" (func $grpc_stream (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_grpc_send" (func $grpc_send (param i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_grpc_close" (func $grpc_close (param i32) (result i32)))
            (import "env" "proxy_grpc_cancel" (func $grpc_cancel (param i32) (result i32)))
            (import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
            (import "env" "proxy_continue_stream" (func $continue_stream (param i32) (result i32)))
            (import "env" "proxy_send_local_response" (func $send (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_get_buffer_bytes" (func $get_buffer (param i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_set_buffer_bytes" (func $set_buffer (param i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_get_header_map_pairs" (func $get_pairs (param i32 i32 i32) (result i32)))
            (import "env" "proxy_get_header_map_value" (func $get_value (param i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_get_status" (func $get_status (param i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "upstream") (data (i32.const 16) ":dispatch_status") (data (i32.const 40) "refused")
            (global $token (mut i32) (i32.const -1))
            (func (export "malloc") (param i32) (result i32) (i32.const 4096))
            (func $say (param i32)
                (i32.store8 (i32.const 100) (local.get 0))
                (drop (call $log (i32.const 2) (i32.const 100) (i32.const 1))))
            (func $digit (param i32) (call $say (i32.add (i32.const 48) (local.get 0))))
            (func $took (param $status i32)
                (if (local.get $status) (then (call $say (i32.const 33)) (call $digit (local.get $status)))
                    (else (global.set $token (i32.load (i32.const 200))))))
            (func $http
                (call $took (call $http_call (i32.const 0) (i32.const 8) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                    (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 200))))
            (func $grpc
                (call $took (call $grpc_call (i32.const 0) (i32.const 8) (i32.const 0) (i32.const 2) (i32.const 0) (i32.const 2)
                    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 3) (i32.const 0) (i32.const 200))))
            (func $stream
                (call $took (call $grpc_stream (i32.const 0) (i32.const 8) (i32.const 0) (i32.const 2) (i32.const 0) (i32.const 2)
                    (i32.const 0) (i32.const 0) (i32.const 200))))
            (func $reply
                (drop (call $send (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                    (i32.const 0) (i32.const -1))))
            (func $continue (drop (call $continue_stream (i32.const 0))))
            {callbacks})"#
    )
}

const CALL: &str =
    r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $http) (i32.const 0))"#;
const CALL_AND_PAUSE: &str =
    r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $http) (i32.const 1))"#;
const CALL_TWICE_AND_PAUSE: &str = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (call $http) (call $http) (i32.const 1))"#;

/// Says `r`, then does what `then` says.
fn on_response(then: &str) -> String {
    format!(
        r#"(func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32) (call $say (i32.const 114)) {then})"#
    )
}

struct Running {
    proxy: Proxy,
    plugin: Rc<Plugin<Proxy>>,
    context: PluginContext<Proxy>,
    stream: u32,
}

impl Running {
    fn new(callbacks: &[&str]) -> Self {
        Self::with(Options::new("a plugin"), callbacks)
    }

    fn with(options: Options, callbacks: &[&str]) -> Self {
        let proxy = Proxy::default();
        let plugin = proxy.load_with(options, &guest(&callbacks.concat())).unwrap();
        let context = plugin.configure(b"conf").unwrap();
        let stream = context.open_stream(Request::default()).unwrap();
        Self { proxy, plugin, context, stream }
    }

    fn on_request_headers(&self) -> Outcome {
        self.plugin.on_event(self.stream, Request::default(), vm::Event::RequestHeaders).unwrap()
    }

    /// The answer to the oldest callout in flight.
    fn answer(&self) -> Result<(), CallError> {
        self.tell(Event::HttpResponse(HttpResponse { body: b"body".to_vec(), ..HttpResponse::default() }))
    }

    fn tell(&self, event: Event) -> Result<(), CallError> {
        let token = *self.proxy.tokens().first().expect("a callout is in flight");
        if event.is_last() {
            self.proxy.callouts.lock().unwrap().remove(&token);
        }
        self.plugin.on_callout(token, event)
    }

    fn resume(&self) -> Result<Outcome, CallError> {
        self.plugin.resume(self.stream)
    }

    /// What the guest has said, a letter each.
    fn said(&self) -> String {
        self.proxy
            .take_log()
            .iter()
            .map(|line| line.strip_prefix("stream: ").unwrap_or(line))
            .filter(|line| line.len() == 1)
            .collect()
    }
}

fn failure() -> Event {
    Event::HttpFailure(HttpFailure { reason: "timeout", message: "timeout".to_owned() })
}

#[test]
fn a_stream_that_called_waits_for_the_answer_and_goes_on() {
    let running = Running::new(&[CALL, &on_response("")]);
    assert_eq!(running.on_request_headers(), Outcome::Wait);
    assert_eq!(running.resume(), Ok(Outcome::Wait));
    running.answer().unwrap();
    assert_eq!(running.resume(), Ok(Outcome::Continue));
    assert_eq!(running.said(), "r");
}

#[test]
fn a_stream_that_did_not_pause_goes_on_at_once_when_the_plugin_is_loaded_so() {
    let options = || Options { wait_only_when_paused: true, ..Options::new("a plugin") };
    let running = Running::with(options(), &[CALL, &on_response("")]);
    assert_eq!(running.on_request_headers(), Outcome::Continue);
    running.answer().unwrap();
    assert_eq!(running.said(), "r");

    let running = Running::with(options(), &[CALL_AND_PAUSE, &on_response("")]);
    assert_eq!(running.on_request_headers(), Outcome::Wait);
}

#[test]
fn a_pause_with_nothing_in_flight_does_not_wait() {
    let pause = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 1))"#;
    assert_eq!(Running::new(&[pause]).on_request_headers(), Outcome::Continue);
}

#[test]
fn a_response_does_not_wait() {
    let call =
        r#"(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (call $http) (i32.const 1))"#;
    let running = Running::new(&[call, &on_response("")]);
    let outcome = running.plugin.on_event(running.stream, Request::default(), vm::Event::ResponseHeaders);
    assert_eq!(outcome, Ok(Outcome::Continue));
    running.answer().unwrap();
    assert_eq!(running.said(), "r");
}

#[test]
fn continue_stream_ends_the_pause_with_answers_still_to_come() {
    let resume = on_response("(drop (call $effective (i32.const 2))) (call $continue)");
    let running = Running::new(&[CALL_TWICE_AND_PAUSE, &resume]);
    assert_eq!(running.on_request_headers(), Outcome::Wait);
    running.answer().unwrap();
    assert_eq!(*running.proxy.wakes.lock().unwrap(), 1);
    assert_eq!(running.resume(), Ok(Outcome::Continue));
    running.answer().unwrap();
    assert_eq!(running.said(), "rr");
}

#[test]
fn without_continue_stream_the_last_answer_ends_the_pause() {
    let running = Running::new(&[CALL_TWICE_AND_PAUSE, &on_response("")]);
    running.on_request_headers();
    running.answer().unwrap();
    assert_eq!(running.resume(), Ok(Outcome::Wait));
    running.answer().unwrap();
    assert_eq!(running.resume(), Ok(Outcome::Continue));
}

#[test]
fn a_chain_of_callouts_is_waited_for_to_its_end() {
    let chain =
        on_response("(if (i32.lt_u (local.get 1) (i32.add (global.get $first) (i32.const 9))) (then (call $http)))");
    let first = r#"(global $first (mut i32) (i32.const 0))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (call $http) (global.set $first (global.get $token)) (i32.const 0))"#;
    let running = Running::new(&[first, &chain]);
    running.on_request_headers();
    let mut answers = 0;
    while running.resume() == Ok(Outcome::Wait) {
        running.answer().unwrap();
        answers += 1;
        assert!(answers < 100);
    }
    assert!(answers >= 2);
    assert_eq!(running.said().len(), answers);
}

#[test]
fn a_reply_in_the_callback_ends_the_stream() {
    let running = Running::new(&[CALL, &on_response("(drop (call $effective (i32.const 2))) (call $reply)")]);
    running.on_request_headers();
    running.answer().unwrap();
    assert!(matches!(running.resume(), Ok(Outcome::Reply(reply)) if reply.status == 403));
    assert_eq!(running.resume(), Ok(Outcome::Continue), "once");
}

#[test]
fn a_reply_to_a_stream_that_went_on_is_logged() {
    let options = Options { wait_only_when_paused: true, ..Options::new("a plugin") };
    let running = Running::with(options, &[CALL, &on_response("(drop (call $effective (i32.const 2))) (call $reply)")]);
    running.on_request_headers();
    running.answer().unwrap();
    assert!(running.proxy.logged("a local reply is not sent"));
}

#[test]
fn the_last_of_a_reply_and_a_call_counts() {
    let both = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $reply) (call $http) (i32.const 0))"#;
    let running = Running::new(&[both, &on_response("")]);
    assert_eq!(running.on_request_headers(), Outcome::Wait);
    assert!(
        running.proxy.logged("a local reply is not sent: the request waits for the HTTP call that was made after it")
    );
    running.answer().unwrap();
    assert_eq!(running.resume(), Ok(Outcome::Continue));

    let reply_last = both.replace("(call $reply) (call $http)", "(call $http) (call $reply)");
    let running = Running::new(&[&reply_last, &on_response("")]);
    assert!(matches!(running.on_request_headers(), Outcome::Reply(_)));
    running.answer().unwrap();
    assert_eq!(running.said(), "r");

    let options = Options { wait_only_when_paused: true, ..Options::new("a plugin") };
    let running = Running::with(options, &[both, &on_response("")]);
    assert!(matches!(running.on_request_headers(), Outcome::Reply(_)), "no call takes back a reply");
}

#[test]
fn a_client_that_goes_away_cancels_what_its_stream_waits_for_and_the_guest_is_told_before_the_stream_is_done() {
    let done = r#"(func (export "proxy_on_done") (param i32) (result i32) (call $say (i32.const 100)) (i32.const 1))
        (func (export "proxy_on_delete") (param i32) (call $say (i32.const 101)))"#;
    let running = Running::new(&[CALL_TWICE_AND_PAUSE, &on_response(""), done]);
    running.on_request_headers();
    let tokens = running.proxy.tokens();
    running.plugin.close_stream(running.stream);
    assert_eq!(running.said(), "rrde");
    assert_eq!(running.proxy.tokens(), []);
    for token in tokens {
        assert_eq!(running.plugin.on_callout(token, failure()), Ok(()), "a late answer");
    }
    assert_eq!(running.said(), "");
}

#[test]
fn a_stream_that_went_on_leaves_its_callouts_to_the_plugin_context() {
    let options = Options { wait_only_when_paused: true, ..Options::new("a plugin") };
    let running = Running::with(options, &[CALL, &on_response("")]);
    running.on_request_headers();
    running.plugin.close_stream(running.stream);
    assert_eq!(running.proxy.tokens().len(), 1);
    // Its id is another's now.
    let other = running.context.open_stream(Request::default()).unwrap();
    assert_eq!(other, running.stream);
    running.answer().unwrap();
    assert_eq!(running.said(), "r");
}

#[test]
fn callouts_can_be_made_in_every_callback_of_streams_and_plugin_contexts() {
    let callbacks = r#"
        (func (export "proxy_on_configure") (param i32 i32) (result i32) (call $http) (i32.const 1))
        (func (export "proxy_on_tick") (param i32) (call $http))
        (func (export "proxy_on_context_create") (param i32 i32) (call $http))
        (func (export "proxy_on_log") (param i32) (call $http))"#;
    let running = Running::new(&[callbacks, &on_response("")]);
    running.context.on_tick().unwrap();
    running.plugin.close_stream(running.stream);
    assert_eq!(running.proxy.tokens().len(), 5);
    for _ in 0..5 {
        running.answer().unwrap();
    }
    assert_eq!(running.said(), "rrrrr");
}

#[test]
fn a_plugin_context_that_nobody_holds_ends_with_its_last_callout() {
    let tick = r#"(func (export "proxy_on_tick") (param i32) (call $http))
        (func (export "proxy_on_done") (param i32) (result i32) (call $say (i32.const 100)) (i32.const 1))"#;
    let running = Running::new(&[tick, &on_response("")]);
    running.plugin.close_stream(running.stream);
    running.context.on_tick().unwrap();
    running.context.retire(proxy_wasm_runtime::context::Patience::Wait);
    assert!(!running.context.is_gone());
    running.said();
    running.answer().unwrap();
    assert!(running.context.is_gone());
    assert_eq!(running.said(), "rd");
}

#[test]
fn a_plugin_context_that_has_to_end_cancels_its_callouts() {
    let tick = r#"(func (export "proxy_on_tick") (param i32) (call $http))
        (func (export "proxy_on_done") (param i32) (result i32) (call $say (i32.const 100)) (call $http) (i32.const 1))"#;
    let running = Running::new(&[tick, &on_response("")]);
    running.plugin.close_stream(running.stream);
    running.said();
    running.context.on_tick().unwrap();
    running.context.retire(proxy_wasm_runtime::context::Patience::Hurry);
    assert!(running.context.is_gone());
    assert_eq!(running.said(), "rrd", "that of the stream, too");
    assert_eq!(running.proxy.tokens(), [], "also those of proxy_on_done");
}

#[test]
fn a_trap_forgets_the_callouts_of_the_instance_and_wakes_who_waits() {
    let running = Running::new(&[CALL_TWICE_AND_PAUSE, &on_response("(unreachable)")]);
    running.on_request_headers();
    assert_eq!(running.answer(), Err(CallError::Trapped));
    assert_eq!(running.proxy.tokens(), []);
    assert_eq!(*running.proxy.wakes.lock().unwrap(), 1);
    assert_eq!(running.resume(), Err(CallError::Gone));
    // The next instance is not told of the old one's.
    running.context.open_stream(Request::default()).unwrap();
    running.said();
    assert_eq!(running.plugin.on_callout(0, failure()), Ok(()));
    assert_eq!(running.said(), "");
}

/// A guest that makes two callouts in a request may have one, and another when that is answered. `rule` is what the log says.
fn has_room_for_one(options: Options, rule: &str) {
    let running = Running::with(options, &[CALL_TWICE_AND_PAUSE, &on_response("(call $http)")]);
    assert_eq!(running.on_request_headers(), Outcome::Wait);
    assert!(running.proxy.logged(&format!("plugin \"a plugin\": proxy_on_request_headers wants {rule}")));
    assert_eq!(running.said(), "!:", "INTERNAL_FAILURE");
    running.answer().unwrap();
    assert_eq!(running.said(), "r", "there is room again");
    assert_eq!(running.proxy.tokens().len(), 1);
}

#[test]
fn no_more_callouts_are_in_flight_than_the_limits_allow() {
    let of_plugin = Options { callouts_in_flight: Some(1), ..Options::new("a plugin") };
    has_room_for_one(of_plugin, "2 callouts in flight: callouts_in_flight allows 1");
    let of_request = Options { callouts_per_request: 1, ..Options::new("a plugin") };
    has_room_for_one(of_request, "2 callouts of one request in flight: callouts_per_request allows 1");
}

#[test]
fn callouts_in_flight_hold_no_more_bytes_than_the_limit_allows() {
    let options = Options { callout_bytes_in_flight: 5, ..Options::new("a plugin") };
    let call = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $grpc) (call $grpc) (i32.const 1))"#;
    let answered = r#"(func (export "proxy_on_grpc_receive") (param i32 i32 i32) (call $grpc))"#;
    let running = Running::with(options, &[call, answered]);
    assert_eq!(running.on_request_headers(), Outcome::Wait);
    assert!(running.proxy.logged(
        "plugin \"a plugin\": proxy_on_request_headers wants 6 bytes of callouts in flight: callout_bytes_in_flight allows 5"
    ));
    assert_eq!(running.said(), "!:", "INTERNAL_FAILURE");
    running.tell(Event::GrpcResponse { initial_metadata: vec![], message: vec![], trailing_metadata: vec![] }).unwrap();
    assert_eq!(running.said(), "", "there is room again");
    assert_eq!(running.proxy.tokens().len(), 1);
}

#[test]
fn messages_that_were_sent_on_a_stream_make_room() {
    let options = Options { callout_bytes_in_flight: 5, ..Options::new("a plugin") };
    let send = "(call $took (call $grpc_send (global.get $token) (i32.const 0) (i32.const 3) (i32.const 0)))";
    let call = format!(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (if (i32.eq (global.get $token) (i32.const -1)) (then (call $stream))) {send} (i32.const 1))"#
    );
    let running = Running::with(options, &[&call]);
    let send = || {
        let _ = running.on_request_headers();
        (running.said(), running.proxy.grpc_messages.lock().unwrap().len())
    };
    assert_eq!(send(), (String::new(), 1));
    assert_eq!(send(), ("!2".to_owned(), 1), "BAD_ARGUMENT");
    assert_eq!(send(), ("!2".to_owned(), 1));
    running.proxy.grpc_messages.lock().unwrap().clear();
    assert_eq!(send(), (String::new(), 1), "it was sent");
    assert_eq!(send(), ("!2".to_owned(), 1));
}

#[test]
fn only_allowed_upstreams_are_asked() {
    let upstreams = Upstreams::new([b"other".to_vec()]);
    let options = Options { callout_upstreams: Some(upstreams), ..Options::new("a plugin") };
    let running = Running::with(options, &[CALL]);
    assert_eq!(running.on_request_headers(), Outcome::Continue);
    assert!(running.proxy.logged("plugin \"a plugin\" may not ask \"upstream\": callout_upstreams does not name it"));
}

#[test]
fn the_request_body_that_a_stream_is_paused_with_can_be_read_and_changed_in_the_answers_callback() {
    let body = r#"(func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (call $http) (i32.const 1))"#;
    let change = on_response(
        "(drop (call $effective (i32.const 2)))
         (call $digit (call $get_buffer (i32.const 0) (i32.const 0) (i32.const 99) (i32.const 208) (i32.const 212)))
         (call $digit (i32.load (i32.const 212)))
         (call $digit (call $set_buffer (i32.const 0) (i32.const 1) (i32.const 1) (i32.const 0) (i32.const 2)))",
    );
    let running = Running::new(&[body, &change]);
    let event = vm::Event::RequestBody { end_of_stream: true };
    assert_eq!(running.plugin.on_event(running.stream, Request::with_body("body"), event), Ok(Outcome::Wait));
    running.answer().unwrap();
    assert_eq!(running.said(), "r040");
    assert_eq!(running.resume(), Ok(Outcome::Body(b"bupdy".to_vec())));
}

#[test]
fn a_request_that_cannot_wait_goes_on_with_the_body_as_the_guest_left_it() {
    let body = r#"(func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
        (drop (call $set_buffer (i32.const 0) (i32.const 0) (i32.const 99) (i32.const 0) (i32.const 2)))
        (call $http) (i32.const 1))"#;
    let running = Running::new(&[body, &on_response("")]);
    let event = vm::Event::RequestBody { end_of_stream: true };
    assert_eq!(running.plugin.on_event(running.stream, Request::with_body("body"), event), Ok(Outcome::Wait));
    running.plugin.stop_waiting(running.stream);
    assert_eq!(running.resume(), Ok(Outcome::Body(b"up".to_vec())));
    running.answer().unwrap();
    assert_eq!(running.said(), "r");
}

#[test]
fn a_failed_call_has_nothing_but_its_status() {
    let read = on_response(
        "(call $digit (local.get 2)) (call $digit (local.get 3)) (call $digit (local.get 4))
         (call $digit (call $get_pairs (i32.const 6) (i32.const 208) (i32.const 212)))
         (call $digit (i32.load (i32.const 208))) (call $digit (i32.load (i32.const 212)))
         (call $digit (call $get_buffer (i32.const 4) (i32.const 0) (i32.const 99) (i32.const 208) (i32.const 212)))
         (call $digit (call $get_value (i32.const 6) (i32.const 16) (i32.const 16) (i32.const 208) (i32.const 212)))
         (call $digit (i32.load (i32.const 212)))
         (call $digit (call $get_status (i32.const 204) (i32.const 208) (i32.const 212)))
         (call $digit (i32.load (i32.const 204))) (call $digit (i32.load (i32.const 212)))",
    );
    let running = Running::new(&[CALL, &read]);
    running.on_request_headers();
    running.tell(failure()).unwrap();
    // Status 11 is ';'.
    assert_eq!(running.said(), ["r", "000", "0", "00", "1", "0", "7", "0", ";7"].concat());
}

#[test]
fn an_answer_can_be_read_in_its_callback_and_not_after_it() {
    let read = r#"(func $read (call $digit (call $get_buffer (i32.const 4) (i32.const 0) (i32.const 99) (i32.const 208) (i32.const 212))))
        (func (export "proxy_on_tick") (param i32) (call $read))"#;
    let running = Running::new(&[CALL, read, &on_response("(call $read)")]);
    running.on_request_headers();
    running.answer().unwrap();
    running.context.on_tick().unwrap();
    assert_eq!(running.said(), "r01");
}

const GRPC: &str = r#"
    (func (export "proxy_on_grpc_receive_initial_metadata") (param i32 i32 i32) (call $say (i32.const 105)) (call $digit (local.get 2)))
    (func (export "proxy_on_grpc_receive") (param i32 i32 i32) (call $say (i32.const 109)) (call $digit (local.get 2)))
    (func (export "proxy_on_grpc_receive_trailing_metadata") (param i32 i32 i32) (call $say (i32.const 116)) (call $digit (local.get 2)))
    (func (export "proxy_on_grpc_close") (param i32 i32 i32) (call $say (i32.const 99)) (call $digit (local.get 2)))"#;

#[test]
fn a_grpc_call_is_told_of_once() {
    let call =
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $grpc) (i32.const 1))"#;
    let running = Running::new(&[call, GRPC]);
    assert_eq!(running.on_request_headers(), Outcome::Wait);
    assert!(matches!(&running.proxy.callouts.lock().unwrap().values().next(),
        Some(Callout::Grpc(call)) if call.message.as_deref() == Some(b"ups") && call.service == b"up" && call.timeout.is_none()));
    running
        .tell(Event::GrpcResponse { initial_metadata: vec![], message: b"abc".to_vec(), trailing_metadata: vec![] })
        .unwrap();
    assert_eq!(running.said(), "m3");
    assert_eq!(running.resume(), Ok(Outcome::Continue));

    running.on_request_headers();
    running.tell(Event::GrpcClose { status: 5, message: "not found".to_owned() }).unwrap();
    assert_eq!(running.said(), "c5");
}

#[test]
fn a_grpc_stream_is_told_of_each_part_and_a_request_that_did_not_pause_does_not_wait_for_it() {
    let open =
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $stream) (i32.const 0))"#;
    let running = Running::new(&[open, GRPC]);
    assert_eq!(running.on_request_headers(), Outcome::Continue);
    let metadata = vec![(b"a".to_vec(), b"b".to_vec())];
    running.tell(Event::GrpcInitialMetadata(metadata.clone())).unwrap();
    running.tell(Event::GrpcMessage(b"12".to_vec())).unwrap();
    running.tell(Event::GrpcMessage(b"".to_vec())).unwrap();
    running.tell(Event::GrpcTrailingMetadata(metadata)).unwrap();
    running.tell(Event::GrpcClose { status: 0, message: String::new() }).unwrap();
    assert_eq!(running.said(), "i1m2m0t1c0");
}

#[test]
fn messages_go_out_on_streams_alone_and_not_after_the_last() {
    let send = "(call $digit (call $grpc_send (global.get $token) (i32.const 0) (i32.const 2) (i32.const 0)))
        (call $digit (call $grpc_send (global.get $token) (i32.const 0) (i32.const 0) (i32.const 1)))
        (call $digit (call $grpc_send (global.get $token) (i32.const 0) (i32.const 2) (i32.const 0)))
        (call $digit (call $grpc_send (i32.const -7) (i32.const 0) (i32.const 2) (i32.const 0)))";
    let tick = format!(
        r#"(func (export "proxy_on_tick") (param i32) (call $stream) {send} (call $grpc) {send} (call $http) {send})"#
    );
    let running = Running::new(&[&tick]);
    running.context.on_tick().unwrap();
    assert_eq!(running.said(), "0021".to_owned() + "2221" + "2221");
    let sent = running.proxy.grpc_messages.lock().unwrap().clone();
    let token = running.proxy.tokens()[0];
    assert_eq!(sent, [(token, Some(b"up".to_vec()), false), (token, None, true)]);
}

#[test]
fn a_closed_stream_may_still_receive_and_a_cancelled_one_is_gone() {
    let tick = r#"(func (export "proxy_on_tick") (param i32) (call $stream)
            (call $digit (call $grpc_close (global.get $token))) (call $digit (call $grpc_close (global.get $token))))
        (func (export "proxy_on_foreign_function") (param i32 i32 i32) (call $digit (call $grpc_cancel (global.get $token))))"#;
    let running = Running::new(&[tick, GRPC]);
    running.context.on_tick().unwrap();
    assert_eq!(running.said(), "00");
    assert_eq!(running.proxy.grpc_messages.lock().unwrap().len(), 1);
    running.tell(Event::GrpcMessage(b"1".to_vec())).unwrap();
    running.context.on_foreign_function(0, b"").unwrap();
    assert_eq!(running.proxy.tokens(), []);
    running.context.on_foreign_function(0, b"").unwrap();
    assert_eq!(running.said(), "m101");
}

#[test]
fn assemblyscripts_forms_of_the_grpc_hostcalls_link() {
    let module = r#"(module
        (import "env" "proxy_grpc_call" (func $call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_grpc_stream" (func $stream (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1) (data (i32.const 0) "upstream")
        (func (export "proxy_on_tick") (param i32)
            (if (call $call (i32.const 0) (i32.const 8) (i32.const 0) (i32.const 2) (i32.const 0) (i32.const 2)
                (i32.const 0) (i32.const 3) (i32.const 500) (i32.const 64)) (then (unreachable)))
            (if (call $stream (i32.const 0) (i32.const 8) (i32.const 0) (i32.const 2) (i32.const 0) (i32.const 2)
                (i32.const 64)) (then (unreachable)))))"#;
    let proxy = Proxy::default();
    let plugin = proxy.load(module).unwrap();
    assert!(!proxy.logged("does nothing"));
    let context = plugin.configure(b"conf").unwrap();
    context.on_tick().unwrap();
    let callouts = proxy.callouts.lock().unwrap();
    let messages: Vec<_> = callouts
        .values()
        .map(|callout| match callout {
            Callout::Grpc(call) => (call.message.clone(), call.timeout.map(|timeout| timeout.as_millis())),
            Callout::Http(_) => panic!("no HTTP call was made"),
        })
        .collect();
    assert_eq!(messages, [(Some(b"ups".to_vec()), Some(500)), (None, None)]);
}

#[test]
fn what_the_proxy_refuses_is_logged_and_answered() {
    let module = guest(
        r#"(func (export "proxy_on_tick") (param i32)
        (call $digit (call $http_call (i32.const 40) (i32.const 7) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 200)))
        (call $digit (call $http_call (i32.const 0) (i32.const 8) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 200))))"#,
    );
    let proxy = Proxy::default();
    proxy.refuse_upstream(b"refused");
    proxy.load(&module).unwrap().configure(b"conf").unwrap().on_tick().unwrap();
    assert!(proxy.logged("refused"));
    assert!(proxy.logged("invalid timeout: -1"));
    // BAD_ARGUMENT, INTERNAL_FAILURE
    assert!(proxy.logged("2") && proxy.logged(":"));
}

#[test]
fn callouts_are_counted_with_their_time_and_their_failures() {
    let tick = r#"(func (export "proxy_on_tick") (param i32) (call $http) (call $http) (call $grpc) (call $stream))"#;
    let running = Running::new(&[tick]);
    running.context.on_tick().unwrap();
    running.answer().unwrap();
    running.tell(failure()).unwrap();
    running.tell(Event::GrpcClose { status: 14, message: String::new() }).unwrap();
    running.tell(Event::GrpcClose { status: 0, message: String::new() }).unwrap();
    let text = proxy_wasm_runtime::store::prometheus(running.proxy.dict());
    for line in [
        "resty_wasm_callout_milliseconds_count{plugin=\"a plugin\",kind=\"http\"} 2",
        "resty_wasm_callout_milliseconds_count{plugin=\"a plugin\",kind=\"grpc\"} 1",
        "resty_wasm_callout_milliseconds_count{plugin=\"a plugin\",kind=\"stream\"} 1",
        "resty_wasm_callout_errors_total{plugin=\"a plugin\",kind=\"http\",reason=\"timeout\"} 1",
        "resty_wasm_callout_errors_total{plugin=\"a plugin\",kind=\"grpc\",reason=\"14\"} 1",
    ] {
        assert!(text.lines().any(|other| other == line), "{line} is not in:\n{text}");
    }
    assert_eq!(text.matches("resty_wasm_callout_errors_total{").count(), 2);
}

#[test]
fn what_servers_say_makes_no_more_series_than_there_are_statuses() {
    let running = Running::new(&[r#"(func (export "proxy_on_tick") (param i32) (call $grpc))"#]);
    for status in (0..100).chain([4711, u32::MAX]) {
        running.context.on_tick().unwrap();
        running.tell(Event::GrpcClose { status, message: String::new() }).unwrap();
    }
    let text = proxy_wasm_runtime::store::prometheus(running.proxy.dict());
    assert_eq!(text.matches("resty_wasm_callout_errors_total{").count(), 17);
    let others = "resty_wasm_callout_errors_total{plugin=\"a plugin\",kind=\"grpc\",reason=\"other\"} 85";
    assert!(text.lines().any(|line| line == others), "{text}");
}
