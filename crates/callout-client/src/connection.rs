//! The client's end of one connection.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;

use crate::body::Stream;
use crate::error::Error;
use crate::machine::{Answer, Machine, Protocol};
use crate::pipe::Pipe;
use crate::request::Request;

/// How often hyper is polled while it asks for that and moves no bytes. It asks a few times at most; this is against endless
/// loops.
const QUIET_TURNS: u32 = 64;

/// What an answer may be at most.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Headers, and again trailers: their number.
    pub headers: usize,
    /// All headers, and again all trailers, in bytes. HTTP/1.1: with the status line. HTTP/2: RFC 9113 §6.5.2 says how they
    /// are counted.
    pub head_size: usize,
}

impl Limits {
    pub(crate) const HEADERS: usize = 100;
}

impl Default for Limits {
    /// 100 headers, 64 KiB.
    fn default() -> Self {
        Self { headers: Self::HEADERS, head_size: 64 * 1024 }
    }
}

/// What happens in an exchange, in this order: `Head`, any number of `Data`, `Trailers` if there are some, `End`. `Failed` can
/// come instead of any of them. Nothing comes after `End` or `Failed`.
#[derive(Debug)]
pub enum Event {
    /// The head of the answer. Interim ones (status 1xx) are skipped.
    Head {
        /// 200 to 999
        status: u16,
        /// As the peer sent them: those of HTTP/1.1's framing are among them. Names are in lower case.
        headers: HeaderMap,
    },
    /// A piece of the body, never empty.
    Data(Bytes),
    /// The fields after the body.
    Trailers(HeaderMap),
    /// The answer is complete.
    End,
    /// It will not be.
    Failed(Error),
}

/// The client's end of one connection: one exchange at a time, any number one after the other.
///
/// In a loop: take the events until there are none; send the output; stop after `End` or `Failed`; wait for what the peer
/// sends and hand it over. Over HTTP/2 the peer is held back while events are not taken.
pub struct Connection {
    protocol: Protocol,
    limits: Limits,
    pipe: Pipe,
    /// `None` once no exchange can follow.
    machine: Option<Machine>,
    exchange: Exchange,
    stream: Option<Rc<RefCell<Stream>>>,
    answered: bool,
    woken: Arc<Woken>,
    waker: Waker,
    moved: u64,
    quiet_turns: u32,
}

enum Exchange {
    None,
    Refused,
    AwaitsHead(Answer),
    ReadsBody(Incoming),
}

