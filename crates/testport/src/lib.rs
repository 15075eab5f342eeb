//! Ports that a test holds: nobody beside it gets them, whether it listens there or leaves them silent.
//!
//! A port that was found free and let go is anybody's. Tests run side by side and draw many ports, so
//! another one gets it sooner or later.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// Returns an address of 127.0.0.1 that stays this process's until it ends.
///
/// Nothing listens there: connections are refused. Whoever binds the address by its number, with
/// `SO_REUSEADDR` as servers do, can listen there, in this process or another, as often as it likes.
/// The kernel gives the port neither to a socket that asks for any nor to an outgoing connection
/// (socket(7); `inet_csk_get_port`, `__inet_hash_connect`).
///
/// # Panics
///
/// If the kernel has no free port or no descriptor left.
pub fn reserve() -> SocketAddr {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("SO_REUSEADDR can be set");
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&any.into()).expect("a free port");
    let address = socket.local_addr().expect("a bound socket has an address");
    // It is closed when the process ends.
    std::mem::forget(socket);
    address.as_socket().expect("an address of IPv4")
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn nobody_listens_until_somebody_binds_it_by_number() {
        let address = reserve();
        let refused = TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        for _ in 0..3 {
            let listener = TcpListener::bind(address).unwrap();
            TcpStream::connect(address).unwrap();
            listener.accept().unwrap();
        }
    }
}
