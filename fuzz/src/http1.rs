//! The client of HTTP/1.1.

use arbitrary::Unstructured;
use callout_client::Protocol;

use super::exchange::Client;

/// The input says how the client behaves, the rest is what the server sends.
pub fn run(input: &[u8]) {
    let mut input = Unstructured::new(input);
    if let Ok(client) = Client::new(&mut input, Protocol::Http1) {
        client.check(input.take_rest());
    }
}
