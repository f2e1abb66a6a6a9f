use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
};

use proxy_wasm_runtime::{
    Host, LoadError,
    abi::{LogLevel, Status},
    callout::{Callout, Refusal},
    context::{Options, Plugin},
    store::{Dict, InProcess},
    vm::Engine,
};

use crate::{Request, Shared, lock};

/// A message on a gRPC stream: the token, the message, whether it is the last.
pub type SentMessage = (u32, Option<Vec<u8>>, bool);

/// Called with each message in the log, before it is recorded.
pub type Hook = Box<dyn FnMut(&str) + Send>;

/// A foreign function of the proxy.
pub type Function = fn(&[u8]) -> Result<Vec<u8>, Status>;

/// How large the store of a [`Proxy`] is, in bytes.
const STORE_SIZE: usize = 1 << 20;

/// A proxy that keeps what plugins log, schedule and ask for. Clones share everything.
#[derive(Clone)]
pub struct Proxy {
    /// What plugins share.
    pub dict: Arc<InProcess>,
    /// The plugin contexts and periods, in milliseconds, that were asked for.
    pub ticks: Shared<Vec<(u64, u32)>>,
    /// The callouts in flight, by token.
    pub callouts: Shared<BTreeMap<u32, Callout>>,
    /// What was sent on gRPC streams.
    pub grpc_messages: Shared<Vec<SentMessage>>,
    /// How often a stream was woken.
    pub wakes: Shared<usize>,
    /// How often queues were asked to be watched.
    pub queue_watches: Shared<usize>,
    /// How often queues were asked to be polled soon.
    pub queue_polls: Shared<usize>,
    /// How many guests run.
    pub running: Shared<i32>,
    log: Shared<Vec<String>>,
    hook: Shared<Option<Hook>>,
    functions: Shared<BTreeMap<Vec<u8>, Function>>,
    refused: Shared<BTreeSet<Vec<u8>>>,
}

impl Default for Proxy {
    fn default() -> Self {
        Self::with_store(STORE_SIZE)
    }
}

impl Proxy {
    /// A proxy whose plugins share at most so many bytes.
    pub fn with_store(size: usize) -> Self {
        Self {
            dict: Arc::new(InProcess::new(size)),
            ticks: Shared::default(),
            callouts: Shared::default(),
            grpc_messages: Shared::default(),
            wakes: Shared::default(),
            queue_watches: Shared::default(),
            queue_polls: Shared::default(),
            running: Shared::default(),
            log: Shared::default(),
            hook: Shared::default(),
            functions: Shared::default(),
            refused: Shared::default(),
        }
    }

    /// Loads a plugin that is given in the text format. [`Engine::load`] loads one in the binary format.
    ///
    /// # Errors
    /// When it is no plugin that runs here.
    ///
    /// # Panics
    /// When the text format is wrong, or no engine runs on this machine.
    pub fn load(&self, module: &str) -> Result<Rc<Plugin<Self>>, LoadError> {
        self.load_with(Options::new("a plugin"), module)
    }

    /// As [`Self::load`], with options.
    ///
    /// # Errors
    /// As [`Self::load`].
    ///
    /// # Panics
    /// As [`Self::load`].
    pub fn load_with(&self, options: Options, module: &str) -> Result<Rc<Plugin<Self>>, LoadError> {
        let bytes = wat::parse_str(module).expect("the text format is correct");
        Engine::new().expect("the engine runs here").load(self.clone(), options, &bytes)
    }

    /// The messages since the last call, `stream: ` before those of a stream.
    pub fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.log))
    }

    /// Whether any message since the last [`Self::take_log`] contains `text`.
    pub fn logged(&self, text: &str) -> bool {
        lock(&self.log).iter().any(|line| line.contains(text))
    }

    /// Has a function called with each message from now on.
    pub fn on_log(&self, hook: Hook) {
        *lock(&self.hook) = Some(hook);
    }

    /// The tokens of the callouts in flight.
    pub fn tokens(&self) -> Vec<u32> {
        lock(&self.callouts).keys().copied().collect()
    }

    /// Refuses callouts to this upstream from now on.
    pub fn refuse_upstream(&self, upstream: &[u8]) {
        lock(&self.refused).insert(upstream.to_vec());
    }

    /// Gives plugins a foreign function.
    pub fn set_function(&self, name: &[u8], function: Function) {
        lock(&self.functions).insert(name.to_vec(), function);
    }
}

impl Host for Proxy {
    type HttpStream = Request;

    fn log(&self, stream: Option<&Request>, _: LogLevel, message: &[u8]) {
        let message = String::from_utf8_lossy(message).into_owned();
        // Taken out for the call: it may log.
        let hook = lock(&self.hook).take();
        if let Some(mut hook) = hook {
            hook(&message);
            lock(&self.hook).get_or_insert(hook);
        }
        let prefix = if stream.is_some() { "stream: " } else { "" };
        lock(&self.log).push(format!("{prefix}{message}"));
    }

    fn guest_runs(&self, runs: bool) {
        *lock(&self.running) += if runs { 1 } else { -1 };
    }

    fn log_level(&self, _: Option<&Request>) -> Option<LogLevel> {
        Some(LogLevel::Trace)
    }

    fn set_tick_period(&self, plugin_context: u64, period: u32) {
        lock(&self.ticks).push((plugin_context, period));
    }

    fn watch_queues(&self) {
        *lock(&self.queue_watches) += 1;
    }

    fn poll_queues_soon(&self) {
        *lock(&self.queue_polls) += 1;
    }

    fn start_callout(
        &self,
        _: Option<&Request>,
        _: u64,
        _: &Options,
        token: u32,
        callout: Callout,
    ) -> Result<(), Refusal> {
        if lock(&self.refused).contains(callout.upstream()) {
            return Err(Refusal::BadArgument("refused".to_owned()));
        }
        lock(&self.callouts).insert(token, callout);
        Ok(())
    }

    fn unsent_grpc_bytes(&self, token: u32) -> usize {
        let messages = lock(&self.grpc_messages);
        let of_stream = messages.iter().filter(|(other, ..)| *other == token);
        of_stream.map(|(_, message, _)| message.as_ref().map_or(0, Vec::len)).sum()
    }

    fn send_grpc_message(&self, token: u32, message: Option<&[u8]>, is_last: bool) {
        lock(&self.grpc_messages).push((token, message.map(<[u8]>::to_vec), is_last));
    }

    fn cancel_callout(&self, token: u32) {
        lock(&self.callouts).remove(&token);
    }

    fn wake_stream(&self, _: &Request, _: u64) {
        *lock(&self.wakes) += 1;
    }

    fn dict(&self) -> &dyn Dict {
        &*self.dict
    }

    fn call_foreign_function(&self, _: Option<&Request>, name: &[u8], arguments: &[u8]) -> Result<Vec<u8>, Status> {
        let function = lock(&self.functions).get(name).copied();
        function.ok_or(Status::NotFound)?(arguments)
    }
}
