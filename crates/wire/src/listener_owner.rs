//! Finds the holder of a TCP address of this machine in `/proc`. Opens no connection and ends no process.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;

/// The state of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// The holder of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The user that opened the socket.
    pub uid: u32,
    /// A process that has the socket open, if `/proc` can be read.
    pub process: Option<HolderProcess>,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolderProcess {
    /// The process id.
    pub pid: u32,
    /// The name that the process gives itself.
    pub name: String,
}

/// The owner of a socket, before the process is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    /// The inode; 0 if it is not known.
    pub(crate) inode: u64,
}

impl Owner {
    /// Finds a process that has the socket open. Reads all processes.
    pub(crate) fn holder(self) -> Holder {
        let process = if self.inode == 0 { None } else { process_with(self.inode) };
        Holder { uid: self.uid, process }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = user_name(self.uid);
        match &self.process {
            Some(HolderProcess { pid, name }) => write!(f, "{name} (process {pid} of {user})"),
            None => write!(f, "a process of {user}"),
        }
    }
}

/// Returns the name of a user, or the user's number if it has no name.
pub fn user_name(uid: u32) -> String {
    let user = nix::unistd::User::from_uid(uid.into()).ok().flatten();
    user.map_or_else(|| format!("user {uid}"), |user| user.name)
}

/// Returns the number of a user, given by name or number.
pub fn user_id(text: &str) -> Option<u32> {
    let by_name = nix::unistd::User::from_name(text).ok().flatten().map(|user| user.uid.as_raw());
    by_name.or_else(|| text.parse().ok())
}

/// Returns the holders of the sockets that take connections to `address`, each once. The list is empty if no
/// listening socket is seen.
///
/// # Errors
/// If `/proc` cannot be read.
pub fn holders(address: SocketAddr) -> io::Result<Vec<Holder>> {
    let mut found: Vec<Holder> = Vec::new();
    for socket in listening(address)? {
        let holder = socket.owner().holder();
        if !found.contains(&holder) {
            found.push(holder);
        }
    }
    Ok(found)
}

/// The other end of a connection to an address of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OtherEnd {
    /// A process has accepted the connection.
    Accepted(Owner),
    /// The connection waits in the queue of one of these sockets.
    Queued(Vec<Owner>),
    /// No listening socket is seen: the connection is forwarded from outside this machine or network
    /// namespace.
    Unseen,
}

/// Finds who has the other end of the connection from `local` to `peer`.
///
/// Listening sockets are read first. A connection waits only in the queue of a socket that still listens.
/// Therefore a connection that is not accepted at the second check belongs to one of those sockets.
pub(crate) fn other_end(local: SocketAddr, peer: SocketAddr) -> io::Result<OtherEnd> {
    let queues = listening(peer)?;
    let is_other_end =
        |s: &TcpSocket| s.local == canonical(peer) && s.remote == canonical(local) && s.inode != 0;
    if let Some(socket) = sockets(peer.port())?.into_iter().find(is_other_end) {
        return Ok(OtherEnd::Accepted(socket.owner()));
    }
    if queues.is_empty() {
        return Ok(OtherEnd::Unseen);
    }
    Ok(OtherEnd::Queued(queues.iter().map(TcpSocket::owner).collect()))
}

/// A socket of `/proc/net/tcp` or `tcp6`. IPv4 addresses within IPv6 are converted to IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpSocket {
    /// The local address.
    pub local: SocketAddr,
    /// The remote address; its port is 0 if there is none.
    pub remote: SocketAddr,
    /// True if the socket listens.
    pub listens: bool,
    /// The user that opened the socket.
    pub uid: u32,
    /// The inode of the socket; 0 while no process has accepted the connection.
    pub inode: u64,
    /// True if the socket is an IPv6 socket.
    pub is_v6: bool,
}

impl TcpSocket {
    fn owner(&self) -> Owner {
        Owner { uid: self.uid, inode: self.inode }
    }
}

/// Returns the sockets that take connections to `address`.
fn listening(address: SocketAddr) -> io::Result<Vec<TcpSocket>> {
    let mut all = sockets(address.port())?;
    all.retain(|socket| socket.listens);
    Ok(taking(canonical(address).ip(), all))
}

