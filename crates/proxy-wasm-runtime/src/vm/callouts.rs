//! Callouts of a virtual machine: they are started by hostcalls, and their events are told to the guest.

use std::sync::atomic::{AtomicU32, Ordering};

use super::{Answer, Outcome, State, Vm};
use crate::{
    abi::{HeaderMap, LogLevel},
    callout::{Callout, Event, Kind, Refusal},
    context::Waiting,
    error::CallError,
    host::Host,
};

/// One counter for the process, as in wasm-nginx-module.
static NEXT_TOKEN: AtomicU32 = AtomicU32::new(0);

impl<H: Host> State<H> {
    /// Starts a callout, which holds `size` bytes, for the context whose callback runs, and returns its token.
    ///
    /// # Errors
    /// When the plugin may not make it, or the proxy can't.
    pub fn start_callout(&mut self, callout: Callout, size: usize) -> Result<u32, Refusal> {
        let plugin = self.contexts.plugin_id_of(self.current);
        let Some(key) = self.contexts.plugins.get(&plugin).map(|plugin| plugin.key) else {
            return Err(Refusal::BadArgument(
                "a callout needs a context: there is none while the module starts".to_owned(),
            ));
        };
        let owner = match &self.answer {
            Some(answer) => answer.stream,
            None => Some(self.current).filter(|id| self.contexts.streams.contains_key(id)),
        };
        self.check_limits(&callout, owner)?;

        let token = NEXT_TOKEN.fetch_add(1, Ordering::Relaxed);
        let stream = owner.and_then(|id| self.contexts.streams.get(&id)).map(|entry| entry.stream.clone());
        let (kind, upstream) = (callout.kind(), String::from_utf8_lossy(callout.upstream()).into_owned());
        self.host.start_callout(stream.as_ref(), key, &self.options, token, callout)?;
        self.contexts.add_callout(token, plugin, owner, kind, size);
        self.drop_reply(kind);
        let message = match kind {
            Kind::Http => format!("register http callout callout id: {token}, host: {upstream}"),
            Kind::GrpcCall => format!("register grpc callout callout id: {token}, host: {upstream}"),
            Kind::GrpcStream => format!("register grpc stream callout id: {token}, host: {upstream}"),
        };
        self.host.log(stream.as_ref(), LogLevel::Info, message.as_bytes());
        Ok(token)
    }

    /// As with wasm-nginx-module, an HTTP call that a request waits for takes back the reply that was given before it.
    fn drop_reply(&mut self, kind: Kind) {
        let waits = kind == Kind::Http && self.in_request && !self.options.wait_only_when_paused;
        if waits && self.effective == self.current && self.reply.take().is_some() {
            self.log(
                LogLevel::Warn,
                b"a local reply is not sent: the request waits for the HTTP call that was made after it",
            );
        }
    }

    /// Whether the callouts in flight may hold `size` bytes more. If not, the log says so.
    pub fn admits_callout_bytes(&mut self, size: usize) -> bool {
        let Self { options, contexts, host, .. } = self;
        let limit = options.callout_bytes_in_flight;
        if contexts.callout_bytes.saturating_add(size) > limit {
            contexts.recount_callout_bytes(|token| host.unsent_grpc_bytes(token));
        }
        let desired = contexts.callout_bytes.saturating_add(size);
        if desired <= limit {
            return true;
        }
        let (name, callback) = (&options.name, self.callback);
        let message = format!(
            "plugin {name:?}: {callback} wants {desired} bytes of callouts in flight: callout_bytes_in_flight allows {limit}"
        );
        self.log(LogLevel::Error, message.as_bytes());
        false
    }

    fn check_limits(&self, callout: &Callout, owner: Option<u32>) -> Result<(), Refusal> {
        let Self { options, contexts, callback, host, .. } = self;
        let name = &options.name;
        let in_flight = options.callouts_in_flight.unwrap_or_else(|| host.callouts_in_flight());
        let of_stream = owner.and_then(|id| contexts.streams.get(&id)).map_or(0, |entry| entry.callouts);
        for (count, limit, option, what) in [
            (contexts.callouts.len(), in_flight, "callouts_in_flight", "callouts in flight"),
            (of_stream, options.callouts_per_request, "callouts_per_request", "callouts of one request in flight"),
        ] {
            if count >= limit {
                let desired = count + 1;
                let message = format!("plugin {name:?}: {callback} wants {desired} {what}: {option} allows {limit}");
                return Err(Refusal::Failed(message));
            }
        }
        if options.callout_upstreams.as_ref().is_some_and(|upstreams| !upstreams.contains(callout.upstream())) {
            let upstream = String::from_utf8_lossy(callout.upstream());
            let message = format!("plugin {name:?} may not ask {upstream:?}: callout_upstreams does not name it");
            return Err(Refusal::Failed(message));
        }
        Ok(())
    }
}

