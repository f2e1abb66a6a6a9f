//! Request and response headers, pseudo-headers among them, and the response's trailers.

#[allow(dead_code, reason = "the maps of requests and responses begin to use it")]
pub mod framing;
pub mod request;
pub mod response;
pub mod trailers;
