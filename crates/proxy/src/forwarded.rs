//! Identifies the client behind trusted proxies. Believes no other sender: private and loopback addresses
//! are not trusted by themselves.

use std::net::{IpAddr, SocketAddr};

use http1::{Forwarding, RequestHead};
use model::Network;

use crate::buffer::Buffer;
use crate::caller::Caller;
use crate::turn::Turn;
use crate::whence::Whence;

/// Returns the head as the upstream gets it, without the first `strip` bytes of its path. Sets the
/// address of the turn's caller to that of the client that sent the request.
pub(crate) fn rewritten(head: &RequestHead, strip: usize, turn: &mut Turn<'_, '_>) -> Buffer {
    let settings = turn.worker.settings();
    let trusted = &settings.trusted_proxies;
    let Caller { peer, whence, address, port } = &mut *turn.caller;
    let input = turn.client.head_bytes();
    let said = match trusted.is_empty() {
        true => None,
        false => forwarded(head, input, *peer, trusted),
    };
    let client = said.map_or(*peer, |said| said.client);
    if whence.ip != client {
        *address = client.to_string();
    }
    *whence = Whence { ip: client, relayed: said.is_none() && head.is_passed_on() };
    let proto: &[u8] = said.and_then(|said| said.proto).unwrap_or(b"http");
    let port = match said.and_then(|said| said.port) {
        Some(port) => port,
        None if proto == b"https" => b"443",
        None => port.as_bytes(),
    };
    let mut request = turn.worker.stock.take();
    let is_trusted = said.is_some();
    let with = Forwarding { client: address.as_bytes(), proto, port, strip, is_trusted };
    head.forward(input, &with, request.tail());
    request
}

/// Returns whether a proxy has passed the request on: one that is trusted, or one that says so. The
/// connection of a proxy carries requests of many clients.
pub(crate) fn was_passed_on(head: &RequestHead, turn: &Turn<'_, '_>) -> bool {
    let peer = turn.caller.peer;
    Network::any_contains(&turn.worker.settings().trusted_proxies, peer) || head.is_passed_on()
}

/// The client's address, scheme and port, as trusted proxies report them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Forwarded<'a> {
    client: IpAddr,
    proto: Option<&'static [u8]>,
    port: Option<&'a [u8]>,
}

/// Walks `X-Forwarded-For` from the right to the first address that is not trusted. Returns `None` if the
/// peer itself is not trusted.
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
    let mut walked = 0;
    for hop in hops(head, input, b"x-forwarded-for") {
        // A trusted proxy writes only valid addresses, so an invalid one ends the walk.
        let Some(address) = address(hop) else { break };
        client = address;
        walked += 1;
        if !is_trusted(address) {
            break;
        }
    }
    // The proxy that wrote the client's address also knew the scheme and the port.
    let beside = |name| {
        let mut hops = hops(head, input, name);
        let beside = hops.nth(usize::saturating_sub(walked, 1));
        // Some proxies write one value for all hops.
        beside.or_else(|| self::hops(head, input, name).last())
    };
    let is_port =
        |port: &&[u8]| (1..=5).contains(&port.len()) && port.iter().all(u8::is_ascii_digit);
    Some(Forwarded {
        client,
        proto: beside(b"x-forwarded-proto").and_then(scheme),
        port: beside(b"x-forwarded-port").filter(is_port),
    })
}

/// Returns the members of a list, from the last to the first. A list may be spread over many fields, and
/// only the order from the end tells which proxy wrote a member.
fn hops<'a>(
    head: &'a RequestHead,
    input: &'a [u8],
    name: &'a [u8],
) -> impl Iterator<Item = &'a [u8]> {
    let count = head.values(input, name).count();
    let field = move |at: usize| head.values(input, name).nth(at).unwrap_or_default();
    (0..count).rev().flat_map(move |at| field(at).rsplit(|&b| b == b',')).map(<[u8]>::trim_ascii)
}

/// Returns the scheme for a proxy's name of it. Case does not matter (RFC 9110, 4.2.3), and a WebSocket
/// has the scheme of its opening request.
fn scheme(text: &[u8]) -> Option<&'static [u8]> {
    let is = |name: &[u8]| text.eq_ignore_ascii_case(name);
    match () {
        () if is(b"https") || is(b"wss") => Some(b"https"),
        () if is(b"http") || is(b"ws") => Some(b"http"),
        () => None,
    }
}

/// Parses an address as proxies write it: some add a port, some brackets.
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

    #[test]
    fn a_scheme_is_read_in_any_case_from_the_hop_that_names_the_client() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let port = "X-Forwarded-Port: 8443\r\n";
        for (fields, proto) in [
            ("X-Forwarded-Proto: https\r\n", Some("https")),
            ("X-Forwarded-Proto: HTTPS\r\n", Some("https")),
            ("X-Forwarded-Proto: wss\r\n", Some("https")),
            ("X-Forwarded-Proto: Ws\r\n", Some("http")),
            ("X-Forwarded-Proto: https, https\r\n", Some("https")),
            ("X-Forwarded-Proto: https\r\nX-Forwarded-Proto: https\r\n", Some("https")),
            ("X-Forwarded-Proto: ftp\r\n", None),
            ("X-Forwarded-Proto: \r\n", None),
            ("", None),
            // The client came by https to 10.0.0.2, which came by http to 10.0.0.1.
            (
                "X-Forwarded-For: 192.0.2.1, 10.0.0.2\r\nX-Forwarded-Proto: https, http\r\n",
                Some("https"),
            ),
            // Entries before that are the client's own and not to be believed.
            (
                "X-Forwarded-For: 192.0.2.1, 10.0.0.2\r\nX-Forwarded-Proto: https, http, http\r\n",
                Some("http"),
            ),
            ("X-Forwarded-For: 192.0.2.1, 10.0.0.2\r\nX-Forwarded-Proto: https\r\n", Some("https")),
            ("X-Forwarded-Proto: https, http\r\n", Some("http")),
        ] {
            let input = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}{port}\r\n");
            let mut parser = RequestParser::new(RequestLimits::default());
            parser.parse(input.as_bytes()).expect("a good head");
            let peer = "10.0.0.1".parse().unwrap();
            let said = forwarded(parser.head(), input.as_bytes(), peer, &trusted).expect("trusted");
            assert_eq!(said.proto, proto.map(str::as_bytes), "{fields}");
            assert_eq!(said.port, Some(&b"8443"[..]), "{fields}");
        }
    }
}
