//! What one worker process keeps: the plugin contexts that Lua holds, and the requests that have stream contexts.

mod timers;

pub use timers::{
    before_watch_sleeps, next_timer, on_timer, poll_queues_soon, set_tick_period, timer_refused, watch_queues,
};

use std::{
    cell::{Cell, RefCell},
    hash::BuildHasherDefault,
    rc::{Rc, Weak},
};

use once_cell::sync::OnceCell;
use proxy_wasm_runtime::{
    CallError, Host, HttpStream, LoadError,
    abi::{HeaderMap, LogLevel},
    callout::{Callout, Refusal},
    context::{IdMap, Options, Patience, Plugin, PluginContext},
    hostcalls::LocalReply,
    store::StatusMetrics,
    vm::{self, Engine, Event, Ticker},
};
use smallvec::SmallVec;

use crate::{
    body::{Length, Passed, Verdict},
    callout::{self, InFlight},
    nginx::{
        Framing, Nginx, OneThread, Phase, Properties, Request, Semaphore, has_caller, log_error, lua_goes_on,
        on_request_end, process_goes_on, process_has_ended, worker_number,
    },
    reply::ResponseReply,
    source::{Source, Sources},
};

/// One for the process: its compiled modules survive a fork.
static ENGINE: OnceCell<Engine<Nginx>> = OnceCell::new();

struct Worker {
    /// Those that were loaded.
    plugins: RefCell<Vec<Weak<Plugin<Nginx>>>>,
    /// Where they come from; `None` before the first.
    sources: RefCell<Option<Sources>>,
    /// By the index that Lua's handles have.
    contexts: RefCell<Vec<Option<Rc<Handle>>>>,
    /// The same indexes, by the keys of the contexts.
    indexes: RefCell<IdMap<usize, u64>>,
    /// By the request's key.
    requests: RefCell<IdMap<OpenRequest, usize>>,
    /// How many of them have framing headers of their plugins' own: none of most workers' have.
    edited: Cell<usize>,
    /// Indexes of plugin contexts that Lua let go of and that have not ended yet.
    retired: RefCell<Vec<usize>>,
    schedule: timers::Schedule,
    status_metrics: RefCell<Option<StatusMetrics>>,
    /// What only Lua can do: bits of [`pending`].
    pending: Cell<u8>,
    watch: RefCell<Watch>,
    /// A guest is told that a callout of its could not be started. One that asked again at once would be told so again, for ever.
    refuses_callouts: Cell<bool>,
}

/// Whether Lua waits for what only it can do and what comes up when none of it runs: at the end of a request.
enum Watch {
    /// No plugin needs it.
    None,
    /// Lua is to begin.
    Wanted,
    /// Lua is about to.
    Started,
    /// This wakes it.
    Kept(Semaphore),
}

/// A plugin context that Lua holds.
struct Handle {
    context: PluginContext<Nginx>,
    /// Where its plugin comes from.
    source: Rc<Source>,
    /// The version of the source that it has, or that has refused its configuration.
    version: Cell<u32>,
    /// The same for a context and those that take its place.
    lineage: u64,
    bodies: Bodies,
}

/// Which bodies a plugin wants to see without asking for them at each request.
#[derive(Clone, Copy, Default)]
pub struct Bodies {
    pub request: bool,
    pub response: bool,
}

/// What waits for Lua.
mod pending {
    /// Anything new.
    pub const WORK: u8 = 1;
    /// To ask again for the timer that nginx has refused.
    pub const TIMER_REFUSED: u8 = 2;
    /// The same, of the one that [`super::Watch`] is about.
    pub const WATCH_REFUSED: u8 = 4;
}

#[derive(Default)]
struct OpenRequest {
    /// In the order in which they were opened.
    streams: SmallVec<[OpenStream; 2]>,
    /// What a plugin set `:path` to.
    path: Option<Box<[u8]>>,
    length: Length,
    /// A plugin was told that it can't change how the response is framed.
    framing_told: bool,
    /// What plugins made of the headers that frame the request.
    framing: Option<Box<Framing>>,
    reply: Option<ResponseReply>,
    properties: Properties,
    /// The tokens of the callouts that were made for it.
    callouts: Vec<u32>,
}

/// What a plugin context has to do with a request.
enum Found {
    /// A stream context of this id.
    Stream(u32),
    /// One of a context whose place another has taken since.
    OldStream(Rc<Plugin<Nginx>>, u32),
    /// Nothing any more: a plugin has replied to the response.
    Replied,
    /// Nothing yet.
    Nothing,
}

