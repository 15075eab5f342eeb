//! Finds the app that a request belongs to: by host, exact or `*.wildcard`, then by the longest path
//! prefix that ends at a border between segments. Built once per snapshot. A look-up allocates nothing,
//! and a path is never decoded: it is compared as the client wrote it, which is also how the app will see
//! it.

use std::collections::HashMap;

use model::Route;

/// The index of an app in a snapshot.
pub(crate) type AppIndex = usize;

/// The paths under one host. A look-up takes one step per segment, however many routes there are.
#[derive(Debug, Default)]
struct Paths {
    /// By prefix, without the `/` at its end.
    prefixes: HashMap<Box<[u8]>, AppIndex>,
    /// The app of the path `/`.
    root: Option<AppIndex>,
    longest: usize,
}

impl Paths {
    /// Inserts a path. Of two equal paths, the app that comes first in the snapshot stays.
    fn insert(&mut self, path: &str, app: AppIndex) {
        let prefix = path.trim_end_matches('/').as_bytes();
        if prefix.is_empty() {
            self.root.get_or_insert(app);
            return;
        }
        self.longest = self.longest.max(prefix.len());
        self.prefixes.entry(prefix.into()).or_insert(app);
    }

    /// Tries the prefixes of the path that end at a border, the longest that a route could have first.
    fn find(&self, path: &[u8]) -> Option<AppIndex> {
        let mut end = path.len();
        while end > 0 && self.longest > 0 {
            if end <= self.longest
                && let Some(app) = self.prefixes.get(&path[..end])
            {
                return Some(*app);
            }
            let reach = end.min(self.longest + 1);
            end = path[..reach].iter().rposition(|&b| b == b'/').unwrap_or(0);
        }
        self.root
    }
}

/// The index of one snapshot's routes.
#[derive(Debug, Default)]
pub(crate) struct Router {
    exact: HashMap<Box<[u8]>, Paths>,
    /// By the part after the `*`, dot included.
    wildcard: HashMap<Box<[u8]>, Paths>,
    any: Paths,
}

/// The length of the longest host name. Longer ones can only match "every host".
const MAX_HOST: usize = 255;

impl Router {
    pub(crate) fn new<'a>(routes: impl Iterator<Item = &'a Route>) -> Self {
        let mut router = Self::default();
        for (app, route) in routes.enumerate() {
            if route.hosts.is_empty() {
                router.any.insert(&route.path, app);
            }
            for host in &route.hosts {
                let host = host.to_ascii_lowercase();
                let (map, key) = match host.strip_prefix('*') {
                    Some(suffix) if suffix.starts_with('.') => (&mut router.wildcard, suffix),
                    Some(_) | None => (&mut router.exact, host.as_str()),
                };
                map.entry(key.as_bytes().into()).or_default().insert(&route.path, app);
            }
        }
        router
    }

    /// Returns the app for this host (any case, no port) and path.
    pub(crate) fn find(&self, host: &[u8], path: &[u8]) -> Option<AppIndex> {
        let mut lower = [0; MAX_HOST];
        if let Some(lower) = lower.get_mut(..host.len())
            && !(self.exact.is_empty() && self.wildcard.is_empty())
        {
            lower.copy_from_slice(host);
            lower.make_ascii_lowercase();
            if let Some(app) = self.named(lower, path) {
                return Some(app);
            }
        }
        self.any.find(path)
    }

    /// Tries the most exact name first. If that name has no matching path, the next one is tried.
    fn named(&self, host: &[u8], path: &[u8]) -> Option<AppIndex> {
        if let Some(app) = self.exact.get(host).and_then(|paths| paths.find(path)) {
            return Some(app);
        }
        if self.wildcard.is_empty() {
            return None;
        }
        let dots = host.iter().enumerate().skip(1).filter(|(_, b)| **b == b'.');
        dots.map(|(at, _)| &host[at..])
            .find_map(|suffix| self.wildcard.get(suffix).and_then(|paths| paths.find(path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Millis;

    fn route(hosts: &[&str], path: &str) -> Route {
        let hosts = hosts.iter().map(ToString::to_string).collect();
        Route { hosts, path: path.to_owned(), ..Route::everything(Millis(0)) }
    }

    #[test]
    fn the_most_exact_host_and_the_longest_path_win() {
        let routes = [
            route(&[], "/"),
            route(&["a.example"], "/"),
            route(&["a.example"], "/api"),
            route(&["*.example"], "/"),
            route(&["*.b.example"], "/only"),
        ];
        let router = Router::new(routes.iter());
        for (host, path, app) in [
            ("elsewhere", "/x", 0),
            ("A.Example", "/x", 1),
            ("a.example", "/api", 2),
            ("a.example", "/api/x", 2),
            ("a.example", "/apix", 1),
            ("a.example", "/api/a/very/long/path//", 2),
            ("a.example", "/ap", 1),
            ("c.example", "/", 3),
            ("x.b.example", "/only/x", 4),
            ("x.b.example", "/x", 3),
            ("example", "/", 0),
            ("", "/", 0),
            ("elsewhere", "*", 0),
        ] {
            assert_eq!(router.find(host.as_bytes(), path.as_bytes()), Some(app), "{host}{path}");
        }
        assert_eq!(Router::new([route(&["a"], "/")].iter()).find(b"b", b"/"), None);
        assert_eq!(Router::new([route(&[], "/a/")].iter()).find(b"b", b"/a"), Some(0));
        assert_eq!(Router::new([route(&[], "/a")].iter()).find(b"b", b"/b"), None);
        let nested = [route(&[], "/a"), route(&[], "/a/b/c")];
        let router = Router::new(nested.iter());
        for (path, app) in [("/a/b", 0), ("/a/b/c", 1), ("/a/b/c/d", 1), ("/a/b/cd", 0)] {
            assert_eq!(router.find(b"", path.as_bytes()), Some(app), "{path}");
        }
    }

    /// A thousand apps cost no more than ten, apart from effects of the machine's caches. The fastest of
    /// many runs is compared. A look-up that went through the routes one by one would take a hundred
    /// times as long.
    #[test]
    fn a_thousand_routes_are_found_as_fast_as_ten() {
        let fastest = |count: usize| {
            let routes: Vec<Route> = (0..count)
                .map(|n| match n % 3 {
                    0 => route(&[&format!("app-{n}.example.com")], "/"),
                    1 => route(&[&format!("*.wild-{n}.example.com")], "/api"),
                    _ => route(&[], &format!("/path-{n}/below")),
                })
                .collect();
            let router = Router::new(routes.iter());
            let asked = [
                ("app-6.example.com", "/some/path/of/a/page.html", 6),
                ("a.b.wild-7.example.com", "/api/v1/items/4711", 7),
                ("elsewhere.example.org", "/path-8/below/that", 8),
            ];
            let look = || {
                for (host, path, app) in asked {
                    assert_eq!(router.find(host.as_bytes(), path.as_bytes()), Some(app));
                }
            };
            let once = || {
                let start = std::time::Instant::now();
                (0..20).for_each(|_| look());
                start.elapsed()
            };
            (0..200).map(|_| once()).min().unwrap()
        };
        let (few, many) = (fastest(10), fastest(1_000));
        assert!(many < few * 4, "{few:?} for ten, {many:?} for a thousand");
    }
}
