use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use wasmtime::{Instance, Store};
use wasmtime_wasi::I32Exit;

use crate::{
    abi::{HeaderMap, LogLevel},
    context::{Contexts, End, Options, Patience},
    error::{CallError, LoadError, Trap, TrapKind},
    guest::{Allocator, Callbacks},
    host::{Host, HttpStream},
    hostcalls::LocalReply,
    store::queues,
    vm::{
        Module, State,
        limits::{MOST_DRAINING, STACK, start_clock},
        recovery::{Recovery, Rest},
    },
};

/// What happened to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// `proxy_on_request_headers`
    RequestHeaders,
    /// `proxy_on_request_body`; [`HttpStream::body`] is the body.
    RequestBody {
        /// No more of it will come.
        end_of_stream: bool,
    },
    /// `proxy_on_response_headers`
    ResponseHeaders,
    /// `proxy_on_response_body`; [`HttpStream::body`] is the chunk. After the last one comes `proxy_on_response_trailers`, if the
    /// response has any.
    ResponseBody {
        /// No more of it will come.
        end_of_stream: bool,
    },
}

/// What a callback left the proxy to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Go on, whatever action the guest returned: nothing that would end a pause is pending.
    Continue,
    /// Ask [`Plugin::resume`](crate::context::Plugin::resume), and again each time that [`Host::wake_stream`] is called, which
    /// may have been so already.
    Wait,
    /// Go on with this in the place of the body that the callback was about.
    Body(Vec<u8>),
    /// Answer with this and end the stream.
    Reply(Box<LocalReply>),
    /// End the stream without an answer.
    Close,
}

/// What a plugin context's queues have after a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueuePoll {
    /// The plugin context waits for no queue: there is nothing to poll.
    Unused,
    /// Nothing that it is to be told of.
    Idle,
    /// More than it was told of at once.
    More,
}

/// How often a poll tells of messages of one queue: other queues have their turn.
const MOST_MESSAGES_AT_ONCE: usize = 16;

/// Whether a callback's action holds the body back: `StopIterationAndBuffer` and `StopIterationAndWatermark`.
fn holds_back(action: u32) -> bool {
    matches!(action, 1 | 2)
}

/// The virtual machine of one plugin: its instance and its contexts.
///
/// A trap ends the instance, for nothing may be called on it any more. The next call builds a new one and configures the
/// plugin contexts there as they were; stream contexts of the old instance are gone.
pub(crate) struct Vm<H: Host> {
    pub(super) module: Arc<Module<H>>,
    pub(super) store: Store<State<H>>,
    /// `None` once the instance trapped.
    pub(super) callbacks: Option<Callbacks>,
    /// `proxy_on_vm_start` succeeded.
    started: bool,
    /// How often the instance was built anew.
    generation: u32,
    pub(super) recovery: Recovery,
    /// How many callbacks were called.
    pub(super) calls: u64,
    /// How many of them the metrics have.
    published_calls: u64,
}

impl<H: Host> Vm<H> {
    /// Instantiates the module and runs its start functions.
    pub fn new(host: H, options: Arc<Options>, module: Arc<Module<H>>) -> Result<Self, LoadError> {
        let state = State::new(host, options, module.abi, module.ticks.clone(), Contexts::default());
        let mut vm = Self {
            store: module.store(state),
            module,
            callbacks: None,
            started: false,
            generation: 0,
            recovery: Recovery::default(),
            calls: 0,
            published_calls: 0,
        };
        vm.instantiate()?;
        Ok(vm)
    }

