//! The client of a connection, or of one stream on it, as identified by trusted proxies. Moves no bytes.

use std::net::IpAddr;
use std::rc::Rc;

use crate::whence::Whence;

/// The client that sends a request.
#[derive(Debug)]
pub(crate) struct Caller {
    /// The connected peer: the client itself, or a proxy before this one.
    pub(crate) peer: IpAddr,
    /// The origin of its request.
    pub(crate) whence: Whence,
    /// The client's address as text, without port.
    pub(crate) address: String,
    /// The port that the client connected to, as text.
    pub(crate) port: Rc<str>,
}

impl Caller {
    /// Returns the connected peer as the client, before a request says more.
    pub(crate) fn new(peer: IpAddr, port: Rc<str>) -> Self {
        Self { peer, whence: Whence { ip: peer, relayed: false }, address: peer.to_string(), port }
    }
}