/// Set when hyper has more to do.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Connection {
    /// A connection on which nothing was sent yet.
    pub fn new(protocol: Protocol, limits: &Limits) -> Self {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let pipe = Pipe::default();
        Self {
            protocol,
            limits: limits.clone(),
            machine: Machine::new(protocol, limits, pipe.clone()),
            pipe,
            exchange: Exchange::None,
            stream: None,
            answered: false,
            waker: Waker::from(woken.clone()),
            woken,
            moved: 0,
            quiet_turns: 0,
        }
    }

    /// Begins an exchange. One that runs is given up first. Errors come as [`Event::Failed`].
    pub fn start(&mut self, request: Request) {
        self.cancel();
        self.answered = false;
        self.exchange = Exchange::Refused;
        if !self.is_ready() {
            return;
        }
        let Some(machine) = &mut self.machine else { return };
        let outbound = request.outbound(self.protocol);
        if self.protocol == Protocol::Http1
            && let Some(spelling) = outbound.spelling
        {
            self.pipe.spell(spelling);
        }
        self.stream = outbound.stream;
        self.exchange = Exchange::AwaitsHead(machine.send(outbound.request));
        self.wake();
        self.drive();
    }

    /// Takes what the peer sent.
    pub fn receive(&mut self, bytes: &[u8]) {
        if self.machine.is_none() || bytes.is_empty() {
            return;
        }
        self.answered |= self.protocol == Protocol::Http1 && self.is_running();
        self.pipe.receive(bytes);
        self.wake();
    }

    /// The peer has closed the connection: it sends nothing more.
    pub fn receive_end(&mut self) {
        self.pipe.receive_end();
        self.wake();
    }

    /// What is to be sent now; it may be empty.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.drive();
        self.pipe.take_output()
    }

    /// The next event of the exchange, or `None` until more bytes were received.
    pub fn next_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.poll_exchange() {
                return Some(event);
            }
            if !self.turn() {
                return self.fail_after_end();
            }
        }
    }

    /// Sends a piece of a body that is [`Body::Streamed`](crate::Body::Streamed), the last one if `end`; it may be empty. Does
    /// nothing when the exchange has ended or has no such body.
    pub fn send_data(&mut self, data: Bytes, end: bool) {
        if let Some(stream) = &self.stream {
            stream.borrow_mut().push(data, end);
        }
    }

    /// Gives up the exchange that runs: no more events come of it. Over HTTP/2 the peer is told, over HTTP/1.1 the connection
    /// is of no more use.
    pub fn cancel(&mut self) {
        if self.is_running() {
            self.abandon();
        }
        self.exchange = Exchange::None;
    }

    /// Whether another exchange can be started: none runs, and the peer keeps the connection open as far as is known. Over
    /// HTTP/1.1 that is not so after an answer with `connection: close`, one of HTTP/1.0, a body that only the end of the
    /// connection ends, bytes after the answer, or an answer to a request that was not yet sent whole; over HTTP/2 not after
    /// GOAWAY.
    pub fn is_reusable(&mut self) -> bool {
        matches!(self.exchange, Exchange::None) && self.is_ready()
    }

    /// Whether the peer has begun to answer the last exchange that was started. If it has not and the connection was used
    /// before, the peer may have closed it before the request came, and another connection is worth a try.
    ///
    /// Over HTTP/2 the other frames of a connection are no answer, nor is the refusal of a stream (REFUSED_STREAM), which says
    /// that nothing was done.
    pub fn has_received(&self) -> bool {
        self.answered
    }

    fn is_running(&self) -> bool {
        matches!(self.exchange, Exchange::AwaitsHead(_) | Exchange::ReadsBody(_))
    }

    fn is_ready(&mut self) -> bool {
        self.drive();
        let is_open = !self.pipe.input_has_ended() && !self.pipe.has_input();
        is_open && self.machine.as_ref().is_some_and(Machine::is_ready)
    }

    fn wake(&self) {
        self.woken.0.store(true, Ordering::Relaxed);
    }

    fn drive(&mut self) {
        while self.turn() {}
    }

    /// Polls the machine if that is of use, and says whether it was.
    fn turn(&mut self) -> bool {
        let moved = self.pipe.moved();
        self.quiet_turns = if moved == self.moved { self.quiet_turns + 1 } else { 0 };
        let is_of_use = self.woken.0.swap(false, Ordering::Relaxed) || moved != self.moved;
        self.moved = moved;
        if !is_of_use || self.quiet_turns > QUIET_TURNS {
            self.quiet_turns = 0;
            return false;
        }
        if let Some(machine) = &mut self.machine {
            machine.poll(&mut Context::from_waker(&self.waker));
        }
        true
    }

    fn poll_exchange(&mut self) -> Option<Event> {
        let mut context = Context::from_waker(&self.waker);
        match &mut self.exchange {
            Exchange::None => None,
            Exchange::Refused => {
                self.exchange = Exchange::None;
                Some(Event::Failed(Error::NotReusable))
            }
            Exchange::AwaitsHead(answer) => match answer.as_mut().poll(&mut context) {
                Poll::Ready(answer) => Some(self.take_head(answer)),
                Poll::Pending => None,
            },
            Exchange::ReadsBody(body) => match Pin::new(body).poll_frame(&mut context) {
                Poll::Ready(frame) => self.take_frame(frame),
                Poll::Pending => None,
            },
        }
    }

    fn take_head(&mut self, answer: hyper::Result<http::Response<Incoming>>) -> Event {
        let (head, body) = match answer {
            Ok(answer) => answer.into_parts(),
            Err(error) => return self.fail_by(&error),
        };
        self.answered = true;
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return self.fail(Error::Switched);
        }
        if head.headers.len() > self.limits.headers {
            return self.fail(Error::too_large());
        }
        self.exchange = Exchange::ReadsBody(body);
        Event::Head { status: head.status.as_u16(), headers: head.headers }
    }

    fn take_frame(&mut self, frame: Option<hyper::Result<Frame<Bytes>>>) -> Option<Event> {
        let frame = match frame {
            None => return Some(self.finish()),
            Some(Err(error)) => return Some(self.fail_by(&error)),
            Some(Ok(frame)) => frame,
        };
        match frame.into_data() {
            Ok(data) if data.is_empty() => {
                self.wake();
                None
            }
            Ok(data) => Some(Event::Data(data)),
            Err(frame) => match frame.into_trailers() {
                Ok(trailers) if trailers.len() > self.limits.headers => Some(self.fail(Error::too_large())),
                Ok(trailers) => Some(Event::Trailers(trailers)),
                Err(_) => None,
            },
        }
    }

    fn finish(&mut self) -> Event {
        self.exchange = Exchange::None;
        self.stream = None;
        if self.protocol == Protocol::Http2
            && let Some(machine) = &mut self.machine
        {
            machine.abandon_exchange();
        }
        self.wake();
        Event::End
    }

    /// Whatever hyper still waits for after the peer has closed does not come.
    fn fail_after_end(&mut self) -> Option<Event> {
        let is_over = self.pipe.input_has_ended() && !self.pipe.has_input();
        (is_over && self.is_running()).then(|| self.fail(Error::Closed))
    }

    fn fail_by(&mut self, error: &hyper::Error) -> Event {
        let error = Error::from_hyper(error, self.pipe.input_has_ended());
        self.answered |= matches!(error, Error::Reset(code) if code != u32::from(h2::Reason::REFUSED_STREAM));
        self.fail(error)
    }

    fn fail(&mut self, error: Error) -> Event {
        self.abandon();
        Event::Failed(error)
    }

    /// Ends the exchange, and over HTTP/1.1 the connection with it.
    fn abandon(&mut self) {
        self.exchange = Exchange::None;
        self.stream = None;
        if !self.machine.as_mut().is_some_and(Machine::abandon_exchange) {
            self.machine = None;
            self.pipe.clear();
        }
        self.wake();
    }
}
