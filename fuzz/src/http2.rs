//! The client of HTTP/2.

use arbitrary::Unstructured;
use callout_client::Protocol;

use super::exchange::{Client, frames};

/// The input says how the client behaves, the rest is the frames that the server sends.
pub fn run(input: &[u8]) {
    let mut input = Unstructured::new(input);
    if let (Ok(client), Ok(frames)) = (Client::new(&mut input, Protocol::Http2), frames(&mut input)) {
        client.check(&frames);
    }
}
