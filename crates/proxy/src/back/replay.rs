//! A request as instances get it: its head, and the plain bytes of its body as far as they have come. Kept
//! from its first byte on while it may have to be sent again; never knows how a connection frames it.

use std::io;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

use crate::buffer::{AfterWrite, Buffer, LARGE, Stock};

/// A longer body is not kept for a second attempt, in bytes.
pub(crate) const REPLAY: usize = 64 << 10;
/// A head of a request that is kept takes no more beside it, in bytes.
const HEAD: usize = 32 << 10;

/// How long the body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// As the head says.
    Declared,
    /// As its end tells: it has to be framed.
    Open,
}

/// A request on its way.
#[derive(Debug)]
pub(crate) struct Replay {
    /// The head, then the body.
    bytes: Buffer,
    /// How many of the bytes are the head's; 0 once these are dropped.
    head: usize,
    length: Length,
    /// Whether what went out is kept.
    keep: AfterWrite,
    is_whole: bool,
    /// Field lines behind the body, each with its line end.
    trailers: Vec<u8>,
}

impl Replay {
    /// A request of which the head is there.
    #[inline]
    pub(crate) fn new(head: Buffer, length: Length, keep: AfterWrite) -> Self {
        Self { head: head.len(), bytes: head, length, keep, is_whole: false, trailers: Vec::new() }
    }

    /// Another head takes the place of the one that has not gone out.
    pub(crate) fn replace_head(&mut self, head: Buffer, stock: &Stock) {
        self.head = head.len();
        stock.put(std::mem::replace(&mut self.bytes, head));
    }

    /// Adds to the body.
    pub(crate) fn add(&mut self, data: &[u8]) {
        self.bytes.tail().extend_from_slice(data);
        if self.bytes.taken() + self.bytes.len() > REPLAY + HEAD {
            self.keep = AfterWrite::Nothing;
        }
    }

    /// The body is whole.
    pub(crate) fn end(&mut self, trailers: &[u8]) {
        self.is_whole = true;
        self.trailers.extend_from_slice(trailers);
    }

    /// How many bytes there are that have not gone out.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How much more there is room for, in bytes.
    pub(crate) fn room(&self) -> usize {
        LARGE.saturating_sub(self.bytes.len())
    }

    /// Whether all of it has come.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Whether the end of the body has to be told by its framing.
    pub(crate) fn is_open_ended(&self) -> bool {
        self.length == Length::Open
    }

    /// Whether it can be sent again after bytes of it went out.
    pub(crate) fn is_kept(&self) -> bool {
        self.keep == AfterWrite::All
    }

    /// Writes until nothing is left or the stream takes no more. Tells how much it took.
    #[inline]
    pub(crate) fn drain_to(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<usize>> {
        self.bytes.drain_to(cx, to, self.keep)
    }

    /// The parts of the head and of the body that have not gone out.
    pub(crate) fn parts(&self) -> (&[u8], &[u8]) {
        let left = self.head.saturating_sub(self.bytes.taken());
        self.bytes.unread().split_at(left.min(self.bytes.len()))
    }

    /// Field lines behind the body, each with its line end. Known once it is whole.
    pub(crate) fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    /// Passes by all there is: it is on its way, and still kept.
    pub(crate) fn pass(&mut self) {
        self.bytes.pass(self.bytes.len());
    }

    /// Drops what it has passed by, unless that is to be kept.
    pub(crate) fn drop_passed(&mut self) {
        if self.keep == AfterWrite::Nothing && self.bytes.is_empty() {
            self.bytes.clear();
            self.head = 0;
        }
    }

    /// Goes back to its first byte, for another attempt.
    pub(crate) fn rewind(&mut self) {
        self.bytes.rewind();
    }

    /// Gives its memory back.
    pub(crate) fn give_back(&mut self, stock: &Stock) {
        stock.put(std::mem::take(&mut self.bytes));
    }
}
