//! Lists the TCP sockets that listen on this machine, by one dump of the kernel's table. Knows nothing of
//! instances, and reads no process's descriptors.
//!
//! The kernel is asked by netlink (`sock_diag(7)`), which lists only listening sockets. Without netlink, the
//! sockets are read from `/proc/net/tcp`, which lists them among all connections.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
    sockopt,
};
use wire::TcpSocket;

/// The time limit for a dump. The kernel usually answers at once.
const PATIENCE: Duration = Duration::from_secs(2);
/// The size of the buffer, in bytes. The kernel sends no more at a time.
const ROOM: usize = 64 * 1024;
/// The largest number of sockets; a longer list is an error. A machine has 65 535 ports.
const MOST: usize = 200_000;

/// `SOCK_DIAG_BY_FAMILY` of `linux/sock_diag.h`.
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST | NLM_F_ROOT | NLM_F_MATCH` of `linux/netlink.h`.
const DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// `INET_DIAG_SKV6ONLY` of `linux/inet_diag.h`.
const V6ONLY: u16 = 11;
const IPPROTO_TCP: u8 = 6;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// `TCP_LISTEN` of `net/tcp_states.h`.
const LISTEN: u8 = 10;
const NLMSG_HEAD: usize = 16;
const DIAG_BYTES: usize = 72;

/// A listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listening {
    pub address: SocketAddr,
    /// True for an IPv6 socket that takes no IPv4 connections.
    pub v6only: bool,
    pub inode: u64,
    /// The user who opened the socket.
    pub uid: u32,
}

/// All listening sockets at one moment, by port.
#[derive(Clone, Debug, Default)]
pub(crate) struct SocketTable(BTreeMap<u16, Vec<Listening>>);

impl SocketTable {
    /// Returns the sockets that take connections to this address.
    pub fn at(&self, address: SocketAddr) -> Vec<Listening> {
        let there = self.0.get(&address.port()).into_iter().flatten();
        let mut found: Vec<Listening> =
            there.filter(|socket| socket.takes(address.ip())).copied().collect();
        found.sort_unstable_by_key(|socket| socket.inode);
        found
    }

    /// Returns all sockets, ordered by port.
    pub fn all(&self) -> impl Iterator<Item = &Listening> {
        self.0.values().flatten()
    }

    fn of(sockets: Vec<Listening>) -> Self {
        let mut by_port: BTreeMap<u16, Vec<Listening>> = BTreeMap::new();
        for socket in sockets {
            by_port.entry(socket.address.port()).or_default().push(socket);
        }
        Self(by_port)
    }
}

impl Listening {
    /// Returns whether a connection to this IP address, at the socket's port, may come to the socket.
    fn takes(&self, ip: IpAddr) -> bool {
        let (own, ip) = (self.address.ip().to_canonical(), ip.to_canonical());
        match own {
            IpAddr::V4(own) if own.is_unspecified() => ip.is_ipv4(),
            IpAddr::V6(own) if own.is_unspecified() => ip.is_ipv6() || !self.v6only,
            IpAddr::V4(_) | IpAddr::V6(_) => own == ip,
        }
    }
}

/// A client of `sock_diag` with one socket, which stays open: later there may be no descriptor left for
/// another.
#[derive(Debug, Default)]
pub(crate) struct SockDiag {
    socket: Option<OwnedFd>,
    sequence: u32,
}

impl SockDiag {
    /// Lists all sockets that listen now. Blocks for some milliseconds.
    ///
    /// # Errors
    /// If neither netlink nor `/proc` lists the sockets.
    pub fn read_table(&mut self) -> io::Result<SocketTable> {
        let dumped = self.dump(AF_INET).and_then(|mut sockets| {
            sockets.extend(self.dump(AF_INET6)?);
            Ok(sockets)
        });
        let sockets = dumped.or_else(|e| {
            // The rest of an answer may still be unread in the socket.
            self.socket = None;
            tracing::debug!("the kernel does not list its sockets by netlink: {e}");
            from_procfs()
        });
        sockets.map(SocketTable::of)
    }

    fn dump(&mut self, family: u8) -> io::Result<Vec<Listening>> {
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        let socket = match &self.socket {
            Some(socket) => socket,
            None => self.socket.insert(open()?),
        };
        send(socket, &request(family, sequence), SendFlags::empty())?;
        let (mut sockets, mut buffer) = (Vec::new(), vec![0; ROOM]);
        loop {
            let (length, whole) = recv(socket, &mut *buffer, RecvFlags::TRUNC)?;
            if whole > length || length == 0 {
                return Err(io::Error::other("an answer was cut off"));
            }
            if read(&buffer[..length], sequence, &mut sockets)? {
                return Ok(sockets);
            }
            if sockets.len() > MOST {
                return Err(io::Error::other(format!("more than {MOST} sockets listen")));
            }
        }
    }
}

fn open() -> io::Result<OwnedFd> {
    let (family, kind) = (AddressFamily::NETLINK, SocketType::DGRAM);
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))?;
    Ok(socket)
}

/// Returns a `nlmsghdr` and an `inet_diag_req_v2` that ask for all listening TCP sockets of the family.
fn request(family: u8, sequence: u32) -> Vec<u8> {
    let states = 1_u32 << LISTEN;
    let mut body = vec![family, IPPROTO_TCP, 0, 0];
    body.extend(states.to_ne_bytes());
    // The socket's identity: any.
    body.extend([0; 48]);
    let length = u32::try_from(NLMSG_HEAD + body.len()).unwrap_or(0);
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(BY_FAMILY.to_ne_bytes());
    message.extend(DUMP.to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    message.extend(0_u32.to_ne_bytes());
    message.extend(body);
    message
}

/// Adds the sockets in one answer to `sockets`, and returns whether the answer was the last.
fn read(mut bytes: &[u8], sequence: u32, sockets: &mut Vec<Listening>) -> io::Result<bool> {
    let odd = || io::Error::other("the kernel's answer is not as it should be");
    while !bytes.is_empty() {
        let length = u32_at(bytes, 0).and_then(|n| usize::try_from(n).ok()).ok_or_else(odd)?;
        let message = bytes.get(..length).filter(|_| length >= NLMSG_HEAD).ok_or_else(odd)?;
        let kind = u16_at(message, 4).ok_or_else(odd)?;
        let body = &message[NLMSG_HEAD..];
        // Messages of an earlier dump that was given up are skipped.
        if u32_at(message, 8) == Some(sequence) {
            match kind {
                NLMSG_DONE => return Ok(true),
                NLMSG_ERROR => {
                    let code = u32_at(body, 0).ok_or_else(odd)?.cast_signed();
                    return Err(io::Error::from_raw_os_error(code.wrapping_neg()));
                }
                BY_FAMILY => sockets.push(listening(body).ok_or_else(odd)?),
                _ => {}
            }
        }
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
    }
    Ok(false)
}

/// Reads an `inet_diag_msg` and its attributes.
fn listening(body: &[u8]) -> Option<Listening> {
    let (message, attributes) = body.split_at_checked(DIAG_BYTES)?;
    let port = u16::from_be_bytes([message[4], message[5]]);
    let source = &message[8..24];
    let ip = match message[0] {
        AF_INET => IpAddr::from(<[u8; 4]>::try_from(&source[..4]).ok()?),
        AF_INET6 => IpAddr::from(<[u8; 16]>::try_from(source).ok()?),
        _ => return None,
    };
    Some(Listening {
        address: SocketAddr::new(ip, port),
        v6only: flag(attributes, V6ONLY),
        uid: u32_at(message, 64)?,
        inode: u64::from(u32_at(message, 68)?),
    })
}

/// Returns whether this one-byte attribute is present and not zero.
fn flag(mut attributes: &[u8], wanted: u16) -> bool {
    while let (Some(length), Some(kind)) = (u16_at(attributes, 0), u16_at(attributes, 2)) {
        let length = usize::from(length);
        if length < 4 {
            return false;
        }
        if kind == wanted {
            return attributes.get(4).is_some_and(|byte| *byte != 0);
        }
        attributes = attributes.get(aligned(length)..).unwrap_or_default();
    }
    false
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Lists the sockets in `/proc`. It does not tell whether an IPv6 socket takes IPv4, so each is assumed to do
/// so.
fn from_procfs() -> io::Result<Vec<Listening>> {
    let listening = wire::tcp_sockets()?.into_iter().filter(|socket| socket.listens);
    let socket = |TcpSocket { local, remote: _, listens: _, uid, inode, is_v6: _ }| Listening {
        address: local,
        v6only: false,
        uid,
        inode,
    };
    Ok(listening.map(socket).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use std::net::TcpListener;
    use std::os::unix::fs::MetadataExt;

    fn inode_of(listener: &TcpListener) -> u64 {
        use std::os::fd::AsRawFd;
        fs::metadata(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap().ino()
    }

    /// Both methods have to agree on the sockets that this test opens.
    #[test]
    fn every_socket_that_takes_connections_to_an_address_is_found() {
        let four = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = four.local_addr().unwrap();
        let all = TcpListener::bind("0.0.0.0:0").unwrap();
        let via_all = SocketAddr::new(address.ip(), all.local_addr().unwrap().port());
        let both = TcpListener::bind("[::]:0").unwrap();
        let via_both = SocketAddr::new(address.ip(), both.local_addr().unwrap().port());
        let other = TcpListener::bind("127.0.0.2:0").unwrap();
        let not_there = SocketAddr::new(address.ip(), other.local_addr().unwrap().port());
        let ours = rustix::process::getuid().as_raw();
        for table in
            [SockDiag::default().read_table().unwrap(), SocketTable::of(from_procfs().unwrap())]
        {
            let found =
                |at| table.at(at).into_iter().map(|one| (one.inode, one.uid)).collect::<Vec<_>>();
            assert_eq!(found(address), [(inode_of(&four), ours)]);
            assert_eq!(found(via_all), [(inode_of(&all), ours)]);
            assert_eq!(found(via_both), [(inode_of(&both), ours)]);
            assert_eq!(found(not_there), []);
        }
    }

    #[test]
    fn a_connection_is_no_listener_and_one_kernel_can_be_asked_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut kernel = SockDiag::default();
        assert_eq!(kernel.read_table().unwrap().at(address).len(), 1);
        let _connected = std::net::TcpStream::connect(address).unwrap();
        drop(listener);
        assert_eq!(kernel.read_table().unwrap().at(address), []);
    }

    #[test]
    fn who_takes_what() {
        let takes = |own: &str, v6only: bool, ip: &str| {
            let address = own.parse().unwrap();
            Listening { address, v6only, inode: 1, uid: 0 }.takes(ip.parse().unwrap())
        };
        assert!(takes("127.0.0.1:1", false, "127.0.0.1"));
        assert!(takes("0.0.0.0:1", false, "127.0.0.1"));
        assert!(takes("[::]:1", false, "127.0.0.1"));
        assert!(takes("[::ffff:127.0.0.1]:1", false, "127.0.0.1"));
        assert!(takes("[::]:1", true, "::1"));
        assert!(!takes("[::]:1", true, "127.0.0.1"));
        assert!(!takes("[::1]:1", false, "127.0.0.1"));
        assert!(!takes("127.0.0.2:1", false, "127.0.0.1"));
        assert!(!takes("0.0.0.0:1", false, "::1"));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = read(&bytes, 1, &mut Vec::new());
            let _ = listening(&bytes);
        }

        #[test]
        fn a_message_cut_anywhere_is_no_socket(cut in 0_usize..72) {
            prop_assert_eq!(listening(&[AF_INET; 72][..cut]), None);
        }
    }
}
