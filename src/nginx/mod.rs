//! nginx, through the symbols that it and ngx_lua export.
//!
//! All of this runs on nginx's one thread of a process. What a request owns stays valid until its cleanup handlers have
//! run: its pool frees nothing before.

#![expect(unsafe_code, reason = "nginx and ngx_lua are written in C")]

mod cleanup;
mod header_lists;
mod headers;
mod log;
mod lua_api;
mod one_thread;
mod process;
mod properties;
mod request;
mod semaphore;
mod shdict;
mod symbols;
mod ticker;
mod variables;

pub use cleanup::on_request_end;
pub use headers::framing::Framing;
pub use log::{error as log_error, escape_control};
pub use lua_api::{caller, has_caller, set_lua_function, with_caller, without_caller};
pub use one_thread::OneThread;
pub use process::{lua_goes_on, process_goes_on, process_has_ended, worker_connections, worker_number};
pub use properties::Properties;
pub use request::{Phase, Request};
pub use semaphore::{LuaLives, Semaphore};
pub use shdict::open_dict;
pub use symbols::load as load_symbols;

use lua_api::Argument;

use proxy_wasm_runtime::{
    Host,
    abi::{LogLevel, Status},
    callout::{Callout, Refusal},
    context::Options,
    store::Dict,
};

use crate::{callout, worker};

/// nginx, as the host of plugins.
#[derive(Clone, Copy)]
pub struct Nginx;

impl Host for Nginx {
    type HttpStream = Request;

    fn log(&self, stream: Option<&Request>, level: LogLevel, message: &[u8]) {
        log::write(stream, level, message);
    }

    fn log_level(&self, stream: Option<&Request>) -> Option<LogLevel> {
        log::least_level(stream)
    }

    fn set_tick_period(&self, plugin_context: u64, period: u32) {
        worker::set_tick_period(plugin_context, period);
    }

    fn watch_queues(&self) {
        worker::watch_queues();
    }

    fn poll_queues_soon(&self) {
        worker::poll_queues_soon();
    }

    #[inline]
    fn guest_runs(&self, runs: bool) {
        if runs {
            ticker::guest_begins(worker::ticker)
        } else {
            ticker::guest_ends()
        }
        variables::forget_readings();
    }

    #[inline]
    fn kept_bytes(&self) -> usize {
        variables::kept()
    }

    fn start_callout(
        &self,
        stream: Option<&Request>,
        plugin_context: u64,
        options: &Options,
        token: u32,
        callout: Callout,
    ) -> Result<(), Refusal> {
        worker::start_callout(stream, plugin_context, options, token, callout)
    }

    fn callouts_in_flight(&self) -> usize {
        callout::default_in_flight()
    }

    fn unsent_grpc_bytes(&self, token: u32) -> usize {
        callout::unsent_bytes(token)
    }

    fn send_grpc_message(&self, token: u32, message: Option<&[u8]>, is_last: bool) {
        callout::send(token, message, is_last);
    }

    fn cancel_callout(&self, token: u32) {
        callout::cancel(token);
    }

    fn wake_stream(&self, stream: &Request, plugin_context: u64) {
        worker::wake_stream(*stream, plugin_context);
    }

    fn dict(&self) -> &dyn Dict {
        shdict::warn_without_dict();
        shdict::dict()
    }

    fn dict_of_host(&self) -> &dyn Dict {
        shdict::dict()
    }

    /// Through lib/resty/wasm/foreign.lua, which keeps the functions that Lua registered.
    fn call_foreign_function(
        &self,
        stream: Option<&Request>,
        name: &[u8],
        arguments: &[u8],
    ) -> Result<Vec<u8>, Status> {
        let arguments = [Argument::Bytes(name), Argument::Bytes(arguments)];
        match lua_api::call("foreign_function", &arguments) {
            Ok(result) => result.ok_or(Status::NotFound),
            Err(error) => {
                let message = format!("foreign function \"{}\" failed: {error}", name.escape_ascii());
                log::write(stream, LogLevel::Error, message.as_bytes());
                Err(Status::InternalFailure)
            }
        }
    }
}