/// What Lua is to do after a callback.
pub enum Outcome {
    /// Nothing.
    Continue,
    /// Put this into the place of the body.
    Body(Vec<u8>),
    /// As [`Self::Body`]; what was there may not be sent.
    ReplyBody(Vec<u8>),
    /// Wait, then ask [`resume`].
    Wait,
    /// Send this instead of going on.
    Reply(Box<LocalReply>),
    /// Close the connection.
    Close,
    /// Give up the response, for this reason.
    CutOff(String),
}

struct OpenStream {
    /// That of the plugin context's handle.
    lineage: u64,
    /// The key of the plugin context that it was opened for.
    key: u64,
    plugin: Rc<Plugin<Nginx>>,
    id: u32,
    /// Wakes the Lua code that waits for its callouts.
    waiter: Option<Semaphore>,
    /// Tokens of callouts that have something to tell it.
    ready: Vec<u32>,
    /// Of the response body.
    passed: Passed,
}

static WORKER: OneThread<Worker> = OneThread::new(Worker {
    plugins: RefCell::new(Vec::new()),
    sources: RefCell::new(None),
    contexts: RefCell::new(Vec::new()),
    indexes: RefCell::new(IdMap::with_hasher(BuildHasherDefault::new())),
    requests: RefCell::new(IdMap::with_hasher(BuildHasherDefault::new())),
    edited: Cell::new(0),
    retired: RefCell::new(Vec::new()),
    schedule: timers::Schedule::new(),
    status_metrics: RefCell::new(None),
    pending: Cell::new(0),
    watch: RefCell::new(Watch::None),
    refuses_callouts: Cell::new(false),
});

/// Loads a plugin, whose file has these bytes; why it failed is in the error log.
pub fn load(options: Options, file: &[u8], bytes: &[u8]) -> Option<Rc<Plugin<Nginx>>> {
    let engine = ENGINE.get_or_try_init(|| Engine::new().map_err(LoadError::Instantiate));
    match engine.and_then(|engine| engine.load(Nginx, options, bytes)) {
        Ok(plugin) => {
            publish_soon();
            WORKER.plugins.borrow_mut().push(Rc::downgrade(&plugin));
            Some(plugin)
        }
        Err(error) => {
            Nginx.log(None, LogLevel::Error, &[file, format!(": {error}").as_bytes()].concat());
            None
        }
    }
}

/// What makes time pass for the guests, once there is an engine.
pub fn ticker() -> Option<Ticker> {
    ENGINE.get().map(Engine::ticker)
}

/// How the plugins of this worker fare, in the order in which they were loaded.
pub fn statuses() -> Vec<vm::Status> {
    let mut plugins = WORKER.plugins.borrow_mut();
    plugins.retain(|plugin| plugin.strong_count() > 0);
    plugins.iter().filter_map(|plugin| plugin.upgrade()?.status()).collect()
}

/// Publishes how the plugins of this worker fare, so that all workers see it.
pub fn publish() {
    for plugin in WORKER.plugins.borrow().iter().filter_map(Weak::upgrade) {
        plugin.publish_calls();
    }
    let statuses = statuses();
    // One that runs, and has Lua ask, can't be asked itself: it is not gone for that.
    let is_complete = statuses.len() == WORKER.plugins.borrow().len();
    // The gauges of a worker that ends are its successor's by now.
    if let Some(worker) = worker_number()
        && is_complete
        && process_goes_on()
    {
        WORKER.status_metrics.borrow_mut().get_or_insert_default().publish(Nginx.dict_of_host(), worker, &statuses);
    }
}

/// Has metrics published, unless that is under way. An idle worker has none.
#[inline]
fn publish_soon() {
    if WORKER.schedule.publication.get().is_none() {
        WORKER.schedule.publish_later();
    }
}

/// Keeps a plugin context for Lua and returns its index.
pub fn keep(context: PluginContext<Nginx>, source: Rc<Source>, version: u32, bodies: Bodies) -> usize {
    if context.plugin().acts_without_streams() && matches!(*WORKER.watch.borrow(), Watch::None) {
        WORKER.watch.replace(Watch::Wanted);
        WORKER.set_pending(pending::WORK);
    }
    let lineage = context.key();
    WORKER.put(Rc::new(Handle { context, source, version: Cell::new(version), lineage, bodies }))
}

/// The source of a plugin that was loaded under a name from a file.
pub fn source(name: &[u8], file: &[u8], plugin: &Rc<Plugin<Nginx>>) -> Rc<Source> {
    WORKER.sources.borrow_mut().get_or_insert_default().loaded(name, file, plugin)
}

