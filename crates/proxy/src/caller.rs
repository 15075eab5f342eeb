//! Who asks: the client of a connection, or of one stream on it, by what trusted proxies say. Moves no
//! bytes.

use std::net::IpAddr;
use std::rc::Rc;

use crate::whence::Whence;

/// Who asks.
#[derive(Debug)]
pub(crate) struct Caller {
    /// Who is connected: the client itself, or a proxy before us.
    pub(crate) peer: IpAddr,
    /// Where its request comes from.
    pub(crate) whence: Whence,
    /// The client's address as text, without port.
    pub(crate) address: String,
    /// The port it connected to, as text.
    pub(crate) port: Rc<str>,
}

impl Caller {
    /// Whoever is connected from there, before a request says more.
    pub(crate) fn new(peer: IpAddr, port: Rc<str>) -> Self {
        Self { peer, whence: Whence { ip: peer, relayed: false }, address: peer.to_string(), port }
    }
}
