//! A worker's listening socket. Accepted connections are not registered with the event loop here: that is
//! left to the connection, and to the worker that gets it.

use std::cell::Cell;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};

use rustix::net::SocketFlags;
use socket2::SockRef;
use tokio::io::Interest;

use crate::service;

/// A listening socket on the event loop.
#[derive(Debug)]
pub(crate) struct Acceptor {
    /// tokio's own listener would register every connection at once, whether it has to wait or not. Any
    /// type of socket can receive readiness events.
    socket: tokio::net::TcpStream,
    /// True while new connections get no answer.
    ignores_new: Cell<bool>,
}

impl Acceptor {
    /// Registers `listener`, which must be non-blocking.
    pub(crate) fn new(listener: TcpListener) -> io::Result<Self> {
        let socket = TcpStream::from(OwnedFd::from(listener));
        let socket = tokio::net::TcpStream::from_std(socket)?;
        Ok(Self { socket, ignores_new: Cell::new(false) })
    }

    /// Lets new connections get no answer, or takes them again.
    pub(crate) fn ignore_new(&self, ignore: bool) {
        if self.ignores_new.replace(ignore) != ignore
            && let Err(error) = service::ignore_new(SockRef::from(&self.socket), ignore)
        {
            tracing::warn!(%error, ignore, "the kernel does not filter new connections");
        }
    }

    /// Accepts one connection. Returns it as non-blocking, with its peer's address.
    pub(crate) fn poll_accept(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        loop {
            ready!(self.socket.poll_read_ready(cx))?;
            match self.socket.try_io(Interest::READABLE, || accept(&self.socket)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                accepted => return Poll::Ready(accepted),
            }
        }
    }
}

fn accept(socket: &tokio::net::TcpStream) -> io::Result<(TcpStream, SocketAddr)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (client, peer) = rustix::net::acceptfrom_with(socket, flags)?;
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
    // A connection without a peer address has been closed already.
    let peer = peer.ok_or(io::ErrorKind::ConnectionAborted)?;
    Ok((client.into(), peer))
}
