//! Callouts: what plugins ask other servers. callout-client speaks HTTP, lib/resty/wasm/callouts.lua moves the bytes, and
//! the worker tells the plugins what came.

mod answer;
mod connections;
mod request;
mod reserved;
mod target;

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    hash::BuildHasherDefault,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use callout_client::{Connection, Error, Event as Part, Limits, Protocol, grpc};
use proxy_wasm_runtime::{
    callout::{Callout, Event, Refusal},
    context::{IdMap, Options},
};

use answer::Answer;
pub use answer::Reason;
use connections::{Connections, Pool};
use request::Prepared;
pub use request::Server;
pub use target::Target;

use crate::nginx::{OneThread, Request, Semaphore, worker_connections};

/// The callouts of a worker process whose end its guests have not been told.
struct Callouts {
    /// By token.
    open: RefCell<IdMap<Rc<InFlight>>>,
    /// Tokens of those that Lua has not started yet.
    new: RefCell<VecDeque<u32>>,
    /// Tokens of those that Lua has started and is to stop, with the number of the runner that has them.
    cancelled: RefCell<VecDeque<(u32, u32)>>,
    /// HTTP/2 connections that wait in nginx's pools.
    connections: RefCell<Connections>,
}

/// `worker_connections` of nginx where nothing is configured.
const DEFAULT_CONNECTIONS: usize = 512;

static CALLOUTS: OneThread<Callouts> = OneThread::new(Callouts {
    open: RefCell::new(IdMap::with_hasher(BuildHasherDefault::new())),
    new: RefCell::new(VecDeque::new()),
    cancelled: RefCell::new(VecDeque::new()),
    connections: RefCell::new(Connections::new()),
});

/// A callout and who waits for it.
pub struct InFlight {
    /// The key of the plugin context that made it.
    pub plugin_context: u64,
    /// The request that it was made for, while that lives.
    pub request: Cell<Option<Request>>,
    /// For the log.
    pub method: String,
    /// For the log.
    pub uri: String,
    pub timeout: Option<Duration>,
    state: RefCell<State>,
    /// Who moves its bytes; `None` as long as nobody does.
    mover: RefCell<Option<Mover>>,
    /// Nobody ever will.
    is_unstarted: Cell<bool>,
}

/// Who moves a callout's bytes.
struct Mover {
    /// The runner's number.
    runner: u32,
    /// Wakes it.
    wake: Semaphore,
}

struct State {
    prepared: Prepared,
    deadline: Option<Instant>,
    connection: Option<Connection>,
    /// Where an HTTP/2 connection's socket is to be kept.
    pool: Option<Pool>,
    /// The connection was used before.
    is_reused: bool,
    /// The server was not told, by ALPN (RFC 7301), that the connection is to be HTTP/2.
    lacks_alpn: bool,
    is_finished: bool,
    /// Why it failed, until the log has it.
    failure: Option<String>,
    /// The guest is to be told of these.
    events: VecDeque<Event>,
    /// Messages of a stream that wait for its connection; `true` with the last.
    unsent: VecDeque<(Bytes, bool)>,
    /// What the connection has for the server and another thread is to send.
    output: Vec<u8>,
}

/// How a callout's connection is made.
pub struct Opening {
    /// The target, as nginx's `connect` wants it.
    pub host: String,
    /// Missing for a unix socket.
    pub port: Option<u16>,
    /// The name of the pool of connections.
    pub pool: String,
    /// What the server is to prove that it is; missing when the connection is not encrypted.
    pub server_name: Option<String>,
    pub is_http2: bool,
    /// What is left of the time for the whole callout.
    pub remaining: Option<Duration>,
}

/// What is to be done with a callout's connection next.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Wait for what the server sends.
    Receive,
    /// The callout is over, the connection can be used again.
    Keep,
    /// The callout is over.
    Close,
    /// Begin again on another connection: the next one that is kept, or a new one.
    Retry,
}

/// Where something went wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// There is nobody to move its bytes.
    Start,
    Connect,
    Handshake,
    Transfer,
}

/// How many callouts of all plugins may be in flight in this worker: half of its connections are left for requests.
fn max_in_flight() -> usize {
    (worker_connections().unwrap_or(DEFAULT_CONNECTIONS) / 2).max(1)
}

