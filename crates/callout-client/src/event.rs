//! What comes of an exchange, and how much of it.

use bytes::Bytes;
use http::HeaderMap;

use crate::error::Error;

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
