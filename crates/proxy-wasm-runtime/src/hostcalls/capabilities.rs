//! Which hostcalls a plugin may make, and what is answered to the others.

use std::{collections::HashSet, sync::Arc};

use thiserror::Error;

use super::table::HOSTCALLS;
use crate::{
    abi::{LogLevel, Status},
    host::Host,
    vm::State,
};

/// The hostcalls that a plugin may not make; none by default.
#[derive(Clone, Debug, Default)]
pub struct Capabilities(Option<Arc<HashSet<&'static str>>>);

/// A name that no hostcall has.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("there is no hostcall {0:?}")]
pub struct UnknownHostcall(String);

impl Capabilities {
    /// Those of a plugin that may make the hostcalls of `allowed`, or all without it, but none of `denied`.
    ///
    /// # Errors
    /// When a name is no hostcall's.
    pub fn new(allowed: Option<&[String]>, denied: &[String]) -> Result<Self, UnknownHostcall> {
        let names = |names: &[String]| names.iter().map(|name| known(name)).collect::<Result<HashSet<_>, _>>();
        let mut refused = names(denied)?;
        if let Some(allowed) = allowed {
            let allowed = names(allowed)?;
            refused.extend(HOSTCALLS.iter().map(|row| row.name).filter(|name| !allowed.contains(name)));
        }
        Ok(Self((!refused.is_empty()).then(|| Arc::new(refused))))
    }

    #[inline]
    fn deny(&self, hostcall: &str) -> bool {
        self.0.as_ref().is_some_and(|denied| denied.contains(hostcall))
    }
}

fn known(name: &str) -> Result<&'static str, UnknownHostcall> {
    let row = HOSTCALLS.iter().find(|row| row.name == name);
    row.map(|row| row.name).ok_or_else(|| UnknownHostcall(name.to_owned()))
}

/// What is answered when the plugin may not make a hostcall; `None` when it may. The first time it is logged.
#[inline]
pub fn denied<H: Host>(state: &mut State<H>, hostcall: &'static str) -> Option<Status> {
    if state.options.capabilities.deny(hostcall) { Some(deny(state, hostcall)) } else { None }
}

#[cold]
fn deny<H: Host>(state: &mut State<H>, hostcall: &'static str) -> Status {
    let status = status(hostcall);
    if !state.denied.contains(&hostcall) {
        state.denied.push(hostcall);
        let message = format!("plugin {:?} may not call {hostcall}: it is answered {status:?}", state.options.name);
        state.log(LogLevel::Warn, message.as_bytes());
    }
    status
}

/// One that the Rust SDK takes: as if there were nothing, or as if it were done.
fn status(hostcall: &str) -> Status {
    match hostcall {
        "proxy_http_call" | "proxy_grpc_call" | "proxy_grpc_stream" => Status::InternalFailure,
        "proxy_get_configuration"
        | "proxy_get_buffer_bytes"
        | "proxy_get_buffer_status"
        | "proxy_get_header_map_value"
        | "proxy_get_property"
        | "proxy_get_shared_data"
        | "proxy_resolve_shared_queue"
        | "proxy_enqueue_shared_queue"
        | "proxy_dequeue_shared_queue"
        | "proxy_increment_metric"
        | "proxy_record_metric"
        | "proxy_get_metric"
        | "proxy_grpc_send"
        | "proxy_grpc_cancel"
        | "proxy_grpc_close"
        | "proxy_call_foreign_function" => Status::NotFound,
        "proxy_set_effective_context" | "proxy_get_header_map_size" => Status::BadArgument,
        _ => Status::Ok,
    }
}
