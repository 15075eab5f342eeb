//! Listening sockets: reserved before anything is started, and never shared with another program.

use std::io;
use std::net::{SocketAddr, TcpListener};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};

use crate::error::Error;

const BACKLOG: i32 = 4096;
/// Unsent bytes that the kernel takes for one client.
const UNSENT: u32 = 256 << 10;
/// Files that the rest of the process may need.
const RESERVED_FILES: usize = 128;

/// The sockets of each worker, one per address.
pub(crate) type Sockets = Vec<Vec<TcpListener>>;

/// Opens `workers` sockets on every address. Returns them and the addresses with their real ports.
pub(crate) fn listen(
    addresses: &[SocketAddr],
    workers: usize,
) -> Result<(Sockets, Vec<SocketAddr>), Error> {
    let mut sockets: Sockets = (0..workers).map(|_| Vec::new()).collect();
    let mut bound = Vec::new();
    for &address in addresses {
        let wrong = |source| Error::Listen { address, source };
        let first = exclusive(address).map_err(wrong)?;
        let actual = first.local_addr().map_err(wrong)?;
        bound.push(actual);
        let mut first = Some(first);
        for worker in &mut sockets {
            let socket = match first.take() {
                Some(first) => first,
                None => shared(actual).map_err(wrong)?,
            };
            worker.push(socket);
        }
    }
    Ok((sockets, bound))
}

/// Opens a socket that no other program can share. The first socket listens without SO_REUSEPORT, which
/// fails if any other socket listens there. Only then are the other workers' sockets admitted. At no
/// moment can a second server, not even one of segue, take a part of the connections unnoticed.
fn exclusive(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = open(address)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_reuse_port(true)?;
    Ok(socket.into())
}

fn shared(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = open(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    // Connections of a previous process that are still closing must not block the port.
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit this option. Without it, answers may wait for the client's
    // acknowledgement.
    socket.set_tcp_nodelay(true)?;
    // Inherited, too. Without it, the answers to a client that reads slowly or not at all could fill the
    // kernel's memory.
    socket.set_tcp_notsent_lowat(UNSENT)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

/// Raises the limit of open files as far as the system allows. Returns how many client connections that
/// allows: each may need a second one to its instance.
pub(crate) fn raise_file_limit() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit = raised,
            Err(error) => tracing::warn!(%error, "cannot raise the limit of open files"),
        }
    }
    let files = limit.current.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
    (files.saturating_sub(RESERVED_FILES) / 2).max(16)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn accepted_connections_send_without_delay_and_with_a_bound() {
        let (sockets, addresses) = listen(&["127.0.0.1:0".parse().unwrap()], 2).unwrap();
        // Loops until one of each worker's sockets has got a connection.
        for socket in sockets.iter().flatten() {
            let accepted = loop {
                let _client = TcpStream::connect(addresses[0]).unwrap();
                match socket.accept() {
                    Ok((accepted, _)) => break accepted,
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                }
            };
            assert!(accepted.nodelay().unwrap());
            let unsent = socket2::SockRef::from(&accepted).tcp_notsent_lowat().unwrap();
            assert_eq!(unsent, UNSENT);
        }
    }
}
