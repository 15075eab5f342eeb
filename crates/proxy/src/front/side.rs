//! The client's side of one exchange: bodies cross it plain, whatever their framing. Matched, never boxed;
//! a version of HTTP is one more variant.

use std::task::{Context, Poll};

use http1::{After, AnswerTo, Fault, ResponseHead};

use crate::buffer::{Buffer, LARGE};
use crate::date::DateLine;
use crate::front::h1::Client;
use crate::front::piece::Piece;
use crate::pages::{Form, LocalReply};
use crate::socket::Peer;
use crate::worker::Worker;

/// The client's side.
#[derive(Debug)]
pub(crate) enum ClientSide {
    H1(Client),
}

impl ClientSide {
    /// The client of a connection of HTTP/1.
    pub(crate) fn h1(&mut self) -> &mut Client {
        let Self::H1(client) = self;
        client
    }

    /// The bytes that the request's head was parsed from; until that is taken.
    pub(crate) fn head_bytes(&self) -> &[u8] {
        match self {
            Self::H1(client) => client.input.unread(),
        }
    }

    /// Whether the request's head has not been taken.
    pub(crate) fn has_head(&self) -> bool {
        match self {
            Self::H1(client) => client.has_head(),
        }
    }

    /// The request's head is not needed any more: what follows is the body.
    pub(crate) fn take_head(&mut self) {
        match self {
            Self::H1(client) => client.take_head(),
        }
    }

    /// How many bytes are kept that have come behind the head.
    pub(crate) fn behind_head(&self) -> usize {
        match self {
            Self::H1(client) => client.behind_head(),
        }
    }

    /// Whether there is anything to be read of what has come.
    pub(crate) fn has_input(&self) -> bool {
        match self {
            Self::H1(client) => !client.input.is_empty(),
        }
    }

    /// Whether more may come before what has come is read.
    pub(crate) fn has_input_room(&self) -> bool {
        match self {
            Self::H1(client) => client.input.len() < LARGE,
        }
    }

    /// Whether it sends nothing more; it may still read.
    pub(crate) fn has_ended(&self) -> bool {
        match self {
            Self::H1(client) => client.ended,
        }
    }

    /// Reads once. 0 if it sends nothing more.
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

    /// Reads on in the body, not more than so many bytes. What is read has to be taken whole.
    ///
    /// # Errors
    /// If nothing behind that point can be trusted.
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

    /// Trailer lines to pass on. Known when the body has ended.
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

    /// Tells the client to go on with its body.
    pub(crate) fn proceed(&mut self, worker: &Worker) {
        match self {
            Self::H1(client) => client.proceed(worker),
        }
    }

    /// Passes on the head of an answer, with whole field lines of our own. `bytes` is what was parsed.
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

    /// Passes on the first bytes of `from`, plain bytes of a body, and takes them from there.
    #[inline]
    pub(crate) fn data(&mut self, from: &mut Buffer, count: usize, worker: &Worker) {
        match self {
            Self::H1(client) => client.data(from, count, worker),
        }
    }

    /// Ends the body, with these trailer lines if there is a place for them.
    pub(crate) fn end(&mut self, trailers: &[u8], worker: &Worker) {
        match self {
            Self::H1(client) => client.end(trailers, worker),
        }
    }

    /// Gives an answer of our own, whole.
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

    /// How many bytes it has to read that are not written yet.
    pub(crate) fn unwritten(&self) -> usize {
        match self {
            Self::H1(client) => client.output.len(),
        }
    }

    /// Whether all is written that it has to read.
    pub(crate) fn is_flushed(&self) -> bool {
        self.unwritten() == 0
    }

    /// Nothing follows what is written now but the end.
    pub(crate) fn close_follows(&mut self) {
        match self {
            Self::H1(client) => client.stream.close_follows(),
        }
    }

    /// Writes what is to be written. Tells how much it took.
    pub(crate) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
    ) -> Poll<std::io::Result<usize>> {
        match self {
            Self::H1(client) => client.flush(cx, worker),
        }
    }

    /// Asks the kernel what it has done, whatever of it has been read.
    pub(crate) fn peer(&self) -> Peer {
        match self {
            Self::H1(client) => client.stream.peer(),
        }
    }

    /// What was written and it has not acknowledged, in bytes.
    pub(crate) fn unacknowledged(&self) -> u64 {
        match self {
            Self::H1(client) => client.stream.unacknowledged(),
        }
    }

    /// What it has got must not look whole.
    pub(crate) fn cut(&self) {
        match self {
            Self::H1(client) => client.stream.reset_on_close(),
        }
    }

    /// Whether nothing of what it sent is unread, and nothing comes.
    pub(crate) fn is_quiet(&self) -> bool {
        match self {
            Self::H1(client) => client.is_quiet(),
        }
    }

    /// Until when its leaving is not noticed, if it asked then; `None` if it is watched.
    pub(crate) fn unwatched_until_ms(&self, asked_ms: u64) -> Option<u64> {
        match self {
            Self::H1(client) => client.unwatched_until_ms(asked_ms),
        }
    }
}
