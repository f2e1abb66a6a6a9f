//! A proxy that loads the guest of [`guest`] and calls it in any order, and what must hold whatever both do.

use std::{cell::RefCell, rc::Rc, time::Duration};

use arbitrary::{Result, Unstructured};
use proxy_wasm_memory::{Proxy, Request};
use proxy_wasm_runtime::{
    CallError, Host,
    abi::{AbiVersion, HeaderMap, property::Value},
    callout::{Event as Answer, HttpFailure, HttpResponse},
    context::{Options, Patience, Plugin, PluginContext},
    store::prometheus,
    vm::{Engine, Event, Outcome},
};

use super::guest;

/// What the embedding does next.
pub type Step = u8;

pub const CONFIGURE: Step = 0;
pub const OPEN: Step = 1;
pub const CLOSE: Step = 2;
pub const REQUEST_HEADERS: Step = 3;
pub const REQUEST_BODY: Step = 4;
pub const RESPONSE_HEADERS: Step = 5;
pub const RESPONSE_CHUNK: Step = 6;
pub const RESPONSE_END: Step = 7;
pub const RESUME: Step = 8;
pub const STOP_WAITING: Step = 9;
pub const ANSWER: Step = 10;
pub const STREAM_MESSAGE: Step = 11;
pub const TICK: Step = 12;
pub const POLL_QUEUES: Step = 13;
pub const FOREIGN: Step = 14;
pub const RETIRE: Step = 15;
pub const DROP: Step = 16;
/// Puts a plugin context where a hostcall of the guest's drops it.
pub const OFFER: Step = 17;
const STEPS: Step = 18;

/// More than one program can open.
const MOST_CONTEXTS: usize = 16;

thread_local! {
    static GUESTS: Guests = Guests::new();
    /// What is dropped while the guest runs.
    static OFFERED: RefCell<Option<PluginContext<Proxy>>> = const { RefCell::new(None) };
}

/// One engine, and the guest for each version.
struct Guests {
    engine: Engine<Proxy>,
    bytes: [Vec<u8>; 3],
    /// They keep what was compiled.
    _loaded: Vec<Rc<Plugin<Proxy>>>,
}

impl Guests {
    fn new() -> Self {
        let engine = Engine::new().expect("the engine runs here");
        let bytes = AbiVersion::ALL.map(|version| wat::parse_str(guest::text(version)).expect("the guest is correct"));
        let load = |bytes: &Vec<u8>| engine.load(Proxy::default(), Options::new("p"), bytes).expect("the guest loads");
        let loaded = bytes.iter().map(load).collect();
        Self { engine, bytes, _loaded: loaded }
    }
}

/// A loaded plugin with what the embedding holds of it.
pub struct Embedding {
    proxy: Proxy,
    plugin: Rc<Plugin<Proxy>>,
    contexts: Vec<PluginContext<Proxy>>,
    streams: Vec<u32>,
    waiting: Vec<u32>,
}

impl Embedding {
    /// Loads the guest with options that the input chooses and this program; `None` when it fails at once.
    pub fn load(input: &mut Unstructured<'_>, program: &[u8]) -> Result<Option<Self>> {
        let flags: u8 = input.arbitrary()?;
        let chosen = |bit: u8| flags & (1 << bit) != 0;
        let options = Options {
            vm_configuration: program.into(),
            // A deadline is over with the next tick, and there is none but when the guest spins.
            callback_timeout: Duration::ZERO,
            escape_invalid_utf8: chosen(2),
            wait_only_when_paused: chosen(3),
            memory_limit: if chosen(4) { 2 << 16 } else { 4 << 16 },
            callouts_in_flight: Some(if chosen(5) { 2 } else { 1000 }),
            body_limit: if chosen(6) { 4 } else { 1 << 20 },
            callout_bytes_in_flight: if chosen(7) { 16 } else { 1 << 20 },
            env: vec![("NAME".to_owned(), "value".to_owned())],
            ..Options::new("a plugin")
        };
        // With more room the metrics of guests that define long names would take most of the time.
        let proxy = Proxy::with_store(1 << 15);
        proxy.refuse_upstream(b"refused");
        proxy.set_function(b"reverse", |arguments| Ok(arguments.iter().rev().copied().collect()));
        let plugin = GUESTS.with(|guests| {
            let ticker = guests.engine.ticker();
            proxy.on_log(Box::new(move |message| match message {
                "tick" => ticker.tick(),
                "reenter" => reenter(),
                _ => {}
            }));
            let bytes = &guests.bytes[usize::from(flags & 3).min(2)];
            guests.engine.load(proxy.clone(), options, bytes)
        });
        let Ok(plugin) = plugin else { return Ok(None) };
        let embedding = Self { proxy, plugin, contexts: Vec::new(), streams: Vec::new(), waiting: Vec::new() };
        Ok(Some(embedding))
    }

