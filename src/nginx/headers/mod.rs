//! Request and response headers, pseudo-headers among them.

pub mod request;
pub mod response;
