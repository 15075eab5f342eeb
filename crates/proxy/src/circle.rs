//! Detects an upstream that is the proxy itself, which would make requests loop. Sees only loops through
//! one proxy. Longer ones end by the hop count in the requests.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use model::Address;

/// The addresses that the proxy itself listens on.
#[derive(Clone, Debug)]
pub(crate) struct Own(Vec<SocketAddr>);

impl Own {
    pub(crate) fn new(listen: &[SocketAddr]) -> Self {
        Self(listen.to_vec())
    }

    /// Returns whether a connection to the address would lead to this proxy.
    pub(crate) fn is(&self, address: &Address) -> bool {
        let Address::Tcp(address) = address else { return false };
        // Linux connects the unspecified address to this machine.
        let ip = match address.ip().to_canonical() {
            ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            ip => ip,
        };
        self.0.iter().any(|own| {
            let own_ip = own.ip().to_canonical();
            own.port() == address.port()
                && (own_ip == ip || own_ip.is_unspecified() && is_of_this_machine(ip))
        })
    }
}

/// Returns whether the address belongs to this machine: only then can it be bound.
fn is_of_this_machine(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_knows_itself_by_any_of_its_addresses() {
        for (listen, upstream, own) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:80", "0.0.0.0:80", true),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "127.9.9.9:80", true),
            ("0.0.0.0:80", "192.0.2.1:80", false),
            ("[::]:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "[::ffff:127.0.0.1]:80", true),
        ] {
            let listens = Own::new(&[listen.parse().unwrap()]);
            assert_eq!(listens.is(&upstream.parse().unwrap()), own, "{listen} {upstream}");
        }
    }
}
