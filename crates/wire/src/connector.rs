//! Connects the client to a server, by the socket in the server's data folder or over TCP. On this machine,
//! finds out which user has the other end before anything is sent, since the token is secret.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

use crate::listener_owner::{Holder, OtherEnd, Owner, other_end};

/// The name of the API's socket in a data folder.
pub const SOCKET: &str = "api.sock";

/// The location of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServerAddress {
    /// The socket [`SOCKET`] in this data folder.
    Folder(PathBuf),
    /// The addresses to which the server's name resolves.
    Named,
    /// This port of this machine, on either loopback address.
    Localhost(u16),
}

/// The users who may have the other end of a connection to this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trusted {
    uids: BTreeSet<u32>,
    unseen: Unseen,
}

/// The treatment of an address where something answers but no process is seen to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unseen {
    /// Nothing is sent.
    Refuse,
    /// The other end is taken for the server: the user has named the address and knows what forwards it.
    Allow,
}

impl Default for Trusted {
    /// Returns a set that trusts root and the current user.
    fn default() -> Self {
        let own = nix::unistd::geteuid().as_raw();
        Self { uids: BTreeSet::from([0, own]), unseen: Unseen::Refuse }
    }
}

impl Trusted {
    /// Adds a user to the trusted ones.
    #[must_use]
    pub fn user(mut self, uid: u32) -> Self {
        self.uids.insert(uid);
        self
    }

    /// Returns whether this user is trusted.
    pub fn has(&self, uid: u32) -> bool {
        self.uids.contains(&uid)
    }

    /// Sets the treatment of an address where no process is seen to listen.
    #[must_use]
    pub fn unseen(mut self, unseen: Unseen) -> Self {
        self.unseen = unseen;
        self
    }

    fn check(&self, address: &str, end: OtherEnd) -> Result<(), Distrust> {
        let foreign = |owner: &Owner| !self.has(owner.uid);
        let owners = match end {
            OtherEnd::Accepted(owner) => vec![owner],
            OtherEnd::Queued(owners) => owners,
            OtherEnd::Unseen if self.unseen == Unseen::Allow => return Ok(()),
            OtherEnd::Unseen => return Err(Distrust::Unseen { address: address.to_owned() }),
        };
        match owners.into_iter().find(foreign) {
            Some(owner) => {
                Err(Distrust::Foreign { address: address.to_owned(), holder: owner.holder() })
            }
            None => Ok(()),
        }
    }
}

/// The reason why nothing was sent to the other end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// The other end is a process of another user.
    #[error("{address} is held by {holder}, so nothing was sent there, the token least of all")]
    Foreign {
        /// The address.
        address: String,
        /// The holder of the address.
        holder: Holder,
    },
    /// The holder of the address is not known.
    #[error(
        "something answers on {address}, but no process of this machine is seen to listen there"
    )]
    Unseen {
        /// The address.
        address: String,
    },
}

/// A dialer that opens connections to one server.
#[derive(Debug)]
pub(crate) struct Dialer {
    pub(crate) place: ServerAddress,
    pub(crate) trusted: Trusted,
}

impl<In: Transport> Connector<In> for Dialer {
    type Out = ServerConnection;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<In>,
    ) -> Result<Option<ServerConnection>, ureq::Error> {
        let within = details.timeout.not_zero().map_or(Duration::from_secs(5), |time| *time);
        let stream = match &self.place {
            ServerAddress::Folder(folder) => self.folder(folder, within)?,
            ServerAddress::Named => self.first(&details.addrs, within)?,
            ServerAddress::Localhost(port) => {
                let ips = [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()];
                self.first(&ips.map(|ip| SocketAddr::new(ip, *port)), within)?
            }
        };
        let (input, output) =
            (details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(ServerConnection { stream, buffers: LazyBuffers::new(input, output) }))
    }
}

impl Dialer {
    /// Connects to the first address with a listener. The listener has to be trusted.
    fn first(&self, addresses: &[SocketAddr], within: Duration) -> Result<JsonLines, ureq::Error> {
        let mut refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        for address in addresses {
            let stream = match TcpStream::connect_timeout(address, within) {
                Ok(stream) => stream,
                Err(error) => {
                    refused = error;
                    continue;
                }
            };
            stream.set_nodelay(true)?;
            if address.ip().to_canonical().is_loopback() {
                let end = other_end(stream.local_addr()?, *address)?;
                self.trusted.check(&address.to_string(), end).map_err(distrusted)?;
            }
            return Ok(JsonLines::Tcp(stream));
        }
        Err(refused.into())
    }

