//! A proxy in memory, and what the tests do with it.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    rc::Rc,
    sync::{Arc, Mutex},
};

use proxy_wasm_runtime::{
    HeaderChange, Host, HttpStream, LoadError,
    abi::{HeaderMap, LogLevel, Status, pairs::Pair, property::Value},
    callout::{Callout, Refusal},
    context::{Options, Plugin},
    store::{Dict, InProcess},
    vm::Engine,
};

/// Token, message, whether it is the last.
pub type SentMessage = (u32, Option<Vec<u8>>, bool);

/// Called with each message, before it is recorded.
pub type Hook = Box<dyn FnMut(&str) + Send>;

#[derive(Clone)]
pub struct Proxy {
    pub dict: Arc<InProcess>,
    log: Arc<Mutex<Vec<String>>>,
    hook: Arc<Mutex<Option<Hook>>>,
    /// The plugin contexts and periods that were asked for.
    pub ticks: Arc<Mutex<Vec<(u64, u32)>>>,
    /// The callouts in flight, by token.
    pub callouts: Arc<Mutex<BTreeMap<u32, Callout>>>,
    /// What was sent on gRPC streams.
    pub grpc_messages: Arc<Mutex<Vec<SentMessage>>>,
    /// How often a stream was woken.
    pub wakes: Arc<Mutex<usize>>,
    /// How often queues were asked to be watched.
    pub queue_watches: Arc<Mutex<usize>>,
    /// How often queues were asked to be polled soon.
    pub queue_polls: Arc<Mutex<usize>>,
    /// How many guests run.
    pub running: Arc<Mutex<i32>>,
}

impl Default for Proxy {
    fn default() -> Self {
        Self {
            dict: Arc::new(InProcess::new(1 << 20)),
            log: Arc::default(),
            hook: Arc::default(),
            ticks: Arc::default(),
            running: Arc::default(),
            callouts: Arc::default(),
            grpc_messages: Arc::default(),
            wakes: Arc::default(),
            queue_watches: Arc::default(),
            queue_polls: Arc::default(),
        }
    }
}

impl Proxy {
    /// The messages since the last call, `stream: ` before those of a stream.
    pub fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap())
    }

    /// Whether any message since the last [`Self::take_log`] contains `text`.
    pub fn logged(&self, text: &str) -> bool {
        self.log.lock().unwrap().iter().any(|line| line.contains(text))
    }

    pub fn on_log(&self, hook: Hook) {
        *self.hook.lock().unwrap() = Some(hook);
    }

    /// Loads a plugin given in the text format.
    pub fn load(&self, module: &str) -> Result<Rc<Plugin<Self>>, LoadError> {
        self.load_with(Options::new("a plugin"), module)
    }

    /// As [`Self::load`], with options.
    pub fn load_with(&self, options: Options, module: &str) -> Result<Rc<Plugin<Self>>, LoadError> {
        let bytes = wat::parse_str(module).expect("the test's module is correct");
        Engine::new().expect("the engine runs here").load(self.clone(), options, &bytes)
    }

    /// The tokens of the callouts in flight.
    pub fn tokens(&self) -> Vec<u32> {
        self.callouts.lock().unwrap().keys().copied().collect()
    }
}

impl Host for Proxy {
    type HttpStream = Request;

    /// A message "panic" makes it panic: what a defect of the host would do in the middle of a hostcall.
    fn log(&self, stream: Option<&Request>, _: LogLevel, message: &[u8]) {
        assert_ne!(message, b"panic");
        let message = String::from_utf8_lossy(message).into_owned();
        let hook = self.hook.lock().unwrap().take();
        if let Some(mut hook) = hook {
            hook(&message);
            *self.hook.lock().unwrap() = Some(hook);
        }
        let prefix = if stream.is_some() { "stream: " } else { "" };
        self.log.lock().unwrap().push(format!("{prefix}{message}"));
    }

    fn guest_runs(&self, runs: bool) {
        *self.running.lock().unwrap() += if runs { 1 } else { -1 };
    }

    fn log_level(&self, _: Option<&Request>) -> Option<LogLevel> {
        Some(LogLevel::Trace)
    }

    fn set_tick_period(&self, plugin_context: u64, period: u32) {
        self.ticks.lock().unwrap().push((plugin_context, period));
    }

    fn watch_queues(&self) {
        *self.queue_watches.lock().unwrap() += 1;
    }

    fn poll_queues_soon(&self) {
        *self.queue_polls.lock().unwrap() += 1;
    }

    fn start_callout(
        &self,
        _: Option<&Request>,
        _: u64,
        _: &Options,
        token: u32,
        callout: Callout,
    ) -> Result<(), Refusal> {
        if callout.upstream() == b"refused" {
            return Err(Refusal::BadArgument("refused".to_owned()));
        }
        self.callouts.lock().unwrap().insert(token, callout);
        Ok(())
    }

    fn unsent_grpc_bytes(&self, token: u32) -> usize {
        let messages = self.grpc_messages.lock().unwrap();
        messages
            .iter()
            .filter(|(other, ..)| *other == token)
            .map(|(_, message, _)| message.as_ref().map_or(0, Vec::len))
            .sum()
    }

