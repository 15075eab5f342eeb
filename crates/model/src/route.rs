//! Which requests are an app's, and when two apps want the same. Never looks at a request: that is
//! the proxy's part.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::{AppLimits, Millis};

/// Which requests are the app's, and what the proxy does with them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Host names in lower case, without port; `*.` before one stands for one label or more. None
    /// means every host.
    pub hosts: Vec<String>,
    /// Requests whose path starts with this, at a border between segments. Starts with `/`.
    pub path: String,
    /// What becomes of `path` on the way to the app.
    #[serde(default, skip_serializing_if = "Prefix::is_kept")]
    pub prefix: Prefix,
    /// The one of the names that users should see: requests for any other are redirected there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canonical: Option<String>,
    /// Paths that have moved; at most [`Route::REDIRECTS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redirects: Vec<Redirect>,
    /// By what a user is recognised.
    pub affinity: Affinity,
    /// How long a request waits for an instance before it is answered with 503.
    pub hold: Millis,
    /// How long and how large a request may be.
    #[serde(default, skip_serializing_if = "AppLimits::is_default")]
    pub limits: AppLimits,
    /// How one of a release's instances is picked.
    #[serde(default, skip_serializing_if = "Balance::is_default")]
    pub balance: Balance,
    /// For this time after its start an instance gets only a part of the requests, which grows; 0 for none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub slow_start: Millis,
    /// Which connections to an instance carry more than one request.
    #[serde(default, skip_serializing_if = "KeepAlive::is_default")]
    pub keep_alive: KeepAlive,
}

fn is_zero(time: &Millis) -> bool {
    time.0 == 0
}

impl Route {
    /// Hosts of one app at the most.
    pub const HOSTS: usize = 100;
    /// Redirects of one app at the most.
    pub const REDIRECTS: usize = 100;

    /// All requests, whatever their host and path, without affinity.
    pub fn everything(hold: Millis) -> Self {
        Self {
            hosts: Vec::new(),
            path: "/".into(),
            prefix: Prefix::Kept,
            canonical: None,
            redirects: Vec::new(),
            affinity: Affinity::None,
            hold,
            limits: AppLimits::default(),
            balance: Balance::TwoChoices,
            slow_start: Millis(0),
            keep_alive: KeepAlive::Careful,
        }
    }

    /// Where two routes want the same requests, in words: one host, exact or pattern, with one path.
    /// A more exact host or a longer path is no conflict: it goes first.
    pub fn conflict(&self, other: &Self) -> Option<String> {
        let path = self.path.trim_end_matches('/');
        if path != other.path.trim_end_matches('/') {
            return None;
        }
        let host = match (self.hosts.as_slice(), other.hosts.as_slice()) {
            ([], []) => "every host".to_string(),
            (hosts, others) => hosts.iter().find(|host| others.contains(host))?.clone(),
        };
        Some(if path.is_empty() { host } else { format!("{path} of {host}") })
    }
}

/// What becomes of a route's path on the way to the app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prefix {
    /// The app sees it.
    #[default]
    Kept,
    /// The prefix is cut off, and told in `X-Forwarded-Prefix`.
    Stripped,
}

impl Prefix {
    fn is_kept(&self) -> bool {
        *self == Self::Kept
    }
}

/// How one of a release's instances is picked, among those that are well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// Of two random ones that with fewer requests in flight.
    #[default]
    TwoChoices,
    /// Of all that with the fewest requests in flight.
    LeastConnections,
    /// Of two random ones that with the smaller product of the time it takes to answer, a mean that
    /// believes bad news at once, and of the requests in flight.
    PeakEwma,
    /// One after the other.
    RoundRobin,
    /// One instance per user, by the user key of [`Affinity`]; cookies are no such key, since they are set
    /// only while a release comes in.
    Hash,
}

impl Balance {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Which connections to an instance carry more than one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeepAlive {
    /// Connections on which no client can have left anything for the next: an app that answers a request
    /// without reading its body leaves the body to be read as the next request.
    #[default]
    Careful,
    /// All on which the answer came to its end, for an app that is known to read every body and to
    /// send none where none may be.
    Trusting,
    /// None: each request gets a connection of its own.
    Off,
}

impl KeepAlive {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A path that has moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirect {
    /// The whole path, as a request writes it, without query.
    pub from: String,
    /// Where it is now: a path, or a whole address. The query goes along unless this has its own.
    pub to: String,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// By what a user is recognised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Affinity {
    /// A signed random cookie.
    Cookie,
    /// The client's address.
    ClientIp,
    /// The value of this request header.
    Header(String),
    /// Not at all.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(hosts: &[&str], path: &str) -> Route {
        let hosts = hosts.iter().map(ToString::to_string).collect();
        Route { hosts, path: path.into(), ..Route::everything(Millis(0)) }
    }

    #[test]
    fn only_the_same_host_with_the_same_path_is_a_conflict() {
        for (one, other, place) in [
            (route(&[], "/"), route(&[], "/"), Some("every host")),
            (route(&[], "/api"), route(&[], "/api/"), Some("/api of every host")),
            (route(&["a", "b"], "/"), route(&["c", "b"], "/"), Some("b")),
            (route(&["*.a"], "/x"), route(&["*.a"], "/x"), Some("/x of *.a")),
            (route(&["a"], "/"), route(&[], "/"), None),
            (route(&["a"], "/"), route(&["b"], "/"), None),
            (route(&["a"], "/"), route(&["a"], "/x"), None),
            (route(&["x.a"], "/"), route(&["*.a"], "/"), None),
        ] {
            assert_eq!(one.conflict(&other).as_deref(), place, "{one:?} {other:?}");
            assert_eq!(other.conflict(&one).as_deref(), place, "{other:?} {one:?}");
        }
    }

    /// Digests of releases and journals that are older than a setting stay what they were.
    #[test]
    fn what_is_not_set_is_not_written() {
        let text = serde_json::to_string(&route(&[], "/")).unwrap();
        assert_eq!(text, r#"{"hosts":[],"path":"/","affinity":"none","hold":0}"#);
        assert_eq!(serde_json::from_str::<Route>(&text).unwrap(), route(&[], "/"));
    }
}
