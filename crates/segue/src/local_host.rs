//! The server's own host: where instances on it listen, and why it may get none.

use std::net::{IpAddr, Ipv4Addr};

use cli::ServerOptions;
use model::Obstacle;

/// The terms on which instances run on the server's own host.
#[derive(Clone, Debug)]
pub struct LocalHostTerms {
    /// Where they listen.
    pub address: IpAddr,
    /// Why none should run there, if so.
    pub closed: Option<Box<Obstacle>>,
}

impl LocalHostTerms {
    /// Returns the terms by the server's options. In a fleet, instances need an address that proxies on other
    /// machines reach.
    pub fn of(options: &ServerOptions) -> Self {
        let is_out_of_reach = options.door.fleet.is_some() && options.address.is_none();
        let closed = is_out_of_reach.then(|| Obstacle {
            why:
                "the server's own host gets no new instance: it has only a loopback address, where \
                  proxies on other machines would not reach it"
                    .into(),
            hint: "let a host join, or give this one an address: `segue server --address IP`"
                .into(),
        });
        let address = options.address.unwrap_or(Ipv4Addr::LOCALHOST.into());
        Self { address, closed: closed.map(Box::new) }
    }
}
