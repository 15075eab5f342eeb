//! Buffers for bytes on their way, and a worker's stock of buffers. An idle connection holds none.

use std::cell::RefCell;
use std::io;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

/// The size of a fresh buffer.
pub(crate) const SMALL: usize = 16 << 10;
/// The size that a buffer grows to while reads fill it completely.
pub(crate) const LARGE: usize = 64 << 10;
/// Number of buffers that a worker keeps in stock.
const STOCK: usize = 256;

/// A stream that bytes are read from.
pub(crate) trait Source {
    /// Reads once, at the end of `into` and at most as many bytes as it has room for. `Ok(0)` is the end
    /// of the stream.
    fn poll_into(&mut self, cx: &mut Context<'_>, into: &mut Vec<u8>) -> Poll<io::Result<usize>>;
}

/// Bytes that are taken at the front and added at the back.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    /// True if the last read filled the buffer: more bytes are to come.
    is_brimful: bool,
}

impl Buffer {
    pub(crate) fn unread(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes `count` bytes from the front.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.bytes.len());
        if self.start == self.bytes.len() {
            self.clear();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.start = 0;
    }

    /// Returns the vector to append to.
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Goes back to the very first byte. Only meaningful if no byte was dropped since it was added.
    pub(crate) fn rewind(&mut self) {
        self.start = 0;
    }

    /// Returns how many bytes were taken from the front since the start.
    pub(crate) fn taken(&self) -> usize {
        self.start
    }

    /// Takes `count` bytes like `consume`, but keeps them for [`Buffer::rewind`].
    pub(crate) fn pass(&mut self, count: usize) {
        self.start = (self.start + count).min(self.bytes.len());
    }

    /// Reads once. `Ok(0)` is the end of the stream.
    pub(crate) fn fill(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl Source,
    ) -> Poll<io::Result<usize>> {
        let room = self.bytes.capacity() - self.bytes.len();
        if room < SMALL / 2 && self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        if self.is_brimful && self.bytes.is_empty() && self.bytes.capacity() < LARGE {
            self.bytes = Vec::with_capacity(LARGE);
        }
        if self.bytes.capacity() - self.bytes.len() < SMALL / 4 {
            let larger = (self.bytes.capacity() * 2).clamp(SMALL, 4 * LARGE);
            self.bytes.reserve_exact(larger.saturating_sub(self.bytes.len()).max(SMALL / 4));
        }
        let read = from.poll_into(cx, &mut self.bytes);
        self.is_brimful = self.bytes.len() == self.bytes.capacity();
        read
    }

    /// Writes until nothing is left or the stream takes no more. Returns how many bytes the stream took.
    pub(crate) fn drain_to(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut (impl AsyncWrite + Unpin),
        keep: AfterWrite,
    ) -> Poll<io::Result<usize>> {
        let mut written = 0;
        while !self.is_empty() {
            match std::pin::Pin::new(&mut *to).poll_write(cx, self.unread()) {
                // The next call returns the error. The bytes before it have gone out.
                Poll::Pending | Poll::Ready(Ok(0) | Err(_)) if written > 0 => {
                    return Poll::Ready(Ok(written));
                }
                poll @ (Poll::Ready(_) | Poll::Pending) => match ready!(poll)? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    count => {
                        written += count;
                        match keep {
                            AfterWrite::Nothing => self.consume(count),
                            AfterWrite::All => self.pass(count),
                        }
                    }
                },
            }
        }
        Poll::Ready(Ok(written))
    }
}

/// The rule for bytes that were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterWrite {
    /// Written bytes are dropped.
    Nothing,
    /// Written bytes are kept, in case the request has to be sent again.
    All,
}

/// A worker's stock of buffers.
#[derive(Debug, Default)]
pub(crate) struct Stock(RefCell<Vec<Vec<u8>>>);

impl Stock {
    pub(crate) fn take(&self) -> Buffer {
        let bytes = self.0.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(SMALL));
        Buffer { bytes, start: 0, is_brimful: false }
    }

    pub(crate) fn put(&self, mut buffer: Buffer) {
        buffer.clear();
        let mut stock = self.0.borrow_mut();
        let fits = (SMALL..=LARGE).contains(&buffer.bytes.capacity());
        if fits && stock.len() < STOCK {
            stock.push(buffer.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use super::*;

    /// A stream that takes some bytes, then fails.
    struct Breaks(usize);

    impl AsyncWrite for Breaks {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let taken = std::mem::take(&mut self.get_mut().0).min(bytes.len());
            match taken {
                0 => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                taken => Poll::Ready(Ok(taken)),
            }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// A request of which a part went out must not pass for one that was never sent (I10).
    #[test]
    fn what_went_out_before_a_write_failed_is_told() {
        let mut buffer = Buffer::default();
        buffer.tail().extend_from_slice(b"POST /pay");
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut to = Breaks(4);
        let written = buffer.drain_to(&mut cx, &mut to, AfterWrite::Nothing);
        assert!(matches!(written, Poll::Ready(Ok(4))), "{written:?}");
        assert_eq!(buffer.unread(), b" /pay");
        let failed = buffer.drain_to(&mut cx, &mut to, AfterWrite::Nothing);
        assert!(matches!(failed, Poll::Ready(Err(_))), "{failed:?}");
    }

    /// A source that gives as many bytes as there is room for.
    struct Plenty;

    impl Source for Plenty {
        fn poll_into(
            &mut self,
            _: &mut Context<'_>,
            into: &mut Vec<u8>,
        ) -> Poll<io::Result<usize>> {
            let room = into.capacity() - into.len();
            into.resize(into.capacity(), b'x');
            Poll::Ready(Ok(room))
        }
    }

    /// Large bodies take fewer system calls, however fast the client reads.
    #[test]
    fn a_buffer_that_was_filled_to_the_brim_is_larger_the_next_time() {
        let mut buffer = Stock::default().take();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for room in [SMALL, LARGE, LARGE] {
            let read = buffer.fill(&mut cx, &mut Plenty);
            assert!(matches!(read, Poll::Ready(Ok(count)) if count == room), "{read:?}");
            buffer.consume(room);
        }
    }
}