impl Worker {
    /// Keeps a plugin context at the first free index, and returns it.
    fn put(&self, handle: Rc<Handle>) -> usize {
        let mut contexts = self.contexts.borrow_mut();
        let index = contexts.iter().position(Option::is_none).unwrap_or_else(|| {
            contexts.push(None);
            contexts.len() - 1
        });
        self.indexes.borrow_mut().insert(handle.context.key(), index);
        contexts[index] = Some(handle);
        index
    }

    /// Puts a context of the newest plugin of its source into the place of a context, unless it has that already or that one
    /// refuses its configuration. The old one ends with its last stream.
    #[cold]
    fn renew(&self, index: usize, old: Rc<Handle>) -> Rc<Handle> {
        old.version.set(old.source.version());
        let newest = old.source.newest().filter(|newest| !Rc::ptr_eq(newest, old.context.plugin()));
        let (Some(plugin), Some(configuration)) = (newest, old.context.configuration()) else { return old };
        let context = match plugin.configure(&configuration) {
            Ok(context) => context,
            Err(error) => {
                let message = format!(
                    "plugin context {}: {error}: the newer version of its plugin is not used for it, the old one goes on",
                    old.context.id()
                );
                Nginx.log(None, LogLevel::Error, message.as_bytes());
                return old;
            }
        };
        let message =
            format!("plugin context {} goes on as {} of a newer version of its plugin", old.context.id(), context.id());
        Nginx.log(None, LogLevel::Info, message.as_bytes());
        let Handle { source, version, lineage, bodies, .. } = &*old;
        let new = Rc::new(Handle {
            context,
            source: source.clone(),
            version: version.clone(),
            lineage: *lineage,
            bodies: *bodies,
        });
        self.indexes.borrow_mut().insert(new.context.key(), index);
        self.contexts.borrow_mut()[index] = Some(new.clone());
        old.context.retire(Patience::Wait);
        let old_index = self.put(old);
        self.retired.borrow_mut().push(old_index);
        self.forget_retired();
        new
    }
}

/// Lets go of a plugin context: Lua's handle is gone. It stays as long as its guest is not done with it.
pub fn release(index: usize) {
    let Some(handle) = WORKER.handle(index) else { return };
    handle.context.retire(if process_goes_on() { Patience::Wait } else { Patience::Hurry });
    WORKER.retired.borrow_mut().push(index);
    WORKER.forget_retired();
}

/// Ends the plugin contexts whose guests are waited for: nothing calls them any more.
pub fn end_retired() {
    let retired = WORKER.retired.borrow().clone();
    for handle in retired.into_iter().filter_map(|index| WORKER.handle(index)) {
        handle.context.retire(Patience::Hurry);
    }
    WORKER.forget_retired();
}

/// Whether something waits for Lua, or is to be tried again. Not when the process ends: finalizers that run then, in lua_close,
/// may not use `ngx.*`.
#[inline]
pub fn is_pending() -> bool {
    WORKER.pending.get() != 0 && lua_goes_on()
}

/// Whether something waits for Lua, once: Lua asks for all of it now.
pub fn take_pending() -> bool {
    let is_pending = is_pending() && WORKER.pending.get() & pending::WORK != 0;
    WORKER.clear_pending(pending::WORK);
    is_pending
}

/// Runs `proxy_on_foreign_function` in a plugin context.
///
/// # Errors
/// When the plugin fails; why is in the error log.
pub fn on_foreign_function(index: usize, function: u32, arguments: &[u8]) -> Result<(), CallError> {
    let handle = WORKER.handle(index).ok_or(CallError::Gone)?;
    let result = handle.context.on_foreign_function(function, arguments);
    WORKER.forget_retired();
    result
}

/// Runs a callback for a request, in a stream context that is opened with the first.
///
/// # Errors
/// When the plugin fails; why is in the error log.
pub fn on_event(index: usize, request: Request, event: Event) -> Result<Outcome, CallError> {
    publish_soon();
    let handle = WORKER.handle(index).ok_or(CallError::Gone)?;
    let outcome = on_event_of(index, &handle, request, event);
    if outcome.is_err() && event == Event::ResponseHeaders {
        WORKER.forget_unsettled_length(request);
    }
    let outcome = if handle.context.plugin().fails_open() { outcome.or(Ok(Outcome::Continue)) } else { outcome };
    match event {
        Event::ResponseBody { end_of_stream } => WORKER.hold_to_length(&handle, request, end_of_stream, outcome),
        _ => outcome,
    }
}

