//! Request bodies.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};

/// The body of a request.
#[derive(Clone, Debug)]
pub enum Body {
    /// All of it is known.
    Whole {
        /// The body, which may be empty.
        bytes: Bytes,
        /// Names and values of the fields after it. Those that RFC 9110 §6.5.1 bars from trailers are dropped.
        trailers: Vec<(Vec<u8>, Vec<u8>)>,
    },
    /// It follows in pieces: [`Connection::send_data`](crate::Connection::send_data).
    Streamed,
}

impl Body {
    /// No body.
    pub fn empty() -> Self {
        Self::whole(Bytes::new())
    }

    /// A body without trailers.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole { bytes: bytes.into(), trailers: Vec::new() }
    }
}

/// What a streamed body still has to send.
#[derive(Default)]
pub(crate) struct Stream {
    pieces: VecDeque<Bytes>,
    ended: bool,
    waker: Option<Waker>,
}

impl Stream {
    /// In bytes.
    pub(crate) fn len(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }

    /// Nothing follows once it has ended.
    pub(crate) fn push(&mut self, data: Bytes, end: bool) {
        if self.ended {
            return;
        }
        if !data.is_empty() {
            self.pieces.push_back(data);
        }
        self.ended = end;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// A body as hyper takes it.
pub(crate) enum Outgoing {
    Whole {
        bytes: Bytes,
        trailers: Option<HeaderMap>,
    },
    Streamed {
        stream: Rc<RefCell<Stream>>,
        /// Before it has begun, hyper must not take it for no body at all.
        begun: bool,
    },
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole { bytes, trailers } => Poll::Ready(if bytes.is_empty() {
                trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))
            } else {
                Some(Ok(Frame::data(std::mem::take(bytes))))
            }),
            Self::Streamed { stream, begun } => {
                *begun = true;
                let mut stream = stream.borrow_mut();
                match stream.pieces.pop_front() {
                    Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
                    None if stream.ended => Poll::Ready(None),
                    None => {
                        stream.waker = Some(context.waker().clone());
                        Poll::Pending
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole { bytes, trailers } => bytes.is_empty() && trailers.is_none(),
            Self::Streamed { stream, begun } => {
                let stream = stream.borrow();
                *begun && stream.ended && stream.pieces.is_empty()
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole { bytes, trailers: None } => SizeHint::with_exact(bytes.len() as u64),
            _ => SizeHint::default(),
        }
    }
}
