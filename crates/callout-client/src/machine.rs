//! hyper's clients for HTTP/1.1 and HTTP/2, polled by hand.

use std::cell::RefCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};

use crate::body::Outgoing;
use crate::event::Limits;
use crate::pipe::Pipe;

/// The smallest buffer for a head that hyper takes, in bytes.
const SMALLEST_HEAD: usize = 8 * 1024;
/// What the peer may send of one answer before somebody takes it, in bytes.
const STREAM_WINDOW: u32 = 1024 * 1024;
/// What the peer may send of all answers before somebody takes it, in bytes.
const CONNECTION_WINDOW: u32 = 2 * STREAM_WINDOW;

/// What a connection speaks. HTTP/2 is spoken with prior knowledge (RFC 9113 §3.3), or after TLS has agreed on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1
    Http1,
    /// HTTP/2
    Http2,
}

/// The answer's head, once it is there.
pub(crate) type Answer = Pin<Box<dyn Future<Output = hyper::Result<http::Response<Incoming>>>>>;

pub(crate) enum Machine {
    Http1 {
        /// `None` once it has ended.
        task: Option<Box<http1::Connection<Pipe, Outgoing>>>,
        sender: http1::SendRequest<Outgoing>,
    },
    Http2 {
        /// `None` once it has ended.
        task: Option<Box<http2::Connection<Pipe, Outgoing, Spawner>>>,
        sender: http2::SendRequest<Outgoing>,
        tasks: Tasks,
    },
}

impl Machine {
    pub(crate) fn new(protocol: Protocol, limits: &Limits, pipe: Pipe) -> Option<Self> {
        match protocol {
            Protocol::Http1 => Self::http1(limits, pipe),
            Protocol::Http2 => Self::http2(limits, pipe),
        }
    }

    fn http1(limits: &Limits, pipe: Pipe) -> Option<Self> {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(limits.head_size.max(SMALLEST_HEAD));
        builder.max_header_size(limits.head_size);
        if limits.headers != Limits::HEADERS {
            builder.max_headers(limits.headers);
        }
        let (sender, task) = now(builder.handshake(pipe))?.ok()?;
        Some(Self::Http1 { task: Some(Box::new(task)), sender })
    }

    fn http2(limits: &Limits, pipe: Pipe) -> Option<Self> {
        let tasks = Tasks::default();
        let handshake = http2::Builder::new(tasks.spawner())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(limits.head_size).unwrap_or(u32::MAX))
            .handshake(pipe);
        let (sender, task) = now(handshake)?.ok()?;
        Some(Self::Http2 { task: Some(Box::new(task)), sender, tasks })
    }

    /// Goes as far as it can.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) {
        match self {
            Self::Http1 { task, .. } => poll_task(task, context),
            Self::Http2 { task, tasks, .. } => {
                poll_task(task, context);
                tasks.poll(context);
            }
        }
    }

    pub(crate) fn send(&mut self, request: http::Request<Outgoing>) -> Answer {
        match self {
            Self::Http1 { sender, .. } => Box::pin(sender.send_request(request)),
            Self::Http2 { sender, .. } => Box::pin(sender.send_request(request)),
        }
    }

    /// Whether a request can be sent now.
    pub(crate) fn is_ready(&self) -> bool {
        match self {
            Self::Http1 { task, sender } => task.is_some() && sender.is_ready(),
            Self::Http2 { task, sender, .. } => task.is_some() && sender.is_ready(),
        }
    }

    /// Drops what belongs to the exchange, and says whether the connection lives on.
    pub(crate) fn abandon_exchange(&mut self) -> bool {
        match self {
            Self::Http1 { .. } => false,
            Self::Http2 { tasks, .. } => {
                tasks.keep_connection();
                true
            }
        }
    }
}

/// Takes a future that needs nothing from outside.
fn now<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Its result is of no interest: an exchange that it affects is told.
fn poll_task<F: Future + Unpin>(task: &mut Option<F>, context: &mut Context<'_>) {
    if task.as_mut().is_some_and(|task| Pin::new(task).poll(context).is_ready()) {
        *task = None;
    }
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// What hyper's HTTP/2 client spawns. The first is the connection's; the others are those of the exchange.
#[derive(Default)]
pub(crate) struct Tasks(Rc<RefCell<Vec<Option<Task>>>>);

/// Adds to the tasks, and does not keep them: some of them have one.
#[derive(Clone)]
pub(crate) struct Spawner(Weak<RefCell<Vec<Option<Task>>>>);

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Spawner {
    fn execute(&self, future: F) {
        if let Some(tasks) = self.0.upgrade() {
            tasks.borrow_mut().push(Some(Box::pin(future)));
        }
    }
}

impl Tasks {
    /// For those who spawn.
    pub(crate) fn spawner(&self) -> Spawner {
        Spawner(Rc::downgrade(&self.0))
    }

    /// Polls each once, also those that come up meanwhile.
    pub(crate) fn poll(&self, context: &mut Context<'_>) {
        let mut index = 0;
        while let Some(slot) = self.at(index) {
            let unfinished = slot.and_then(|mut task| task.as_mut().poll(context).is_pending().then_some(task));
            self.0.borrow_mut()[index] = unfinished;
            index += 1;
        }
        self.trim();
    }

    /// Takes a task out, so that it can spawn others while it is polled.
    fn at(&self, index: usize) -> Option<Option<Task>> {
        self.0.borrow_mut().get_mut(index).map(Option::take)
    }

    /// Forgets what has finished; the connection's place stays.
    fn trim(&self) {
        let mut index = 0;
        self.0.borrow_mut().retain(|task| {
            index += 1;
            index == 1 || task.is_some()
        });
    }

    fn keep_connection(&self) {
        let dropped = self.0.borrow_mut().split_off(1);
        drop(dropped);
    }
}