    /// Whether it runs the same module.
    pub fn has_module_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.module, &other.module)
    }

    /// What a plugin context was configured with, if that lives.
    pub fn configuration(&self, id: u32, key: u64) -> Option<Arc<[u8]>> {
        let plugin = self.store.data().contexts.plugins.get(&id).filter(|plugin| plugin.key == key)?;
        Some(plugin.configuration.clone())
    }

    /// Adds the callbacks that were called to the metrics.
    pub fn publish_calls(&mut self) {
        let count = self.calls - std::mem::replace(&mut self.published_calls, self.calls);
        if count > 0 {
            let State { host_metrics, host, options, .. } = self.store.data_mut();
            host_metrics.calls(host.dict_of_host(), &options.name, count);
        }
    }

    /// What the plugin was loaded as.
    pub fn name(&self) -> Arc<str> {
        self.store.data().options.name.clone()
    }

    /// Whether the proxy is to go on without the plugin when it fails.
    pub fn fails_open(&self) -> bool {
        self.store.data().options.fail_open
    }

    fn instantiate(&mut self) -> Result<(), LoadError> {
        let entry = Entry::new(self);
        let instance = entry.vm.start_instance();
        entry.leave();
        instance
    }

    fn start_instance(&mut self) -> Result<(), LoadError> {
        let store = &mut self.store;
        let instance = self.module.pre.instantiate(&mut *store).map_err(LoadError::Instantiate)?;
        let allocator = {
            let exports =
                ["proxy_on_memory_allocate", "malloc"].map(|name| (name, instance.get_func(&mut *store, name)));
            Allocator::find(&*store, |name| exports.iter().find(|(export, _)| *export == name)?.1)
        };
        let memory = instance.get_memory(&mut *store, "memory");
        store.data_mut().memory = memory;
        store.data_mut().allocator = allocator;
        let callbacks = Callbacks::resolve(&instance, &mut *store)?;
        start(&instance, store).map_err(LoadError::Start)?;
        store.data_mut().flush_stdio();
        self.callbacks = Some(callbacks);
        Ok(())
    }

    /// Creates a plugin context and configures it. Returns its id and its key.
    ///
    /// # Errors
    /// When the guest traps or refuses the configuration; the context is gone then.
    pub fn configure(&mut self, configuration: Arc<[u8]>) -> Result<(u32, u64), CallError> {
        self.revive()?;
        let id = self.store.data_mut().contexts.add_plugin(configuration);
        match self.configure_context(id) {
            Ok(()) => {
                self.recovery.served();
                self.store.data().log_host(LogLevel::Info, format_args!("create plugin context {id}"));
                let key = self.store.data().contexts.plugins.get(&id).map(|plugin| plugin.key);
                Ok((id, key.ok_or(CallError::Gone)?))
            }
            Err(error) => {
                self.end_plugin(id, Patience::Hurry);
                Err(error)
            }
        }
    }

    /// The callbacks that bring a plugin context to life.
    fn configure_context(&mut self, id: u32) -> Result<(), CallError> {
        self.create_context(id, 0, None)?;
        self.start_vm(id)?;
        let size = self.store.data().contexts.plugin_of(id).map_or(0, |plugin| plugin.configuration.len());
        let accepted = self.call("proxy_on_configure", id, None, |callbacks, store| {
            let configure = callbacks.configure.as_ref()?;
            Some(configure.call(store, (id, u32::try_from(size).unwrap_or(u32::MAX))))
        });
        let (code, result) = match accepted {
            Ok(None | Some(1..)) => return Ok(()),
            Ok(Some(0)) => (0, CallError::Refused),
            Err(error) => (-1, error),
        };
        self.log_error(format_args!("failed to configure plugin context {id}, rc: {code}"));
        Err(result)
    }

    /// `proxy_on_vm_start`, once per instance, for the plugin context that is created first.
    fn start_vm(&mut self, id: u32) -> Result<(), CallError> {
        if self.started {
            return Ok(());
        }
        self.store.data_mut().starting = true;
        let size = u32::try_from(self.store.data().options.vm_configuration.len()).unwrap_or(u32::MAX);
        let started = self.call("proxy_on_vm_start", id, None, |callbacks, store| {
            Some(callbacks.vm_start.as_ref()?.call(store, (id, size)))
        });
        self.store.data_mut().starting = false;
        let started = started?;
        if started == Some(0) {
            self.log_error(format_args!("failed to start vm for plugin context {id}, rc: 0"));
            self.callbacks = None;
            return Err(CallError::Refused);
        }
        self.started = true;
        Ok(())
    }

    /// Creates a stream context of a plugin context.
    ///
    /// # Errors
    /// When the guest traps, and the context is gone then; when the plugin context has ended.
    pub fn open_stream(&mut self, plugin: u32, key: u64, stream: H::HttpStream) -> Result<u32, CallError> {
        self.living_plugin(plugin, key)?;
        let generation = self.generation;
        let contexts = &mut self.store.data_mut().contexts;
        let id = contexts.add_stream(plugin, stream.clone(), generation).ok_or(CallError::Gone)?;
        if let Err(error) = self.create_context(id, plugin, Some(stream)) {
            self.store.data_mut().contexts.remove_stream(id);
            return Err(error);
        }
        self.store.data().log_host(LogLevel::Info, format_args!("create http context {id}"));
        Ok(id)
    }

    /// Runs the callback of `event`.
    ///
    /// # Errors
    /// When the guest traps, or did so since the context was created.
    pub fn on_event(&mut self, id: u32, stream: H::HttpStream, event: Event) -> Result<Outcome, CallError> {
        self.living_stream(id)?;
        self.store.data_mut().in_request = matches!(event, Event::RequestHeaders | Event::RequestBody { .. });
        let outcome = match event {
            Event::RequestHeaders => self.on_headers(id, stream, HeaderMap::RequestHeaders),
            Event::ResponseHeaders => self.on_headers(id, stream, HeaderMap::ResponseHeaders),
            Event::RequestBody { .. } | Event::ResponseBody { .. } => self.on_body(id, stream, event),
        };
        self.store.data_mut().in_request = false;
        outcome
    }

    fn on_headers(&mut self, id: u32, stream: H::HttpStream, map: HeaderMap) -> Result<Outcome, CallError> {
        let counted = stream.clone();
        let name =
            if map == HeaderMap::RequestHeaders { "proxy_on_request_headers" } else { "proxy_on_response_headers" };
        let action = self.call(name, id, Some(stream), |callbacks, store| {
            let callback = match map {
                HeaderMap::RequestHeaders => callbacks.request_headers.as_ref()?,
                _ => callbacks.response_headers.as_ref()?,
            };
            Some(callback.call(store, id, counted.header_count(map), true))
        })?;
        if let Some(end) = self.end_of_stream() {
            return Ok(end);
        }
        let waits = map == HeaderMap::RequestHeaders && self.wait(id, action.unwrap_or_default(), || None);
        Ok(if waits { Outcome::Wait } else { Outcome::Continue })
    }

    /// How the callback that has just returned ends the stream; `None` when it does not.
    fn end_of_stream(&mut self) -> Option<Outcome> {
        let state = self.store.data_mut();
        let reply = state.reply.take();
        if state.close { Some(Outcome::Close) } else { reply.map(Outcome::Reply) }
    }

    /// A response body that the guest holds back (`Pause`) comes together with the next chunk; at its end it goes on.
    fn on_body(&mut self, id: u32, stream: H::HttpStream, event: Event) -> Result<Outcome, CallError> {
        let state = self.store.data_mut();
        let chunk = stream.body().unwrap_or_default();
        let held = state.contexts.streams.get_mut(&id).map(|entry| std::mem::take(&mut entry.held));
        state.body = held.filter(|held| !held.is_empty());
        if let Some(body) = &mut state.body {
            body.extend_from_slice(chunk);
        }
        state.in_body = true;
        let size = u32::try_from(state.body.as_deref().unwrap_or(chunk).len()).unwrap_or(u32::MAX);
        let name =
            if matches!(event, Event::RequestBody { .. }) { "proxy_on_request_body" } else { "proxy_on_response_body" };
        let action = self.call(name, id, Some(stream.clone()), |callbacks, store| {
            let (callback, end_of_stream) = match event {
                Event::RequestBody { end_of_stream } => (callbacks.request_body.as_ref()?, end_of_stream),
                Event::ResponseBody { end_of_stream } => (callbacks.response_body.as_ref()?, end_of_stream),
                Event::RequestHeaders | Event::ResponseHeaders => return None,
            };
            Some(callback.call(store, (id, size, end_of_stream.into())))
        });

        let state = self.store.data_mut();
        state.in_body = false;
        let body = state.body.take();
        let action = action?.unwrap_or_default();
        if let Some(end) = self.end_of_stream() {
            return Ok(end);
        }
        if event == (Event::ResponseBody { end_of_stream: true }) {
            self.on_response_trailers(id, &stream)?;
            if let Some(end) = self.end_of_stream() {
                return Ok(end);
            }
        }
        if matches!(event, Event::RequestBody { .. }) {
            let is_changed = body.is_some();
            let mut body = body;
            if self.wait(id, action, || Some((body.take().unwrap_or_else(|| chunk.to_vec()), is_changed))) {
                return Ok(Outcome::Wait);
            }
            return Ok(body.map_or(Outcome::Continue, Outcome::Body));
        }
        let state = self.store.data_mut();
        if event == (Event::ResponseBody { end_of_stream: false }) && holds_back(action) {
            let held = body.unwrap_or_else(|| chunk.to_vec());
            let Options { name, body_limit, .. } = &*state.options;
            if held.len() > *body_limit {
                let message = format!(
                    "plugin {name:?}: proxy_on_response_body holds back {} bytes, body_limit allows {body_limit}: they go on",
                    held.len()
                );
                state.host.log(Some(&stream), LogLevel::Error, message.as_bytes());
                return Ok(Outcome::Body(held));
            }
            if let Some(entry) = state.contexts.streams.get_mut(&id) {
                entry.held = held;
            }
            return Ok(Outcome::Body(Vec::new()));
        }
        Ok(body.map_or(Outcome::Continue, Outcome::Body))
    }

    fn on_response_trailers(&mut self, id: u32, stream: &H::HttpStream) -> Result<(), CallError> {
        let count = stream.header_count(HeaderMap::ResponseTrailers);
        if count == 0 {
            return Ok(());
        }
        self.call("proxy_on_response_trailers", id, Some(stream.clone()), |callbacks, store| {
            Some(callbacks.response_trailers.as_ref()?.call(store, (id, count)))
        })
        .map(drop)
    }

    /// Runs `proxy_on_foreign_function` in a plugin context.
    ///
    /// # Errors
    /// When the guest traps.
    pub fn on_foreign_function(&mut self, id: u32, key: u64, function: u32, arguments: &[u8]) -> Result<(), CallError> {
        self.living_plugin(id, key)?;
        self.store.data_mut().foreign_arguments = Some(Arc::from(arguments));
        let size = u32::try_from(arguments.len()).unwrap_or(u32::MAX);
        let result = self.call("proxy_on_foreign_function", id, None, |callbacks, store| {
            Some(callbacks.foreign_function.as_ref()?.call(store, (id, function, size)))
        });
        self.store.data_mut().foreign_arguments = None;
        result.map(drop)
    }

    /// Ends a stream context: done, log, delete. The last one of a released plugin context takes that along.
    pub fn close_stream(&mut self, id: u32) {
        if self.living_stream(id).is_ok() {
            self.cancel_awaited(id);
        }
        if self.living_stream(id).is_ok() {
            let stream = self.store.data().contexts.streams.get(&id).map(|entry| entry.stream.clone());
            self.mark_done(id, stream.clone(), Patience::Hurry);
            let _ = self.call("proxy_on_log", id, stream.clone(), |callbacks, store| {
                Some(callbacks.log.as_ref()?.call(store, id))
            });
            self.delete_context(id, stream);
            if self.callbacks.is_some() {
                self.recovery.served();
            }
        }
        let Some(entry) = self.store.data_mut().contexts.remove_stream(id) else { return };
        self.store.data().log_host(LogLevel::Info, format_args!("free http context {id}"));
        self.end_released(entry.plugin);
    }

    /// Ends a plugin context that nobody holds, if nothing of it is left.
    pub(super) fn end_released(&mut self, id: u32) {
        if let Some(plugin) = self.store.data().contexts.plugins.get(&id)
            && let End::Released(patience) = plugin.end
            && plugin.open_streams == 0
            && (patience == Patience::Hurry || self.has_only_grpc_streams(id))
        {
            self.end_plugin(id, patience);
        }
    }

    /// Runs `proxy_on_tick` of a plugin context, if that lives.
    ///
    /// # Errors
    /// When the guest traps.
    pub fn on_tick(&mut self, id: u32, key: u64) -> Result<(), CallError> {
        self.living_plugin(id, key)?;
        self.call("proxy_on_tick", id, None, |callbacks, store| Some(callbacks.tick.as_ref()?.call(store, id)))?;
        self.recovery.served();
        Ok(())
    }

    /// Runs `proxy_on_queue_ready` for messages that nobody was told of. From `until` on there is no more of it: the next poll begins
    /// with the queue after the last one.
    pub fn poll_queues(&mut self, id: u32, key: u64, until: Instant) -> QueuePoll {
        let plugin = self.store.data().contexts.plugins.get(&id).filter(|plugin| plugin.key == key);
        let has_callback = self.callbacks.as_ref().is_none_or(|callbacks| callbacks.queue_ready.is_some());
        let Some(plugin) = plugin.filter(|plugin| has_callback && !plugin.queues.is_empty()) else {
            return QueuePoll::Unused;
        };
        let mut poll = QueuePoll::Idle;
        for _ in 0..plugin.queues.len() {
            let Some(queue) = self.next_queue(id) else { break };
            let mut told = 0;
            while told < MOST_MESSAGES_AT_ONCE && queues::claim(self.store.data().host.dict(), queue) {
                if self.on_queue_ready(id, queue).is_err() {
                    return QueuePoll::Idle;
                }
                told += 1;
                if Instant::now() >= until {
                    return QueuePoll::More;
                }
            }
            if told == MOST_MESSAGES_AT_ONCE {
                poll = QueuePoll::More;
            }
        }
        poll
    }

    /// The queue of a plugin context whose turn it is.
    fn next_queue(&mut self, id: u32) -> Option<u32> {
        let queues = &mut self.store.data_mut().contexts.plugins.get_mut(&id)?.queues;
        let queue = queues.pop_front()?;
        queues.push_back(queue);
        Some(queue)
    }

    fn on_queue_ready(&mut self, id: u32, queue: u32) -> Result<(), CallError> {
        self.revive()?;
        self.call("proxy_on_queue_ready", id, None, |callbacks, store| {
            Some(callbacks.queue_ready.as_ref()?.call(store, (id, queue)))
        })
        .map(drop)
    }

    /// Whether a plugin context lives.
    pub fn has_plugin(&self, id: u32, key: u64) -> bool {
        self.store.data().contexts.plugins.get(&id).is_some_and(|plugin| plugin.key == key)
    }

    /// Ends a plugin context, or lets it end with its last stream context. Its id may be another's by now, its key is not.
    pub fn release_plugin(&mut self, id: u32, key: u64, patience: Patience) {
        let plugin = self.store.data_mut().contexts.plugins.get_mut(&id).filter(|plugin| plugin.key == key);
        let Some(plugin) = plugin else { return };
        match (plugin.end, patience) {
            (End::Draining | End::Released(Patience::Hurry), Patience::Wait) => return,
            (End::Draining, Patience::Hurry) => return self.delete_plugin(id),
            (End::None | End::Released(_), patience) => plugin.end = End::Released(patience),
        }
        self.end_released(id);
    }

    /// Whether the guest said `proxy_done` for a plugin context.
    pub fn has_done(&self) -> bool {
        !self.store.data().done.is_empty()
    }

    /// Ends the plugin contexts for which the guest said `proxy_done`.
    pub fn end_done(&mut self) {
        while let Some(id) = self.store.data_mut().done.pop() {
            let plugin = self.store.data().contexts.plugins.get(&id);
            if plugin.is_some_and(|plugin| plugin.end == End::Draining) {
                self.delete_plugin(id);
            }
        }
    }

    /// `proxy_on_done` of a plugin context, and what comes after it unless the guest wants to be waited for.
    fn end_plugin(&mut self, id: u32, patience: Patience) {
        self.cancel_of_plugin(id);
        let is_done = self.mark_done(id, None, patience);
        let state = self.store.data_mut();
        // It may say so in the callback itself.
        let says_done = state.done.contains(&id);
        if is_done || says_done || patience == Patience::Hurry {
            return self.delete_plugin(id);
        }
        if let Some(plugin) = state.contexts.plugins.get_mut(&id) {
            plugin.end = End::Draining;
            state.log_host(LogLevel::Info, format_args!("plugin context {id} waits for proxy_done"));
        }
        self.limit_draining();
    }

    /// A guest that never calls `proxy_done` keeps no more than [`MOST_DRAINING`] plugin contexts by that.
    fn limit_draining(&mut self) {
        let State { contexts, options, .. } = self.store.data();
        let (count, oldest) = contexts.draining();
        if let Some(id) = oldest.filter(|_| count > MOST_DRAINING) {
            let name = &options.name;
            self.log_error(format_args!(
                "plugin {name:?}: {count} plugin contexts wait for proxy_done, {MOST_DRAINING} may: context {id} is deleted"
            ));
            self.delete_plugin(id);
        }
    }

    /// `proxy_on_delete` of a plugin context, which is gone afterwards.
    fn delete_plugin(&mut self, id: u32) {
        self.delete_context(id, None);
        let State { host, contexts, .. } = self.store.data_mut();
        for token in contexts.callouts_of_plugin(id) {
            contexts.remove_callout(token);
            host.cancel_callout(token);
        }
        contexts.remove_plugin(id);
        self.store.data().log_host(LogLevel::Info, format_args!("free plugin context {id}"));
    }

    fn create_context(&mut self, id: u32, parent: u32, stream: Option<H::HttpStream>) -> Result<(), CallError> {
        let created = self.call("proxy_on_context_create", id, stream, |callbacks, store| {
            Some(callbacks.context_create.as_ref()?.call(store, (id, parent)))
        });
        if created.is_err() {
            self.log_error(format_args!("failed to create context {id}, rc: -1"));
        }
        created.map(drop)
    }

    /// Returns whether the guest is done with the context. Where it is not and nobody waits for it, the log says so.
    fn mark_done(&mut self, id: u32, stream: Option<H::HttpStream>, patience: Patience) -> bool {
        if self.callbacks.is_none() {
            return true;
        }
        let code = match self
            .call("proxy_on_done", id, stream, |callbacks, store| Some(callbacks.done.as_ref()?.call(store, id)))
        {
            Ok(None | Some(1..)) => return true,
            Ok(Some(0)) if patience == Patience::Wait => return false,
            Ok(Some(0)) => 0,
            Err(_) => -1,
        };
        self.log_error(format_args!("failed to mark context {id} as done, rc: {code}"));
        true
    }

    fn delete_context(&mut self, id: u32, stream: Option<H::HttpStream>) {
        if self.callbacks.is_none() {
            return;
        }
        let deleted = self
            .call("proxy_on_delete", id, stream, |callbacks, store| Some(callbacks.delete.as_ref()?.call(store, id)));
        if deleted.is_err() {
            self.log_error(format_args!("failed to delete context {id}, rc: -1"));
        }
    }

    /// The one way into the guest: makes `id` the current context, runs a callback and cleans up after it.
    /// `callback` returns `None` when the guest has none.
    ///
    /// # Errors
    /// When the guest trapped, which ends the instance.
    pub(super) fn call<R>(
        &mut self,
        name: &'static str,
        id: u32,
        stream: Option<H::HttpStream>,
        callback: impl FnOnce(&Callbacks, &mut Store<State<H>>) -> Option<wasmtime::Result<R>>,
    ) -> Result<Option<R>, CallError> {
        if self.callbacks.is_none() {
            return Err(CallError::Gone);
        }
        let state = self.store.data_mut();
        state.callback = name;
        state.current = id;
        state.act_on(id);
        state.stream = stream;
        state.reply = None;
        state.close = false;
        state.continued = false;
        state.set_bytes = 0;

        let entry = Entry::new(self);
        let result = entry.vm.callbacks.as_ref().and_then(|callbacks| callback(callbacks, &mut entry.vm.store));
        entry.leave();
        let result = result.transpose();
        self.calls += u64::from(!matches!(result, Ok(None)));

        let state = self.store.data_mut();
        state.note_kept();
        state.effective = id;
        state.flush_stdio();
        state.leave();
        result.map_err(|trap| self.end_instance(&trap))
    }

    /// A trap has ended the instance: nothing may be called on it any more.
    #[cold]
    fn end_instance(&mut self, trap: &wasmtime::Error) -> CallError {
        self.callbacks = None;
        let state = self.store.data_mut();
        state.reply = None;
        state.answer = None;
        self.forget_callouts();
        self.log_trap(trap);
        self.report_trap(trap);
        CallError::Trapped
    }

    /// A panic of the host unwinds through the guest: the instance is in the middle of something, for ever.
    #[cold]
    fn end_after_panic(&mut self) {
        self.callbacks = None;
        let state = self.store.data_mut();
        state.leave();
        state.reply = None;
        state.answer = None;
        state.body = None;
        let callback = state.callback;
        self.forget_callouts();
        self.log_error(format_args!(
            "the host panicked while {callback} ran, and ends the instance: this is a defect of the host, please report it"
        ));
        let rest = self.count_trap(TrapKind::Panic);
        self.report_rest(rest);
    }

    /// Logs a trap and its backtrace, a message for each line of it. The names in it are the module's: none can begin a message.
    fn log_trap(&self, trap: &wasmtime::Error) {
        let text = format!("failed to call function: {trap:?}");
        let mut lines = text.lines().filter(|line| !line.is_empty());
        self.log_error(format_args!("{}", lines.next().unwrap_or_default()));
        for line in lines {
            let indent = if line.starts_with(' ') { "" } else { "  " };
            self.log_error(format_args!("{indent}{line}"));
        }
    }

    /// Says what limit a guest has exceeded, and whether the plugin rests.
    fn report_trap(&mut self, trap: &wasmtime::Error) {
        let State { options, callback, .. } = self.store.data();
        let (options, callback) = (options.clone(), *callback);
        let name = &options.name;
        let kind = TrapKind::of(trap);
        let limit = match kind {
            TrapKind::Deadline => {
                Some(format!("callback_timeout allows it {} ms", options.callback_timeout.as_millis()))
            }
            TrapKind::Stack => Some(format!("its stack may have {STACK} bytes, the guest wants more")),
            TrapKind::Limit => trap.downcast_ref::<Trap>().map(ToString::to_string),
            _ => None,
        };
        if let Some(limit) = limit {
            self.log_error(format_args!("plugin {name:?}: {callback} was stopped: {limit}"));
        }
        let rest = self.count_trap(kind);
        self.report_rest(rest);
    }

    /// Says that the plugin rests, if it does.
    fn report_rest(&self, rest: Option<Rest>) {
        let name = &self.store.data().options.name;
        match rest {
            None => {}
            Some(Rest::Start { failures, rest }) => self.log_error(format_args!(
                "plugin {name:?} has failed to start {failures} times in a row: it is not called for {} ms",
                rest.as_millis()
            )),
            Some(Rest::Ratio { failed, calls, rest }) => self.log_error(format_args!(
                "plugin {name:?} has failed in {failed} of its last {calls} calls: it is not called for {} ms",
                rest.as_millis()
            )),
        }
    }

    /// The instance can't be used any more. Returns why and for how long the plugin rests, if it does.
    fn count_trap(&mut self, kind: TrapKind) -> Option<Rest> {
        let State { host_metrics, host, options, .. } = self.store.data_mut();
        host_metrics.trap(host.dict_of_host(), &options.name, kind);
        self.recovery.trapped(kind)
    }

    /// Builds a new instance if the old one trapped.
    ///
    /// # Errors
    /// When it can't be built, or refuses a configuration that its predecessor had accepted.
    pub fn revive(&mut self) -> Result<(), CallError> {
        if self.callbacks.is_some() {
            return Ok(());
        }
        self.recovery.check()?;
        self.recovery.begin_start();
        let started = self.start_anew();
        if started.is_ok() {
            self.recovery.started();
        } else {
            self.callbacks = None;
            let rest = self.recovery.failed_to_start();
            self.report_rest(Some(rest));
        }
        started
    }

    /// Builds a new instance and configures the plugin contexts there as they were.
    fn start_anew(&mut self) -> Result<(), CallError> {
        let old = self.store.data_mut();
        old.host_metrics.rebuild(old.host.dict_of_host(), &old.options.name);
        let mut contexts = std::mem::take(&mut old.contexts);
        contexts.remove_draining();
        let ticks = self.module.ticks.clone();
        let state = State::new(old.host.clone(), old.options.clone(), old.abi, ticks, contexts);
        self.store = self.module.store(state);
        self.started = false;
        self.generation = self.generation.wrapping_add(1);
        if let Err(error) = self.instantiate() {
            self.log_error(format_args!("{error}"));
            self.count_trap(TrapKind::Other);
            return Err(CallError::Trapped);
        }
        let mut ids: Vec<u32> = self.store.data().contexts.plugins.keys().copied().collect();
        ids.sort_unstable();
        ids.into_iter().try_for_each(|id| self.configure_context(id)).inspect_err(|error| {
            if *error == CallError::Refused {
                self.count_trap(TrapKind::Other);
            }
        })
    }

    /// Revives the instance for a callback of a plugin context.
    ///
    /// # Errors
    /// When that fails, or the context has ended.
    fn living_plugin(&mut self, id: u32, key: u64) -> Result<(), CallError> {
        self.revive()?;
        if self.has_plugin(id, key) { Ok(()) } else { Err(CallError::Gone) }
    }

    /// # Errors
    /// When the context is none of this instance's.
    pub(super) fn living_stream(&self, id: u32) -> Result<(), CallError> {
        let entry = self.store.data().contexts.streams.get(&id).ok_or(CallError::Gone)?;
        if self.callbacks.is_some() && entry.generation == self.generation {
            return Ok(());
        }
        Err(CallError::Gone)
    }

    fn log_error(&self, message: std::fmt::Arguments<'_>) {
        self.store.data().log_host(LogLevel::Error, message);
    }

    /// How much of each second the plugin may run where no stream waits for it.
    pub fn background_cpu(&self) -> Duration {
        self.store.data().options.background_cpu
    }

    /// Says that the plugin is not called for so long where no stream waits for it.
    pub fn log_background(&self, rest: Duration) {
        let state = self.store.data();
        let Options { name, background_cpu, .. } = &*state.options;
        let message = format!(
            "plugin {name:?}: background_cpu allows it {} ms a second in ticks, for queues and for callouts that no request waits for: \
             they wait {} ms",
            background_cpu.as_millis(),
            rest.as_millis().max(1)
        );
        state.log(LogLevel::Warn, message.as_bytes());
    }

    /// Logs to the proxy's own log that the plugin was loaded or unloaded.
    pub fn log_info(&self, message: &str) {
        self.store.data().log_host(LogLevel::Info, format_args!("{message}"));
    }
}

