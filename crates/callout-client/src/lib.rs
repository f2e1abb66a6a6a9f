//! HTTP/1.1, HTTP/2 and gRPC clients without sockets: hyper's state machines over an in-memory pipe. Whoever uses them moves
//! the bytes.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`Request`] | what is asked, checked when it is made |
//! | [`Connection`] | the client's end of one connection: bytes in, bytes out, [`Event`]s |
//! | `driver` | polls a machine as long as that is of use |
//! | `machine` | hyper's clients for HTTP/1.1 and HTTP/2, polled by hand |
//! | `pipe` | the two byte queues that hyper takes for its socket |
//! | `spelling` | upper case letters in header names, which hyper does not keep |
//! | [`grpc`] | messages, requests and statuses of gRPC over all that |
//!
//! Nothing here blocks, waits, has a clock, or needs a runtime. A connection belongs to one thread.
//!
//! ```
//! use callout_client::{Body, Connection, Event, Limits, Protocol, Request};
//!
//! let request = Request::new(b"GET", "http", b"example.com", b"/", &[(b"accept", b"*/*")], Body::empty())?;
//! let mut connection = Connection::new(Protocol::Http1, &Limits::default());
//! connection.start(request);
//! assert_eq!(connection.take_output(), b"GET / HTTP/1.1\r\nhost: example.com\r\naccept: */*\r\n\r\n");
//! connection.receive(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi");
//! assert!(matches!(connection.next_event(), Some(Event::Head { status: 200, .. })));
//! assert!(matches!(connection.next_event(), Some(Event::Data(data)) if data == "hi"));
//! assert!(matches!(connection.next_event(), Some(Event::End)));
//! assert!(connection.is_reusable());
//! # Ok::<(), callout_client::InvalidRequest>(())
//! ```

#![forbid(unsafe_code)]

mod body;
mod connection;
mod driver;
mod error;
mod event;
pub mod grpc;
mod machine;
mod pipe;
mod request;
mod spelling;
#[cfg(test)]
mod tests;

pub use body::Body;
pub use connection::Connection;
pub use error::{Error, InvalidRequest};
pub use event::{Event, Limits};
pub use machine::Protocol;
pub use request::Request;
