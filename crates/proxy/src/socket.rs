//! A client's socket. It asks the kernel first, and registers with the event loop only when it has to
//! wait. Many a connection with a single request never does. Holds no bytes of its own.

use std::future::Future;
use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use tokio::io::{AsyncReadExt, AsyncWrite, Interest};

use crate::buffer::Source;
use crate::sys;

/// The state of the other side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// The peer may send more.
    Open,
    /// The peer sends nothing more, but may read.
    Ended,
    /// The peer takes no bytes any more.
    Reset,
}

/// A connected stream socket that never blocks.
#[derive(Debug)]
pub(crate) struct Socket {
    state: State,
    /// True if the connection ends after the bytes that are to be written now.
    close_follows: bool,
}

#[derive(Debug)]
enum State {
    /// Not registered: no event tells of bytes or of the end.
    Free {
        stream: TcpStream,
        /// True if the last read took all the bytes there were.
        drained: bool,
    },
    /// Registered with the event loop.
    Watched(tokio::net::TcpStream),
    /// Lost: the event loop refused the socket.
    Lost,
}

impl Socket {
    /// Wraps `stream`, which must be non-blocking.
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { state: State::Free { stream, drained: false }, close_follows: false }
    }

    /// Takes the socket and leaves a lost one behind.
    pub(crate) fn take(&mut self) -> Self {
        std::mem::replace(self, Self { state: State::Lost, close_follows: false })
    }

    /// Returns whether the socket is registered with the event loop.
    pub(crate) fn is_watched(&self) -> bool {
        !matches!(self.state, State::Free { .. })
    }

    /// Notes that the connection is closed right after the next write. The kernel may then wait, and send
    /// the last bytes and the FIN in one packet.
    pub(crate) fn close_follows(&mut self) {
        self.close_follows = true;
    }

    /// Returns whether there are no unread bytes: by the last events or, if unregistered, by asking the
    /// kernel. An end of the stream counts as no bytes.
    pub(crate) fn is_quiet(&self) -> bool {
        match &self.state {
            State::Free { stream, .. } => {
                let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
                match rustix::net::recv(stream, &mut [0_u8; 1][..], flags) {
                    Ok((_, count)) => count == 0,
                    Err(error) => error == Errno::AGAIN,
                }
            }
            State::Watched(stream) => {
                let mut cx = Context::from_waker(std::task::Waker::noop());
                stream.poll_read_ready(&mut cx).is_pending()
            }
            State::Lost => true,
        }
    }

    /// Returns how many written bytes the client has not acknowledged; 0 if the kernel does not say.
    pub(crate) fn unacknowledged(&self) -> u64 {
        let count = match &self.state {
            State::Free { stream, .. } => sys::unacknowledged(stream),
            State::Watched(stream) => sys::unacknowledged(stream),
            State::Lost => return 0,
        };
        count.unwrap_or(0)
    }

    /// Asks the kernel for the state of the other side, whatever has been read of its bytes.
    pub(crate) fn peer(&self) -> Peer {
        let fd = match &self.state {
            State::Free { stream, .. } => stream.as_fd(),
            State::Watched(stream) => stream.as_fd(),
            State::Lost => return Peer::Reset,
        };
        let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::RDHUP)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        // Without an answer the peer counts as open. Its end is noticed at the next read or write.
        if retry_on_intr(|| poll(&mut fds, Some(&at_once))).is_err() {
            return Peer::Open;
        }
        let seen = fds[0].revents();
        if seen.intersects(PollFlags::ERR | PollFlags::HUP) {
            Peer::Reset
        } else if seen.contains(PollFlags::RDHUP) {
            Peer::Ended
        } else {
            Peer::Open
        }
    }

    /// Makes the kernel reset the connection when it is closed.
    pub(crate) fn reset_on_close(&self) {
        let at_once = Some(std::time::Duration::ZERO);
        // If this fails, the client sees an end in the middle of an answer.
        let _ = match &self.state {
            State::Free { stream, .. } => socket2::SockRef::from(stream).set_linger(at_once),
            State::Watched(stream) => socket2::SockRef::from(stream).set_linger(at_once),
            State::Lost => Ok(()),
        };
    }

    /// Unregisters the socket and returns it as it was.
    pub(crate) fn free(self) -> io::Result<TcpStream> {
        match self.state {
            State::Free { stream, .. } => Ok(stream),
            State::Watched(stream) => stream.into_std(),
            State::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Registers the socket with the event loop, which also reports what is already the case.
    fn watch(&mut self) -> io::Result<()> {
        if let State::Free { stream, .. } = std::mem::replace(&mut self.state, State::Lost) {
            self.state = State::Watched(tokio::net::TcpStream::from_std(stream)?);
        }
        Ok(())
    }
}

impl Source for Socket {
    fn poll_into(&mut self, cx: &mut Context<'_>, into: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        loop {
            match &mut self.state {
                State::Free { drained: true, .. } => self.watch()?,
                State::Free { stream, drained } => {
                    let room = into.capacity() - into.len();
                    match rustix::net::recv(stream, spare_capacity(into), RecvFlags::empty()) {
                        Err(Errno::AGAIN) => *drained = true,
                        Err(Errno::INTR) => {}
                        Err(error) => return Poll::Ready(Err(error.into())),
                        Ok((_, count)) => {
                            *drained = 0 < count && count < room;
                            return Poll::Ready(Ok(count));
                        }
                    }
                }
                // The future has no state besides its borrows. Dropping it after one poll loses nothing.
                State::Watched(stream) => return pin!(stream.read_buf(into)).poll(cx),
                State::Lost => return Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let flags = if this.close_follows { SendFlags::MORE } else { SendFlags::empty() };
        loop {
            match &mut this.state {
                State::Free { stream, .. } => match send(stream, bytes, flags) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => this.watch()?,
                    sent => return Poll::Ready(sent),
                },
                State::Watched(stream) if !this.close_follows => {
                    return Pin::new(stream).poll_write(cx, bytes);
                }
                State::Watched(stream) => {
                    ready!(stream.poll_write_ready(cx))?;
                    match stream.try_io(Interest::WRITABLE, || send(&*stream, bytes, flags)) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        sent => return Poll::Ready(sent),
                    }
                }
                State::Lost => return Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().state {
            State::Free { stream, .. } => {
                Poll::Ready(rustix::net::shutdown(stream, Shutdown::Write).map_err(Into::into))
            }
            State::Watched(stream) => Pin::new(stream).poll_shutdown(cx),
            State::Lost => Poll::Ready(Ok(())),
        }
    }
}

fn send(to: impl AsFd, bytes: &[u8], flags: SendFlags) -> io::Result<usize> {
    Ok(retry_on_intr(|| rustix::net::send(&to, bytes, flags | SendFlags::NOSIGNAL))?)
}
