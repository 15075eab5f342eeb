//! The client addresses that a release has answered within the minute, hashed to one bit each. One worker
//! writes, the reporter reads. Takes no lock, has a fixed size, and stores no address.

use std::net::IpAddr;

use model::{Addresses, Askers};

use crate::counter::Counter;

/// The longest time that an address is noted, in milliseconds.
const MINUTE_MS: u64 = 60_000;

/// The clients that one worker has noted for one release.
#[derive(Debug, Default)]
pub(crate) struct AskerCells {
    /// The minute of the clock that the bits belong to.
    minute: Counter,
    asked: [Counter; 4],
    failing: [Counter; 4],
}

/// Tells whether the answer to a client speaks against the release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AskerVerdict {
    Good,
    Bad,
}

impl AskerCells {
    /// Notes that the release answered this client, or failed it.
    pub(crate) fn note(&self, client: IpAddr, verdict: AskerVerdict, now_ms: u64) {
        let minute = now_ms / MINUTE_MS;
        if self.minute.get() != minute {
            self.asked.iter().chain(&self.failing).for_each(|cell| cell.set(0));
            self.minute.set(minute);
        }
        let bit = bit_of(client);
        mark(&self.asked, bit);
        if verdict == AskerVerdict::Bad {
            mark(&self.failing, bit);
        }
    }

    /// Returns the clients noted within this minute.
    pub(crate) fn seen(&self, now_ms: u64) -> Askers {
        if self.minute.get() != now_ms / MINUTE_MS {
            return Askers::default();
        }
        let read = |cells: &[Counter; 4]| Addresses(std::array::from_fn(|at| cells[at].get()));
        Askers { asked: read(&self.asked), failing: read(&self.failing) }
    }
}

fn mark(cells: &[Counter; 4], bit: u8) {
    let cell = &cells[usize::from(bit >> 6)];
    let (before, mask) = (cell.get(), 1 << (bit & 63));
    if before & mask == 0 {
        cell.set(before | mask);
    }
}

/// Returns the bit of an address. For IPv6 it depends on the /64 network, because one client has a whole
/// network.
fn bit_of(client: IpAddr) -> u8 {
    let number = match client {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => u64::from(address.to_bits()),
            None => (address.to_bits() >> 64) as u64,
        },
    };
    // Fibonacci hashing: the upper bits of the product depend on all bits of the number.
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_address_counts_once_and_is_forgotten_with_its_minute() {
        let cells = AskerCells::default();
        for _ in 0..3 {
            cells.note(address("192.0.2.1"), AskerVerdict::Good, 60_000);
            cells.note(address("192.0.2.2"), AskerVerdict::Bad, 119_999);
        }
        let seen = cells.seen(119_999);
        assert_eq!((seen.asked.count(), seen.failing.count()), (2, 1));
        assert_eq!(cells.seen(120_000), Askers::default(), "the minute is over");
        cells.note(address("192.0.2.3"), AskerVerdict::Good, 120_000);
        let seen = cells.seen(120_001);
        assert_eq!((seen.asked.count(), seen.failing.count()), (1, 0));
    }

    #[test]
    fn one_network_is_one_client_and_a_mapped_address_is_what_it_maps() {
        assert_eq!(bit_of(address("2001:db8::1")), bit_of(address("2001:db8::ffff")));
        assert_eq!(bit_of(address("::ffff:192.0.2.1")), bit_of(address("192.0.2.1")));
    }

    #[test]
    fn addresses_side_by_side_seldom_share_a_bit() {
        let mut seen = Addresses::default();
        (0..32).for_each(|n| seen.insert(bit_of(IpAddr::from([192, 0, 2, n]))));
        assert!(seen.count() >= 28, "{} of 32", seen.count());
    }
}
