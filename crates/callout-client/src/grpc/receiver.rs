//! A call's events.

use std::collections::VecDeque;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::message::Decoder;
use super::status::Status;

/// What happens in a call, in this order; `Close` is always there and the last.
#[derive(Debug)]
pub enum Event {
    /// The headers of the answer. Empty if the answer consists of trailers only.
    InitialMetadata(HeaderMap),
    /// A message.
    Message(Bytes),
    /// The trailers with `grpc-status` and `grpc-message` among them.
    TrailingMetadata(HeaderMap),
    /// The call has ended.
    Close(Status),
}

/// Makes events of a call of those of a [`Connection`](crate::Connection).
///
/// `Close` can come before the exchange has ended, for example when a message is too long: whoever does not want the rest
/// [cancels](crate::Connection::cancel) it.
#[derive(Debug)]
pub struct Receiver {
    decoder: Decoder,
    /// Those of an answer of trailers only come first.
    trailers: Option<HeaderMap>,
    is_closed: bool,
    events: VecDeque<Event>,
}

impl Receiver {
    /// Messages have at most `max_message` bytes.
    pub fn new(max_message: usize) -> Self {
        Self { decoder: Decoder::new(max_message), trailers: None, is_closed: false, events: VecDeque::new() }
    }

    /// Takes an event of the exchange. Nothing comes of those after `Close`.
    pub fn receive(&mut self, event: crate::Event) {
        if self.is_closed {
            return;
        }
        match event {
            crate::Event::Head { status, headers } => self.receive_head(status, headers),
            crate::Event::Data(data) => self.receive_data(&data),
            crate::Event::Trailers(trailers) => self.trailers = Some(trailers),
            crate::Event::End => self.receive_end(None),
            crate::Event::Failed(error) => self.receive_end(Some(Status::from_error(&error))),
        }
    }

    /// The next event of the call, or `None` until another one of the exchange was received.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn receive_head(&mut self, status: u16, headers: HeaderMap) {
        if headers.contains_key("grpc-status") {
            self.events.push_back(Event::InitialMetadata(HeaderMap::new()));
            self.trailers = Some(headers);
            return;
        }
        let fault = find_fault(status, &headers);
        self.events.push_back(Event::InitialMetadata(headers));
        if let Some(status) = fault {
            self.close(status);
        }
    }

    fn receive_data(&mut self, data: &[u8]) {
        if self.trailers.is_some() {
            self.close(Status::new(Status::INTERNAL, "messages follow a head with grpc-status"));
            return;
        }
        self.decoder.receive(data);
        loop {
            match self.decoder.next_message() {
                Ok(Some(message)) => self.events.push_back(Event::Message(message)),
                Ok(None) => return,
                Err(status) => return self.close(status),
            }
        }
    }

    /// A status that the peer gave counts more than that the exchange failed then.
    fn receive_end(&mut self, failure: Option<Status>) {
        let given = self.trailers.as_ref().and_then(Status::from_trailers);
        let status = match given.or(failure) {
            None => Status::new(Status::UNKNOWN, "the answer has no grpc-status"),
            Some(status) if status.code == Status::OK && !self.decoder.is_empty() => {
                Status::new(Status::INTERNAL, "the last message is incomplete")
            }
            Some(status) => status,
        };
        if let Some(trailers) = self.trailers.take() {
            self.events.push_back(Event::TrailingMetadata(trailers));
        }
        self.close(status);
    }

    fn close(&mut self, status: Status) {
        self.is_closed = true;
        self.events.push_back(Event::Close(status));
    }
}

/// What is wrong with a head that has no `grpc-status`.
fn find_fault(status: u16, headers: &HeaderMap) -> Option<Status> {
    if status != 200 {
        return Some(Status::from_http(status));
    }
    let content_type = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let suffix = content_type.strip_prefix(b"application/grpc").and_then(|suffix| match suffix {
        [] | [b'+' | b';' | b' ', ..] => Some(()),
        _ => None,
    });
    let text = || format!("content-type \"{}\" is not that of gRPC", content_type.escape_ascii());
    suffix.is_none().then(|| Status::new(Status::UNKNOWN, text()))
}
