//! Exchanges with a server that sends what it likes, and the rules that hold for what comes of them.

use arbitrary::{Result, Unstructured};
use callout_client::{Body, Connection, Error, Event, Limits, Protocol, Request};
use http::HeaderMap;

/// More than HTTP/2 sends before the peer allows it.
static LARGE_BODY: [u8; 70_000] = [b'x'; 70_000];

/// What came of an exchange.
#[derive(Debug, Default, PartialEq)]
pub struct Answer {
    head: Option<(u16, HeaderMap)>,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
    end: Option<Result<(), Error>>,
}

impl Answer {
    /// Takes the events that there are; each must be allowed after those before it.
    pub fn take(&mut self, connection: &mut Connection) {
        while let Some(event) = connection.next_event() {
            assert!(self.end.is_none(), "{event:?} after the end");
            assert!(
                self.trailers.is_none() || matches!(event, Event::End | Event::Failed(_)),
                "{event:?} after trailers"
            );
            assert!(
                self.head.is_some() || matches!(event, Event::Head { .. } | Event::Failed(_)),
                "{event:?} before the head"
            );
            match event {
                Event::Head { status, headers } => {
                    assert!((200..=999).contains(&status) && self.head.is_none(), "{status} after {:?}", self.head);
                    self.head = Some((status, headers));
                }
                Event::Data(data) => {
                    assert!(!data.is_empty());
                    self.body.extend_from_slice(&data);
                }
                Event::Trailers(trailers) => self.trailers = Some(trailers),
                Event::End => self.end = Some(Ok(())),
                Event::Failed(error) => self.end = Some(Err(error)),
            }
        }
    }
}

/// How the client behaves while the server sends.
pub struct Client {
    pub protocol: Protocol,
    limits: Limits,
    request: Request,
    piece: usize,
    /// After this many pieces it loses patience.
    cancels_after: usize,
}

impl Client {
    /// Reads how it behaves.
    pub fn new(input: &mut Unstructured<'_>, protocol: Protocol) -> Result<Self> {
        let method = *input.choose(&[&b"GET"[..], b"POST", b"HEAD"])?;
        let body = match input.int_in_range(0..=3)? {
            0 => Body::Streamed,
            1 => Body::whole(&LARGE_BODY[..]),
            2 => Body::Whole { bytes: "body".into(), trailers: vec![(b"t".to_vec(), b"v".to_vec())] },
            _ => Body::empty(),
        };
        let headers: &[(&[u8], &[u8])] = &[(b"te", b"trailers")];
        let request = Request::new(method, "http", b"example.com", b"/path", headers, body).expect("it is correct");
        let limits = *input.choose(&[(100, 64 * 1024), (100, 64 * 1024), (3, 64 * 1024), (100, 100)])?;
        let piece = usize::from(input.arbitrary::<u8>()?) + 1;
        let cancels_after = usize::from(input.arbitrary::<u8>()?);
        let limits = Limits { headers: limits.0, head_size: limits.1 };
        Ok(Self { protocol, limits, request, piece, cancels_after })
    }

    /// Any answer comes to one end, and to the same one in pieces of any size. The connection is of use after an answer that
    /// leaves it so, and of none after its end.
    pub fn check(&self, bytes: &[u8]) {
        let mut connection = self.connect();
        let answer = self.ask(&mut connection, bytes, self.piece);
        if answer.end == Some(Ok(())) {
            let in_one_piece = self.ask(&mut self.connect(), bytes, usize::MAX);
            // It may fail: over HTTP/2 what is wrong with the connection counts more than an answer that nobody has taken.
            assert!(answer == in_one_piece || matches!(in_one_piece.end, Some(Err(_))), "{answer:?} {in_one_piece:?}");
        }
        if connection.is_reusable() {
            self.ask(&mut connection, bytes, self.piece);
        }
        self.check_end(&mut connection);
    }

    /// A connection that has sent its request.
    pub fn connect(&self) -> Connection {
        Connection::new(self.protocol, &self.limits)
    }

    fn ask(&self, connection: &mut Connection, bytes: &[u8], piece: usize) -> Answer {
        let mut answer = Answer::default();
        self.send(connection, bytes, piece, |connection| answer.take(connection));
        answer
    }

    /// Has the server answer with `bytes`, and calls `take` after each piece.
    pub fn send(&self, connection: &mut Connection, bytes: &[u8], piece: usize, mut take: impl FnMut(&mut Connection)) {
        connection.start(self.request.clone());
        connection.send_data("data".into(), false);
        take(connection);
        for (index, piece) in bytes.chunks(piece).enumerate() {
            if index == self.cancels_after {
                connection.cancel();
            }
            connection.receive(piece);
            take(connection);
            connection.take_output();
        }
    }

    fn check_end(&self, connection: &mut Connection) {
        let mut answer = Answer::default();
        connection.start(self.request.clone());
        connection.receive_end();
        answer.take(connection);
        assert!(matches!(answer.end, Some(Err(_))), "{answer:?}");
        assert!(!connection.is_reusable());
        connection.start(self.request.clone());
        assert!(matches!(connection.next_event(), Some(Event::Failed(Error::NotReusable))));
        assert!(connection.next_event().is_none());
    }
}

/// Frames of HTTP/2 of any kind, whose lengths are right, and among them bytes that are no frame.
pub fn frames(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while !input.is_empty() {
        let [kind, flags, stream, size] = input.arbitrary()?;
        let payload = input.bytes(usize::from(size).min(input.len()))?;
        if kind < 0x80 {
            bytes.extend_from_slice(&[0, 0, payload.len() as u8, kind, flags, 0, 0, 0, stream]);
        }
        bytes.extend_from_slice(payload);
    }
    Ok(bytes)
}