/// Returns the sockets that take connections to `ip`. A socket bound to `::` takes IPv4, too, unless there is
/// a separate socket for IPv4: the kernel allows both only if the former is IPv6-only.
fn taking(ip: IpAddr, all: Vec<TcpSocket>) -> Vec<TcpSocket> {
    let takes = |socket: &TcpSocket| {
        let own = socket.local.ip();
        own == ip || own.is_unspecified() && own.is_ipv4() == ip.is_ipv4()
    };
    let any_6 =
        |socket: &TcpSocket| ip.is_ipv4() && socket.is_v6 && socket.local.ip().is_unspecified();
    let (exact, others): (Vec<TcpSocket>, Vec<TcpSocket>) = all.into_iter().partition(takes);
    if exact.is_empty() { others.into_iter().filter(any_6).collect() } else { exact }
}

/// Returns all sockets with this local port.
fn sockets(port: u16) -> io::Result<Vec<TcpSocket>> {
    let mut all = tcp_sockets()?;
    all.retain(|socket| socket.local.port() == port);
    Ok(all)
}

/// Reads all TCP sockets of this machine from `/proc/net/tcp` and `tcp6`, including connections.
///
/// # Errors
/// If `/proc` cannot be read. It is no error if `tcp6` is missing, as with a kernel without IPv6.
pub fn tcp_sockets() -> io::Result<Vec<TcpSocket>> {
    let mut all = in_table(&fs::read("/proc/net/tcp")?);
    match fs::read("/proc/net/tcp6") {
        Ok(text) => all.extend(in_table(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(all)
}

/// Parses a table in the form that the kernel prints. Skips other lines.
fn in_table(text: &[u8]) -> Vec<TcpSocket> {
    String::from_utf8_lossy(text).lines().filter_map(socket).collect()
}

/// Parses a line of the form `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …`.
fn socket(line: &str) -> Option<TcpSocket> {
    let mut words = line.split_ascii_whitespace();
    let (local, remote) = (words.nth(1)?, words.next()?);
    let state = words.next()?;
    let uid = words.nth(3)?.parse().ok()?;
    let inode = words.nth(1)?.parse().ok()?;
    let is_v6 = local.len() > "00000000:0000".len();
    let (local, remote) = (address(local)?, address(remote)?);
    Some(TcpSocket { local, remote, listens: state == LISTEN, uid, inode, is_v6 })
}

/// Parses an address such as `0100007F:1B9E`: each word is in the machine's byte order, and the port is
/// hexadecimal.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| -> Option<[u8; 4]> {
        u32::from_str_radix(ip.get(at * 8..at * 8 + 8)?, 16).ok().map(u32::to_ne_bytes)
    };
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let mut bytes = [0; 16];
            bytes.iter_mut().zip(words.as_flattened()).for_each(|(to, from)| *to = *from);
            Ipv6Addr::from(bytes).into()
        }
        _ => return None,
    };
    Some(canonical(SocketAddr::new(ip, port)))
}

