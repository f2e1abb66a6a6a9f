//! The two byte queues that hyper takes for its socket.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use hyper::rt::{Read, ReadBufCursor, Write};

use crate::spelling::Spelling;

/// One end is hyper's: it reads and writes. The other is the connection's. Nobody is woken: the connection polls hyper
/// whenever it has put something in.
#[derive(Clone, Default)]
pub(crate) struct Pipe(Rc<RefCell<Queues>>);

#[derive(Default)]
struct Queues {
    input: BytesMut,
    input_ended: bool,
    output: Vec<u8>,
    /// How the request head that begins at this offset of the output is spelled.
    spelling: Option<(usize, Spelling)>,
    moved: u64,
}

impl Pipe {
    pub(crate) fn receive(&self, bytes: &[u8]) {
        self.0.borrow_mut().input.extend_from_slice(bytes);
    }

    pub(crate) fn receive_end(&self) {
        self.0.borrow_mut().input_ended = true;
    }

    pub(crate) fn has_input(&self) -> bool {
        !self.0.borrow().input.is_empty()
    }

    pub(crate) fn input_has_ended(&self) -> bool {
        self.0.borrow().input_ended
    }

    /// A number that changes whenever hyper takes or gives bytes.
    pub(crate) fn moved(&self) -> u64 {
        self.0.borrow().moved
    }

    /// The next thing that hyper writes is a request head, which is to be spelled like this.
    pub(crate) fn spell(&self, spelling: Spelling) {
        let mut queues = self.0.borrow_mut();
        queues.spelling = Some((queues.output.len(), spelling));
    }

    pub(crate) fn take_output(&self) -> Vec<u8> {
        let mut queues = self.0.borrow_mut();
        let mut output = std::mem::take(&mut queues.output);
        if !output.is_empty()
            && let Some((offset, spelling)) = queues.spelling.take()
        {
            spelling.write_over(&mut output[offset..]);
        }
        output
    }

    /// Forgets what was to be read and sent.
    pub(crate) fn clear(&self) {
        let mut queues = self.0.borrow_mut();
        *queues = Queues { input_ended: queues.input_ended, moved: queues.moved, ..Queues::default() };
    }
}

impl Read for Pipe {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, mut buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let mut queues = self.0.borrow_mut();
        let length = buffer.remaining().min(queues.input.len());
        if length == 0 && !queues.input_ended {
            return Poll::Pending;
        }
        buffer.put_slice(&queues.input[..length]);
        queues.input.advance(length);
        queues.moved += length as u64;
        Poll::Ready(Ok(()))
    }
}

impl Write for Pipe {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut queues = self.0.borrow_mut();
        queues.output.extend_from_slice(bytes);
        queues.moved += bytes.len() as u64;
        Poll::Ready(Ok(bytes.len()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut queues = self.0.borrow_mut();
        let length = slices.iter().map(|slice| slice.len()).sum();
        queues.output.reserve(length);
        slices.iter().for_each(|slice| queues.output.extend_from_slice(slice));
        queues.moved += length as u64;
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
