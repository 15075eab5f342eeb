//! Which app a request belongs to: host, exact or `*.wildcard`, then the longest path prefix that
//! ends at a border between segments. Built once per snapshot; never allocates when asked.

use std::collections::HashMap;

use model::Route;

/// One app's place in a snapshot.
pub(crate) type AppIndex = usize;

#[derive(Debug, Default)]
struct Paths(Vec<(Box<[u8]>, AppIndex)>);

impl Paths {
    fn insert(&mut self, path: &str, app: AppIndex) {
        let prefix = path.trim_end_matches('/').as_bytes();
        self.0.push((prefix.into(), app));
        // Longest first; of equals the app that comes first in the snapshot.
        self.0.sort_by_key(|(prefix, app)| (std::cmp::Reverse(prefix.len()), *app));
    }

    fn find(&self, path: &[u8]) -> Option<AppIndex> {
        let covers = |prefix: &[u8]| {
            path.strip_prefix(prefix).is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
                || prefix.is_empty()
        };
        self.0.iter().find(|(prefix, _)| covers(prefix)).map(|(_, app)| *app)
    }
}

/// The index of one snapshot's routes.
#[derive(Debug, Default)]
pub(crate) struct Router {
    exact: HashMap<Box<[u8]>, Paths>,
    /// By what follows the `*`, dot included.
    wildcard: HashMap<Box<[u8]>, Paths>,
    any: Paths,
}

/// The longest host name there is; longer ones can match nothing but "every host".
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

    /// The app for this host (any case, no port) and path.
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

    /// The most exact name first; a name without a matching path leaves the request to the next.
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
    use model::{Affinity, Millis};

    fn route(hosts: &[&str], path: &str) -> Route {
        Route {
            hosts: hosts.iter().map(ToString::to_string).collect(),
            path: path.to_owned(),
            affinity: Affinity::None,
            hold: Millis(0),
        }
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
    }
}
