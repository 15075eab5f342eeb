//! Routes: the requests that belong to an app, and conflicts between the routes of two apps. Requests
//! themselves are matched by the proxy.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::{AppLimits, Millis};

/// The requests that belong to the app, and what the proxy does with them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Host names in lower case, without port. A leading `*.` stands for one or more labels. An empty list
    /// means every host.
    pub hosts: Vec<String>,
    /// Path prefix of the requests, matched at a border between segments. Starts with `/`.
    pub path: String,
    /// The treatment of `path` on the way to the app.
    #[serde(default, skip_serializing_if = "Prefix::is_kept")]
    pub prefix: Prefix,
    /// The host name that users should see. Requests for any other name are redirected to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canonical: Option<String>,
    /// Paths that have moved; at most [`Route::REDIRECTS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redirects: Vec<Redirect>,
    /// The key by which a user is recognised.
    pub affinity: Affinity,
    /// Time that a request waits for an instance before it is answered with 503.
    pub hold: Millis,
    /// Limits on the duration and size of a request.
    #[serde(default, skip_serializing_if = "AppLimits::is_default")]
    pub limits: AppLimits,
    /// The method to pick one of a release's instances.
    #[serde(default, skip_serializing_if = "Balance::is_default")]
    pub balance: Balance,
    /// Time after its start during which an instance gets a growing part of the requests; 0 for none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub slow_start: Millis,
    /// The connections to an instance that carry more than one request.
    #[serde(default, skip_serializing_if = "KeepAlive::is_default")]
    pub keep_alive: KeepAlive,
}

fn is_zero(time: &Millis) -> bool {
    time.0 == 0
}

impl Route {
    /// Maximum number of hosts of one app.
    pub const HOSTS: usize = 100;
    /// Maximum number of redirects of one app.
    pub const REDIRECTS: usize = 100;

    /// Returns a route for all requests, regardless of host and path, without affinity.
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

    /// Returns, in words, where two routes want the same requests: one host, exact or pattern, with one
    /// path. A more exact host or a longer path is no conflict, since it takes precedence.
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

/// The treatment of a route's path on the way to the app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prefix {
    /// The app sees the path.
    #[default]
    Kept,
    /// The prefix is removed, and reported in `X-Forwarded-Prefix`.
    Stripped,
}

impl Prefix {
    fn is_kept(&self) -> bool {
        *self == Self::Kept
    }
}

/// The method to pick one of a release's healthy instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// Of two random instances, the one with fewer requests in flight.
    #[default]
    TwoChoices,
    /// Of all instances, the one with the fewest requests in flight.
    LeastConnections,
    /// Of two random instances, the one with the smaller product of answer time and requests in flight. The
    /// answer time is a mean that rises at once and falls slowly.
    PeakEwma,
    /// One instance after the other.
    RoundRobin,
    /// One instance per user, by the user key of [`Affinity`]. Cookies are no such key, since they are set
    /// only during a rollout.
    Hash,
}

impl Balance {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The connections to an instance that carry more than one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeepAlive {
    /// Connections on which no client can have left anything for the next one. If an app answers a request
    /// without reading its body, the body would be read as the next request.
    #[default]
    Careful,
    /// All connections whose answer was complete, for an app that is known to read every body and to send
    /// none where none is allowed.
    Trusting,
    /// None. Each request gets a connection of its own.
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
    /// The complete path, as written in a request, without query.
    pub from: String,
    /// The new path or complete address. The query is kept unless this has its own.
    pub to: String,
    /// The status: 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// The key by which a user is recognised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Affinity {
    /// A signed random cookie.
    Cookie,
    /// The client's address.
    ClientIp,
    /// The value of this request header.
    Header(String),
    /// No key.
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

    /// Digests of releases and journals that are older than a setting must not change.
    #[test]
    fn what_is_not_set_is_not_written() {
        let text = serde_json::to_string(&route(&[], "/")).unwrap();
        assert_eq!(text, r#"{"hosts":[],"path":"/","affinity":"none","hold":0}"#);
        assert_eq!(serde_json::from_str::<Route>(&text).unwrap(), route(&[], "/"));
    }
}
