//! gRPC over HTTP/2, by its [protocol](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).
//!
//! | item | what it does |
//! | --- | --- |
//! | [`request()`] | makes the request of a call |
//! | [`encode`], [`Decoder`] | messages with their length in front |
//! | [`Receiver`] | makes [`Event`]s of those of a [`Connection`](crate::Connection) |
//! | [`Status`] | how a call ended |
//!
//! A unary or server-streaming call sends its message as [`Body::whole`](crate::Body::whole), the other kinds send theirs with
//! [`Connection::send_data`](crate::Connection::send_data). How many messages come back is not checked. Messages are not
//! compressed.
//!
//! The values of metadata whose names end in `-bin` are passed as they are, both ways: in base64, as they are on the wire. Envoy
//! does the same, so guests expect it.

mod message;
mod receiver;
mod request;
mod status;

pub use message::{Decoder, encode};
pub use receiver::{Event, Receiver};
pub use request::request;
pub use status::Status;
