//! Makes callouts as plugins do that use the SDK. Each line of the configuration is one of
//!
//! ```text
//! http UPSTREAM METHOD PATH TIMEOUT_MS [BODY]
//! grpc UPSTREAM SERVICE METHOD TIMEOUT_MS MESSAGE
//! stream UPSTREAM SERVICE METHOD MESSAGE…
//! tick MS LINE
//! deny STATUS
//! ```
//!
//! The first three make a callout in `on_http_request_headers`, all of them at once; the request waits until each is answered. A
//! stream sends its messages and closes; a message is one word. `tick` makes the callout of LINE once in the plugin context, after
//! MS milliseconds. With `deny` a request is answered with the response status when a callout has failed: an HTTP call without headers
//! or with a status from 400, a gRPC status that is not 0, or one that could not be dispatched. Otherwise the upstream's request gets
//! headers `x-callout: NUMBER ANSWER`, NUMBER being that of the line from 0, ANSWER the body or the messages with `,` between.
//! `$path` in a PATH is the request's.
//!
//! Each callback logs a line `CONTEXT NUMBER: …` at info. The counters `callouts_made`, `callouts_ended`, `callouts_created` and
//! `callouts_deleted` say how many callouts were dispatched, how often an end of one was told, and how many stream contexts there were
//! and are no more.

use log::info;
use proxy_wasm::hostcalls::{define_metric, get_map_value, increment_metric};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel, MapType, MetricType, Status};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Trace);
    proxy_wasm::set_root_context(|id| Box::new(Plugin { id, ..Plugin::default() }));
}}

/// What a line says.
#[derive(Clone)]
struct Dispatch {
    number: usize,
    words: Vec<String>,
}

#[derive(Default)]
struct Configuration {
    dispatches: Vec<Dispatch>,
    on_tick: Option<(Duration, Dispatch)>,
    deny: Option<u32>,
}

impl Configuration {
    fn parse(text: &str) -> Option<Self> {
        let mut configuration = Self::default();
        for (number, line) in text.lines().enumerate() {
            let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            match words.first().map(String::as_str)? {
                "deny" => configuration.deny = Some(words.get(1)?.parse().ok()?),
                "tick" => {
                    let period = Duration::from_millis(words.get(1)?.parse().ok()?);
                    words.drain(..2);
                    configuration.on_tick = Some((period, Dispatch::new(number, words)?));
                }
                _ => configuration.dispatches.push(Dispatch::new(number, words)?),
            }
        }
        Some(configuration)
    }
}

impl Dispatch {
    /// `None` when words are missing.
    fn new(number: usize, words: Vec<String>) -> Option<Self> {
        let least = match words.first()?.as_str() {
            "http" => 5,
            "grpc" => 6,
            "stream" => 4,
            _ => return None,
        };
        (words.len() >= least).then_some(Self { number, words })
    }

    fn word(&self, i: usize) -> &str {
        self.words.get(i).map_or("", String::as_str)
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.word(4).parse().unwrap_or(0))
    }

    fn path(&self) -> String {
        let path = self.word(3);
        if !path.contains("$path") {
            return path.to_owned();
        }
        let of_request = get_map_value(MapType::HttpRequestHeaders, ":path").ok().flatten();
        path.replace("$path", &of_request.unwrap_or_default())
    }

    /// Makes the callout in this context.
    fn make(&self, context: &(impl Context + ?Sized)) -> Result<u32, Status> {
        match self.word(0) {
            "http" => {
                let path = self.path();
                let headers = vec![
                    (":method", self.word(2)),
                    (":path", &path),
                    (":authority", "callouts.test"),
                    ("x-from", "callouts"),
                ];
                let body = self.words.get(5).map(String::as_bytes);
                context.dispatch_http_call(self.word(1), headers, body, vec![], self.timeout())
            }
            "grpc" => {
                let message = Some(self.word(5).as_bytes());
                let (upstream, service, method) = (self.word(1), self.word(2), self.word(3));
                context.dispatch_grpc_call(upstream, service, method, metadata(), message, self.timeout())
            }
            _ => {
                let token = context.open_grpc_stream(self.word(1), self.word(2), self.word(3), metadata())?;
                for message in &self.words[4..] {
                    context.send_grpc_stream_message(token, Some(message.as_bytes()), false);
                }
                context.close_grpc_stream(token);
                Ok(token)
            }
        }
    }
}

