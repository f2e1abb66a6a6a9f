//! A proxy in memory that runs proxy-wasm plugins, for tests, fuzz targets and tools: [`Proxy`] is the proxy, [`Request`] is a
//! request of it with its response.
//!
//! What plugins log, schedule and ask other servers is kept; nothing happens by itself. Whoever embeds the runtime has callbacks
//! run by calling it, and answers callouts with [`Plugin::on_callout`](proxy_wasm_runtime::context::Plugin::on_callout).
//!
//! ```
//! use proxy_wasm_memory::{Proxy, Request};
//! use proxy_wasm_runtime::{abi::HeaderMap, vm::Event};
//!
//! let proxy = Proxy::default();
//! let plugin = proxy.load(
//!     r#"(module
//!         (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
//!         (memory (export "memory") 1)
//!         (data (i32.const 0) "x-greetinghello")
//!         (func (export "proxy_abi_version_0_2_1"))
//!         (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
//!             (call $add (i32.const 0) (i32.const 0) (i32.const 10) (i32.const 10) (i32.const 5))))"#,
//! )?;
//! let context = plugin.configure(b"a configuration").expect("the plugin accepts it");
//! let request = Request::with_headers(&[(":path", "/")]);
//! let stream = context.open_stream(request.clone()).expect("the plugin runs");
//! plugin.on_event(stream, request.clone(), Event::RequestHeaders).expect("the plugin does not trap");
//! assert_eq!(request.value(HeaderMap::RequestHeaders, "x-greeting").as_deref(), Some(&b"hello"[..]));
//! plugin.close_stream(stream);
//! # Ok::<(), proxy_wasm_runtime::LoadError>(())
//! ```

mod proxy;
mod request;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use proxy::{Function, Hook, Proxy, SentMessage};
pub use request::{Headers, Request};

/// A value of which all clones of a [`Proxy`] or a [`Request`] have the same.
pub type Shared<T> = Arc<Mutex<T>>;

/// The value, also after a panic: each change of one is a single step.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