    /// Connects through the folder's descriptor: the path of a socket has at most 107 bytes, and a folder's
    /// path may be longer.
    fn folder(&self, folder: &Path, within: Duration) -> Result<JsonLines, ureq::Error> {
        let fail = |error: rustix::io::Errno| ureq::Error::Io(error.into());
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = rustix::fs::open(folder, flags, Mode::empty()).map_err(fail)?;
        let path = format!("/proc/self/fd/{}/{SOCKET}", open.as_raw_fd());
        let address = SocketAddrUnix::new(path).map_err(fail)?;
        let flags = SocketFlags::CLOEXEC;
        let socket: OwnedFd =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
                .map_err(fail)?;
        // With a full queue, connecting waits. This limits the wait.
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(within)).map_err(fail)?;
        rustix::net::connect(&socket, &address).map_err(fail)?;
        let peer = sockopt::socket_peercred(&socket).map_err(fail)?;
        let owner = Owner { uid: peer.uid.as_raw(), inode: 0 };
        let name = folder.join(SOCKET).display().to_string();
        self.trusted.check(&name, OtherEnd::Accepted(owner)).map_err(distrusted)?;
        Ok(JsonLines::Unix(socket.into()))
    }
}

fn distrusted(distrust: Distrust) -> ureq::Error {
    ureq::Error::Other(Box::new(distrust))
}

/// A connection to a server.
#[derive(Debug)]
pub(crate) struct ServerConnection {
    stream: JsonLines,
    buffers: LazyBuffers,
}

#[derive(Debug)]
enum JsonLines {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl JsonLines {
    fn set_timeouts(&self, read: Option<Duration>, write: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                stream.set_read_timeout(read)?;
                stream.set_write_timeout(write)
            }
            Self::Unix(stream) => {
                stream.set_read_timeout(read)?;
                stream.set_write_timeout(write)
            }
        }
    }

    fn set_nonblocking(&self, on: bool) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_nonblocking(on),
            Self::Unix(stream) => stream.set_nonblocking(on),
        }
    }
}

impl Read for JsonLines {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = match self {
                Self::Tcp(stream) => stream.read(out),
                Self::Unix(stream) => stream.read(out),
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

impl Write for JsonLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for ServerConnection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let timeout = timeout.for_write();
        self.stream.set_timeouts(None, timeout.not_zero().map(|time| *time))?;
        let output = &self.buffers.output()[..amount];
        match self.stream.write_all(output) {
            // A server may respond and close before it has read the whole request. The response can still be
            // read.
            Err(error) if has_closed(&error) => Ok(()),
            written => written.map_err(|error| in_time(error, timeout)),
        }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let timeout = timeout.for_read();
        self.stream.set_timeouts(timeout.not_zero().map(|time| *time), None)?;
        let input = self.buffers.input_append_buf();
        let read = self.stream.read(input).map_err(|error| in_time(error, timeout))?;
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    /// Returns whether an idle connection is still open. If it is, nothing can be read on it, not even its
    /// end.
    fn is_open(&mut self) -> bool {
        let would_block = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        self.stream.set_nonblocking(true).is_ok()
            && self.stream.read(&mut [0]).is_err_and(would_block)
            && self.stream.set_nonblocking(false).is_ok()
    }
}

fn has_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// Turns the error of an expired wait into a timeout.
fn in_time(error: io::Error, timeout: NextTimeout) -> ureq::Error {
    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) {
        return ureq::Error::Timeout(timeout.reason);
    }
    error.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_trusted_are_spoken_to() {
        let own = nix::unistd::geteuid().as_raw();
        let other = own + 1;
        let owner = |uid| Owner { uid, inode: 0 };
        let trusted = Trusted::default();
        let check = |trusted: &Trusted, end| trusted.check("127.0.0.1:1", end);
        for uid in [0, own] {
            assert_eq!(check(&trusted, OtherEnd::Accepted(owner(uid))), Ok(()));
        }
        assert!(check(&trusted, OtherEnd::Accepted(owner(other))).is_err());
        // Any of the listeners may get the connection.
        assert!(check(&trusted, OtherEnd::Queued(vec![owner(own), owner(other)])).is_err());
        let more = trusted.clone().user(other);
        assert_eq!(check(&more, OtherEnd::Queued(vec![owner(own), owner(other)])), Ok(()));
        assert!(check(&more, OtherEnd::Unseen).is_err());
        assert_eq!(check(&more.unseen(Unseen::Allow), OtherEnd::Unseen), Ok(()));
    }
}
