//! Tests against hyper's servers, and against bytes.

mod garbage;
mod grpc;
mod http1;
mod http2;
mod request;
mod server;

use bytes::Bytes;
use http::HeaderMap;

use crate::{Body, Connection, Error, Event, Limits, Protocol, Request};
use server::Server;

type Headers<'a> = &'a [(&'a [u8], &'a [u8])];

fn request(method: &str, headers: Headers, body: Body) -> Request {
    Request::new(method.as_bytes(), "http", b"example.com", b"/path?query", headers, body).unwrap()
}

fn connection(protocol: Protocol) -> Connection {
    Connection::new(protocol, &Limits::default())
}

/// What came of an exchange.
#[derive(Debug, Default)]
struct Outcome {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: HeaderMap,
    ended: bool,
    error: Option<Error>,
}

impl Outcome {
    fn is_over(&self) -> bool {
        self.ended || self.error.is_some()
    }

    /// Takes all events there are, and checks their order.
    fn take(&mut self, connection: &mut Connection) {
        while let Some(event) = connection.next_event() {
            assert!(!self.is_over(), "{event:?} after the end");
            match event {
                Event::Head { status, headers } => {
                    assert_eq!(self.status, 0, "a second head");
                    (self.status, self.headers) = (status, headers);
                }
                Event::Data(data) => {
                    assert!(self.status != 0 && !data.is_empty());
                    self.body.extend_from_slice(&data);
                }
                Event::Trailers(trailers) => self.trailers = trailers,
                Event::End => self.ended = true,
                Event::Failed(error) => self.error = Some(error),
            }
        }
    }
}

/// Moves the bytes between a client and a server until the exchange is over or nothing moves; those for the client in pieces
/// of a size.
fn exchange(connection: &mut Connection, server: &mut Server, piece: usize) -> Outcome {
    let mut outcome = Outcome::default();
    loop {
        outcome.take(connection);
        let sent = connection.take_output();
        server.receive(&sent);
        if outcome.is_over() {
            return outcome;
        }
        let answer = server.take_output();
        if sent.is_empty() && answer.is_empty() {
            return outcome;
        }
        for piece in answer.chunks(piece) {
            connection.receive(piece);
            outcome.take(connection);
        }
    }
}

/// Feeds an answer in pieces of a size, then perhaps the end.
fn answer(connection: &mut Connection, bytes: &[u8], piece: usize, end: bool) -> Outcome {
    let mut outcome = Outcome::default();
    for piece in bytes.chunks(piece) {
        connection.receive(piece);
        outcome.take(connection);
        connection.take_output();
    }
    if end {
        connection.receive_end();
    }
    outcome.take(connection);
    outcome
}

fn big_body() -> Bytes {
    (0..10 * 1024 * 1024u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}