    /// Does a step; the input says with what.
    pub fn step(&mut self, step: Step, input: &mut Unstructured<'_>) -> Result<()> {
        let which = usize::from(input.arbitrary::<u8>()?);
        match step % STEPS {
            CONFIGURE => self.configure(input)?,
            RETIRE => self.with_context(which, |context| {
                context.retire(if which >= 0x80 { Patience::Hurry } else { Patience::Wait });
            }),
            DROP if !self.contexts.is_empty() => drop(self.take_context(which)),
            OFFER if !self.contexts.is_empty() => {
                let context = self.take_context(which);
                OFFERED.replace(Some(context));
            }
            TICK => self.with_context(which, |context| _ = context.on_tick()),
            POLL_QUEUES => self.with_context(which, |context| {
                _ = context.poll_queues(std::time::Instant::now() + std::time::Duration::from_secs(1))
            }),
            FOREIGN => self.with_context(which, |context| _ = context.on_foreign_function(7, &[1; 3][..which & 3])),
            OPEN => self.open(which),
            ANSWER => self.answer(which, input)?,
            STREAM_MESSAGE => self.tell(which, Answer::GrpcMessage(b"message".to_vec())),
            step => self.with_stream(which, step),
        }
        self.check();
        Ok(())
    }

    /// Ends everything; then nothing is left of it.
    pub fn end(mut self) {
        while let Some(token) = self.proxy.tokens().first() {
            self.tell_token(*token, failure());
        }
        for stream in std::mem::take(&mut self.waiting) {
            assert_ne!(self.plugin.resume(stream), Ok(Outcome::Wait), "nothing is in flight");
        }
        self.check();
        while let Some(stream) = self.streams.pop() {
            self.plugin.close_stream(stream);
            self.check();
        }
        self.contexts.clear();
        OFFERED.take();
        self.check();
        assert_eq!(self.plugin.status().map(|status| status.plugin_contexts), Some(0));
        assert_eq!(self.proxy.tokens(), []);
        check_metrics(&prometheus(self.proxy.dict()));
    }

    fn configure(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let size = usize::from(input.arbitrary::<u8>()? & 7).min(input.len());
        let configuration = input.bytes(size)?;
        if self.contexts.len() < MOST_CONTEXTS
            && let Ok(context) = self.plugin.configure(configuration)
        {
            assert!(context.id() > 0);
            self.contexts.push(context);
        }
        Ok(())
    }

    fn with_context(&self, which: usize, act: impl FnOnce(&PluginContext<Proxy>)) {
        if let Some(context) = self.contexts.get(which % self.contexts.len().max(1)) {
            act(context);
        }
    }

    fn take_context(&mut self, which: usize) -> PluginContext<Proxy> {
        self.contexts.swap_remove(which % self.contexts.len())
    }

    fn open(&mut self, which: usize) {
        let mut opened = None;
        self.with_context(which, |context| opened = context.open_stream(Request::default()).ok());
        if let Some(stream) = opened {
            assert!(stream > 0 && !self.streams.contains(&stream));
            self.streams.push(stream);
        }
    }

