//! The client's end of one connection.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body as _, Frame};
use hyper::body::Incoming;

use crate::body::Stream;
use crate::driver::Driver;
use crate::error::Error;
use crate::event::{Event, Limits};
use crate::machine::{Answer, Protocol};
use crate::request::Request;

/// The client's end of one connection: one exchange at a time, any number one after the other.
///
/// In a loop: take the events until there are none; send the output; stop after `End` or `Failed`; wait for what the peer
/// sends and hand it over. Over HTTP/2 the peer is held back while events are not taken.
pub struct Connection {
    protocol: Protocol,
    limits: Limits,
    driver: Driver,
    exchange: Exchange,
    stream: Option<Rc<RefCell<Stream>>>,
    answered: bool,
    /// The first bytes that were received are those of an answer of HTTP/1; `None` before they come.
    speaks_http1: Option<bool>,
}

enum Exchange {
    None,
    Refused,
    AwaitsHead(Answer),
    ReadsBody(Incoming),
}

impl Connection {
    /// A connection on which nothing was sent yet.
    pub fn new(protocol: Protocol, limits: &Limits) -> Self {
        Self {
            protocol,
            limits: limits.clone(),
            driver: Driver::new(protocol, limits),
            exchange: Exchange::None,
            stream: None,
            answered: false,
            speaks_http1: None,
        }
    }

    /// Begins an exchange. One that runs is given up first. Errors come as [`Event::Failed`].
    pub fn start(&mut self, request: Request) {
        self.cancel();
        self.answered = false;
        self.exchange = Exchange::Refused;
        if !self.driver.is_ready() {
            return;
        }
        let Some(machine) = &mut self.driver.machine else { return };
        let outbound = request.outbound(self.protocol);
        if self.protocol == Protocol::Http1
            && let Some(spelling) = outbound.spelling
        {
            self.driver.pipe.spell(spelling);
        }
        self.stream = outbound.stream;
        self.exchange = Exchange::AwaitsHead(machine.send(outbound.request));
        self.driver.wake();
        self.driver.run();
    }

    /// Takes what the peer sent.
    pub fn receive(&mut self, bytes: &[u8]) {
        if self.driver.machine.is_none() || bytes.is_empty() {
            return;
        }
        self.answered |= self.protocol == Protocol::Http1 && self.is_running();
        self.speaks_http1.get_or_insert_with(|| bytes.starts_with(b"HTTP/1."));
        self.driver.pipe.receive(bytes);
        self.driver.wake();
    }

    /// The peer has closed the connection: it sends nothing more.
    pub fn receive_end(&mut self) {
        self.driver.pipe.receive_end();
        self.driver.wake();
    }

    /// What is to be sent now; it may be empty.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.driver.run();
        self.driver.pipe.take_output()
    }

    /// The next event of the exchange, or `None` until more bytes were received.
    pub fn next_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.poll_exchange() {
                self.driver.count_as_moved();
                return Some(event);
            }
            if !self.driver.turn() {
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

    /// How many bytes of a body that is [`Body::Streamed`](crate::Body::Streamed) wait for the peer to take them.
    pub fn unsent(&self) -> usize {
        self.stream.as_ref().map_or(0, |stream| stream.borrow().len())
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
        matches!(self.exchange, Exchange::None) && self.driver.is_ready()
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

    fn poll_exchange(&mut self) -> Option<Event> {
        let mut context = self.driver.context();
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
            Exchange::ReadsBody(body) => match poll_frame(body, &mut context) {
                Poll::Ready(frame) => Some(self.take_frame(frame)),
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

    fn take_frame(&mut self, frame: Option<hyper::Result<Frame<Bytes>>>) -> Event {
        let frame = match frame {
            None => return self.finish(),
            Some(Err(error)) => return self.fail_by(&error),
            Some(Ok(frame)) => frame,
        };
        match frame.into_data().map_err(|frame| frame.into_trailers().unwrap_or_default()) {
            Ok(data) => Event::Data(data),
            Err(trailers) if trailers.len() > self.limits.headers => self.fail(Error::too_large()),
            Err(trailers) => Event::Trailers(trailers),
        }
    }

    fn finish(&mut self) -> Event {
        self.exchange = Exchange::None;
        self.stream = None;
        if self.protocol == Protocol::Http2 {
            self.driver.abandon_exchange();
        }
        self.driver.wake();
        Event::End
    }

    /// Whatever hyper still waits for after the peer has closed does not come.
    fn fail_after_end(&mut self) -> Option<Event> {
        let is_over = self.driver.pipe.input_has_ended() && !self.driver.pipe.has_input();
        (is_over && self.is_running()).then(|| self.fail(Error::Closed))
    }

    fn fail_by(&mut self, error: &hyper::Error) -> Event {
        let error = match Error::from_hyper(error, self.driver.pipe.input_has_ended()) {
            Error::Malformed(_) if self.protocol == Protocol::Http2 && self.speaks_http1 == Some(true) => Error::Http1,
            error => error,
        };
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
        self.driver.abandon_exchange();
    }
}

/// The next frame that is not empty: HTTP/2 has empty ones.
fn poll_frame(body: &mut Incoming, context: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
    loop {
        let frame = ready!(Pin::new(&mut *body).poll_frame(context));
        if !matches!(&frame, Some(Ok(frame)) if frame.data_ref().is_some_and(Bytes::is_empty)) {
            return Poll::Ready(frame);
        }
    }
}