fn on_event_of(index: usize, handle: &Rc<Handle>, request: Request, event: Event) -> Result<Outcome, CallError> {
    let outcome = match WORKER.find(request, handle) {
        Found::Stream(id) => handle.context.plugin().on_event(id, request, event)?,
        Found::OldStream(plugin, id) => plugin.on_event(id, request, event)?,
        Found::Replied => return Ok(WORKER.rest_of_reply(handle, request, event)),
        Found::Nothing if handle.version.get() != handle.source.version() => {
            let handle = WORKER.renew(index, handle.clone());
            return on_event_of(index, &handle, request, event);
        }
        Found::Nothing if !request.phase().is_some_and(Phase::has_cleanup) => {
            return on_event_without_end(handle, request, event);
        }
        Found::Nothing => {
            let id = WORKER.start_stream(handle, request)?;
            handle.context.plugin().on_event(id, request, event)?
        }
    };
    prepare_body(handle, request, event);
    if matches!(outcome, vm::Outcome::Continue) {
        return Ok(Outcome::Continue);
    }
    Ok(match (outcome, event) {
        (vm::Outcome::Reply(_), Event::ResponseHeaders) if !request.knows_all_headers(HeaderMap::ResponseHeaders) => {
            let message = "a local reply is not sent: not all headers of the response are known that would have to go";
            Nginx.log(Some(&request), LogLevel::Error, message.as_bytes());
            Outcome::Close
        }
        (vm::Outcome::Reply(reply), Event::ResponseHeaders) => {
            let reply = ResponseReply::replace_response(request, handle.lineage, reply);
            ask_for_body(request, b"wasm_process_resp_body");
            WORKER.set_reply(request, reply);
            Outcome::Continue
        }
        (vm::Outcome::Reply(reply), Event::ResponseBody { end_of_stream }) => {
            let message = format!("the status {} of a local reply comes too late, its body does not", reply.status);
            Nginx.log(Some(&request), LogLevel::Warn, message.as_bytes());
            let (reply, body) = ResponseReply::replace_body(request, handle.lineage, *reply);
            if end_of_stream {
                reply.replace_trailers();
            }
            WORKER.set_reply(request, reply);
            reply_body(handle, request, body)
        }
        (outcome, _) => outcome.into(),
    })
}

/// After the callback of the headers: asks for the body if the plugin always wants it, and tells nginx what becomes of its length.
fn prepare_body(handle: &Handle, request: Request, event: Event) {
    match event {
        Event::RequestHeaders if handle.bodies.request => ask_for_body(request, b"wasm_process_req_body"),
        Event::ResponseHeaders => {
            if handle.bodies.response {
                ask_for_body(request, b"wasm_process_resp_body");
            }
            let length = length_of(request);
            if length != Length::Told {
                WORKER.settle_length(handle, request, length);
            }
        }
        _ => {}
    }
}

impl From<vm::Outcome> for Outcome {
    fn from(outcome: vm::Outcome) -> Self {
        match outcome {
            vm::Outcome::Continue => Self::Continue,
            vm::Outcome::Wait => Self::Wait,
            vm::Outcome::Body(body) => Self::Body(body),
            vm::Outcome::Reply(reply) => Self::Reply(reply),
            vm::Outcome::Close => Self::Close,
        }
    }
}

/// Sends a callout: Lua is to take it.
///
/// # Errors
/// When it can't be sent, or when no Lua code could send it.
pub fn start_callout(
    request: Option<&Request>,
    plugin_context: u64,
    options: &Options,
    token: u32,
    callout: Callout,
) -> Result<(), Refusal> {
    // A guest may open its stream anew whenever it ends.
    let is_endless = request.is_none() && matches!(&callout, Callout::Grpc(call) if call.message.is_none());
    let watch = match &*WORKER.watch.borrow() {
        _ if is_endless && has_caller() && !process_goes_on() => {
            return Err(Refusal::Failed("a gRPC stream is not opened: the worker ends".to_owned()));
        }
        _ if WORKER.refuses_callouts.get() => {
            return Err(Refusal::Failed("a callout is not sent: the one before it could not be started".to_owned()));
        }
        _ if process_has_ended() => return Err(Refusal::Failed("a callout is not sent: the worker ends".to_owned())),
        _ if has_caller() => None,
        Watch::Kept(semaphore) => Some(semaphore.clone()),
        Watch::Wanted | Watch::Started => None,
        Watch::None => {
            return Err(Refusal::Failed("a callout is not sent: no Lua code runs that could send it".to_owned()));
        }
    };
    let mut requests = WORKER.requests.borrow_mut();
    let open = request.and_then(|request| Some((*request, requests.get_mut(&request.key())?)));
    // Of a request whose end nobody tells nothing may be kept.
    callout::start(open.as_ref().map(|(request, _)| *request), plugin_context, options, token, callout)?;
    if let Some((_, open)) = open {
        open.callouts.push(token);
    }
    drop(requests);
    WORKER.set_pending(pending::WORK);
    if let Some(semaphore) = watch {
        semaphore.post();
    }
    Ok(())
}

