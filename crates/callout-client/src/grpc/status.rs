//! How a call ended.

use http::HeaderMap;

use crate::Error;

/// How a call ended: a code with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// 0 to 16 as [gRPC has them](https://github.com/grpc/grpc/blob/master/doc/statuscodes.md), or another that the peer sent
    pub code: u32,
    /// What the peer says, or what went wrong here
    pub message: String,
}

impl Status {
    /// The call succeeded.
    pub const OK: u32 = 0;
    /// The call was cancelled.
    pub const CANCELLED: u32 = 1;
    /// The peer gave no status, or none that is known.
    pub const UNKNOWN: u32 = 2;
    /// The caller may not do that.
    pub const PERMISSION_DENIED: u32 = 7;
    /// Something is used up, or too large.
    pub const RESOURCE_EXHAUSTED: u32 = 8;
    /// The peer has no such method.
    pub const UNIMPLEMENTED: u32 = 12;
    /// The protocol was broken.
    pub const INTERNAL: u32 = 13;
    /// The peer cannot be reached now.
    pub const UNAVAILABLE: u32 = 14;
    /// It is not known who the caller is.
    pub const UNAUTHENTICATED: u32 = 16;

    /// A status with its text.
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// That of an answer which has none of its own, by [gRPC's
    /// table](https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md).
    pub fn from_http(status: u16) -> Self {
        let code = match status {
            400 => Self::INTERNAL,
            401 => Self::UNAUTHENTICATED,
            403 => Self::PERMISSION_DENIED,
            404 => Self::UNIMPLEMENTED,
            429 | 502 | 503 | 504 => Self::UNAVAILABLE,
            _ => Self::UNKNOWN,
        };
        Self::new(code, format!("HTTP status {status} without grpc-status"))
    }

    /// That of an exchange that failed: of resets by the protocol's table, of everything else `UNAVAILABLE`.
    pub fn from_error(error: &Error) -> Self {
        let code = match error {
            Error::Reset(code) => Self::from_reset(*code),
            _ => Self::UNAVAILABLE,
        };
        Self::new(code, error.to_string())
    }

    fn from_reset(code: u32) -> u32 {
        match h2::Reason::from(code) {
            h2::Reason::REFUSED_STREAM => Self::UNAVAILABLE,
            h2::Reason::CANCEL => Self::CANCELLED,
            h2::Reason::ENHANCE_YOUR_CALM => Self::RESOURCE_EXHAUSTED,
            h2::Reason::INADEQUATE_SECURITY => Self::PERMISSION_DENIED,
            _ => Self::INTERNAL,
        }
    }

    /// `grpc-status` and `grpc-message`; `None` without the former.
    pub fn from_trailers(trailers: &HeaderMap) -> Option<Self> {
        let code = trailers.get("grpc-status")?.as_bytes();
        let Some(code) = parse_code(code) else {
            let text = format!("grpc-status \"{}\" is not a number", code.escape_ascii());
            return Some(Self::new(Self::UNKNOWN, text));
        };
        let message = trailers.get("grpc-message").map(|message| decode_percent(message.as_bytes()));
        Some(Self::new(code, message.unwrap_or_default()))
    }
}

fn parse_code(digits: &[u8]) -> Option<u32> {
    let is_number = digits.iter().all(u8::is_ascii_digit);
    if is_number { str::from_utf8(digits).ok()?.parse().ok() } else { None }
}

/// What is no escape stays as it is; what is not UTF-8 is replaced.
fn decode_percent(mut text: &[u8]) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    while let Some((&byte, rest)) = text.split_first() {
        let escaped = (byte == b'%').then(|| rest.split_first_chunk::<2>()).flatten();
        let escaped = escaped.and_then(|(digits, rest)| Some((parse_byte(*digits)?, rest)));
        let (byte, rest) = escaped.unwrap_or((byte, rest));
        decoded.push(byte);
        text = rest;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn parse_byte(digits: [u8; 2]) -> Option<u8> {
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    u8::try_from(high? * 16 + low?).ok()
}
