//! A request as instances get it: its head, and the plain bytes of its body that have come so far. Kept
//! from its first byte on while it may have to be sent again. Does not know how a connection frames it.

use std::io;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

use crate::buffer::{AfterWrite, Buffer, LARGE, Stock};

/// Bytes of the longest body that is kept for a second attempt.
pub(crate) const REPLAY: usize = 64 << 10;
/// Bytes of the longest head that is kept in addition to the body.
const HEAD: usize = 32 << 10;

/// The way in which the length of the body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// The head declares the length.
    Declared,
    /// The length is known at the end of the body, which has to be framed.
    Open,
}

/// A request on its way to an instance.
#[derive(Debug)]
pub(crate) struct Replay {
    /// The head, then the body.
    bytes: Buffer,
    /// Number of bytes that belong to the head; 0 once these are dropped.
    head: usize,
    length: Length,
    /// Tells whether bytes that went out are kept.
    keep: AfterWrite,
    is_whole: bool,
    /// Trailer lines, each with its line end.
    trailers: Vec<u8>,
}

impl Replay {
    /// Returns a request of which only the head is there.
    #[inline]
    pub(crate) fn new(head: Buffer, length: Length, keep: AfterWrite) -> Self {
        Self { head: head.len(), bytes: head, length, keep, is_whole: false, trailers: Vec::new() }
    }

    /// Replaces the head, which has not gone out.
    pub(crate) fn replace_head(&mut self, head: Buffer, stock: &Stock) {
        self.head = head.len();
        stock.put(std::mem::replace(&mut self.bytes, head));
    }

    /// Appends data to the body.
    pub(crate) fn add(&mut self, data: &[u8]) {
        self.bytes.tail().extend_from_slice(data);
        if self.bytes.taken() + self.bytes.len() > REPLAY + HEAD {
            self.keep = AfterWrite::Nothing;
        }
    }

    /// Ends the body.
    pub(crate) fn end(&mut self, trailers: &[u8]) {
        self.is_whole = true;
        self.trailers.extend_from_slice(trailers);
    }

    /// Returns how many bytes have not gone out.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns how many more bytes there is room for.
    pub(crate) fn room(&self) -> usize {
        LARGE.saturating_sub(self.bytes.len())
    }

    /// Returns whether all of the request has come.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Returns whether the framing has to mark the end of the body.
    pub(crate) fn is_open_ended(&self) -> bool {
        self.length == Length::Open
    }

    /// Returns whether the request can be sent again after bytes of it went out.
    pub(crate) fn is_kept(&self) -> bool {
        self.keep == AfterWrite::All
    }

    /// Writes until nothing is left or the stream takes no more. Returns how many bytes the stream took.
    #[inline]
    pub(crate) fn drain_to(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<usize>> {
        self.bytes.drain_to(cx, to, self.keep)
    }

    /// Returns the parts of the head and of the body that have not gone out.
    pub(crate) fn parts(&self) -> (&[u8], &[u8]) {
        let left = self.head.saturating_sub(self.bytes.taken());
        self.bytes.unread().split_at(left.min(self.bytes.len()))
    }

    /// Returns the trailer lines, each with its line end. Known once the body is complete.
    pub(crate) fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    /// Marks all bytes as sent, and still keeps them.
    pub(crate) fn pass(&mut self) {
        self.bytes.pass(self.bytes.len());
    }

    /// Drops the bytes marked as sent, unless they are to be kept.
    pub(crate) fn drop_passed(&mut self) {
        if self.keep == AfterWrite::Nothing && self.bytes.is_empty() {
            self.bytes.clear();
            self.head = 0;
        }
    }

    /// Goes back to the first byte, for another attempt.
    pub(crate) fn rewind(&mut self) {
        self.bytes.rewind();
    }

    /// Gives the buffers back.
    pub(crate) fn give_back(&mut self, stock: &Stock) {
        stock.put(std::mem::take(&mut self.bytes));
    }
}
