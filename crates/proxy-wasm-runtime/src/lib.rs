//! A proxy-wasm host: it loads plugins that were built against the proxy-wasm ABI 0.1.0, 0.2.0 or 0.2.1 and runs them for
//! a proxy, which implements [`Host`] and [`HttpStream`].
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
