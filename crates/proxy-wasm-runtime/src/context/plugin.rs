use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Patience, refusals::Refusals};
use crate::{
    callout,
    error::CallError,
    host::Host,
    vm::{Budget, Event, Outcome, QueuePoll, Status, Vm},
};

/// A loaded plugin. It lives as long as a handle or one of its contexts.
pub struct Plugin<H: Host> {
    vm: RefCell<Vm<H>>,
    /// Plugin contexts, by id and key, that were released while the guest ran: a callback may not be called inside of a hostcall.
    released: RefCell<VecDeque<(u32, u64, Patience)>>,
    refusals: RefCell<Refusals>,
    /// The time that it runs without a stream that waits for it.
    background: RefCell<Budget>,
    /// When the log said last that this is used up.
    told_of_background: Cell<Option<Instant>>,
    acts_without_streams: bool,
    fails_open: bool,
    name: Arc<str>,
}

impl<H: Host> Plugin<H> {
    pub(crate) fn new(vm: Vm<H>) -> Rc<Self> {
        vm.log_info("loaded wasm plugin");
        let (acts_without_streams, fails_open, name) = (vm.acts_without_streams(), vm.fails_open(), vm.name());
        Rc::new(Self {
            background: RefCell::new(Budget::new(vm.background_cpu())),
            told_of_background: Cell::new(None),
            vm: RefCell::new(vm),
            released: RefCell::default(),
            refusals: RefCell::default(),
            acts_without_streams,
            fails_open,
            name,
        })
    }

    /// Creates a plugin context with this configuration.
    ///
    /// # Errors
    /// When the guest traps or refuses it. It is not asked again for some seconds about one that it has refused or that has
    /// trapped it, and with it the streams of all its plugin contexts.
    pub fn configure(self: &Rc<Self>, configuration: &[u8]) -> Result<PluginContext<H>, CallError> {
        if self.refusals.borrow_mut().contain(configuration) {
            return Err(CallError::Refused);
        }
        self.enter_contained(Vm::revive)?;
        let configured = self.enter_contained(|vm| vm.configure(Arc::from(configuration)));
        if matches!(configured, Err(CallError::Refused | CallError::Trapped)) {
            self.refusals.borrow_mut().add(configuration);
        }
        let (id, key) = configured?;
        Ok(PluginContext { plugin: self.clone(), id, key })
    }

    /// Runs the callback of `event` in a stream context.
    ///
    /// # Errors
    /// When the guest traps, or did so since the stream context was opened.
    pub fn on_event(&self, stream_id: u32, stream: H::HttpStream, event: Event) -> Result<Outcome, CallError> {
        self.enter(|vm| vm.on_event(stream_id, stream, event))
    }

    /// Whether it was loaded from the same bytes as another.
    pub fn has_module_of(&self, other: &Self) -> bool {
        match (self.vm.try_borrow(), other.vm.try_borrow()) {
            (Ok(one), Ok(other)) => one.has_module_of(&other),
            _ => std::ptr::eq(self, other),
        }
    }

    /// How the plugin fares; `None` while it runs.
    pub fn status(&self) -> Option<Status> {
        Some(self.vm.try_borrow().ok()?.status())
    }

    /// Adds the callbacks that were called since the last time to the metrics, unless the plugin runs.
    pub fn publish_calls(&self) {
        if let Ok(mut vm) = self.vm.try_borrow_mut() {
            vm.publish_calls();
        }
    }

    /// What it was loaded as.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the proxy is to go on as if the plugin were not there when it fails.
    pub fn fails_open(&self) -> bool {
        self.fails_open
    }

    /// Whether the guest can have itself called when there is no stream for it: by callouts, ticks or queues.
    pub fn acts_without_streams(&self) -> bool {
        self.acts_without_streams
    }

    /// Runs `call`, which calls the plugin when no stream waits for it, and counts its time. The proxy does so only while the plugin
    /// has no [rest](Self::background_rest).
    pub fn in_background<R>(&self, call: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = call();
        self.background.borrow_mut().spend(start);
        if let Some(rest) = self.background_rest() {
            self.tell_of_background(rest);
        }
        result
    }

    /// How long the plugin is not to be called where no stream waits for it; `None` when it may be.
    pub fn background_rest(&self) -> Option<Duration> {
        self.background.borrow().rest()
    }

    /// Says so, once a second.
    #[cold]
    fn tell_of_background(&self, rest: Duration) {
        if self.told_of_background.get().is_some_and(|told| told.elapsed() < Duration::from_secs(1)) {
            return;
        }
        self.told_of_background.set(Some(Instant::now()));
        if let Ok(vm) = self.vm.try_borrow() {
            vm.log_background(rest);
        }
    }

    /// Tells the guest what became of a callout. Nothing happens when it has given the callout up.
    ///
    /// # Errors
    /// When the guest traps.
    pub fn on_callout(&self, token: u32, event: callout::Event) -> Result<(), CallError> {
        self.enter_contained(|vm| vm.on_callout(token, event))
    }

    /// What a stream whose last outcome was [`Outcome::Wait`] is to do now.
    ///
    /// # Errors
    /// When its context died with the guest.
    pub fn resume(&self, stream_id: u32) -> Result<Outcome, CallError> {
        self.enter_contained(|vm| vm.resume(stream_id))
    }

