//! Connections whose other end has not shown who it is yet. Each address may have a few of them, so that nobody
//! keeps members from coming in.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Connections of one address that have not finished their handshake.
const OF_ONE_ADDRESS: usize = 64;

/// The connections in their handshake, by address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Newcomers(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A connection in its handshake.
#[derive(Debug)]
pub(crate) struct Newcomer {
    of: Newcomers,
    from: IpAddr,
}

impl Newcomers {
    /// Counts a connection until the result is dropped. Returns `None` if the address has too many of them.
    pub fn admit(&self, from: IpAddr) -> Option<Newcomer> {
        let mut counts = self.counts();
        let count = counts.entry(from).or_default();
        if *count >= OF_ONE_ADDRESS {
            return None;
        }
        *count += 1;
        Some(Newcomer { of: self.clone(), from })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        let mut counts = self.of.counts();
        if let Some(count) = counts.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_its_bound_and_leaves_room_to_the_others() {
        let newcomers = Newcomers::default();
        let (one, other): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let mut there: Vec<_> = (0..OF_ONE_ADDRESS).map(|_| newcomers.admit(one)).collect();
        assert!(there.iter().all(Option::is_some) && newcomers.admit(one).is_none());
        assert!(newcomers.admit(other).is_some());
        there.pop();
        assert!(newcomers.admit(one).is_some());
        there.clear();
        assert!(newcomers.counts().is_empty(), "no address is remembered");
    }
}