    /// A step of a stream: an event, or what becomes of its waiting.
    fn with_stream(&mut self, which: usize, step: Step) {
        let Some(stream) = self.streams.get(which % self.streams.len().max(1)).copied() else { return };
        let event = match step {
            REQUEST_HEADERS => Event::RequestHeaders,
            REQUEST_BODY => Event::RequestBody { end_of_stream: which >= 0x80 },
            RESPONSE_HEADERS => Event::ResponseHeaders,
            RESPONSE_CHUNK => Event::ResponseBody { end_of_stream: false },
            RESPONSE_END => Event::ResponseBody { end_of_stream: true },
            RESUME => return self.resume(stream),
            STOP_WAITING => {
                self.plugin.stop_waiting(stream);
                return self.waiting.retain(|other| *other != stream);
            }
            CLOSE => {
                self.plugin.close_stream(stream);
                self.waiting.retain(|other| *other != stream);
                return self.streams.retain(|other| *other != stream);
            }
            _ => return,
        };
        let headers = [("name", "value"), (":path", "/"), ("name", "\u{fffd}")];
        let body = (which & 1 == 0).then(|| b"body"[..].into());
        let request = Request { body, ..Request::with_headers(&headers) };
        request.set_headers(HeaderMap::ResponseHeaders, &headers);
        request.set_property(b"known", Value::from(&b"value"[..]));
        let outcome = self.plugin.on_event(stream, request, event);
        self.waiting.retain(|other| *other != stream);
        // Another plugin context may have ended after the callback, and taken the callouts with its instance.
        if outcome == Ok(Outcome::Wait) && self.plugin.resume(stream) == Ok(Outcome::Wait) {
            assert!(!self.proxy.tokens().is_empty(), "it waits for nothing");
            self.waiting.push(stream);
        }
    }

    fn resume(&mut self, stream: u32) {
        if self.waiting.contains(&stream) && self.plugin.resume(stream) != Ok(Outcome::Wait) {
            self.waiting.retain(|other| *other != stream);
        }
    }

    fn answer(&mut self, which: usize, input: &mut Unstructured<'_>) -> Result<()> {
        let pair = || vec![(b"name".to_vec(), b"value\xff".to_vec())];
        let event = match input.int_in_range(0..=6)? {
            0 => Answer::HttpResponse(HttpResponse { headers: pair(), body: b"body".to_vec(), trailers: pair() }),
            1 => failure(),
            2 => Answer::GrpcResponse { initial_metadata: pair(), message: b"m".to_vec(), trailing_metadata: pair() },
            3 => Answer::GrpcInitialMetadata(pair()),
            4 => Answer::GrpcMessage(Vec::new()),
            5 => Answer::GrpcTrailingMetadata(Vec::new()),
            _ => Answer::GrpcClose { status: which as u32, message: "closed".to_owned() },
        };
        self.tell(which, event);
        Ok(())
    }

    /// Tells what became of a callout in flight, or of one that never was.
    fn tell(&mut self, which: usize, event: Answer) {
        let tokens = self.proxy.tokens();
        let token = tokens.get(which % tokens.len().max(1)).copied().unwrap_or(u32::MAX);
        self.tell_token(token, event);
    }

    fn tell_token(&self, token: u32, event: Answer) {
        if event.is_last() {
            self.proxy.callouts.lock().expect("nothing has panicked").remove(&token);
        }
        let _ = self.plugin.on_callout(token, event);
    }

    /// What holds between any two steps.
    fn check(&self) {
        let status = self.plugin.status().expect("the guest does not run");
        assert_eq!(status.stream_contexts, self.streams.len());
        assert_eq!(status.callouts, self.proxy.tokens().len());
        assert!(status.memory <= 4 << 16);
    }
}

/// What a finalizer may do while the guest runs: it is refused, or put off.
fn reenter() {
    if let Some(context) = OFFERED.take() {
        assert_eq!(context.on_tick(), Err(CallError::Busy));
        assert_eq!(context.plugin().status(), None);
    }
}

fn failure() -> Answer {
    Answer::HttpFailure(HttpFailure { reason: "timeout", message: "timeout".to_owned() })
}

/// Each line is a comment or a sample, whatever names the guest has chosen.
fn check_metrics(text: &str) {
    for line in text.lines().filter(|line| !line.starts_with("# TYPE ")) {
        let (name, value) = line.rsplit_once(' ').expect("a sample has a value");
        let name = name.split('{').next().unwrap_or_default();
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':')), "{line}");
        assert!(!name.is_empty() && !name.as_bytes()[0].is_ascii_digit(), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
}