    /// A stream goes on without waiting.
    pub fn stop_waiting(&self, stream_id: u32) {
        let _ = self.enter_contained(|vm| {
            vm.stop_waiting(stream_id);
            Ok(())
        });
    }

    /// Ends a stream context: `proxy_on_done`, `proxy_on_log`, `proxy_on_delete`.
    pub fn close_stream(&self, stream_id: u32) {
        let _ = self.enter_contained(|vm| {
            vm.close_stream(stream_id);
            Ok(())
        });
    }

    /// Runs `call`, then what was put off meanwhile. Inlined, or what `call` captures goes through memory: 8 ns for each callback.
    #[inline(always)]
    fn enter<R>(&self, call: impl FnOnce(&mut Vm<H>) -> Result<R, CallError>) -> Result<R, CallError> {
        let mut vm = self.vm.try_borrow_mut().map_err(|_| CallError::Busy)?;
        let result = call(&mut vm);
        if vm.has_done() || !self.released.borrow().is_empty() {
            self.end_contexts(&mut vm);
        }
        result
    }

    /// As [`Self::enter`], and a panic goes no further. The callbacks of each request do without: who calls them ends a panic.
    fn enter_contained<R>(&self, call: impl FnOnce(&mut Vm<H>) -> Result<R, CallError>) -> Result<R, CallError> {
        catch_unwind(AssertUnwindSafe(|| self.enter(call))).unwrap_or(Err(CallError::Panicked))
    }

    /// Ends the plugin contexts that were released, or that the guest is done with.
    #[cold]
    fn end_contexts(&self, vm: &mut Vm<H>) {
        loop {
            vm.end_done();
            let Some((id, key, patience)) = self.released.borrow_mut().pop_front() else { return };
            vm.release_plugin(id, key, patience);
        }
    }

    fn release(&self, id: u32, key: u64, patience: Patience) {
        self.released.borrow_mut().push_back((id, key, patience));
        // Not an error when the guest runs: its call does it at its end.
        let _ = self.enter_contained(|_| Ok(()));
    }
}

impl<H: Host> Drop for Plugin<H> {
    fn drop(&mut self) {
        let vm = self.vm.get_mut();
        vm.publish_calls();
        vm.log_info("unloaded wasm plugin");
    }
}

/// A configured plugin. Dropping it ends the plugin context, at once or with its last stream context, and waits for nothing.
pub struct PluginContext<H: Host> {
    plugin: Rc<Plugin<H>>,
    id: u32,
    key: u64,
}

impl<H: Host> PluginContext<H> {
    /// The id that the guest knows, > 0.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// What it was configured with; `None` when it has ended, or its guest runs.
    pub fn configuration(&self) -> Option<Arc<[u8]>> {
        self.plugin.vm.try_borrow().ok()?.configuration(self.id, self.key)
    }

    /// Tells it from every other plugin context of this process: [`Host::set_tick_period`] names it by this.
    pub fn key(&self) -> u64 {
        self.key
    }

    /// The plugin that it belongs to.
    pub fn plugin(&self) -> &Rc<Plugin<H>> {
        &self.plugin
    }

    /// Creates a stream context and returns its id, > 0. It must be closed by [`Plugin::close_stream`].
    ///
    /// # Errors
    /// When the guest traps.
    pub fn open_stream(&self, stream: H::HttpStream) -> Result<u32, CallError> {
        self.plugin.enter(|vm| vm.open_stream(self.id, self.key, stream))
    }

    /// Runs `proxy_on_tick`.
    ///
    /// # Errors
    /// When the guest traps.
    pub fn on_tick(&self) -> Result<(), CallError> {
        self.plugin.enter_contained(|vm| vm.on_tick(self.id, self.key))
    }

    /// Runs `proxy_on_queue_ready` for messages that nobody was told of, of queues that the guest has registered; for no more of
    /// them from `until` on.
    pub fn poll_queues(&self, until: Instant) -> QueuePoll {
        self.plugin.enter_contained(|vm| Ok(vm.poll_queues(self.id, self.key, until))).unwrap_or(QueuePoll::Idle)
    }

    /// Nobody needs the context any more: it ends as soon as its last stream context has ended and the guest is done with it,
    /// see [`Self::is_gone`].
    pub fn retire(&self, patience: Patience) {
        self.plugin.release(self.id, self.key, patience);
    }

    /// Whether the context has ended.
    pub fn is_gone(&self) -> bool {
        self.plugin.vm.try_borrow().is_ok_and(|vm| !vm.has_plugin(self.id, self.key))
    }

    /// Runs `proxy_on_foreign_function`: the proxy calls `function`, a number that it and the guest agree on.
    ///
    /// # Errors
    /// When the guest traps.
    pub fn on_foreign_function(&self, function: u32, arguments: &[u8]) -> Result<(), CallError> {
        self.plugin.enter_contained(|vm| vm.on_foreign_function(self.id, self.key, function, arguments))
    }
}

impl<H: Host> Drop for PluginContext<H> {
    fn drop(&mut self) {
        self.plugin.release(self.id, self.key, Patience::Hurry);
    }
}
