use std::sync::Arc;

use wasmtime::Memory;
use wasmtime_wasi::p1::WasiP1Ctx;

use crate::{
    abi::{AbiVersion, LogLevel},
    context::{Contexts, Options, Waiting},
    error::Trap,
    guest::Allocator,
    host::Host,
    hostcalls::LocalReply,
    store::{HostMetrics, Metrics, SharedData},
    vm::{Answer, Clock, Limiter, LogRate, Outcome, limits::Ticks, stdio::Stdio, wasi},
};

/// How much of a guest's message is written, in bytes.
const LONGEST_MESSAGE: usize = 1 << 20;

/// What a store holds: everything that a hostcall can see besides the guest's memory.
pub(crate) struct State<H: Host> {
    pub host: H,
    /// What the plugin was loaded with.
    pub options: Arc<Options>,
    pub abi: AbiVersion,
    pub contexts: Contexts<H::HttpStream>,
    /// The callback that runs, or ran last.
    pub callback: &'static str,
    /// The context whose callback runs; 0 outside of callbacks.
    pub current: u32,
    /// The context that hostcalls act on: the current one unless the guest chose another.
    pub effective: u32,
    /// The stream of the current context with what only this callback can see.
    pub stream: Option<H::HttpStream>,
    /// The callback is about a request, which can wait for callouts.
    pub in_request: bool,
    /// The callback is about a body.
    pub in_body: bool,
    /// The body as the guest left it, once it differs from the stream's.
    pub body: Option<Vec<u8>>,
    /// The reply that the guest asked for in this callback.
    pub reply: Option<Box<LocalReply>>,
    /// The guest asked in this callback for the stream to be closed.
    pub close: bool,
    /// Plugin contexts that the guest is done with: they end when the callback has returned.
    pub done: Vec<u32>,
    /// What `proxy_on_foreign_function`, which runs, was called with.
    pub foreign_arguments: Option<Arc<[u8]>>,
    /// `proxy_on_vm_start` runs.
    pub starting: bool,
    /// Known once the instance stands.
    pub memory: Option<Memory>,
    /// Known once the instance stands.
    pub allocator: Option<Allocator>,
    /// The guest's allocator runs: only logging is allowed.
    pub allocating: bool,
    /// What the callout callback that runs is about.
    pub answer: Option<Answer>,
    /// The guest has said in this callback that its stream goes on.
    pub continued: bool,
    /// The hostcalls that were denied and reported.
    pub denied: Vec<&'static str>,
    pub log_rate: LogRate,
    /// How many bytes of headers and properties the callback that runs, or ran last, has set.
    pub set_bytes: usize,
    /// [`Host::kept_bytes`] less what is kept for the stream that hostcalls act on; wraps.
    pub kept_before: usize,
    /// How many bytes were kept for that stream when hostcalls began to act on it.
    pub kept_by_stream: usize,
    pub clock: Clock,
    pub limiter: Limiter,
    pub shared_data: SharedData,
    pub metrics: Metrics,
    pub host_metrics: HostMetrics,
    pub stdio: Stdio,
    pub wasi: WasiP1Ctx,
}

impl<H: Host> State<H> {
    pub fn new(
        host: H,
        options: Arc<Options>,
        abi: AbiVersion,
        ticks: Ticks,
        contexts: Contexts<H::HttpStream>,
    ) -> Self {
        Self {
            denied: Vec::new(),
            log_rate: LogRate::new(options.log_rate),
            set_bytes: 0,
            kept_before: 0,
            kept_by_stream: 0,
            clock: Clock::new(&options, ticks),
            limiter: Limiter::new(&options),
            shared_data: SharedData::new(&options),
            wasi: wasi::context(&options.env),
            metrics: Metrics::new(&options),
            host_metrics: HostMetrics::default(),
            host,
            options,
            abi,
            contexts,
            callback: "the module's start",
            current: 0,
            effective: 0,
            stream: None,
            in_request: false,
            in_body: false,
            body: None,
            reply: None,
            close: false,
            done: Vec::new(),
            foreign_arguments: None,
            starting: false,
            memory: None,
            allocator: None,
            allocating: false,
            answer: None,
            continued: false,
            stdio: Stdio::default(),
        }
    }

    /// No context's callback runs any more.
    #[inline]
    pub fn leave(&mut self) {
        self.current = 0;
        self.effective = 0;
        self.stream = None;
    }

    /// The stream that hostcalls act on; `None` in a plugin context.
    #[inline]
    pub fn effective_stream(&self) -> Option<H::HttpStream> {
        if self.effective == self.current {
            return self.stream.clone();
        }
        self.contexts.streams.get(&self.effective).map(|entry| entry.stream.clone())
    }

