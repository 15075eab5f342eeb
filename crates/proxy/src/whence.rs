//! Where a request comes from, and what that grants. Never believes that itself: `forwarded` judges what
//! proxies say.

use std::net::IpAddr;

use model::Network;

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whence {
    /// The client's address, by what trusted proxies say.
    pub(crate) ip: IpAddr,
    /// Somebody whom we do not trust says to have passed it on: the address is theirs, and the client
    /// may be anywhere.
    pub(crate) relayed: bool,
}

impl Whence {
    /// Whether its client is inside one of these networks. The one rule for all that is granted by
    /// network: cohorts, and who is let into a closed app.
    pub(crate) fn is_in(self, networks: &[Network]) -> bool {
        !self.relayed && Network::any_contains(networks, self.ip)
    }
}
