//! An HTTP/1 connection to an instance: the bytes that the instance has not taken, and those that it has
//! sent. Frames bodies, and does not know where they come from or go to.

use std::io;
use std::task::{Context, Poll};

use http1::{AnswerTo, Body, BodyStep, Encoder, Fault, ResponseHead};

use crate::back::broken::Broken;
use crate::back::replay::Replay;
use crate::buffer::{AfterWrite, Buffer, Stock};
use crate::stream::{InstanceStream, says_nothing};

/// The instance's side of an HTTP/1 connection.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) stream: InstanceStream,
    /// Framed bytes that have not gone out.
    framed: Buffer,
    /// True if the end of the body is framed.
    has_end: bool,
    /// True once bytes of the request went out.
    sent: bool,
    /// True if writing failed. An answer may have come before that.
    write_failed: bool,
    /// Bytes that have come and are not read.
    input: Buffer,
    /// True if nothing more comes.
    ended: bool,
    /// True if the connection ended because the other machine did not acknowledge what was sent.
    lost: bool,
    /// The part of the answer's body that is still to be read.
    body: Body,
}

impl Backend {
    pub(crate) fn new(stream: InstanceStream) -> Self {
        Self {
            stream,
            framed: Buffer::default(),
            has_end: false,
            sent: false,
            write_failed: false,
            input: Buffer::default(),
            ended: false,
            lost: false,
            body: Body::length(0),
        }
    }

    /// Returns whether no byte of the request went out.
    pub(crate) fn is_unsent(&self) -> bool {
        !self.sent
    }

    /// Returns whether writing failed. Nothing more goes out then.
    pub(crate) fn write_failed(&self) -> bool {
        self.write_failed
    }

    /// Returns whether there is a part of the request that can be sent now.
    pub(crate) fn has_to_send(&self, request: &Replay) -> bool {
        let ends = request.is_open_ended() && request.is_whole() && !self.has_end;
        !self.write_failed && (ends || !request.is_empty() || !self.framed.is_empty())
    }

    /// Returns whether all of the request has gone out.
    pub(crate) fn has_sent_all(&self, request: &Replay) -> bool {
        request.is_whole() && !self.write_failed && !self.has_to_send(request)
    }

    /// Returns how many framed bytes have not gone out.
    pub(crate) fn unwritten(&self) -> usize {
        self.framed.len()
    }

