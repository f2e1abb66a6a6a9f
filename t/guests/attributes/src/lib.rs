//! Reads properties as plugins for Envoy do: each type is decoded as the SDKs decode it, and a value of another size panics.
//!
//! A line of the plugin configuration is `CALLBACK TYPE PATH`; CALLBACK is `request`, `response`, `log` or `any`, the segments of
//! PATH are separated by dots. It logs `CALLBACK PATH = VALUE`, or `CALLBACK PATH is not found`. What differs from run to run is
//! logged as a word: of a timestamp whether it is `recent`, of a duration whether it is `positive`.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use log::info;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Trace);
    proxy_wasm::set_root_context(|_| Box::new(Plugin::default()));
}}

#[derive(Clone)]
struct Line {
    callback: String,
    kind: String,
    path: String,
}

#[derive(Default)]
struct Plugin {
    lines: Vec<Line>,
}

impl Context for Plugin {}

impl RootContext for Plugin {
    fn on_configure(&mut self, _size: usize) -> bool {
        let configuration = self.get_plugin_configuration().unwrap_or_default();
        let lines = String::from_utf8(configuration).unwrap();
        self.lines = lines.lines().filter(|line| !line.trim().is_empty()).map(parse).collect();
        true
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Http { lines: self.lines.clone() }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

fn parse(line: &str) -> Line {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [callback, kind, path] = words[..] else { panic!("bad line: {line}") };
    Line { callback: callback.into(), kind: kind.into(), path: path.into() }
}

struct Http {
    lines: Vec<Line>,
}

impl Http {
    fn read(&self, callback: &str) {
        let is_here = |line: &&Line| line.callback == callback || line.callback == "any";
        for Line { kind, path, .. } in self.lines.iter().filter(is_here) {
            match self.get_property(path.split('.').collect()) {
                Some(value) => info!("{callback} {path} = {}", self.decode(kind, &value)),
                None => info!("{callback} {path} is not found"),
            }
        }
    }

    fn decode(&self, kind: &str, value: &[u8]) -> String {
        match kind {
            "string" => text(value),
            "int" => i64::from_le_bytes(value.try_into().unwrap()).to_string(),
            "uint" => u64::from_le_bytes(value.try_into().unwrap()).to_string(),
            "bool" => match value {
                [0] => "false".into(),
                [1] => "true".into(),
                _ => panic!("no boolean: {value:?}"),
            },
            "timestamp" => {
                let time = SystemTime::UNIX_EPOCH + nanoseconds(value);
                let age = self.get_current_time().duration_since(time).unwrap();
                if age < Duration::from_secs(3600) {
                    "recent".into()
                } else {
                    format!("{age:?} ago")
                }
            }
            "duration" => {
                let duration = nanoseconds(value);
                let is_positive = duration > Duration::ZERO && duration < Duration::from_secs(3600);
                if is_positive {
                    "positive".into()
                } else {
                    format!("{duration:?}")
                }
            }
            // Port numbers that the system chose are not shown.
            "address" => match text(value).parse::<SocketAddr>().unwrap() {
                address if address.port() < 10000 => address.to_string(),
                address => format!("{} with a port", address.ip()),
            },
            "port" => match u64::from_le_bytes(value.try_into().unwrap()) {
                port @ ..10000 => port.to_string(),
                10000..=65535 => "a port".into(),
                number => panic!("no port: {number}"),
            },
            "map" => map(value).iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join("; "),
            _ => panic!("unknown type {kind}"),
        }
    }
}

fn text(value: &[u8]) -> String {
    String::from_utf8(value.to_vec()).unwrap()
}

fn nanoseconds(value: &[u8]) -> Duration {
    Duration::from_nanos(i64::from_le_bytes(value.try_into().unwrap()).try_into().unwrap())
}

/// By the rules of the SDK's own decoder, which it does not export.
fn map(value: &[u8]) -> Vec<(String, String)> {
    let number = |at: usize| u32::from_le_bytes(value[at..at + 4].try_into().unwrap()) as usize;
    let count = number(0);
    let mut at = 4 + count * 8;
    let mut next = |size: usize| {
        let part = text(&value[at..at + size]);
        assert_eq!(value[at + size], 0);
        at += size + 1;
        part
    };
    let pairs = (0..count).map(|n| (next(number(4 + n * 8)), next(number(8 + n * 8)))).collect();
    assert_eq!(at, value.len());
    pairs
}

impl Context for Http {}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        self.read("request");
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end: bool) -> Action {
        self.read("response");
        Action::Continue
    }

    fn on_log(&mut self) {
        self.read("log");
    }
}
