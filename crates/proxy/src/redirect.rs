//! Redirects users to the canonical name of their app, or to the new address of a path. Never asks an
//! instance.

use http1::RequestHead;
use model::{Redirect, Route};

/// The redirects of one app.
#[derive(Debug)]
pub(crate) struct Redirects {
    canonical: Option<Box<[u8]>>,
    /// The redirects of paths, by `from`.
    moved: Vec<Redirect>,
}

/// The redirect of one request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Elsewhere {
    pub(crate) status: u16,
    /// Visible ASCII.
    pub(crate) location: String,
}

/// This status keeps the method and the body. The redirect may change with the next release, so it must
/// not be cached.
const CANONICAL: u16 = 308;

impl Redirects {
    /// Returns `None` if the route has no redirects.
    pub(crate) fn new(route: &Route) -> Option<Self> {
        let canonical = route.canonical.as_ref().map(|host| host.as_bytes().into());
        let mut moved = route.redirects.clone();
        moved.sort_by(|one, other| one.from.cmp(&other.from));
        (canonical.is_some() || !moved.is_empty()).then_some(Self { canonical, moved })
    }

    /// Returns the redirect of this request, if there is one.
    pub(crate) fn find(&self, head: &RequestHead, input: &[u8]) -> Option<Elsewhere> {
        let target = head.target(input);
        // `OPTIONS *` asks about the server, not about an address.
        if target == b"*" {
            return None;
        }
        let slash: &[u8] = if target.first() == Some(&b'/') { b"" } else { b"/" };
        if let Some(host) = &self.canonical
            && !head.host(input).eq_ignore_ascii_case(host)
        {
            // Without a scheme: the client keeps its own, which is unknown behind a proxy.
            let port = port(head.authority(input));
            let location = [&b"//"[..], host, port, slash, target].concat();
            return Some(Elsewhere { status: CANONICAL, location: text(location) });
        }
        let path = head.path(input);
        let at = self.moved.binary_search_by(|moved| moved.from.as_bytes().cmp(path)).ok()?;
        let Redirect { to, status, .. } = &self.moved[at];
        let query = target.iter().position(|&b| b == b'?').filter(|_| !to.contains('?'));
        let query = query.map_or(&b""[..], |at| &target[at..]);
        Some(Elsewhere { status: *status, location: text([to.as_bytes(), query].concat()) })
    }
}

/// Returns the port of a valid authority, with its colon.
fn port(authority: &[u8]) -> &[u8] {
    let after_address = authority.iter().rposition(|&b| b == b']').unwrap_or(0);
    let colon = authority[after_address..].iter().position(|&b| b == b':');
    colon.map_or(b"", |colon| &authority[after_address + colon..])
}

/// Converts to text. Targets and settings are visible ASCII, so no byte is lost.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http1::{RequestLimits, RequestParser};
    use model::Millis;

    fn sent(route: &Route, line: &str, host: &str) -> Option<(u16, String)> {
        let input = format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let mut parser = RequestParser::new(RequestLimits::default());
        parser.parse(input.as_bytes()).expect("a good head");
        let found = Redirects::new(route)?.find(parser.head(), input.as_bytes());
        found.map(|Elsewhere { status, location }| (status, location))
    }

    #[test]
    fn other_names_lead_to_the_canonical_one_with_port_path_and_query() {
        let canonical = Some("example.com".to_owned());
        let route = Route { canonical, ..Route::everything(Millis(0)) };
        for (line, host, location) in [
            ("GET /a?b=c", "www.example.com", Some("//example.com/a?b=c")),
            ("POST /", "www.example.com:8080", Some("//example.com:8080/")),
            ("GET /", "[::1]", Some("//example.com/")),
            ("GET /", "[::1]:81", Some("//example.com:81/")),
            ("GET http://other?b", "example.com", Some("//example.com/?b")),
            ("GET //evil.example/", "a", Some("//example.com//evil.example/")),
            ("GET /", "example.com", None),
            ("GET /", "EXAMPLE.com:8080", None),
            ("OPTIONS *", "a", None),
        ] {
            let expected = location.map(|location| (308, location.to_owned()));
            assert_eq!(sent(&route, line, host), expected, "{line} {host}");
        }
    }

    #[test]
    fn a_path_that_has_moved_takes_its_query_along() {
        let moved =
            |from: &str, to: &str, status| Redirect { from: from.into(), to: to.into(), status };
        let redirects = vec![
            moved("/old", "/new", 301),
            moved("/b", "https://b.example/x?y=z", 302),
            moved("/a/", "/", 308),
        ];
        let route = Route { redirects, ..Route::everything(Millis(0)) };
        for (line, location) in [
            ("GET /old", Some((301, "/new"))),
            ("GET /old?q=1", Some((301, "/new?q=1"))),
            ("GET /b?q=1", Some((302, "https://b.example/x?y=z"))),
            ("GET /a/", Some((308, "/"))),
            ("GET /a", None),
            ("GET /old/", None),
            ("GET /older", None),
        ] {
            let expected = location.map(|(status, location)| (status, location.to_owned()));
            assert_eq!(sent(&route, line, "h"), expected, "{line}");
        }
    }
}