/// Whether Lua is to call [`watch`]; once.
pub fn wants_watch() -> bool {
    WORKER.clear_pending(pending::WATCH_REFUSED);
    let is_wanted = matches!(*WORKER.watch.borrow(), Watch::Wanted);
    if is_wanted {
        WORKER.watch.replace(Watch::Started);
    }
    is_wanted
}

/// nginx has refused the timer in which Lua would call [`watch`]. It is asked for again with the next call of the library.
pub fn watch_refused() {
    WORKER.watch.replace(Watch::Wanted);
    WORKER.set_pending(pending::WATCH_REFUSED);
}

/// Whether there are requests with stream contexts.
pub fn has_requests() -> bool {
    !WORKER.requests.borrow().is_empty()
}

/// Lua waits with `semaphore` for what comes up when none of it runs; with `None` not any more.
pub fn watch(semaphore: Option<Semaphore>) {
    WORKER.watch.replace(semaphore.map_or(Watch::None, Watch::Kept));
}

/// Lua code of a request waits, with `semaphore`, for what its callouts bring to the plugin context with this index. Returns
/// `false` when the plugin has no stream context of the request.
pub fn wait(index: usize, request: Request, semaphore: Semaphore) -> bool {
    WORKER.with_stream(index, request, |stream| stream.waiter = Some(semaphore)).is_some()
}

/// What the request is to do after it has waited. With `is_over` it waits no more, whatever is still to come.
///
/// # Errors
/// When the plugin fails; why is in the error log.
pub fn resume(index: usize, request: Request, is_over: bool) -> Result<Outcome, CallError> {
    let next_ready = || WORKER.with_stream(index, request, |stream| stream.ready.pop()).flatten();
    WORKER.with_stream(index, request, |stream| stream.ready.reverse());
    while let Some(token) = next_ready() {
        tell(token);
    }
    let stream = WORKER.with_stream(index, request, |stream| (stream.plugin.clone(), stream.id));
    let (plugin, id) = stream.ok_or(CallError::Gone)?;
    if is_over {
        plugin.stop_waiting(id);
    }
    let outcome = plugin.resume(id);
    let outcome = if plugin.fails_open() { outcome.or(Ok(vm::Outcome::Continue)) } else { outcome };
    if !matches!(outcome, Ok(vm::Outcome::Wait)) {
        WORKER.with_stream(index, request, |stream| stream.waiter = None);
    }
    WORKER.forget_retired();
    outcome.map(Outcome::from)
}

/// Wakes the Lua code that waits for a stream, if there is any.
pub fn wake_stream(request: Request, plugin_context: u64) {
    let requests = WORKER.requests.borrow();
    let streams = requests.get(&request.key()).into_iter().flat_map(|open| &open.streams);
    if let Some(waiter) =
        streams.filter(|stream| stream.key == plugin_context).find_map(|stream| stream.waiter.as_ref())
    {
        waiter.post();
    }
}

/// Tells a plugin what a callout has brought: at once, or when the request that waits for it has its turn.
pub fn deliver(token: u32) {
    let Some(callout) = callout::find(token) else { return };
    publish_soon();
    if WORKER.hand_over(token, &callout) {
        return;
    }
    let Some(plugin) = WORKER.plugin_of(callout.plugin_context) else { return tell(token) };
    match plugin.background_rest().filter(|_| process_goes_on()) {
        Some(rest) => WORKER.schedule.deliver_after(rest, token),
        None => plugin.in_background(|| tell(token)),
    }
    WORKER.forget_retired();
}

fn tell(token: u32) {
    let Some(callout) = callout::find(token) else { return };
    if let Some(failure) = callout.take_failure() {
        let kind = if callout.is_grpc() { "grpc" } else { "http" };
        log_error(callout.request.get(), format_args!("{kind} call failed: {failure}, uri: {}", callout.uri));
    }
    while let Some(event) = callout.next_event() {
        if event.is_last() {
            callout::forget(token);
        }
        let Some(plugin) = WORKER.plugin_of(callout.plugin_context) else { return };
        // Why it failed is in the log, and whoever waits finds the plugin's instance gone.
        WORKER.refuses_callouts.set(callout.is_unstarted());
        let _ = plugin.on_callout(token, event);
        WORKER.refuses_callouts.set(false);
    }
}

/// Asks APISIX to call the body's callback: with a variable that it defines in its locations.
fn ask_for_body(request: Request, variable: &[u8]) {
    // Elsewhere there is no such variable, and whoever wrote the location calls what he wants called.
    let _ = request.set_variable(variable, b"true");
}