fn metadata() -> Vec<(&'static str, &'static [u8])> {
    vec![("x-from", b"callouts"), ("x-data-bin", b"AP8")]
}

/// Adds 1 to a counter. It is the same one each time: the host knows metrics by their names.
fn count(name: &str) {
    if let Ok(id) = define_metric(MetricType::Counter, name) {
        let _ = increment_metric(id, 1);
    }
}

/// A callout that has been made.
struct Callout {
    number: usize,
    answer: Vec<String>,
}

/// The callouts of one context.
#[derive(Default)]
struct Callouts {
    id: u32,
    /// Those without an end yet, by token.
    open: BTreeMap<u32, Callout>,
    answers: Vec<(usize, String)>,
    failed: bool,
}

impl Callouts {
    fn made(&mut self, number: usize, made: Result<u32, Status>) {
        match made {
            Ok(token) => {
                count("callouts_made");
                info!("{} {number}: dispatched", self.id);
                self.open.insert(token, Callout { number, answer: vec![] });
            }
            Err(status) => {
                info!("{} {number}: not dispatched: {status:?}", self.id);
                self.failed = true;
            }
        }
    }

    fn log(&self, token: u32, text: &str) {
        let number = self.open.get(&token).map_or("?".to_owned(), |callout| callout.number.to_string());
        info!("{} {number}: {text}", self.id);
    }

    fn message(&mut self, token: u32, message: Option<Vec<u8>>) {
        let message = String::from_utf8_lossy(&message.unwrap_or_default()).into_owned();
        if let Some(callout) = self.open.get_mut(&token) {
            callout.answer.push(message);
        }
    }

    fn end(&mut self, token: u32, success: bool) {
        count("callouts_ended");
        self.failed |= !success;
        if let Some(callout) = self.open.remove(&token) {
            self.answers.push((callout.number, callout.answer.join(",")));
        }
    }
}

/// What both kinds of contexts do with answers; `finished` is called when the last callout has its end.
macro_rules! answers {
    ($finished:expr) => {
        fn on_http_call_response(&mut self, token: u32, headers: usize, body_size: usize, trailers: usize) {
            let status = self.get_http_call_response_header(":status");
            let body = self.get_http_call_response_body(0, body_size);
            let shown = String::from_utf8_lossy(body.as_deref().unwrap_or_default()).into_owned();
            let pairs = self.get_http_call_response_headers().len();
            let text = format!("http {status:?}, {headers} headers, {body_size} bytes {shown:?}, {trailers} trailers");
            self.callouts.log(token, &text);
            assert!(pairs == headers, "{pairs} headers are not {headers}");
            for (name, value) in self.get_http_call_response_trailers() {
                self.callouts.log(token, &format!("trailer {name}: {value}"));
            }
            self.callouts.message(token, body);
            let success = status.is_some_and(|status| status.parse::<u32>().is_ok_and(|status| status < 400));
            self.callouts.end(token, success);
            $finished(self);
        }

        fn on_grpc_call_response(&mut self, token: u32, status: u32, size: usize) {
            let message = self.get_grpc_call_response_body(0, size);
            let shown = String::from_utf8_lossy(message.as_deref().unwrap_or_default()).into_owned();
            self.callouts.log(token, &format!("grpc status {status}, {size} bytes {shown:?}"));
            if status != 0 {
                self.callouts.log(token, &format!("grpc status {:?}", self.get_grpc_status()));
            }
            self.callouts.message(token, message);
            self.callouts.end(token, status == 0);
            $finished(self);
        }

        fn on_grpc_stream_initial_metadata(&mut self, token: u32, count: u32) {
            self.callouts.log(token, &format!("stream starts, {count} metadata"));
            for (name, value) in self.get_grpc_stream_initial_metadata() {
                self.callouts.log(token, &format!("initial {name}: {}", value.escape_ascii()));
            }
        }

        fn on_grpc_stream_message(&mut self, token: u32, size: usize) {
            let message = self.get_grpc_stream_message(0, size);
            let shown = String::from_utf8_lossy(message.as_deref().unwrap_or_default()).into_owned();
            self.callouts.log(token, &format!("stream message of {size} bytes {shown:?}"));
            self.callouts.message(token, message);
        }

        fn on_grpc_stream_trailing_metadata(&mut self, token: u32, count: u32) {
            self.callouts.log(token, &format!("stream ends, {count} metadata"));
            for (name, value) in self.get_grpc_stream_trailing_metadata() {
                self.callouts.log(token, &format!("trailing {name}: {}", value.escape_ascii()));
            }
        }

        fn on_grpc_stream_close(&mut self, token: u32, status: u32) {
            self.callouts.log(token, &format!("stream status {status}, {:?}", self.get_grpc_status()));
            self.callouts.end(token, status == 0);
            $finished(self);
        }
    };
}