/// How many callouts of one plugin may be in flight in this worker unless its options say otherwise.
pub fn default_in_flight() -> usize {
    (max_in_flight() / 2).max(1)
}

/// Accepts a callout: Lua is to take it by [`next_new`].
///
/// # Errors
/// When it can't be sent.
pub fn start(
    request: Option<Request>,
    plugin_context: u64,
    options: &Options,
    token: u32,
    callout: Callout,
) -> Result<(), Refusal> {
    let limit = max_in_flight();
    if CALLOUTS.open.borrow().len() >= limit {
        return Err(Refusal::Failed(format!(
            "plugin {:?} wants {} callouts in flight in this worker, those of all plugins: half of its worker_connections allow {limit}",
            options.name,
            limit + 1
        )));
    }
    let prepared = request::prepare(callout, options)?;
    let callout = InFlight {
        plugin_context,
        request: Cell::new(request),
        method: prepared.method.clone(),
        uri: prepared.uri.clone(),
        timeout: prepared.timeout,
        state: RefCell::new(State::new(prepared)),
        mover: RefCell::new(None),
        is_unstarted: Cell::new(false),
    };
    CALLOUTS.open.borrow_mut().insert(token, Rc::new(callout));
    CALLOUTS.new.borrow_mut().push_back(token);
    Ok(())
}

/// The next callout that Lua is to start, and its token. Its time runs from now on.
pub fn next_new() -> Option<(u32, Rc<InFlight>)> {
    loop {
        let token = CALLOUTS.new.borrow_mut().pop_front()?;
        // Those that were cancelled meanwhile are passed over.
        if let Some(callout) = find(token) {
            let mut state = callout.state.borrow_mut();
            state.deadline = callout.timeout.map(|timeout| Instant::now() + timeout);
            drop(state);
            return Some((token, callout));
        }
    }
}

/// A callout whose end its guest has not been told.
pub fn find(token: u32) -> Option<Rc<InFlight>> {
    CALLOUTS.open.borrow().get(&token).cloned()
}

/// Forgets a callout: its guest has been told its end.
pub fn forget(token: u32) -> Option<Rc<InFlight>> {
    CALLOUTS.open.borrow_mut().remove(&token)
}

/// Stops a callout: nobody waits for it.
pub fn cancel(token: u32) -> Option<Rc<InFlight>> {
    let callout = forget(token)?;
    if let Some(mover) = callout.mover.take() {
        CALLOUTS.cancelled.borrow_mut().push_back((mover.runner, token));
        mover.wake.post();
    }
    Some(callout)
}

/// A callout that the runner of this number is to stop.
pub fn next_cancelled(runner: u32) -> Option<u32> {
    let mut cancelled = CALLOUTS.cancelled.borrow_mut();
    let index = cancelled.iter().position(|(other, _)| *other == runner)?;
    cancelled.remove(index).map(|(_, token)| token)
}

/// Sends a message on a stream, when its connection stands; with `is_last` it is the last one.
pub fn send(token: u32, message: Option<&[u8]>, is_last: bool) {
    let Some(callout) = find(token) else { return };
    let message = message.map(grpc::encode).unwrap_or_default();
    callout.state.borrow_mut().unsent.push_back((message, is_last));
    callout.wake_mover();
}

/// How many bytes of messages a stream still has to send.
pub fn unsent_bytes(token: u32) -> usize {
    let Some(callout) = find(token) else { return 0 };
    let state = callout.state.borrow();
    let waiting: usize = state.unsent.iter().map(|(message, _)| message.len()).sum();
    waiting + state.connection.as_ref().map_or(0, Connection::unsent)
}

/// Ends the streams that no living request made: the worker is to end, and they may have no end of their own.
pub fn end_streams() {
    let open: Vec<Rc<InFlight>> = CALLOUTS.open.borrow().values().cloned().collect();
    for callout in open.iter().filter(|callout| callout.request.get().is_none()) {
        callout.end_stream();
    }
}

impl InFlight {
    /// Ends it, if it is a stream, because the worker ends.
    pub fn end_stream(&self) {
        let mut state = self.state.borrow_mut();
        if state.prepared.is_stream {
            state.fail(Reason::BrokenConnection, "the worker ends");
            state.failure = None; // nothing is wrong
            self.wake_mover();
        }
    }

