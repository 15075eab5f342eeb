//! The origin of a request, and the rights that the origin gives. Does not decide whom to believe:
//! `forwarded` judges the fields of proxies.

use std::net::IpAddr;

use model::Network;

/// The origin of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whence {
    /// The client's address, as trusted proxies report it.
    pub(crate) ip: IpAddr,
    /// True if a sender that is not trusted says that it has passed the request on. The address is then
    /// the sender's, and the client may be anywhere.
    pub(crate) relayed: bool,
}

impl Whence {
    /// Returns whether the client is inside one of these networks. All rights by network use this rule:
    /// cohorts, and access to a closed app.
    pub(crate) fn is_in(self, networks: &[Network]) -> bool {
        !self.relayed && Network::any_contains(networks, self.ip)
    }
}
