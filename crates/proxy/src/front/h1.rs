//! The client's side of an HTTP/1 connection: its socket, its input and its output. Frames bodies, and
//! does not know where they come from or go to.

use std::task::{Context, Poll};

use http1::{After, AnswerTo, Body, Encoder, Fault, RequestHead, ResponseHead};

use crate::buffer::{AfterWrite, Buffer};
use crate::date::DateLine;
use crate::front::piece::Piece;
use crate::pages::{Form, LocalReply};
use crate::socket::Socket;
use crate::worker::Worker;

/// Time after which the proxy notices that a client leaves. Most answers have come by then, and the
/// sockets of their clients need not be watched.
const UNWATCHED_MS: u64 = 50;

/// The client's side of an HTTP/1 connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: Socket,
    pub(crate) input: Buffer,
    pub(crate) output: Buffer,
    /// True if the client sends nothing more. It may still read.
    pub(crate) ended: bool,
    /// Length of the request's head while it is at the start of the input. The head stays there until the
    /// request is sent, because the request may have to be routed anew. 0 otherwise.
    head_len: usize,
    /// The part of the request's body that is still to be read.
    body: Body,
    /// The framing of the answer's body.
    encoder: Encoder,
}

impl Client {
    /// Returns the client's side of a connection on which nothing has come yet.
    pub(crate) fn new(stream: Socket) -> Self {
        Self {
            stream,
            input: Buffer::default(),
            output: Buffer::default(),
            ended: false,
            head_len: 0,
            body: Body::length(0),
            encoder: Encoder::Plain,
        }
    }

    /// Reads once into the input. The buffer comes from the stock and goes back if nothing was read.
    pub(crate) fn read(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
    ) -> Poll<std::io::Result<usize>> {
        if self.input.tail().capacity() == 0 {
            self.input = worker.stock.take();
        }
        let read = self.input.fill(cx, &mut self.stream);
        if self.input.is_empty() {
            worker.stock.put(std::mem::take(&mut self.input));
        }
        read
    }

    /// Begins a request whose head is the first `len` bytes of the input.
    pub(crate) fn begin(&mut self, head: &RequestHead, len: usize) {
        self.head_len = len;
        self.body = head.body();
    }

    /// Returns whether the head of the request is still in the input.
    pub(crate) fn has_head(&self) -> bool {
        self.head_len > 0
    }

    /// Removes the head from the input. The body follows.
    pub(crate) fn take_head(&mut self) {
        self.input.consume(std::mem::take(&mut self.head_len));
    }

    /// Returns how many bytes have come behind the head.
    pub(crate) fn behind_head(&self) -> usize {
        self.input.len() - self.head_len
    }

    /// Reads the next piece of the body, at most `most` bytes. The caller must take the whole piece.
    #[inline]
    pub(crate) fn body(&mut self, most: usize) -> Result<Piece<'_>, Fault> {
        let input = self.input.unread();
        let step = self.body.read(&input[..most.min(input.len())])?;
        let taken = step.skip + step.data;
        Ok(Piece { data: &input[step.skip..taken], last: step.done, taken })
    }

    /// Removes the bytes of a piece that was read.
    pub(crate) fn took(&mut self, taken: usize) {
        self.input.consume(taken);
    }

    /// Returns the trailer lines to pass on. Known when the body has ended.
    pub(crate) fn trailers(&self) -> &[u8] {
        self.body.trailers()
    }

    /// Writes an interim head.
    pub(crate) fn interim(
        &mut self,
        head: &ResponseHead,
        bytes: &[u8],
        to: AnswerTo,
        worker: &Worker,
    ) {
        head.forward(bytes, to, After::KeepAlive, b"", self.out(worker));
    }

    /// Asks the client to send its body.
    pub(crate) fn proceed(&mut self, worker: &Worker) {
        self.out(worker).extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
    }

    /// Writes the head of an answer, with added field lines that are already complete.
    #[inline]
    pub(crate) fn head(
        &mut self,
        head: &ResponseHead,
        bytes: &[u8],
        (to, after): (AnswerTo, After),
        added: &[u8],
        worker: &Worker,
    ) {
        self.encoder = head.encoding(to).0;
        head.forward(bytes, to, after, added, self.out(worker));
    }

    /// Moves the first `count` bytes of `from`, which belong to a body, to the output.
    #[inline]
    pub(crate) fn data(&mut self, from: &mut Buffer, count: usize, worker: &Worker) {
        if count == 0 {
            return;
        }
        if self.encoder == Encoder::Plain && count == from.len() && self.output.is_empty() {
            // The bytes go out as they are, so the buffers are swapped instead of copied.
            std::mem::swap(from, &mut self.output);
        } else {
            let encoder = self.encoder;
            encoder.data(&from.unread()[..count], self.out(worker));
            from.consume(count);
        }
    }

    /// Writes the end of a body, with these trailer lines if the framing has a place for them.
    pub(crate) fn end(&mut self, trailers: &[u8], worker: &Worker) {
        let encoder = self.encoder;
        if encoder != Encoder::Plain {
            encoder.end(trailers, self.out(worker));
        }
    }

    /// Writes an answer of the proxy itself.
    pub(crate) fn reply(
        &mut self,
        reply: &LocalReply<'_>,
        form: Form,
        date: &DateLine,
        worker: &Worker,
    ) {
        reply.write(form, date, self.out(worker));
    }

    /// Returns until when the proxy does not notice that the client leaves, if its request came at
    /// `asked_ms`. `None` if the client's socket is watched.
    pub(crate) fn unwatched_until_ms(&self, asked_ms: u64) -> Option<u64> {
        (!self.stream.is_watched()).then_some(asked_ms + UNWATCHED_MS)
    }

    /// Returns whether all bytes from the client have been read. Closing a socket with unread bytes would
    /// reset the connection, and the client would lose the unread part of the answer.
    pub(crate) fn is_quiet(&self) -> bool {
        self.input.is_empty() && (self.ended || self.stream.is_quiet())
    }

    /// Returns the buffer for output, taken from the stock if there is none.
    pub(crate) fn out(&mut self, worker: &Worker) -> &mut Vec<u8> {
        if self.output.tail().capacity() == 0 {
            self.output = worker.stock.take();
        }
        self.output.tail()
    }

    /// Writes the output. Returns how many bytes the client took.
    pub(crate) fn flush(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
    ) -> Poll<std::io::Result<usize>> {
        let written = self.output.drain_to(cx, &mut self.stream, AfterWrite::Nothing);
        if self.output.is_empty() && self.output.tail().capacity() > 0 {
            worker.stock.put(std::mem::take(&mut self.output));
        }
        written
    }
}