/// Has the body of a reply take the place of the response's, where the client was told no length of that.
fn reply_body(handle: &Handle, request: Request, body: Vec<u8>) -> Outcome {
    match request.told_length() {
        None => Outcome::ReplyBody(body),
        Some(0) if body.is_empty() => Outcome::ReplyBody(body),
        Some(length) => Outcome::CutOff(format!(
            "the response is cut off: plugin {:?} answers itself, but the client was told the content-length {length}; \
             proxy_on_response_headers has to remove it",
            handle.context.plugin().name()
        )),
    }
}

/// Where nothing tells when the request ends the stream context lives for the one callback. There is no response that anything
/// could be done about.
fn on_event_without_end(handle: &Handle, request: Request, event: Event) -> Result<Outcome, CallError> {
    let id = handle.context.open_stream(request.without_body())?;
    let outcome = handle.context.plugin().on_event(id, request, event);
    // Its callouts go on without it.
    handle.context.plugin().stop_waiting(id);
    handle.context.plugin().close_stream(id);
    match (outcome?, event) {
        (vm::Outcome::Wait, _) => Ok(Outcome::Continue),
        (vm::Outcome::Reply(_), Event::ResponseHeaders | Event::ResponseBody { .. }) => {
            let message = "a local reply after the response is not sent";
            Nginx.log(Some(&request), LogLevel::Warn, message.as_bytes());
            Ok(Outcome::Continue)
        }
        (outcome, _) => Ok(outcome.into()),
    }
}

/// What a plugin set the request's `:path` to.
pub fn path_of(request: Request) -> Option<Vec<u8>> {
    WORKER.requests.borrow().get(&request.key())?.path.as_ref().map(|path| path.to_vec())
}

/// Remembers what a plugin set the request's `:path` to.
pub fn set_path_of(request: Request, path: &[u8]) {
    if let Some(open) = WORKER.requests.borrow_mut().get_mut(&request.key()) {
        open.path = Some(path.into());
    }
}

/// Whether plugins changed headers that frame the request.
#[inline]
pub fn has_framing(request: Request) -> bool {
    WORKER.edited.get() != 0 && WORKER.requests.borrow().get(&request.key()).is_some_and(|open| open.framing.is_some())
}

/// What plugins made of the headers that frame the request; `None` when they left them as they were.
#[inline]
pub fn framing_of(request: Request) -> Option<Framing> {
    if WORKER.edited.get() == 0 {
        return None;
    }
    WORKER.requests.borrow().get(&request.key())?.framing.as_deref().cloned()
}

/// Runs `change` with what plugins see of the headers that frame the request, which before the first change is what `client`
/// gives; `None` when nothing is kept of the request.
pub fn change_framing<R>(
    request: Request,
    client: impl FnOnce() -> Framing,
    change: impl FnOnce(&mut Framing) -> R,
) -> Option<R> {
    let mut requests = WORKER.requests.borrow_mut();
    let open = requests.get_mut(&request.key())?;
    if open.framing.is_none() {
        WORKER.edited.set(WORKER.edited.get() + 1);
    }
    Some(change(open.framing.get_or_insert_with(|| Box::new(client()))))
}

/// What plugins have made of the response's `content-length`.
#[inline]
pub fn length_of(request: Request) -> Length {
    WORKER.requests.borrow().get(&request.key()).map_or(Length::Told, |open| open.length)
}

/// Remembers what the plugin whose callback runs has set the response's `content-length` to.
pub fn set_length_of(request: Request, length: Option<u64>) {
    if let Some(open) = WORKER.requests.borrow_mut().get_mut(&request.key()) {
        open.length = length.map_or(Length::Removed, |length| Length::Declared { length, by: None });
    }
}

/// Whether no plugin has tried before to change how the response of the request is framed.
pub fn is_first_framing_change(request: Request) -> bool {
    let mut requests = WORKER.requests.borrow_mut();
    requests.get_mut(&request.key()).is_none_or(|open| !std::mem::replace(&mut open.framing_told, true))
}

/// Runs `use_them` with what is kept of the request's properties; `None` when it has ended.
pub fn with_properties<R>(request: Request, use_them: impl FnOnce(&mut Properties) -> R) -> Option<R> {
    Some(use_them(&mut WORKER.requests.borrow_mut().get_mut(&request.key())?.properties))
}

impl Worker {
    /// Has nginx go by the length that the plugin whose callback has returned has left: the client is told the response's own, or none.
    fn settle_length(&self, handle: &Handle, request: Request, length: Length) {
        let told = request.told_length();
        let settled = match length {
            Length::Declared { length, by: None } if told == Some(length) => Length::Told,
            Length::Declared { length, by: None } => {
                let name = handle.context.plugin().name();
                let message = format!("the client is not told the content-length {length} that plugin {name:?} sets");
                Nginx.log(Some(&request), LogLevel::Info, message.as_bytes());
                Length::Declared { length, by: Some(handle.lineage) }
            }
            length => length,
        };
        if let Some(open) = self.requests.borrow_mut().get_mut(&request.key()) {
            open.length = settled;
        }
        if settled != Length::Told && told.is_some() {
            request.remove_headers_of_body();
        }
    }