#[derive(Default)]
struct Plugin {
    id: u32,
    configuration: Rc<Configuration>,
    callouts: Callouts,
}

impl Plugin {
    fn finished(&mut self) {
        for (number, answer) in self.callouts.answers.drain(..) {
            info!("{} {number}: finished, answer {answer:?}", self.id);
        }
    }
}

impl Context for Plugin {
    answers!(Self::finished);
}

impl RootContext for Plugin {
    fn on_configure(&mut self, _size: usize) -> bool {
        let text = self.get_plugin_configuration().unwrap_or_default();
        let Some(configuration) = Configuration::parse(&String::from_utf8_lossy(&text)) else {
            info!("the configuration is wrong");
            return false;
        };
        if let Some((period, _)) = &configuration.on_tick {
            self.set_tick_period(*period);
        }
        self.configuration = Rc::new(configuration);
        self.callouts.id = self.id;
        true
    }

    fn on_tick(&mut self) {
        self.set_tick_period(Duration::ZERO);
        let configuration = Rc::clone(&self.configuration);
        if let Some((_, dispatch)) = &configuration.on_tick {
            let made = dispatch.make(self);
            self.callouts.made(dispatch.number, made);
        }
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        count("callouts_created");
        let callouts = Callouts { id, ..Callouts::default() };
        Some(Box::new(Http { configuration: Rc::clone(&self.configuration), callouts }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Http {
    configuration: Rc<Configuration>,
    callouts: Callouts,
}

impl Http {
    /// Lets the request go on once all is answered.
    fn finished(&mut self) {
        if !self.callouts.open.is_empty() {
            return;
        }
        if !self.deny() {
            self.add_answers();
            self.resume_http_request();
        }
    }

    /// Answers the request if a callout has failed and the configuration says so.
    fn deny(&self) -> bool {
        let status = self.configuration.deny.filter(|_| self.callouts.failed);
        if let Some(status) = status {
            self.send_http_response(status, vec![("x-denied-by", "callouts")], Some(b"a callout has failed\n"));
        }
        status.is_some()
    }

    fn add_answers(&mut self) {
        for (number, answer) in std::mem::take(&mut self.callouts.answers) {
            self.add_http_request_header("x-callout", &format!("{number} {answer}"));
        }
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        count("callouts_deleted");
    }
}

impl Context for Http {
    answers!(Self::finished);

    fn on_done(&mut self) -> bool {
        info!("{} done, {} callouts are open", self.callouts.id, self.callouts.open.len());
        true
    }
}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        let configuration = Rc::clone(&self.configuration);
        for dispatch in &configuration.dispatches {
            let made = dispatch.make(self);
            self.callouts.made(dispatch.number, made);
        }
        if self.callouts.open.is_empty() && !self.deny() {
            return Action::Continue;
        }
        Action::Pause
    }
}
