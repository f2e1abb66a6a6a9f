//! The client of gRPC: messages, and what becomes of the events of an exchange.

use arbitrary::{Result, Unstructured};
use callout_client::{
    Error, Protocol,
    grpc::{Decoder, Event, Receiver, encode},
};
use http::{HeaderMap, HeaderValue};

use super::exchange::{Client, frames};

/// The first byte says what the rest is: frames of HTTP/2, events of an exchange, or the bytes of a body.
pub fn run(input: &[u8]) {
    let mut input = Unstructured::new(input);
    let _ = match input.arbitrary() {
        Ok(b'f') => take_frames(&mut input),
        Ok(b'b') => take_body(&mut input),
        _ => take_events(&mut input),
    };
}

/// The events of a call, which come in the documented order whatever happens.
struct Call {
    receiver: Receiver,
    most: usize,
    seen: usize,
    has_trailers: bool,
    is_closed: bool,
}

impl Call {
    fn new(input: &mut Unstructured<'_>) -> Result<Self> {
        let most = usize::from(input.arbitrary::<u8>()?);
        Ok(Self { receiver: Receiver::new(most), most, seen: 0, has_trailers: false, is_closed: false })
    }

    fn receive(&mut self, event: callout_client::Event) {
        let is_end = matches!(event, callout_client::Event::End | callout_client::Event::Failed(_));
        self.receiver.receive(event);
        while let Some(event) = self.receiver.next_event() {
            self.check(&event);
            self.seen += 1;
        }
        assert!(!is_end || self.is_closed);
    }

    fn check(&mut self, event: &Event) {
        assert!(!self.is_closed, "{event:?} after the close");
        assert!(!self.has_trailers || matches!(event, Event::Close(_)), "{event:?} after the trailers");
        match event {
            Event::InitialMetadata(_) => assert_eq!(self.seen, 0),
            Event::Message(message) => assert!(self.seen > 0 && message.len() <= self.most),
            Event::TrailingMetadata(_) => self.has_trailers = true,
            Event::Close(_) => self.is_closed = true,
        }
    }
}

fn take_frames(input: &mut Unstructured<'_>) -> Result<()> {
    let mut call = Call::new(input)?;
    let client = Client::new(input, Protocol::Http2)?;
    let mut connection = client.connect();
    client.send(&mut connection, &frames(input)?, 16, |connection| {
        while let Some(event) = connection.next_event() {
            call.receive(event);
        }
    });
    connection.receive_end();
    while let Some(event) = connection.next_event() {
        call.receive(event);
    }
    Ok(())
}

/// The events of an exchange, in an order in which a connection has them.
fn take_events(input: &mut Unstructured<'_>) -> Result<()> {
    let mut call = Call::new(input)?;
    call.receive(callout_client::Event::Head { status: input.int_in_range(200..=505)?, headers: headers(input)? });
    let mut has_trailers = false;
    while !input.is_empty() && !has_trailers {
        let size = usize::from(input.arbitrary::<u8>()?).min(input.len());
        has_trailers = size == 0xff;
        let event = match size {
            0xff => callout_client::Event::Trailers(headers(input)?),
            size => callout_client::Event::Data(bytes::Bytes::copy_from_slice(input.bytes(size)?)),
        };
        call.receive(event);
    }
    call.receive(match input.arbitrary()? {
        0 => callout_client::Event::Failed(Error::Closed),
        1 => callout_client::Event::Failed(Error::Reset(input.arbitrary()?)),
        _ => callout_client::Event::End,
    });
    call.receive(callout_client::Event::End);
    Ok(())
}

/// Those that mean something, with any values.
fn headers(input: &mut Unstructured<'_>) -> Result<HeaderMap> {
    const NAMES: [&str; 4] = ["content-type", "grpc-status", "grpc-message", "other"];
    let mut headers = HeaderMap::new();
    for _ in 0..input.int_in_range(0..=4)? {
        let name = *input.choose(&NAMES)?;
        let value = match input.int_in_range(0..=3)? {
            0 => &b"application/grpc"[..],
            1 => b"0",
            _ => {
                let size = usize::from(input.arbitrary::<u8>()?).min(input.len());
                input.bytes(size)?
            }
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    Ok(headers)
}

/// Messages are found in pieces of any size as in the whole, and what is encoded is decoded.
fn take_body(input: &mut Unstructured<'_>) -> Result<()> {
    let most = usize::from(input.arbitrary::<u8>()?);
    let piece = usize::from(input.arbitrary::<u8>()?) + 1;
    let body = input.bytes(input.len())?;
    assert_eq!(messages(body, most, piece), messages(body, most, usize::MAX));

    let encoded = [encode(body), encode(b"")].concat();
    assert_eq!(messages(&encoded, body.len(), piece), (vec![body.to_vec(), Vec::new()], Ok(true)));
    Ok(())
}

/// The messages in a body, and whether it ends with one; or why it could not be read further.
fn messages(body: &[u8], most: usize, piece: usize) -> (Vec<Vec<u8>>, std::result::Result<bool, u32>) {
    let mut decoder = Decoder::new(most);
    let mut messages = Vec::new();
    for piece in body.chunks(piece) {
        decoder.receive(piece);
        loop {
            match decoder.next_message() {
                Ok(Some(message)) => messages.push(message.to_vec()),
                Ok(None) => break,
                Err(status) => return (messages, Err(status.code)),
            }
        }
    }
    (messages, Ok(decoder.is_empty()))
}