    fn wake_mover(&self) {
        if let Some(mover) = &*self.mover.borrow() {
            mover.wake.post();
        }
    }

    /// Whether there was nobody to move its bytes.
    pub fn is_unstarted(&self) -> bool {
        self.is_unstarted.get()
    }

    /// Whether it is a gRPC call or stream.
    pub fn is_grpc(&self) -> bool {
        !matches!(self.state.borrow().prepared.answer, Answer::Http { .. })
    }

    /// Whether it is a gRPC stream.
    pub fn is_stream(&self) -> bool {
        self.state.borrow().prepared.is_stream
    }

    /// The upstream's name, where that may be something else than a host's: it has no port.
    pub fn bare_name(&self) -> Option<String> {
        let state = self.state.borrow();
        let target = &state.prepared.target;
        (target.port.is_none() && target.is_named()).then(|| target.host.clone())
    }

    /// Sends it to `server` instead of the host that the upstream's name would be.
    pub fn set_server(&self, server: Server) {
        let mut state = self.state.borrow_mut();
        if let Err(error) = state.prepared.set_server(server) {
            state.fail(Reason::Resolver, &error.to_string());
        }
    }

    /// A runner takes it on. Connections are used again only where the `configuration` is the same: another location may
    /// trust other certificates, and have another resolver.
    pub fn open(&self, runner: u32, wake: Semaphore, configuration: usize) -> Opening {
        self.mover.replace(Some(Mover { runner, wake }));
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let prepared = &state.prepared;
        let is_encrypted = prepared.is_encrypted == Some(true);
        let default_port = if is_encrypted { 443 } else { 80 };
        let target = &prepared.target;
        let port = (!target.is_unix()).then(|| target.port.unwrap_or(default_port));
        let server_name = is_encrypted.then(|| prepared.server_name.clone());
        let mut pool = format!(
            "resty.wasm:{configuration:x}:{}:{}:{}",
            target.host,
            port.unwrap_or_default(),
            server_name.as_deref().unwrap_or_default()
        );
        let is_http2 = prepared.protocol == Protocol::Http2;
        if is_http2 {
            let (kept, connection) = CALLOUTS.connections.borrow_mut().take(pool);
            pool = kept.name();
            state.pool = Some(kept);
            state.connection = connection;
        }
        let remaining = state.remaining();
        Opening { host: target.host.clone(), port, pool, server_name, is_http2, remaining }
    }

    /// The connection stands; it was used before or not. With `lacks_alpn` it is new and encrypted, and to be HTTP/2, which
    /// could not be offered to the server. With `wake` it is moved by a thread that this wakes.
    pub fn begin(&self, is_reused: bool, lacks_alpn: bool, wake: Option<Semaphore>) {
        if let (Some(mover), Some(wake)) = (&mut *self.mover.borrow_mut(), wake) {
            mover.wake = wake;
        }
        let mut state = self.state.borrow_mut();
        (state.is_reused, state.lacks_alpn) = (is_reused, lacks_alpn);
        let protocol = state.prepared.protocol;
        let kept = state.connection.take().filter(|_| is_reused);
        let mut connection = kept.unwrap_or_else(|| Connection::new(protocol, &Limits::default()));
        connection.start(state.prepared.request.clone());
        state.connection = Some(connection);
    }

