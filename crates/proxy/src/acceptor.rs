//! A worker's listening socket. Accepts without telling the event loop of what it accepted: that is
//! the connection's business, and of whichever worker it ends up with.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};

use rustix::net::SocketFlags;
use tokio::io::Interest;

/// A listening socket on the event loop.
#[derive(Debug)]
pub(crate) struct Acceptor {
    /// tokio's own listener would watch every connection at once, whether it has to wait or not. To
    /// be told of events any socket will do.
    socket: tokio::net::TcpStream,
}

impl Acceptor {
    /// `listener` must be non-blocking.
    pub(crate) fn new(listener: TcpListener) -> io::Result<Self> {
        let socket = TcpStream::from(OwnedFd::from(listener));
        Ok(Self { socket: tokio::net::TcpStream::from_std(socket)? })
    }

    /// Takes one connection, non-blocking, with its peer's address.
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
    // Without an address it has gone already.
    let peer = peer.ok_or(io::ErrorKind::ConnectionAborted)?;
    Ok((client.into(), peer))
}
