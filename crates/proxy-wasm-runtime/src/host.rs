//! What a proxy implements to embed this host.

use std::borrow::Cow;

use crate::{
    abi::{HeaderMap, LogLevel, Status, pairs::Pair, property::Value},
    callout::{Callout, Refusal},
    context::Options,
    store::Dict,
};

/// The proxy as a whole.
pub trait Host: Clone + Send + Sync + 'static {
    /// The proxy's handle of one HTTP stream.
    type HttpStream: HttpStream;

    /// Writes one message, to the log of `stream` or, without one, to the proxy's own.
    ///
    /// The message is any bytes of any length, some of which come from a guest: control characters among them are to be escaped
    /// where they could be taken for the end of a message.
    fn log(&self, stream: Option<&Self::HttpStream>, level: LogLevel, message: &[u8]);

    /// The least severe level that [`Self::log`] writes; `None` when it writes none.
    fn log_level(&self, stream: Option<&Self::HttpStream>) -> Option<LogLevel>;

    /// Has [`PluginContext::on_tick`](crate::context::PluginContext::on_tick) called every `period` milliseconds from now on,
    /// for the plugin context with this [key](crate::context::PluginContext::key); with 0 no more.
    ///
    /// A guest may ask for it before its plugin context is there for the proxy: in `proxy_on_vm_start` and `proxy_on_configure`.
    fn set_tick_period(&self, plugin_context: u64, period: u32);

    /// Has [`PluginContext::poll_queues`](crate::context::PluginContext::poll_queues) called for all plugin contexts from now on,
    /// some times a second, as long as one of them waits for a queue.
    fn watch_queues(&self);

    /// As [`Self::watch_queues`] where that goes on already, once and soon: there is a message.
    fn poll_queues_soon(&self);

    /// Sends a callout, whose `token` no other callout of this process has had, for the plugin context with this
    /// [key](crate::context::PluginContext::key) and the options that its plugin was loaded with. What becomes of it is told by
    /// [`Plugin::on_callout`](crate::context::Plugin::on_callout), later.
    ///
    /// # Errors
    /// When it can't be sent; the guest is told at once.
    fn start_callout(
        &self,
        stream: Option<&Self::HttpStream>,
        plugin_context: u64,
        options: &Options,
        token: u32,
        callout: Callout,
    ) -> Result<(), Refusal>;

    /// How many callouts of one plugin may be in flight at once unless its options say so.
    fn callouts_in_flight(&self) -> usize {
        256
    }

    /// Sends a message on a gRPC stream, if there is one; with `is_last` there will be no other.
    fn send_grpc_message(&self, token: u32, message: Option<&[u8]>, is_last: bool);

    /// How many bytes of messages wait to be sent on a gRPC stream.
    fn unsent_grpc_bytes(&self, token: u32) -> usize;

    /// Nobody waits for a callout any more.
    fn cancel_callout(&self, token: u32);

    /// A stream that waits may go on now, or has ended: [`Plugin::resume`](crate::context::Plugin::resume) says which. For the
    /// stream context `id` of the plugin context with this key.
    fn wake_stream(&self, stream: &Self::HttpStream, plugin_context: u64);

    /// A guest begins to run, or has run: while it does, [`Ticker::tick`](crate::vm::Ticker::tick) is to be called every
    /// [`TICK`](crate::vm::TICK). Without that no callback has a deadline.
    fn guest_runs(&self, _runs: bool) {}

    /// How many bytes the proxy has kept for what guests read, each until a stream ends, since the process began; wraps.
    fn kept_bytes(&self) -> usize {
        0
    }

    /// What plugins share is kept here.
    fn dict(&self) -> &dyn Dict;

    /// The same, for what the host counts itself: whether other processes see it is nothing that a plugin depends on.
    fn dict_of_host(&self) -> &dyn Dict {
        self.dict()
    }

    /// Calls a function of the proxy's own that a guest knows by its name, and returns what the guest gets; may be empty.
    ///
    /// # Errors
    /// `NotFound` when the proxy has no such function; `BadArgument`, `SerializationFailure` or `InternalFailure` when it
    /// fails. The proxy logs the reason.
    fn call_foreign_function(
        &self,
        _stream: Option<&Self::HttpStream>,
        _name: &[u8],
        _arguments: &[u8],
    ) -> Result<Vec<u8>, Status> {
        Err(Status::NotFound)
    }
}

/// A change of a header map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderChange<'a> {
    /// One more header with this value, beside those that have the name already.
    Add(&'a [u8]),
    /// One header with this value, in the place of all that have the name.
    Replace(&'a [u8]),
    /// No header of the name.
    Remove,
}

/// One HTTP stream, as the guest sees it. A cheap handle: it is cloned at each hostcall.
///
/// Whatever it returns stays valid while the handle lives, also when the guest changes the stream in between.
pub trait HttpStream: Clone + Send + 'static {
    /// How many headers [`Self::headers`] gives.
    fn header_count(&self, map: HeaderMap) -> u32;

    /// All headers of `map` in their order, names in lower case; empty when the stream has no such map.
    fn headers(&self, map: HeaderMap) -> Vec<Pair<'_>>;

    /// Whether [`Self::headers`] gives all headers of `map`. A map of which it does not can't be replaced.
    fn knows_all_headers(&self, _map: HeaderMap) -> bool {
        true
    }

    /// The first header of `map` that has the name, in any case.
    fn header(&self, map: HeaderMap, name: &[u8]) -> Option<Cow<'_, [u8]>>;

    /// Changes a header. A change that the proxy can't make is logged by the proxy and leaves the map as it was.
    fn change_header(&self, map: HeaderMap, name: &[u8], change: HeaderChange<'_>);

    /// The body that the current callback is about; `None` outside of body callbacks.
    fn body(&self) -> Option<&[u8]>;

    /// The value of a property; segments of `path` are separated by NUL. Those of the plugin itself (`plugin_name` …) are not
    /// asked for.
    fn property(&self, path: &[u8]) -> Option<Value<'_>>;

    /// Sets a property. A change that the proxy can't make is logged by the proxy and leaves the property as it was.
    fn set_property(&self, path: &[u8], value: &[u8]);
}