    fn send_grpc_message(&self, token: u32, message: Option<&[u8]>, is_last: bool) {
        self.grpc_messages.lock().unwrap().push((token, message.map(<[u8]>::to_vec), is_last));
    }

    fn cancel_callout(&self, token: u32) {
        self.callouts.lock().unwrap().remove(&token);
    }

    fn wake_stream(&self, _: &Request, _: u64) {
        *self.wakes.lock().unwrap() += 1;
    }

    fn dict(&self) -> &dyn Dict {
        &*self.dict
    }

    fn call_foreign_function(&self, _: Option<&Request>, name: &[u8], arguments: &[u8]) -> Result<Vec<u8>, Status> {
        match name {
            b"reverse" => Ok(arguments.iter().rev().copied().collect()),
            b"fail" => Err(Status::InternalFailure),
            _ => Err(Status::NotFound),
        }
    }
}

type Headers = Vec<(Vec<u8>, Vec<u8>)>;

/// A request with one list of headers for all maps.
#[derive(Clone, Default)]
pub struct Request {
    pub headers: Arc<Mutex<Headers>>,
    pub body: Option<Arc<[u8]>>,
    /// There are headers that [`HttpStream::headers`] does not give.
    pub hides_headers: bool,
}

impl Request {
    pub fn with_headers(headers: &[(&str, &str)]) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Self { headers: Arc::new(Mutex::new(headers)), ..Self::default() }
    }

    pub fn with_body(body: &str) -> Self {
        Self { body: Some(body.as_bytes().into()), ..Self::default() }
    }
}

impl HttpStream for Request {
    fn header_count(&self, _: HeaderMap) -> u32 {
        self.headers.lock().unwrap().len() as u32
    }

    fn headers(&self, _: HeaderMap) -> Vec<Pair<'_>> {
        let headers = self.headers.lock().unwrap();
        headers.iter().map(|(name, value)| (Cow::from(name.clone()), Cow::from(value.clone()))).collect()
    }

    fn knows_all_headers(&self, _: HeaderMap) -> bool {
        !self.hides_headers
    }

    fn header(&self, _: HeaderMap, name: &[u8]) -> Option<Cow<'_, [u8]>> {
        let headers = self.headers.lock().unwrap();
        headers.iter().find(|(other, _)| other == name).map(|(_, value)| Cow::from(value.clone()))
    }

    fn change_header(&self, _: HeaderMap, name: &[u8], change: HeaderChange<'_>) {
        let mut headers = self.headers.lock().unwrap();
        if !matches!(change, HeaderChange::Add(_)) {
            headers.retain(|(other, _)| other != name);
        }
        if let HeaderChange::Add(value) | HeaderChange::Replace(value) = change {
            headers.push((name.to_vec(), value.to_vec()));
        }
    }

    fn body(&self) -> Option<&[u8]> {
        self.body.as_deref()
    }

    fn property(&self, path: &[u8]) -> Option<Value<'_>> {
        match path {
            b"known" => Some(Value::from(&b"value"[..])),
            b"number\0one" => Some(Value::Uint(1)),
            _ => None,
        }
    }

    fn set_property(&self, _: &[u8], _: &[u8]) {}
}

/// The text of a guest that logs from each callback what it was called with, as `name context a b c`.
///
/// `extra` is further text of the module. `done` is what `proxy_on_done` returns.
pub fn logging_guest(extra: &str) -> String {
    let one = |name: &str, result: &str| callback(name, 1, result);
    let callbacks = [
        callback("context_create", 2, ""),
        callback("vm_start", 2, "1"),
        callback("configure", 2, "1"),
        callback("request_headers", 3, "0"),
        callback("request_body", 3, "0"),
        callback("response_headers", 3, "0"),
        callback("response_body", 3, "0"),
        one("done", "1"),
        one("log", ""),
        one("delete", ""),
    ];
    format!(
        r#"(module
            (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func $digit (param $at i32) (param $n i32)
                (i32.store8 (local.get $at) (i32.const 32))
                (i32.store8 offset=1 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10)))))
            (func (export "proxy_abi_version_0_2_1"))
            {} {extra})"#,
        callbacks.concat()
    )
}

/// One callback of [`logging_guest`]; its name is at an address of its own.
fn callback(name: &str, parameters: usize, result: &str) -> String {
    let at = name.bytes().map(usize::from).sum::<usize>() * 16 % 32768 + 64;
    let size = name.len();
    let digits: String =
        (0..parameters).map(|n| format!("(call $digit (i32.const {}) (local.get {n}))", at + size + 2 * n)).collect();
    let returns = if result.is_empty() { String::new() } else { "(result i32)".into() };
    let result = if result.is_empty() { String::new() } else { format!("(i32.const {result})") };
    format!(
        r#"(data (i32.const {at}) "{name}")
        (func (export "proxy_on_{name}") (param {}) {returns}
            {digits} (drop (call $log (i32.const 2) (i32.const {at}) (i32.const {}))) {result})"#,
        "i32 ".repeat(parameters),
        size + 2 * parameters
    )
}