    /// A plugin that failed in its callback has said nothing of the length.
    #[cold]
    fn forget_unsettled_length(&self, request: Request) {
        if let Some(open) = self.requests.borrow_mut().get_mut(&request.key())
            && let Length::Removed | Length::Declared { by: None, .. } = open.length
        {
            open.length = if request.told_length().is_some() { Length::Told } else { Length::Removed };
        }
    }

    /// Keeps what a plugin has left of a chunk of the response body within the length that the client was told, or that the plugin
    /// has set.
    fn hold_to_length(
        &self,
        handle: &Handle,
        request: Request,
        is_last: bool,
        outcome: Result<Outcome, CallError>,
    ) -> Result<Outcome, CallError> {
        // A plugin that failed leaves the chunk, but what it has held back is gone.
        if !matches!(outcome, Ok(Outcome::Body(_) | Outcome::Continue) | Err(_)) {
            return outcome;
        }
        let chunk = request.body().unwrap_or_default();
        let mut requests = self.requests.borrow_mut();
        let Some(open) = requests.get_mut(&request.key()) else { return outcome };
        let declared = open.length.declared_by(handle.lineage);
        let Some(stream) = open.streams.iter_mut().find(|stream| stream.lineage == handle.lineage) else {
            return outcome;
        };
        let passed = &mut stream.passed;
        let is_left = !matches!(outcome, Ok(Outcome::Body(_)));
        if is_left && declared.is_none() && passed.passes(chunk.len()) {
            return outcome;
        }
        let told = request.told_length();
        let Some(length) = told.or(declared) else { return outcome };
        let left = match outcome {
            Ok(Outcome::Body(body)) => body,
            _ => chunk.to_vec(),
        };
        let verdict = match told {
            Some(told) => passed.hold_to_told(told, chunk.len(), left, is_last),
            None => passed.hold_to_declared(length, chunk.len(), left, is_last),
        };
        let name = handle.context.plugin().name();
        let whose = if told.is_some() { "that the client was told" } else { "that it has set" };
        match verdict {
            Verdict::Pass(body) => Ok(Outcome::Body(body)),
            Verdict::Cut(body) => {
                let message = format!(
                    "the response body is cut: plugin {name:?} leaves more than the content-length {length} {whose}"
                );
                Nginx.log(Some(&request), LogLevel::Error, message.as_bytes());
                Ok(Outcome::Body(body))
            }
            Verdict::Short(body) => {
                let sent = passed.sent();
                let message = format!(
                    "plugin {name:?} leaves {sent} bytes of the response body, less than the content-length {length} {whose}"
                );
                if told.is_some() {
                    return Ok(Outcome::CutOff(format!("the response is cut off: {message}")));
                }
                Nginx.log(Some(&request), LogLevel::Error, message.as_bytes());
                Ok(Outcome::Body(body))
            }
        }
    }

    /// What a callback comes to after a plugin has replied to the response: for that plugin the reply's body, then nothing;
    /// other plugins do not see it.
    fn rest_of_reply(&self, handle: &Handle, request: Request, event: Event) -> Outcome {
        let mut requests = self.requests.borrow_mut();
        let reply = requests.get_mut(&request.key()).and_then(|open| open.reply.as_mut());
        let (Some(reply), Event::ResponseBody { end_of_stream }) = (reply, event) else { return Outcome::Continue };
        if end_of_stream {
            reply.replace_trailers();
        }
        if reply.lineage != handle.lineage {
            return Outcome::Continue;
        }
        reply.is_placed = true;
        reply_body(handle, request, std::mem::take(&mut reply.body))
    }

    fn set_reply(&self, request: Request, reply: ResponseReply) {
        if let Some(open) = self.requests.borrow_mut().get_mut(&request.key()) {
            open.reply = Some(reply);
            open.length = Length::Told;
        }
    }

    fn set_pending(&self, what: u8) {
        self.pending.set(self.pending.get() | what);
    }

    fn clear_pending(&self, what: u8) {
        self.pending.set(self.pending.get() & !what);
    }

