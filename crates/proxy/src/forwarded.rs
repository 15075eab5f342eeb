//! Who the client is when proxies that we trust stand before us. Believes nobody else: private and
//! loopback addresses are not trusted by themselves.

use std::net::{IpAddr, SocketAddr};

use http1::{Forwarding, RequestHead};
use model::Network;

use crate::buffer::Buffer;
use crate::config::Config;
use crate::connection::{Client, Turn};

/// The head as the upstream gets it, with so many bytes less of its path. Says to the client's side
/// whose request it is.
pub(crate) fn rewritten(head: &RequestHead, strip: usize, turn: &mut Turn<'_, '_>) -> Buffer {
    let trusted = &turn.worker.shared.config.trusted_proxies;
    let Client { input, peer, ip, address, port, .. } = &mut *turn.client;
    let input = input.unread();
    let said = match trusted.is_empty() {
        true => None,
        false => forwarded(head, input, *peer, trusted),
    };
    let client = said.map_or(*peer, |said| said.client);
    if *ip != client {
        *ip = client;
        *address = client.to_string();
    }
    let proto: &[u8] = said.and_then(|said| said.proto).unwrap_or(b"http");
    let port = match said.and_then(|said| said.port) {
        Some(port) => port,
        None if proto == b"https" => b"443",
        None => port.as_bytes(),
    };
    let mut request = turn.worker.stock.take();
    let with = Forwarding { client: address.as_bytes(), proto, port, strip };
    head.forward(input, &with, request.tail());
    request
}

/// Whether a request comes from a network that we trust: its client does, as far as trusted proxies
/// say who that is, and nobody else has passed it on.
pub(crate) fn is_inside(head: &RequestHead, turn: &Turn<'_, '_>) -> bool {
    let Config { trusted_proxies, trusted_networks, .. } = &turn.worker.shared.config;
    let Client { input, peer, ip, .. } = &*turn.client;
    let input = input.unread();
    Network::any_contains(trusted_networks, *ip)
        && (Network::any_contains(trusted_proxies, *peer) || !head.was_passed_on(input))
}

/// Whether a proxy has passed the request on: one that we know, or one that says so. Its connection
/// carries requests of many clients.
pub(crate) fn was_passed_on(head: &RequestHead, turn: &Turn<'_, '_>) -> bool {
    let (input, peer) = (turn.client.input.unread(), turn.client.peer);
    Network::any_contains(&turn.worker.shared.config.trusted_proxies, peer)
        || head.was_passed_on(input)
}

/// What the proxies before us say of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Forwarded<'a> {
    client: IpAddr,
    proto: Option<&'a [u8]>,
    port: Option<&'a [u8]>,
}

/// Walks `X-Forwarded-For` from the right to the first address that is not trusted. `None` if the
/// peer itself is not.
fn forwarded<'a>(
    head: &'a RequestHead,
    input: &'a [u8],
    peer: IpAddr,
    trusted: &[Network],
) -> Option<Forwarded<'a>> {
    let is_trusted = |address| Network::any_contains(trusted, address);
    if !is_trusted(peer) {
        return None;
    }
    let mut client = peer;
    // Fields may be many, and only their order from the end says who wrote what.
    let count = head.values(input, b"x-forwarded-for").count();
    let field = |at: usize| head.values(input, b"x-forwarded-for").nth(at).unwrap_or_default();
    let hops = (0..count).rev().flat_map(|at| field(at).rsplit(|&b| b == b','));
    for hop in hops {
        // What cannot be read was not written by a proxy that we trust: it ends the walk.
        let Some(address) = address(hop.trim_ascii()) else { break };
        client = address;
        if !is_trusted(address) {
            break;
        }
    }
    let last = |name: &'a [u8]| head.values(input, name).last();
    let proto = last(b"x-forwarded-proto").filter(|p| matches!(*p, b"http" | b"https"));
    let is_port =
        |port: &&[u8]| (1..=5).contains(&port.len()) && port.iter().all(u8::is_ascii_digit);
    Some(Forwarded { client, proto, port: last(b"x-forwarded-port").filter(is_port) })
}

/// An address as proxies write it: some add a port, some brackets.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text).ok()?;
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().map(|address| address.ip()).ok();
    bare.parse().ok().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http1::{RequestLimits, RequestParser};

    #[test]
    fn the_walk_ends_at_the_first_that_is_not_trusted() {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"].map(|text| text.parse().unwrap());
        for (peer, fields, client) in [
            ("192.0.2.1", "X-Forwarded-For: 203.0.113.9\r\n", None),
            ("127.0.0.1", "X-Forwarded-For: 203.0.113.9\r\n", None),
            ("10.0.0.1", "", Some("10.0.0.1")),
            ("10.0.0.1", "X-Forwarded-For: 203.0.113.9\r\n", Some("203.0.113.9")),
            ("10.0.0.1", "X-Forwarded-For: 1.1.1.1, 203.0.113.9\r\n", Some("203.0.113.9")),
            (
                "10.0.0.1",
                "X-Forwarded-For: 203.0.113.9,10.2.3.4 ,\t10.0.0.2\r\n",
                Some("203.0.113.9"),
            ),
            (
                "10.0.0.1",
                "X-Forwarded-For: 1.1.1.1\r\nx-forwarded-for: 9.9.9.9\r\n",
                Some("9.9.9.9"),
            ),
            ("10.0.0.1", "X-Forwarded-For: 1.1.1.1, unknown, 10.0.0.2\r\n", Some("10.0.0.2")),
            ("10.0.0.1", "X-Forwarded-For: 10.9.9.9, 10.0.0.2\r\n", Some("10.9.9.9")),
            ("10.0.0.1", "X-Forwarded-For: 203.0.113.9:4711\r\n", Some("203.0.113.9")),
            ("2001:db8::1", "X-Forwarded-For: [2001:db9::5]:80\r\n", Some("2001:db9::5")),
            ("10.0.0.1", "X-Forwarded-For: ::ffff:10.0.0.7\r\n", Some("10.0.0.7")),
            ("10.0.0.1", "X-Forwarded-For: 1.1.1.1,\r\n", Some("10.0.0.1")),
        ] {
            let input = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
            let mut parser = RequestParser::new(RequestLimits::default());
            parser.parse(input.as_bytes()).expect("a good head");
            let said = forwarded(parser.head(), input.as_bytes(), peer.parse().unwrap(), &trusted);
            let expected = client.map(|text| text.parse::<IpAddr>().unwrap());
            assert_eq!(said.map(|said| said.client), expected, "{peer} {fields}");
        }
    }
}
