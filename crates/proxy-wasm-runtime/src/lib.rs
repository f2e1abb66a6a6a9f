//! A proxy-wasm host: it loads plugins that were built against the proxy-wasm ABI 0.1.0, 0.2.0 or 0.2.1 and runs them for
//! a proxy, which implements [`Host`] and [`HttpStream`].
//!
//! A proxy that has requests, a log and nothing else, and a plugin that logs from `proxy_on_request_headers`:
//!
//! ```
//! use std::{
//!     borrow::Cow,
//!     sync::{Arc, Mutex},
//! };
//!
//! use proxy_wasm_runtime::{
//!     HeaderChange, Host, HttpStream,
//!     abi::{HeaderMap, LogLevel, pairs::Pair, property::Value},
//!     callout::{Callout, Refusal},
//!     context::Options,
//!     store::{Dict, InProcess},
//!     vm::{Engine, Event, Outcome},
//! };
//!
//! #[derive(Clone)]
//! struct Proxy {
//!     log: Arc<Mutex<Vec<String>>>,
//!     dict: Arc<InProcess>,
//! }
//!
//! impl Host for Proxy {
//!     type HttpStream = Request;
//!
//!     fn log(&self, _: Option<&Request>, level: LogLevel, message: &[u8]) {
//!         self.log.lock().unwrap().push(format!("{level:?}: {}", message.escape_ascii()));
//!     }
//!
//!     fn log_level(&self, _: Option<&Request>) -> Option<LogLevel> {
//!         Some(LogLevel::Info)
//!     }
//!
//!     fn dict(&self) -> &dyn Dict {
//!         &*self.dict
//!     }
//!
//!     // Without timers no plugin has ticks or is told of messages in queues.
//!     fn set_tick_period(&self, _: u64, _: u32) {}
//!     fn watch_queues(&self) {}
//!     fn poll_queues_soon(&self) {}
//!
//!     // Without callouts no request waits.
//!     fn start_callout(&self, _: Option<&Request>, _: u64, _: &Options, _: u32, _: Callout) -> Result<(), Refusal> {
//!         Err(Refusal::BadArgument("this proxy sends nothing".to_owned()))
//!     }
//!     fn send_grpc_message(&self, _: u32, _: Option<&[u8]>, _: bool) {}
//!     fn unsent_grpc_bytes(&self, _: u32) -> usize {
//!         0
//!     }
//!     fn cancel_callout(&self, _: u32) {}
//!     fn wake_stream(&self, _: &Request, _: u64) {}
//! }
//!
//! #[derive(Clone)]
//! struct Request {
//!     headers: Arc<[(&'static str, &'static str)]>,
//! }
//!
//! impl HttpStream for Request {
//!     fn header_count(&self, map: HeaderMap) -> u32 {
//!         self.headers(map).len() as u32
//!     }
//!
//!     fn headers(&self, map: HeaderMap) -> Vec<Pair<'_>> {
//!         let pair = |(name, value): &(&'static str, &'static str)| (name.as_bytes().into(), value.as_bytes().into());
//!         if map == HeaderMap::RequestHeaders { self.headers.iter().map(pair).collect() } else { Vec::new() }
//!     }
//!
//!     fn header(&self, map: HeaderMap, name: &[u8]) -> Option<Cow<'_, [u8]>> {
//!         self.headers(map).into_iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
//!     }
//!
//!     fn change_header(&self, _: HeaderMap, _: &[u8], _: HeaderChange<'_>) {}
//!
//!     fn body(&self) -> Option<&[u8]> {
//!         None
//!     }
//!
//!     fn property(&self, _: &[u8]) -> Option<Value<'_>> {
//!         None
//!     }
//!
//!     fn set_property(&self, _: &[u8], _: &[u8]) {}
//! }
//!
//! let module = wat::parse_str(
//!     r#"(module
//!         (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
//!         (memory (export "memory") 1)
//!         (data (i32.const 16) "hello")
//!         (func (export "proxy_abi_version_0_2_1"))
//!         (func (export "proxy_on_request_headers") (param $context i32) (param $count i32) (param $end i32) (result i32)
//!             (drop (call $log (i32.const 2) (i32.const 16) (i32.const 5)))
//!             (i32.const 0)))"#,
//! )?;
//!
//! let proxy = Proxy { log: Arc::default(), dict: Arc::new(InProcess::new(1 << 20)) };
//! let plugin = Engine::new()?.load(proxy.clone(), Options::new("greeter"), &module)?;
//! let context = plugin.configure(b"")?;
//!
//! let request = Request { headers: [(":method", "GET"), (":path", "/"), (":authority", "example.com")].into() };
//! let stream = context.open_stream(request.clone())?;
//! assert_eq!(plugin.on_event(stream, request, Event::RequestHeaders)?, Outcome::Continue);
//! plugin.close_stream(stream);
//!
//! // Between what the host says of contexts.
//! assert!(proxy.log.lock().unwrap().contains(&"Info: hello".to_owned()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A proxy that runs plugins of others also implements [`Host::guest_runs`], without which no callback has a deadline.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`abi`] | statuses, enumerations, the header map codec and property values: pure data |
//! | [`guest`] | one instance: its memory and its exports |
//! | [`callout`] | what guests ask other servers, and what comes back |
//! | `foreign` | the foreign functions that every proxy has |
//! | [`hostcalls`] | what a guest can ask of the host, one file per group, and the table of all |
//! | [`vm`] | the engine, compiled modules, instances, WASI |
//! | [`context`] | plugin contexts and stream contexts: ids and lifecycle |
//! | [`store`] | what plugins share: shared data, queues, metrics |
//! | [`timers`] | what a proxy is to do later |
//! | [`host`] | what a proxy implements |
//!
//! A plugin is loaded once per worker ([`vm::Engine::load`]), configured as often as the proxy has configurations for it
//! ([`context::Plugin::configure`]), and called for each stream ([`context::PluginContext`]). Everything of one plugin
//! belongs to one thread.

#![cfg_attr(not(feature = "compile-once"), forbid(unsafe_code))]

pub mod abi;
pub mod callout;
pub mod context;
mod error;
mod foreign;
pub mod guest;
pub mod host;
pub mod hostcalls;
pub mod store;
pub mod timers;
pub mod vm;

pub use error::{CallError, Failure, LoadError, Trap, TrapKind};
pub use host::{HeaderChange, Host, HttpStream};
