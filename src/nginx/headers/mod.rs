//! Request and response headers, pseudo-headers among them, and the response's trailers.

pub mod framing;
pub mod request;
pub mod response;
pub mod trailers;
