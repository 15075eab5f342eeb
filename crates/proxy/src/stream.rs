//! Connections to instances, TCP or unix. Never resolves names, never blocks.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use datadir::FoundSocket;
use model::Address;
use rustix::net::RecvFlags;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::buffer::Source;

/// Time in which another machine has to acknowledge what it is sent, data or probes. As long as it has to
/// make a connection, so that no request waits over three seconds for a machine that is switched off.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);
const ONCE_A_MINUTE: Duration = Duration::from_secs(60);

/// A connection to an instance.
#[derive(Debug)]
pub(crate) enum InstanceStream {
    /// Over IP.
    Tcp(TcpStream),
    /// Over a unix socket.
    Unix(UnixStream),
    /// No socket yet: the queue of a unix socket is full, and the kernel offers no way to wait for room.
    NoRoom,
}

impl InstanceStream {
    /// Begins to connect. [`InstanceStream::poll_connected`] returns when that is done.
    /// [`InstanceStream::NoRoom`] never connects: to wait for room, the caller has to begin again.
    pub(crate) fn connect(address: &Address) -> io::Result<Self> {
        let found;
        let is_elsewhere = address.beyond_its_machine().is_some();
        let (domain, protocol, address) = match address {
            Address::Tcp(address) => {
                (Domain::for_address(*address), Some(Protocol::TCP), SockAddr::from(*address))
            }
            Address::Unix(path) => {
                // An app must not lead the proxy to a socket that the app could not reach itself.
                found = FoundSocket::find(Path::new(path))?;
                (Domain::UNIX, None, SockAddr::unix(found.path())?)
            }
        };
        let socket = Socket::new(domain, Type::STREAM.nonblocking().cloexec(), protocol)?;
        if protocol.is_some() {
            socket.set_tcp_nodelay(true)?;
            match is_elsewhere {
                true => watch_for_silence(&SockRef::from(&socket))?,
                false => probe_every(ONCE_A_MINUTE, &SockRef::from(&socket))?,
            }
        }
        match socket.connect(&address) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(IN_PROGRESS) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Self::NoRoom),
            Err(error) => return Err(error),
        }
        Ok(match protocol {
            Some(_) => Self::Tcp(TcpStream::from_std(socket.into())?),
            None => Self::Unix(UnixStream::from_std(socket.into())?),
        })
    }

    /// Lets the instance on another machine leave unread what is sent to it for as long as it likes. Linux
    /// counts that, too, as not acknowledged.
    pub(crate) fn wait_for_reader(&self) {
        if let Self::Tcp(stream) = self {
            // If that fails, a slow reader loses the connection. Nothing can be done about it here.
            let _ = SockRef::from(stream).set_tcp_user_timeout(None);
        }
    }

    /// Ends what [`InstanceStream::wait_for_reader`] allows: all that was sent was read.
    pub(crate) fn watch_for_silence(&self) {
        if let Self::Tcp(stream) = self {
            // If that fails, a machine that is switched off is noticed later.
            let _ = watch_for_silence(&SockRef::from(stream));
        }
    }

    /// Lets the connection to another machine be without a word for long, as many tunnels are.
    pub(crate) fn rests(&self) {
        self.wait_for_reader();
        if let Self::Tcp(stream) = self {
            // If that fails, the other machine is asked more often than it has to be.
            let _ = probe_every(ONCE_A_MINUTE, &SockRef::from(stream));
        }
    }

    /// Returns the proxy's own address on the connection, over IP and once one is chosen.
    pub(crate) fn local_ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok().map(|address| address.ip()),
            Self::Unix(_) | Self::NoRoom => None,
        }
    }

    pub(crate) fn poll_connected(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let error = match self {
            Self::Tcp(stream) => {
                ready!(stream.poll_write_ready(cx))?;
                stream.take_error()?
            }
            Self::Unix(stream) => {
                ready!(stream.poll_write_ready(cx))?;
                stream.take_error()?
            }
            Self::NoRoom => return Poll::Pending,
        };
        Poll::Ready(error.map_or(Ok(()), Err))
    }

    /// Returns whether nothing has come on this idle connection, by the last events. Anything that comes
    /// can only be its end, or an answer to no request.
    pub(crate) fn is_quiet(&self) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let readable = match self {
            Self::Tcp(stream) => stream.poll_read_ready(&mut cx),
            Self::Unix(stream) => stream.poll_read_ready(&mut cx),
            Self::NoRoom => return false,
        };
        readable.is_pending()
    }

    /// Returns the same by asking the kernel, which may know of an end that no event has reported yet.
    pub(crate) fn is_quiet_now(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let mut byte = [0_u8; 1];
        let peeked = match self {
            Self::Tcp(stream) => rustix::net::recv(stream, &mut byte[..], flags),
            Self::Unix(stream) => rustix::net::recv(stream, &mut byte[..], flags),
            Self::NoRoom => return false,
        };
        peeked.err() == Some(rustix::io::Errno::AGAIN)
    }
}

const IN_PROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();

/// Returns whether an error is local and says nothing about the instance: no port, no descriptor, no
/// memory.
pub(crate) fn is_local(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let local = [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL, Errno::NOBUFS, Errno::NOMEM];
    let code = error.raw_os_error();
    local.iter().any(|errno| Some(errno.raw_os_error()) == code)
}

/// Returns whether a connection failed because no word came from the other machine.
pub(crate) fn says_nothing(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{HostUnreachable, NetworkUnreachable, TimedOut};
    [TimedOut, HostUnreachable, NetworkUnreachable].contains(&error.kind())
}

/// Lets the kernel give the connection up once the other machine has been silent for [`SIGN_OF_LIFE`],
/// whether something was sent meanwhile or an answer is awaited.
fn watch_for_silence(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_user_timeout(Some(SIGN_OF_LIFE))?;
    probe_every(Duration::from_secs(1), socket)
}

fn probe_every(pause: Duration, socket: &Socket) -> io::Result<()> {
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(pause).with_interval(pause))
}

impl Source for InstanceStream {
    fn poll_into(&mut self, cx: &mut Context<'_>, into: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        // The futures have no state besides their borrows. Dropping them after one poll loses nothing.
        match self {
            Self::Tcp(stream) => pin!(stream.read_buf(into)).poll(cx),
            Self::Unix(stream) => pin!(stream.read_buf(into)).poll(cx),
            Self::NoRoom => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncWrite for InstanceStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::NoRoom => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::NoRoom => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}