impl<H: Host> Vm<H> {
    /// Tells the guest what became of a callout. Nothing happens when nobody waits for it any more.
    ///
    /// # Errors
    /// When the guest traps.
    pub fn on_callout(&mut self, token: u32, event: Event) -> Result<(), CallError> {
        let plugin = self.store.data().contexts.callouts.get(&token).map(|callout| callout.plugin);
        let result = self.tell(token, event);
        plugin.into_iter().for_each(|plugin| self.end_released(plugin));
        result
    }

    fn tell(&mut self, token: u32, event: Event) -> Result<(), CallError> {
        let State { contexts, host_metrics, host, options, .. } = self.store.data_mut();
        let Some(callout) = contexts.callouts.get(&token) else { return Ok(()) };
        let (plugin, stream) = (callout.plugin, callout.stream);
        if event.is_last() {
            let (kind, duration) = (callout.kind.in_words(), callout.started.elapsed());
            host_metrics.callout(host.dict_of_host(), &options.name, kind, duration, event.failure().as_deref());
            contexts.remove_callout(token);
        }
        self.call_callout_callback(token, plugin, stream, event)
    }

    fn call_callout_callback(
        &mut self,
        token: u32,
        plugin: u32,
        stream: Option<u32>,
        event: Event,
    ) -> Result<(), CallError> {
        let state = self.store.data_mut();
        let count =
            |headers: Option<&Vec<_>>| headers.map_or(0, |headers| u32::try_from(headers.len()).unwrap_or(u32::MAX));
        let size = |bytes: Option<&[u8]>| bytes.map_or(0, |bytes| u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        let answer = Answer { stream, event };
        let (headers, trailers) = (
            count(answer.headers(HeaderMap::HttpCallResponseHeaders)),
            count(answer.headers(HeaderMap::HttpCallResponseTrailers)),
        );
        let metadata =
            count(answer.headers(HeaderMap::GrpcInitialMetadata).or(answer.headers(HeaderMap::GrpcTrailingMetadata)));
        let (body, message) = (size(answer.body()), size(answer.message()));
        let event = Told::from(&answer.event);
        if event == Told::HttpResponse {
            let logged_to = stream.and_then(|id| state.contexts.streams.get(&id)).map(|entry| entry.stream.clone());
            let line = format!("run http callback callout id: {token}, plugin ctx id: {plugin}");
            state.host.log(logged_to.as_ref(), LogLevel::Info, line.as_bytes());
        }
        state.answer = Some(answer);
        let result = self.call(event.callback(), plugin, None, |callbacks, store| {
            Some(match event {
                Told::HttpResponse => {
                    callbacks.http_call_response.as_ref()?.call(store, (plugin, token, headers, body, trailers))
                }
                Told::InitialMetadata => {
                    callbacks.grpc_initial_metadata.as_ref()?.call(store, (plugin, token, metadata))
                }
                Told::Message => callbacks.grpc_message.as_ref()?.call(store, (plugin, token, message)),
                Told::TrailingMetadata => {
                    callbacks.grpc_trailing_metadata.as_ref()?.call(store, (plugin, token, metadata))
                }
                Told::Close(status) => callbacks.grpc_close.as_ref()?.call(store, (plugin, token, status)),
            })
        });
        self.store.data_mut().answer = None;
        result.map(drop)
    }

    /// Whether the guest can have itself called without a stream.
    pub fn acts_without_streams(&self) -> bool {
        self.module.acts_without_streams
    }

    /// What a stream that waited is to do now.
    ///
    /// # Errors
    /// When its context died with an instance.
    pub fn resume(&mut self, id: u32) -> Result<Outcome, CallError> {
        self.living_stream(id)?;
        let Some(entry) = self.store.data_mut().contexts.streams.get_mut(&id) else { return Err(CallError::Gone) };
        if entry.ended.is_none() && entry.has_to_wait() {
            return Ok(Outcome::Wait);
        }
        entry.waiting = Waiting::No;
        let body = entry.paused_body.take().and_then(|(body, is_changed)| is_changed.then_some(Outcome::Body(body)));
        Ok(entry.ended.take().or(body).unwrap_or(Outcome::Continue))
    }

    /// A stream whose request can't wait goes on: [`Self::resume`] tells with what body.
    pub fn stop_waiting(&mut self, id: u32) {
        if let Some(entry) = self.store.data_mut().contexts.streams.get_mut(&id) {
            entry.waiting = Waiting::No;
        }
    }

    /// Whether a stream that was called has to wait for callouts. `body` is the request body that the callback was about, and
    /// whether the guest changed it.
    pub(super) fn wait(&mut self, id: u32, action: u32, body: impl FnOnce() -> Option<(Vec<u8>, bool)>) -> bool {
        let state = self.store.data_mut();
        let Some(entry) = state.contexts.streams.get_mut(&id).filter(|entry| entry.callouts > 0) else { return false };
        entry.waiting = match action {
            _ if state.continued => Waiting::No,
            0 if state.options.wait_only_when_paused => Waiting::No,
            0 => Waiting::UntilAnswered,
            _ => Waiting::UntilContinued,
        };
        let waits = entry.has_to_wait();
        if waits {
            entry.paused_body = body();
        } else {
            entry.waiting = Waiting::No;
        }
        waits
    }

    /// Gives up the callouts that a stream waits for, and tells the guest: its client has gone away.
    pub(super) fn cancel_awaited(&mut self, id: u32) {
        let contexts = &self.store.data().contexts;
        if contexts.streams.get(&id).is_some_and(|entry| entry.has_to_wait()) {
            self.cancel(&contexts.callouts_of_stream(id));
        }
    }

    /// Gives up the callouts of a plugin context that is about to end, and tells the guest.
    pub(super) fn cancel_of_plugin(&mut self, id: u32) {
        // The guest may make others while it is told; of these it is not.
        self.cancel(&self.store.data().contexts.callouts_of_plugin(id));
    }

    fn cancel(&mut self, tokens: &[u32]) {
        for token in tokens {
            let Some(kind) = self.store.data().contexts.callouts.get(token).map(|callout| callout.kind) else {
                continue;
            };
            self.store.data().host.cancel_callout(*token);
            let _ = self.tell(*token, kind.cancelled());
        }
    }

    /// Gives up all callouts without a word: the instance that knew of them is gone. Streams that wait for them are woken.
    pub(super) fn forget_callouts(&mut self) {
        let State { host, contexts, .. } = self.store.data_mut();
        contexts.take_callouts().into_iter().for_each(|token| host.cancel_callout(token));
        for entry in contexts.streams.values().filter(|entry| entry.waiting != Waiting::No) {
            if let Some(plugin) = contexts.plugins.get(&entry.plugin) {
                host.wake_stream(&entry.stream, plugin.key);
            }
        }
    }

    /// Whether only gRPC streams, which may never end, keep a plugin context that nobody holds.
    pub(super) fn has_only_grpc_streams(&self, id: u32) -> bool {
        let contexts = &self.store.data().contexts;
        let kinds = contexts.callouts_of_plugin(id).into_iter().filter_map(|token| contexts.callouts.get(&token));
        kinds.into_iter().all(|callout| callout.kind == Kind::GrpcStream)
    }
}

/// Which callback an event is told by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    HttpResponse,
    InitialMetadata,
    Message,
    TrailingMetadata,
    Close(u32),
}

impl Told {
    fn callback(self) -> &'static str {
        match self {
            Self::HttpResponse => "proxy_on_http_call_response",
            Self::InitialMetadata => "proxy_on_grpc_receive_initial_metadata",
            Self::Message => "proxy_on_grpc_receive",
            Self::TrailingMetadata => "proxy_on_grpc_receive_trailing_metadata",
            Self::Close(_) => "proxy_on_grpc_close",
        }
    }
}

impl From<&Event> for Told {
    fn from(event: &Event) -> Self {
        match event {
            Event::HttpResponse(_) | Event::HttpFailure(_) => Self::HttpResponse,
            Event::GrpcInitialMetadata(_) => Self::InitialMetadata,
            Event::GrpcResponse { .. } | Event::GrpcMessage(_) => Self::Message,
            Event::GrpcTrailingMetadata(_) => Self::TrailingMetadata,
            Event::GrpcClose { status, .. } => Self::Close(*status),
        }
    }
}
