//! Finds free ports for instances, and checks the addresses that they are told to listen at. Binds each
//! address for a moment to check it, and keeps none bound.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

use model::{Address, Serving};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};

/// The range of ports, below the ephemeral ports of common systems.
const RANGE: RangeInclusive<u16> = 20_000..=29_999;
/// Number of ports that are offered at once.
const OFFER: usize = 64;

/// Returns ports that are free now, without those in `except`. The order is random, so that nobody can
/// predict which port an instance will get, and two servers on one machine seldom offer the same ports. Binds
/// each port of the range at most once; this takes some milliseconds if few ports are free.
pub(crate) fn offer(except: &[u16]) -> Vec<u16> {
    let mut ports: Vec<u16> = RANGE.filter(|port| !except.contains(port)).collect();
    shuffle(&mut ports);
    ports
        .into_iter()
        .filter(|port| is_free(&Address::Tcp(SocketAddr::from((Ipv4Addr::UNSPECIFIED, *port)))))
        .take(OFFER)
        .collect()
}

/// Shuffles by Fisher and Yates. If no randomness is available, the order does not change.
fn shuffle(ports: &mut [u16]) {
    let mut random = vec![0; ports.len() * 4];
    if getrandom::fill(&mut random).is_err() {
        return;
    }
    for (at, bytes) in random.as_chunks::<4>().0.iter().enumerate().skip(1) {
        let other = u32::from_ne_bytes(*bytes) as usize % (at + 1);
        ports.swap(at, other);
    }
}

/// Returns whether nobody listens at this address. An address that cannot be checked counts as free; the
/// instance itself then fails to bind it and reports the error.
pub(crate) fn is_free(address: &Address) -> bool {
    match address {
        Address::Tcp(address) => bind_only(*address) != Err(Errno::ADDRINUSE),
        // The folder of a unix socket belongs to the instance alone.
        Address::Unix(_) => true,
    }
}

/// Checks that an instance may be started at its addresses: each has to be an address of this host, with a port
/// from the range that hosts offer.
///
/// # Errors
/// The reason why one of the addresses is refused, for people.
pub(crate) fn check(serving: &Serving) -> Result<(), String> {
    for address in [Some(&serving.address), serving.health_address.as_ref()] {
        let Some(Address::Tcp(address)) = address else { continue };
        let (ip, port) = (address.ip(), address.port());
        if !RANGE.contains(&port) {
            let (first, last) = (RANGE.start(), RANGE.end());
            return Err(format!(
                "port {port} is outside {first} to {last}, the range of instances' ports"
            ));
        }
        if bind_only(*address) == Err(Errno::ADDRNOTAVAIL) {
            return Err(format!(
                "{ip} is not an address of this host\n\
                 hint: compare `ip address` on the host with its address in the fleet"
            ));
        }
    }
    Ok(())
}

/// Binds a socket and does not listen on it. Thus two checks of one address at the same time both succeed. If
/// they listened, each could take the other for a process that holds the port.
fn bind_only(address: SocketAddr) -> Result<(), Errno> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn checks_of_one_address_at_once_do_not_see_each_other() {
        let address = Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, offer(&[])[0])));
        let check = || (0..2_000).all(|_| is_free(&address));
        std::thread::scope(|scope| {
            let checks = [(); 4].map(|()| scope.spawn(check));
            assert!(checks.into_iter().all(|check| check.join().unwrap()), "nobody listens");
        });
    }

    #[test]
    fn offered_ports_are_free_and_not_excepted() {
        let first = offer(&[]);
        assert_eq!(first.len(), OFFER);
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, first[0])).unwrap();
        let address = Address::Tcp(taken.local_addr().unwrap());
        assert!(!is_free(&address));
        assert!(!first.is_sorted(), "in an order that nobody can foretell");
        let all: Vec<u16> = RANGE.filter(|port| !first[..9].contains(port)).collect();
        let second = offer(&all);
        assert!(!second.contains(&first[0]), "somebody listens there");
        assert!(second.iter().all(|port| first[..9].contains(port)));
    }
}