/// The guest runs: its clock is started, and the proxy makes time pass. Left by [`Self::leave`], or by a panic that unwinds through
/// it: the guest then stopped in the middle of a hostcall, and its instance ends as by a trap.
struct Entry<'a, H: Host> {
    vm: &'a mut Vm<H>,
}

impl<'a, H: Host> Entry<'a, H> {
    #[inline]
    fn new(vm: &'a mut Vm<H>) -> Self {
        start_clock(&mut vm.store);
        vm.store.data().host.guest_runs(true);
        Self { vm }
    }

    /// The guest has returned, or trapped.
    #[inline]
    fn leave(self) {
        self.vm.store.data().host.guest_runs(false);
        std::mem::forget(self);
    }
}

impl<H: Host> Drop for Entry<'_, H> {
    #[cold]
    fn drop(&mut self) {
        self.vm.store.data().host.guest_runs(false);
        self.vm.end_after_panic();
    }
}

/// Runs what a module runs first: `_initialize` and then `main`, or `_start`. A program that exits with 0 has succeeded.
fn start<H: Host>(instance: &Instance, store: &mut Store<State<H>>) -> wasmtime::Result<()> {
    if let Ok(initialize) = instance.get_typed_func::<(), ()>(&mut *store, "_initialize") {
        initialize.call(&mut *store, ())?;
        let Ok(main) = instance.get_typed_func::<(u32, u32), u32>(&mut *store, "main") else { return Ok(()) };
        return exited(main.call(store, (0, 0)).map(drop));
    }
    let Ok(start) = instance.get_typed_func::<(), ()>(&mut *store, "_start") else { return Ok(()) };
    exited(start.call(store, ()))
}

fn exited(result: wasmtime::Result<()>) -> wasmtime::Result<()> {
    match result {
        Err(error) if error.downcast_ref::<I32Exit>().is_some_and(|exit| exit.0 == 0) => Ok(()),
        result => result,
    }
}