    /// Leaves a callout to the request that waits for it, if one does.
    fn hand_over(&self, token: u32, callout: &InFlight) -> bool {
        let Some(request) = callout.request.get() else { return false };
        let mut requests = self.requests.borrow_mut();
        let Some(open) = requests.get_mut(&request.key()) else { return false };
        let Some(stream) = open.streams.iter_mut().find(|stream| stream.key == callout.plugin_context) else {
            return false;
        };
        let Some(waiter) = &stream.waiter else { return false };
        if !stream.ready.contains(&token) {
            stream.ready.push(token);
        }
        waiter.post();
        true
    }

    fn with_stream<R>(&self, index: usize, request: Request, use_it: impl FnOnce(&mut OpenStream) -> R) -> Option<R> {
        let lineage = self.handle(index)?.lineage;
        let mut requests = self.requests.borrow_mut();
        let open = requests.get_mut(&request.key())?;
        open.streams.iter_mut().find(|stream| stream.lineage == lineage).map(use_it)
    }

    /// The plugin whose plugin context has this key.
    fn plugin_of(&self, key: u64) -> Option<Rc<Plugin<Nginx>>> {
        Some(self.handle_of(key)?.context.plugin().clone())
    }

    #[inline]
    fn handle(&self, index: usize) -> Option<Rc<Handle>> {
        self.contexts.borrow().get(index).cloned().flatten()
    }

    /// That of the plugin context with this key.
    fn handle_of(&self, key: u64) -> Option<Rc<Handle>> {
        self.handle(*self.indexes.borrow().get(&key)?)
    }

    /// Lets go of the plugin contexts that have ended since Lua let go of them.
    fn forget_retired(&self) {
        if self.retired.borrow().is_empty() {
            return;
        }
        let mut ended = Vec::new();
        self.retired.borrow_mut().retain(|index| {
            let mut contexts = self.contexts.borrow_mut();
            let Some(slot) = contexts.get_mut(*index) else { return false };
            let stays = slot.as_ref().is_some_and(|handle| !handle.context.is_gone());
            if !stays {
                ended.extend(slot.take());
            }
            stays
        });
        for handle in &ended {
            let key = handle.context.key();
            self.indexes.borrow_mut().remove(&key);
            self.schedule.end_tick(key);
        }
        // Only now: with its last plugin context a plugin is unloaded.
        drop(ended);
    }

    /// The stream context that a plugin context, or one whose place it took, has of a request.
    #[inline]
    fn find(&self, request: Request, handle: &Handle) -> Found {
        let requests = self.requests.borrow();
        let Some(open) = requests.get(&request.key()) else { return Found::Nothing };
        if open.reply.is_some() {
            return Found::Replied;
        }
        match open.streams.iter().find(|stream| stream.lineage == handle.lineage) {
            Some(stream) if stream.key == handle.context.key() => Found::Stream(stream.id),
            Some(stream) => Found::OldStream(stream.plugin.clone(), stream.id),
            None => Found::Nothing,
        }
    }

    fn start_stream(&self, handle: &Handle, request: Request) -> Result<u32, CallError> {
        let key = request.key();
        if !self.requests.borrow().contains_key(&key) {
            if !on_request_end(request, close_streams) {
                return Err(CallError::Gone);
            }
            self.requests.borrow_mut().insert(key, OpenRequest::default());
        }
        let id = handle.context.open_stream(request.without_body())?;
        let plugin = handle.context.plugin().clone();
        let lineage = handle.lineage;
        let stream = OpenStream {
            lineage,
            key: handle.context.key(),
            plugin,
            id,
            waiter: None,
            ready: Vec::new(),
            passed: Passed::default(),
        };
        if let Some(open) = self.requests.borrow_mut().get_mut(&key) {
            open.streams.push(stream);
        }
        Ok(id)
    }
}

/// Ends all stream contexts of a request, in the order in which they were opened.
fn close_streams(key: usize) {
    let streams = WORKER.requests.borrow_mut().get_mut(&key).map(|open| std::mem::take(&mut open.streams));
    for stream in streams.into_iter().flatten() {
        stream.plugin.close_stream(stream.id);
        // What it did not wait for any more, and was about to be told.
        stream.ready.into_iter().for_each(tell);
    }
    let open = WORKER.requests.borrow_mut().remove(&key);
    if open.as_ref().is_some_and(|open| open.framing.is_some()) {
        WORKER.edited.set(WORKER.edited.get() - 1);
    }
    for callout in open.iter().flat_map(|open| &open.callouts).filter_map(|token| callout::find(*token)) {
        callout.request.set(None);
        if !process_goes_on() {
            callout.end_stream();
        }
    }
    if let Some(reply) = open.and_then(|open| open.reply) {
        reply.report_other_body();
    }
    if let Watch::Kept(semaphore) = &*WORKER.watch.borrow()
        && !process_goes_on()
        && !has_requests()
    {
        semaphore.post();
    }
    WORKER.forget_retired();
}
