//! The client's side of one exchange. Bodies pass through it without framing. The enum is matched, never
//! boxed; each version of HTTP is a variant.

use std::task::{Context, Poll};

use http1::{After, AnswerTo, Fault, ResponseHead};

use crate::buffer::{Buffer, LARGE};
use crate::date::DateLine;
use crate::front::h1::Client;
use crate::front::piece::Piece;
use crate::pages::{Form, LocalReply};
use crate::socket::Peer;
use crate::worker::Worker;

/// The client's side of one exchange.
#[derive(Debug)]
pub(crate) enum ClientSide {
    H1(Client),
}

impl ClientSide {
    /// Returns the client of an HTTP/1 connection.
    pub(crate) fn h1(&mut self) -> &mut Client {
        let Self::H1(client) = self;
        client
    }

    /// Returns the bytes that the request's head was parsed from, until the head is taken.
    pub(crate) fn head_bytes(&self) -> &[u8] {
        match self {
            Self::H1(client) => client.input.unread(),
        }
    }

    /// Returns whether the request's head has not been taken.
    pub(crate) fn has_head(&self) -> bool {
        match self {
            Self::H1(client) => client.has_head(),
        }
    }

    /// Takes the request's head, which is not needed any more. The body follows.
    pub(crate) fn take_head(&mut self) {
        match self {
            Self::H1(client) => client.take_head(),
        }
    }

    /// Returns how many bytes behind the head are kept.
    pub(crate) fn behind_head(&self) -> usize {
        match self {
            Self::H1(client) => client.behind_head(),
        }
    }

    /// Returns whether there is input that has not been read.
    pub(crate) fn has_input(&self) -> bool {
        match self {
            Self::H1(client) => !client.input.is_empty(),
        }
    }

    /// Returns whether there is room for more input before the present one is read.
    pub(crate) fn has_input_room(&self) -> bool {
        match self {
            Self::H1(client) => client.input.len() < LARGE,
        }
    }

    /// Returns whether the client sends nothing more. It may still read.
    pub(crate) fn has_ended(&self) -> bool {
        match self {
            Self::H1(client) => client.ended,
        }
    }

    /// Reads once. Returns 0 if the client sends nothing more.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
    ) -> Poll<std::io::Result<usize>> {
        match self {
            Self::H1(client) => {
                let read = client.read(cx, worker);
                client.ended |= matches!(read, Poll::Ready(Ok(0)));
                read
            }
        }
    }

    /// Reads the next piece of the body, at most `most` bytes. The caller must take the whole piece.
    ///
    /// # Errors
    /// If the body is malformed: nothing behind that point can be trusted.
    #[inline]
    pub(crate) fn body(&mut self, most: usize) -> Result<Piece<'_>, Fault> {
        match self {
            Self::H1(client) => client.body(most),
        }
    }

    /// Takes a piece that was read, by its length with all framing.
    pub(crate) fn took(&mut self, taken: usize) {
        match self {
            Self::H1(client) => client.took(taken),
        }
    }

    /// Returns the trailer lines to pass on. Known when the body has ended.
    pub(crate) fn trailers(&self) -> &[u8] {
        match self {
            Self::H1(client) => client.trailers(),
        }
    }

    /// Passes on an interim head.
    pub(crate) fn interim(
        &mut self,
        head: &ResponseHead,
        bytes: &[u8],
        to: AnswerTo,
        worker: &Worker,
    ) {
        match self {
            Self::H1(client) => client.interim(head, bytes, to, worker),
        }
    }

    /// Asks the client to send its body.
    pub(crate) fn proceed(&mut self, worker: &Worker) {
        match self {
            Self::H1(client) => client.proceed(worker),
        }
    }

    /// Passes on the head of an answer, with added field lines that are already complete. `bytes` is the
    /// input that the head was parsed from.
    #[inline]
    pub(crate) fn head(
        &mut self,
        head: &ResponseHead,
        bytes: &[u8],
        how: (AnswerTo, After),
        added: &[u8],
        worker: &Worker,
    ) {
        match self {
            Self::H1(client) => client.head(head, bytes, how, added, worker),
        }
    }

    /// Moves the first `count` bytes of `from`, plain bytes of a body, to the client.
    #[inline]
    pub(crate) fn data(&mut self, from: &mut Buffer, count: usize, worker: &Worker) {
        match self {
            Self::H1(client) => client.data(from, count, worker),
        }
    }

    /// Ends the body, with these trailer lines if the framing has a place for them.
    pub(crate) fn end(&mut self, trailers: &[u8], worker: &Worker) {
        match self {
            Self::H1(client) => client.end(trailers, worker),
        }
    }

    /// Writes a complete answer of the proxy itself.
    pub(crate) fn reply(
        &mut self,
        reply: &LocalReply<'_>,
        form: Form,
        date: &DateLine,
        worker: &Worker,
    ) {
        match self {
            Self::H1(client) => client.reply(reply, form, date, worker),
        }
    }

    /// Returns how many bytes for the client are not written yet.
    pub(crate) fn unwritten(&self) -> usize {
        match self {
            Self::H1(client) => client.output.len(),
        }
    }

    /// Returns whether all bytes for the client are written.
    pub(crate) fn is_flushed(&self) -> bool {
        self.unwritten() == 0
    }

    /// Notes that the connection ends after the bytes that are to be written now.
    pub(crate) fn close_follows(&mut self) {
        match self {
            Self::H1(client) => client.stream.close_follows(),
        }
    }

    /// Writes the output. Returns how many bytes the client took.
    pub(crate) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
    ) -> Poll<std::io::Result<usize>> {
        match self {
            Self::H1(client) => client.flush(cx, worker),
        }
    }

    /// Asks the kernel for the state of the client's side, whatever has been read of its input.
    pub(crate) fn peer(&self) -> Peer {
        match self {
            Self::H1(client) => client.stream.peer(),
        }
    }

    /// Returns how many written bytes the client has not acknowledged.
    pub(crate) fn unacknowledged(&self) -> u64 {
        match self {
            Self::H1(client) => client.stream.unacknowledged(),
        }
    }

    /// Makes sure that the client does not take a broken answer for a complete one.
    pub(crate) fn cut(&self) {
        match self {
            Self::H1(client) => client.stream.reset_on_close(),
        }
    }

    /// Returns whether all bytes from the client have been read and none are there to be read.
    pub(crate) fn is_quiet(&self) -> bool {
        match self {
            Self::H1(client) => client.is_quiet(),
        }
    }

    /// Returns until when the proxy does not notice that the client leaves, if its request came at
    /// `asked_ms`. `None` if the client's socket is watched.
    pub(crate) fn unwatched_until_ms(&self, asked_ms: u64) -> Option<u64> {
        match self {
            Self::H1(client) => client.unwatched_until_ms(asked_ms),
        }
    }
}