    /// Writes as much as the instance takes. Returns the number of bytes.
    ///
    /// # Errors
    /// If writing fails. An answer may have come before.
    #[inline]
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        request: &mut Replay,
        stock: &Stock,
    ) -> Poll<Result<usize, Broken>> {
        let written = match request.is_open_ended() {
            false => request.drain_to(cx, &mut self.stream),
            true => {
                self.frame(request, stock);
                self.framed.drain_to(cx, &mut self.stream, AfterWrite::Nothing)
            }
        };
        if self.framed.is_empty() && self.framed.tail().capacity() > 0 {
            stock.put(std::mem::take(&mut self.framed));
        }
        written.map(|written| match written {
            Ok(count) => {
                self.sent |= count > 0;
                if self.sent && request.is_open_ended() {
                    request.drop_passed();
                }
                Ok(count)
            }
            Err(error) => {
                self.lost |= says_nothing(&error);
                let certainly_unprocessed = !self.sent;
                if self.sent {
                    self.write_failed = true;
                    request.pass();
                    self.framed.clear();
                }
                Err(Broken { error, certainly_unprocessed })
            }
        })
    }

    /// Reads once. The buffer comes from the stock and goes back if nothing was read. Returns 0 at the
    /// end of the stream.
    #[inline]
    pub(crate) fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        stock: &Stock,
    ) -> Poll<io::Result<usize>> {
        if self.input.tail().capacity() == 0 {
            self.input = stock.take();
        }
        let read = self.input.fill(cx, &mut self.stream);
        match &read {
            Poll::Pending if self.input.is_empty() => self.release_input(stock),
            Poll::Ready(Ok(0)) => self.ended = true,
            Poll::Ready(Err(error)) => {
                self.ended = true;
                self.lost |= says_nothing(error);
            }
            Poll::Pending | Poll::Ready(Ok(_)) => {}
        }
        read
    }

    /// Returns whether the connection ended because the other machine did not acknowledge what was sent.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Returns whether nothing more comes.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Returns the bytes that have come and are not read.
    pub(crate) fn input(&mut self) -> &mut Buffer {
        &mut self.input
    }

    /// Returns how many bytes have come that are not read.
    pub(crate) fn unread(&self) -> usize {
        self.input.len()
    }

    /// Takes the head of an answer, of `len` bytes, which has been read. Its body follows.
    pub(crate) fn took_head(&mut self, head: &ResponseHead, len: usize, to: AnswerTo) {
        self.input.consume(len);
        self.body = head.body(to);
    }

    /// Reads the next step of the body: takes its framing, and leaves its data at the start of the input.
    #[inline]
    pub(crate) fn body(&mut self) -> Result<BodyStep, Fault> {
        let step = self.body.read(self.input.unread())?;
        self.input.consume(step.skip);
        Ok(step)
    }

    /// Returns the part of the answer's body that is still to be read.
    pub(crate) fn body_left(&self) -> &Body {
        &self.body
    }

    /// Gives the buffer of the unread input back.
    pub(crate) fn release_input(&mut self, stock: &Stock) {
        stock.put(std::mem::take(&mut self.input));
    }

    /// Returns the connection and the unread input.
    pub(crate) fn into_parts(self) -> (InstanceStream, Buffer) {
        (self.stream, self.input)
    }

    /// Frames the bytes that are there, once all bytes before them are out. The request keeps the framed
    /// bytes until one of them is out: until then it may go to another instance.
    fn frame(&mut self, request: &mut Replay, stock: &Stock) {
        let ends = request.is_whole() && !self.has_end;
        if !self.framed.is_empty() || request.is_empty() && !ends {
            return;
        }
        if self.framed.tail().capacity() == 0 {
            self.framed = stock.take();
        }
        let out = self.framed.tail();
        let (head, body) = request.parts();
        out.extend_from_slice(head);
        Encoder::Chunked.data(body, out);
        if ends {
            Encoder::Chunked.end(request.trailers(), out);
            self.has_end = true;
        }
        request.pass();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;
    use tokio::net::UnixStream;

    use super::*;
    use crate::back::replay::Length;

    const HEAD: &[u8] = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";

    fn upload(stock: &Stock) -> Replay {
        let mut head = stock.take();
        head.tail().extend_from_slice(HEAD);
        Replay::new(head, Length::Open, AfterWrite::Nothing)
    }

    fn with_backend(mut then: impl AsyncFnMut(Backend, UnixStream)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let (ours, theirs) = UnixStream::pair().unwrap();
            then(Backend::new(InstanceStream::Unix(ours)), theirs).await;
        });
    }

    /// Sends the bytes that are there. Returns what the other end received.
    async fn sent(backend: &mut Backend, request: &mut Replay, to: &mut UnixStream) -> String {
        let stock = Stock::default();
        let mut count = 0;
        while backend.has_to_send(request) {
            count += poll_fn(|cx| backend.poll_send(cx, request, &stock)).await.unwrap();
        }
        let mut got = vec![0; count];
        to.read_exact(&mut got).await.unwrap();
        String::from_utf8(got).unwrap()
    }

    /// A request that was framed for an instance but never sent is complete for another one (I10).
    #[test]
    fn a_body_in_chunks_that_never_went_out_goes_whole_to_another_instance() {
        let stock = Stock::default();
        let mut request = upload(&stock);
        request.add(b"hello");
        request.end(b"Sum: 1\r\n");
        let mut refused = Backend::new(InstanceStream::NoRoom);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let broken = refused.poll_send(&mut cx, &mut request, &stock);
        let certainly = |broken: &Broken| broken.certainly_unprocessed;
        assert!(matches!(&broken, Poll::Ready(Err(it)) if certainly(it)), "{broken:?}");
        request.rewind();
        with_backend(async |mut backend, mut theirs| {
            let got = sent(&mut backend, &mut request, &mut theirs).await;
            let head = str::from_utf8(HEAD).unwrap();
            assert_eq!(got, format!("{head}5\r\nhello\r\n0\r\nSum: 1\r\n\r\n"));
            assert!(backend.has_sent_all(&request));
        });
    }

    /// The end of the body may come long after the last byte, and alone.
    #[test]
    fn a_body_in_chunks_is_framed_as_it_comes_and_its_end_is_never_forgotten() {
        with_backend(async |mut backend, mut theirs| {
            let mut request = upload(&Stock::default());
            request.add(b"hello");
            assert!(
                sent(&mut backend, &mut request, &mut theirs)
                    .await
                    .ends_with("\r\n\r\n5\r\nhello\r\n")
            );
            request.add(b"again");
            assert_eq!(sent(&mut backend, &mut request, &mut theirs).await, "5\r\nagain\r\n");
            assert!(!backend.has_sent_all(&request));
            request.end(b"");
            assert!(!backend.has_sent_all(&request), "the end is not out");
            assert_eq!(sent(&mut backend, &mut request, &mut theirs).await, "0\r\n\r\n");
            assert!(backend.has_sent_all(&request));
            assert!(request.is_empty());
        });
    }

    /// After the first byte is out, an error does not tell what the instance has done with the request.
    #[test]
    fn a_connection_that_breaks_in_the_midst_of_a_body_may_have_been_heard() {
        with_backend(async |mut backend, theirs| {
            let (stock, mut theirs) = (Stock::default(), theirs);
            let mut request = upload(&stock);
            request.add(b"hello");
            sent(&mut backend, &mut request, &mut theirs).await;
            drop(theirs);
            request.add(b"again");
            let broken = poll_fn(|cx| backend.poll_send(cx, &mut request, &stock)).await;
            assert!(!broken.unwrap_err().certainly_unprocessed);
            assert!(backend.write_failed());
            assert!(!backend.has_to_send(&request));
        });
    }
}
