//! A client that speaks HTTP/1: its socket, what it has sent, and what it has to read. Frames bodies, and
//! never knows where they come from or go to.

use std::task::{Context, Poll};

use http1::{After, AnswerTo, Body, Encoder, Fault, RequestHead, ResponseHead};

use crate::buffer::{AfterWrite, Buffer};
use crate::date::DateLine;
use crate::front::piece::Piece;
use crate::pages::{Form, LocalReply};
use crate::socket::Socket;
use crate::worker::Worker;

/// A client's leaving is noticed after so long: most answers have come before, and their clients'
/// sockets need not be watched.
const UNWATCHED_MS: u64 = 50;

/// The client's side of a connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: Socket,
    pub(crate) input: Buffer,
    pub(crate) output: Buffer,
    /// The client sends nothing more; it may still read.
    pub(crate) ended: bool,
    /// Bytes of a request's head, while that stands at the start of the input: until the request goes
    /// out it may have to be routed anew.
    head_len: usize,
    /// What of the request's body is still to be read.
    body: Body,
    /// How the answer's body is framed.
    encoder: Encoder,
}

impl Client {
    /// The client's side of a connection that nothing has come on.
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

    /// Reads once into the input, with a buffer from the stock that goes back if nothing came.
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

    /// A request begins, whose head is the first `len` bytes of the input.
    pub(crate) fn begin(&mut self, head: &RequestHead, len: usize) {
        self.head_len = len;
        self.body = head.body();
    }

    /// Whether the head of the request is still in the input.
    pub(crate) fn has_head(&self) -> bool {
        self.head_len > 0
    }

    /// Takes the head off the input: what follows is the body.
    pub(crate) fn take_head(&mut self) {
        self.input.consume(std::mem::take(&mut self.head_len));
    }

    /// How many bytes have come behind the head.
    pub(crate) fn behind_head(&self) -> usize {
        self.input.len() - self.head_len
    }

    /// Reads on in the body, not more than so many bytes. What is read has to be taken whole.
    #[inline]
    pub(crate) fn body(&mut self, most: usize) -> Result<Piece<'_>, Fault> {
        let input = self.input.unread();
        let step = self.body.read(&input[..most.min(input.len())])?;
        let taken = step.skip + step.data;
        Ok(Piece { data: &input[step.skip..taken], last: step.done, taken })
    }

    /// Takes what was read.
    pub(crate) fn took(&mut self, taken: usize) {
        self.input.consume(taken);
    }

    /// Trailer lines to pass on. Known when the body has ended.
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

    /// Tells the client to go on with its body.
    pub(crate) fn proceed(&mut self, worker: &Worker) {
        self.out(worker).extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
    }

    /// Writes the head of an answer, with whole field lines of our own.
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

    /// Writes the first bytes of `from`, which belong to a body, and takes them from there.
    #[inline]
    pub(crate) fn data(&mut self, from: &mut Buffer, count: usize, worker: &Worker) {
        if count == 0 {
            return;
        }
        if self.encoder == Encoder::Plain && count == from.len() && self.output.is_empty() {
            // Nothing to write anew: the buffer itself goes out.
            std::mem::swap(from, &mut self.output);
        } else {
            let encoder = self.encoder;
            encoder.data(&from.unread()[..count], self.out(worker));
            from.consume(count);
        }
    }

    /// Writes the end of a body, with these trailer lines if there is a place for them.
    pub(crate) fn end(&mut self, trailers: &[u8], worker: &Worker) {
        let encoder = self.encoder;
        if encoder != Encoder::Plain {
            encoder.end(trailers, self.out(worker));
        }
    }

    /// Writes an answer of our own.
    pub(crate) fn reply(
        &mut self,
        reply: &LocalReply<'_>,
        form: Form,
        date: &DateLine,
        worker: &Worker,
    ) {
        reply.write(form, date, self.out(worker));
    }

    /// Until when its leaving is not noticed, if it asked then; `None` if it is watched.
    pub(crate) fn unwatched_until_ms(&self, asked_ms: u64) -> Option<u64> {
        (!self.stream.is_watched()).then_some(asked_ms + UNWATCHED_MS)
    }

    /// Whether nothing of it is unread. Closing on unread bytes would reset the connection, and with
    /// it what the client has not read of the answer.
    pub(crate) fn is_quiet(&self) -> bool {
        self.input.is_empty() && (self.ended || self.stream.is_quiet())
    }

    /// Where output is written; from the stock.
    pub(crate) fn out(&mut self, worker: &Worker) -> &mut Vec<u8> {
        if self.output.tail().capacity() == 0 {
            self.output = worker.stock.take();
        }
        self.output.tail()
    }

    /// Writes what is to be written. Tells how much the client took.
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