    /// Takes in what the server has sent, if anything, and returns what comes next and what is to be sent now.
    pub fn step(&self, received: Option<&[u8]>) -> (Next, Vec<u8>, Option<Duration>) {
        let mut state = self.state.borrow_mut();
        if let (Some(connection), Some(received)) = (&mut state.connection, received) {
            connection.receive(received);
        }
        let output = state.advance();
        if state.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            state.fail(Reason::Timeout, "timeout");
        }
        (state.next(), output, state.remaining())
    }

    /// The server has closed the connection.
    pub fn end(&self) -> (Next, Vec<u8>, Option<Duration>) {
        let mut state = self.state.borrow_mut();
        if state.may_retry() {
            return (state.retry(), Vec::new(), None);
        }
        if let Some(connection) = &mut state.connection {
            connection.receive_end();
        }
        let output = state.advance();
        if !state.is_finished {
            state.fail(Reason::BrokenConnection, "closed");
        }
        (state.next(), output, None)
    }

    /// Leaves what is to be sent to the next [`Self::step`].
    pub fn leave_output(&self, output: Vec<u8>) {
        self.state.borrow_mut().output = output;
    }

    /// Something went wrong: `error` is nginx's word for it.
    pub fn fail(&self, stage: Stage, error: &str) -> Next {
        self.is_unstarted.set(stage == Stage::Start);
        let mut state = self.state.borrow_mut();
        if stage == Stage::Transfer && error != "timeout" && state.may_retry() {
            return state.retry();
        }
        let reason = match stage {
            _ if error == "timeout" => Reason::Timeout,
            Stage::Connect if error.contains("resolve") => Reason::Resolver,
            Stage::Handshake => Reason::TlsHandshake,
            Stage::Start | Stage::Connect | Stage::Transfer => Reason::BrokenConnection,
        };
        state.fail(reason, error);
        Next::Close
    }

    /// Its bytes are not moved any more. A connection that nginx keeps is kept here too.
    pub fn close(&self, is_kept: bool) {
        self.mover.take();
        let mut state = self.state.borrow_mut();
        let (connection, pool) = (state.connection.take(), state.pool.take());
        if is_kept && let (Some(connection), Some(pool)) = (connection, pool) {
            CALLOUTS.connections.borrow_mut().keep(pool, connection);
        }
    }

    /// What the guest is to be told next.
    pub fn next_event(&self) -> Option<Event> {
        self.state.borrow_mut().events.pop_front()
    }

    /// Why nothing, or nothing more, will come, for the log; once.
    pub fn take_failure(&self) -> Option<String> {
        self.state.borrow_mut().failure.take()
    }
}

impl State {
    fn new(prepared: Prepared) -> Self {
        Self {
            prepared,
            deadline: None,
            connection: None,
            pool: None,
            is_reused: false,
            lacks_alpn: false,
            is_finished: false,
            failure: None,
            events: VecDeque::new(),
            unsent: VecDeque::new(),
            output: Vec::new(),
        }
    }

    /// At least a millisecond, so that it can be waited for.
    fn remaining(&self) -> Option<Duration> {
        let deadline = self.deadline?;
        Some(deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)))
    }

    /// Drives the connection as far as it goes, and returns what is to be sent.
    fn advance(&mut self) -> Vec<u8> {
        let Some(mut connection) = self.connection.take() else { return Vec::new() };
        for (message, is_last) in self.unsent.drain(..) {
            connection.send_data(message, is_last);
        }
        while !self.is_finished
            && let Some(part) = connection.next_event()
        {
            self.take_in(part, connection.has_received());
        }
        // An answer may be over before its exchange is.
        if self.is_finished && !connection.is_reusable() {
            connection.cancel();
        }
        let mut output = std::mem::take(&mut self.output);
        output.append(&mut connection.take_output());
        self.connection = Some(connection);
        output
    }

    fn take_in(&mut self, part: Part, is_answered: bool) {
        if let Part::Failed(error @ (Error::Http1 | Error::Closed)) = &part
            && self.lacks_alpn
            && !is_answered
        {
            let message = format!("{error}; HTTP/2 was not offered by ALPN, which this ngx_lua does not have");
            return self.fail(Reason::TlsHandshake, &message);
        }
        for event in self.prepared.answer.take_in(part) {
            self.is_finished = self.is_finished || event.is_last();
            if let Event::HttpFailure(failure) = &event {
                self.failure = Some(failure.message.clone());
            }
            self.events.push_back(event);
        }
    }

    fn next(&mut self) -> Next {
        let is_reusable = self.connection.as_mut().is_some_and(Connection::is_reusable);
        match (self.is_finished, is_reusable) {
            (false, _) => Next::Receive,
            (true, true) => Next::Keep,
            (true, false) => Next::Close,
        }
    }

    /// Whether the server closed a kept connection before it saw the request, most likely.
    fn may_retry(&self) -> bool {
        let has_received = self.connection.as_ref().is_some_and(Connection::has_received);
        self.is_reused && !self.is_finished && self.prepared.is_idempotent && !has_received
    }

    fn retry(&mut self) -> Next {
        self.connection = None;
        Next::Retry
    }

    fn fail(&mut self, reason: Reason, message: &str) {
        if !self.is_finished {
            self.is_finished = true;
            self.failure = Some(message.to_owned());
            self.events.push_back(self.prepared.answer.failure(reason, message));
        }
    }
}
