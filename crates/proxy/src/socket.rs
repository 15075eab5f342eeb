//! A client's socket. It asks the kernel first, and only when it has to wait the event loop: for many
//! a connection that carries one request, never. Holds no bytes.

use std::future::Future;
use std::io;
use std::net::TcpStream;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use tokio::io::{AsyncReadExt, AsyncWrite};

use crate::buffer::Source;

/// A connected stream socket that never blocks.
#[derive(Debug)]
pub(crate) enum Socket {
    /// Nobody notices what comes, or that it ends.
    Free {
        stream: TcpStream,
        /// The last read took all there was.
        drained: bool,
    },
    /// The event loop tells of it.
    Watched(tokio::net::TcpStream),
    /// The event loop would not have it.
    Lost,
}

impl Socket {
    /// `stream` must be non-blocking.
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self::Free { stream, drained: false }
    }

    /// Whether the event loop knows of it.
    pub(crate) fn is_watched(&self) -> bool {
        !matches!(self, Self::Free { .. })
    }

    /// Whether nothing has come that was not read: as far as the last events tell, or, without any,
    /// as the kernel says. An end is nothing.
    pub(crate) fn is_quiet(&self) -> bool {
        match self {
            Self::Free { stream, .. } => {
                let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
                match rustix::net::recv(stream, &mut [0_u8; 1][..], flags) {
                    Ok((_, count)) => count == 0,
                    Err(error) => error == Errno::AGAIN,
                }
            }
            Self::Watched(stream) => {
                let mut cx = Context::from_waker(std::task::Waker::noop());
                stream.poll_read_ready(&mut cx).is_pending()
            }
            Self::Lost => true,
        }
    }

    /// Makes the end of the connection a reset.
    pub(crate) fn resets(&self) {
        let at_once = Some(std::time::Duration::ZERO);
        // If that fails, the client sees an end in the midst of an answer.
        let _ = match self {
            Self::Free { stream, .. } => socket2::SockRef::from(stream).set_linger(at_once),
            Self::Watched(stream) => socket2::SockRef::from(stream).set_linger(at_once),
            Self::Lost => Ok(()),
        };
    }

    /// Takes it from the event loop, as it came.
    pub(crate) fn free(self) -> io::Result<TcpStream> {
        match self {
            Self::Free { stream, .. } => Ok(stream),
            Self::Watched(stream) => stream.into_std(),
            Self::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Has the event loop tell of it from now on; what is the case already it tells, too.
    fn watch(&mut self) -> io::Result<()> {
        if let Self::Free { stream, .. } = std::mem::replace(self, Self::Lost) {
            *self = Self::Watched(tokio::net::TcpStream::from_std(stream)?);
        }
        Ok(())
    }
}

impl Source for Socket {
    fn poll_into(&mut self, cx: &mut Context<'_>, into: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        loop {
            match self {
                Self::Free { drained: true, .. } => self.watch()?,
                Self::Free { stream, drained } => {
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
                // The future has no state beside its borrows: dropping it after one poll loses
                // nothing.
                Self::Watched(stream) => return pin!(stream.read_buf(into)).poll(cx),
                Self::Lost => return Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
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
        loop {
            match this {
                Self::Free { stream, .. } => {
                    match rustix::net::send(stream, bytes, SendFlags::NOSIGNAL) {
                        Err(Errno::AGAIN) => this.watch()?,
                        Err(Errno::INTR) => {}
                        sent => return Poll::Ready(sent.map_err(Into::into)),
                    }
                }
                Self::Watched(stream) => return Pin::new(stream).poll_write(cx, bytes),
                Self::Lost => return Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Free { stream, .. } => {
                Poll::Ready(rustix::net::shutdown(stream, Shutdown::Write).map_err(Into::into))
            }
            Self::Watched(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Lost => Poll::Ready(Ok(())),
        }
    }
}
