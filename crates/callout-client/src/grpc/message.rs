//! Messages with their length in front.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::status::Status;

/// One byte says whether the message is compressed, four are its length.
const PREFIX: usize = 5;

/// A message as it is sent, uncompressed.
///
/// # Panics
///
/// If the message has 4 GiB or more.
pub fn encode(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("a message has less than 4 GiB");
    let mut encoded = BytesMut::with_capacity(PREFIX + message.len());
    encoded.put_u8(0);
    encoded.put_u32(length);
    encoded.put_slice(message);
    encoded.freeze()
}

/// Finds the messages in the bytes of a body.
#[derive(Debug)]
pub struct Decoder {
    max_message: usize,
    received: BytesMut,
}

impl Decoder {
    /// Messages have at most `max_message` bytes.
    pub fn new(max_message: usize) -> Self {
        Self { max_message, received: BytesMut::new() }
    }

    /// Takes the next piece of the body.
    pub fn receive(&mut self, data: &[u8]) {
        self.received.extend_from_slice(data);
    }

    /// The next message that has come whole.
    ///
    /// # Errors
    ///
    /// `RESOURCE_EXHAUSTED` for a message that is too long, as soon as its length is known. `INTERNAL` for one that is
    /// compressed, which was not offered to the peer. Nothing can be decoded after either.
    pub fn next_message(&mut self) -> Result<Option<Bytes>, Status> {
        let Some((&[flag, ref length @ ..], rest)) = self.received.split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        if flag != 0 {
            return Err(Status::new(Status::INTERNAL, "the message is compressed, which is not supported"));
        }
        let length = u32::from_be_bytes(*length) as usize;
        if length > self.max_message {
            let text = format!("the message has {length} bytes, at most {} are allowed", self.max_message);
            return Err(Status::new(Status::RESOURCE_EXHAUSTED, text));
        }
        if rest.len() < length {
            return Ok(None);
        }
        self.received.advance(PREFIX);
        Ok(Some(self.received.split_to(length).freeze()))
    }

    /// Whether all bytes so far belong to whole messages, once [`next_message`](Self::next_message) has given them.
    pub fn is_empty(&self) -> bool {
        self.received.is_empty()
    }
}
