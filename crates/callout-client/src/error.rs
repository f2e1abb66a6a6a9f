//! What can be wrong with a request, and how an exchange can fail.

use std::error::Error as _;

/// Why a request cannot be sent. The text names the value and the rule that it breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRequest {
    /// The method is not a token (RFC 9110 §5.6.2).
    #[error("method \"{0}\" is not a token")]
    Method(String),
    /// CONNECT makes a tunnel, which is no exchange.
    #[error("method CONNECT makes a tunnel and cannot be sent")]
    Connect,
    /// The scheme is neither `http` nor `https`.
    #[error("scheme \"{0}\" is neither http nor https")]
    Scheme(String),
    /// The authority is not a host with an optional port (RFC 3986 §3.2), or has user information.
    #[error("authority \"{0}\" is not a host with an optional port")]
    Authority(String),
    /// The path is not an absolute path with an optional query (RFC 9112 §3.2.1), has a fragment or is too long.
    #[error("path \"{0}\" is not an absolute path with an optional query")]
    Path(String),
    /// A header name is not a token (RFC 9110 §5.1).
    #[error("header name \"{0}\" is not a token")]
    HeaderName(String),
    /// A header value has control characters (RFC 9110 §5.5).
    #[error("value \"{value}\" of header \"{name}\" has control characters")]
    HeaderValue {
        /// The header's name as it was given.
        name: String,
        /// The value, escaped.
        value: String,
    },
    /// There are more headers than a map of the `http` crate holds: about 24,000.
    #[error("{0} headers are too many")]
    TooManyHeaders(usize),
}

/// Why an exchange came to no answer, or to a part of one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An exchange was started on a connection that takes no more of them: see
    /// [`Connection::is_reusable`](crate::Connection::is_reusable). Nothing of it was sent.
    #[error("the connection takes no further exchange")]
    NotReusable,
    /// The peer closed the connection before the answer was complete.
    #[error("the peer closed the connection before the answer was complete")]
    Closed,
    /// The peer reset the stream (HTTP/2 RST_STREAM) with this code (RFC 9113 §7).
    #[error("the peer reset the stream with code {0}")]
    Reset(u32),
    /// The peer ended the connection (HTTP/2 GOAWAY) with this code (RFC 9113 §7) and does not answer this exchange.
    #[error("the peer ended the connection with code {0}")]
    GoAway(u32),
    /// The peer switched protocols (status 101), which nobody asked for.
    #[error("the peer switched protocols")]
    Switched,
    /// The peer of an HTTP/2 connection speaks HTTP/1.
    #[error("the peer speaks HTTP/1.1, not HTTP/2")]
    Http1,
    /// What the peer sent is not HTTP, not the protocol of this connection, or above [`Limits`](crate::Limits).
    #[error("the answer is malformed: {0}")]
    Malformed(String),
}

impl Error {
    /// What hyper says of an exchange on a connection which the peer has closed, or not (`closed`).
    pub(crate) fn from_hyper(error: &hyper::Error, closed: bool) -> Self {
        match error.source().and_then(|source| source.downcast_ref::<h2::Error>()) {
            Some(error) if error.is_remote() => return Self::from_peer(error),
            Some(error) if error.is_io() => return Self::Closed,
            _ if error.is_parse() => {}
            _ if error.is_incomplete_message() || closed => return Self::Closed,
            _ => {}
        }
        Self::Malformed(whole_text(error))
    }

    /// The answer has more headers or trailers than [`Limits`](crate::Limits) allow. hyper says the same in these words.
    pub(crate) fn too_large() -> Self {
        Self::Malformed("message head is too large".to_owned())
    }

    fn from_peer(error: &h2::Error) -> Self {
        let code = error.reason().map_or(0, u32::from);
        if error.is_go_away() { Self::GoAway(code) } else { Self::Reset(code) }
    }
}

/// The text of an error with those of its causes.
fn whole_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