    /// The part of the request body that the stream was paused with which hostcalls act on, and whether it was changed; `None`
    /// in the stream's own callbacks.
    pub fn paused_body(&mut self) -> Option<&mut (Vec<u8>, bool)> {
        if self.effective == self.current {
            return None;
        }
        self.contexts.streams.get_mut(&self.effective)?.paused_body.as_mut()
    }

    /// Counts what the guest is about to set: `bytes` of names and values of so many headers or properties. The proxy may keep
    /// what was replaced until the stream ends.
    ///
    /// # Errors
    /// When that is more than a callback may set.
    pub fn count_set(&mut self, count: usize, bytes: usize) -> Result<(), Trap> {
        let desired = self.set_bytes.saturating_add(bytes).saturating_add(32 * count);
        let limit = self.options.header_limit;
        if desired > limit {
            return Err(Trap::HeaderLimit { desired, limit });
        }
        self.set_bytes = desired;
        self.kept_before = self.kept_before.wrapping_sub(bytes + 32 * count);
        self.check_kept()
    }

    /// # Errors
    /// When the proxy keeps more than it may for the stream that hostcalls act on.
    #[inline]
    pub fn check_kept(&self) -> Result<(), Trap> {
        let (desired, limit) = (self.kept(), self.options.pool_limit);
        if desired > limit { Err(Trap::PoolLimit { desired, limit }) } else { Ok(()) }
    }

    /// Hostcalls act on the context `id` from now on.
    #[inline]
    pub fn act_on(&mut self, id: u32) {
        self.effective = id;
        self.kept_by_stream = self.contexts.kept_for(id);
        self.kept_before = self.host.kept_bytes().wrapping_sub(self.kept_by_stream);
    }

    /// Notes what is kept for the stream that hostcalls have acted on.
    #[inline]
    pub fn note_kept(&mut self) {
        let kept = self.kept();
        if kept != self.kept_by_stream {
            self.contexts.keep_for(self.effective, kept);
        }
    }

    fn kept(&self) -> usize {
        self.host.kept_bytes().wrapping_sub(self.kept_before)
    }

    /// Has the stream that hostcalls act on, which is not the current one, end with `outcome`. Returns whether it waits, so that
    /// it can.
    pub fn end_effective_stream(&mut self, outcome: Outcome) -> bool {
        let Some(entry) = self.contexts.streams.get_mut(&self.effective) else { return false };
        if entry.waiting == Waiting::No {
            return false;
        }
        entry.ended = Some(outcome);
        self.wake_effective_stream();
        true
    }

    /// Tells the proxy that the stream that hostcalls act on need not wait any more.
    pub fn wake_effective_stream(&self) {
        if let Some(entry) = self.contexts.streams.get(&self.effective)
            && let Some(plugin) = self.contexts.plugins.get(&entry.plugin)
        {
            self.host.wake_stream(&entry.stream, plugin.key);
        }
    }

    /// Logs a message of the guest's own, or about what it does, unless there are too many of them. Those that nobody wants to
    /// see are not counted.
    pub fn log(&self, level: LogLevel, message: &[u8]) {
        let stream = self.effective_stream();
        if self.host.log_level(stream.as_ref()).is_none_or(|least| level < least) {
            return;
        }
        let Some(suppressed) = self.log_rate.admit(message.len().min(LONGEST_MESSAGE)) else { return };
        let Options { name, log_rate, .. } = &*self.options;
        if suppressed > 0 {
            let text = format!(
                "plugin {name:?}: {suppressed} messages until {} were not logged: log_rate allows {log_rate} a second",
                self.callback
            );
            self.host.log(stream.as_ref(), LogLevel::Warn, text.as_bytes());
        }
        let (written, rest) = message.split_at(message.len().min(LONGEST_MESSAGE));
        self.host.log(stream.as_ref(), level, written);
        if !rest.is_empty() {
            let (callback, size) = (self.callback, message.len());
            let text =
                format!("plugin {name:?}: {callback} logs a message of {size} bytes: {LONGEST_MESSAGE} are written");
            self.host.log(stream.as_ref(), LogLevel::Warn, text.as_bytes());
        }
    }

    /// Logs to the proxy's own log, formatting only what is written.
    pub fn log_host(&self, level: LogLevel, message: std::fmt::Arguments<'_>) {
        if self.host.log_level(None).is_some_and(|least| level >= least) {
            self.host.log(None, level, message.to_string().as_bytes());
        }
    }

    /// Writes out what the guest left on stdout and stderr without an end of line.
    #[inline(always)]
    pub fn flush_stdio(&mut self) {
        if !self.stdio.is_empty() {
            self.write_out_stdio();
        }
    }

    #[cold]
    fn write_out_stdio(&mut self) {
        let mut stdio = std::mem::take(&mut self.stdio);
        stdio.flush(|level, line| self.log(level, line));
        self.stdio = stdio;
    }
}