/// Converts an IPv4 address within IPv6 to IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Returns a process that has this socket open. Processes that this user may not read are skipped.
fn process_with(inode: u64) -> Option<HolderProcess> {
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(open) = fs::read_dir(entry.path().join("fd")) else { continue };
        let has = |file: fs::DirEntry| fs::metadata(file.path()).is_ok_and(|m| m.ino() == inode);
        let is_socket = |file: &fs::DirEntry| {
            fs::read_link(file.path())
                .is_ok_and(|to| to.as_os_str().as_encoded_bytes().starts_with(b"socket:"))
        };
        if open.flatten().filter(is_socket).any(has) {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some(HolderProcess { pid, name: name.trim().to_owned() });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_of_the_kernel_is_read() {
        let line = "  0: 0100007F:1B9E 00000000:0000 0A 00000000:00000000 00:00000000 00000000  \
                    1000        0 12345 1 0000000000000000 100 0 0 10 0";
        let found = socket(line).unwrap();
        assert_eq!((found.local.to_string().as_str(), found.listens), ("127.0.0.1:7070", true));
        assert_eq!((found.uid, found.inode), (1000, 12345));
        let mapped = "0000000000000000FFFF00000100007F:0050";
        assert_eq!(address(mapped).unwrap().to_string(), "127.0.0.1:80");
        let six = "00000000000000000000000001000000:0050";
        assert_eq!(address(six).unwrap().to_string(), "[::1]:80");
        for broken in ["", "0: x", "0100007F", "01:1"] {
            assert!(socket(broken).is_none() && address(broken).is_none(), "{broken}");
        }
    }

    /// Returns an address in the form that the kernel prints, with words in the machine's byte order.
    fn printed(address: SocketAddr) -> String {
        let hex = |bytes: &[u8]| -> String {
            let words = bytes.chunks(4).map(|word| u32::from_ne_bytes(word.try_into().unwrap()));
            words.map(|word| format!("{word:08X}")).collect()
        };
        let ip = match address.ip() {
            IpAddr::V4(ip) => hex(&ip.octets()),
            IpAddr::V6(ip) => hex(&ip.octets()),
        };
        format!("{ip}:{:04X}", address.port())
    }

    proptest! {
        #[test]
        fn whatever_stands_in_a_table_is_read_or_passed_over(
            bytes in proptest::collection::vec(any::<u8>(), 0..400),
            words in proptest::collection::vec("[0-9A-Fa-f:é ]{0,40}", 0..14),
        ) {
            in_table(&bytes);
            in_table(words.join(" ").as_bytes());
        }

        #[test]
        fn a_table_is_read_as_it_was_printed(
            local in any::<SocketAddr>(),
            remote in any::<SocketAddr>(),
            listens: bool,
            uid: u32,
            inode: u64,
        ) {
            let state = if listens { LISTEN } else { "01" };
            let line = format!(
                "  sl  local_address rem_address   st\n   0: {} {} {state} 00000000:00000000 \
                 00:00000000 00000000 {uid:>5}        0 {inode} 1 0000000000000000 100 0 0 10 0\n",
                printed(local),
                printed(remote),
            );
            let is_v6 = local.is_ipv6();
            let (local, remote) = (canonical(local), canonical(remote));
            let wanted = TcpSocket { local, remote, listens, uid, inode, is_v6 };
            prop_assert_eq!(in_table(line.as_bytes()), [wanted]);
        }
    }

    #[test]
    fn a_listener_for_all_addresses_counts_unless_a_nearer_family_has_one() {
        let listener = |ip: &str, version_6| TcpSocket {
            local: SocketAddr::new(ip.parse().unwrap(), 1),
            remote: SocketAddr::new(ip.parse().unwrap(), 0),
            listens: true,
            uid: 0,
            inode: 1,
            is_v6: version_6,
        };
        let count = |ip: &str, all: &[(&str, bool)]| {
            let all = all.iter().map(|(ip, six)| listener(ip, *six)).collect();
            taking(ip.parse().unwrap(), all).len()
        };
        assert_eq!(count("127.0.0.1", &[("127.0.0.1", false), ("0.0.0.0", false)]), 2);
        assert_eq!(count("127.0.0.1", &[("::", true)]), 1);
        assert_eq!(count("127.0.0.1", &[("::", true), ("127.0.0.1", false)]), 1);
        assert_eq!(count("127.0.0.1", &[("::1", true), ("127.0.0.2", false)]), 0);
        assert_eq!(count("::1", &[("0.0.0.0", false), ("::", true)]), 1);
    }

    #[test]
    fn the_other_end_is_known_before_and_after_it_is_accepted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let end = || other_end(client.local_addr().unwrap(), address).unwrap();
        let uid = nix::unistd::getuid().as_raw();
        let OtherEnd::Queued(queued) = end() else { panic!("{:?}", end()) };
        assert_eq!(queued.iter().map(|owner| owner.uid).collect::<Vec<_>>(), [uid]);
        let accepted = listener.accept().unwrap();
        let OtherEnd::Accepted(owner) = end() else { panic!("{:?}", end()) };
        assert_eq!(owner.holder().process.map(|process| process.pid), Some(std::process::id()));
        drop((accepted, listener));
        assert_eq!(holders(address).unwrap(), []);
    }
}
