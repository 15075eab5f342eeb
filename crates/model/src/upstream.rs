//! A fixed upstream as people write it, and the meaning of its weight.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Address, Invalid};

/// The traffic of an instance relative to the others of its arm. An instance of weight 3 gets three times as
/// much as one of weight 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Weight(u16);

impl Weight {
    /// The default weight.
    pub const ONE: Self = Self(1);
    /// The largest weight.
    pub const MOST: u16 = 100;

    /// Returns a weight from 1 to [`Weight::MOST`].
    pub const fn new(weight: u16) -> Option<Self> {
        if weight >= 1 && weight <= Self::MOST { Some(Self(weight)) } else { None }
    }

    /// Returns the number.
    pub const fn get(self) -> u16 {
        self.0
    }

    pub(crate) fn is_one(&self) -> bool {
        *self == Self::ONE
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self::ONE
    }
}

impl TryFrom<u16> for Weight {
    type Error = &'static str;

    fn try_from(weight: u16) -> Result<Self, Self::Error> {
        Self::new(weight).ok_or("a weight is a number from 1 to 100")
    }
}

impl From<Weight> for u16 {
    fn from(weight: Weight) -> Self {
        weight.0
    }
}

/// The place of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamPlace {
    /// A fixed address.
    Fixed(Address),
    /// The addresses that a name resolves to. Each is an instance.
    Named {
        /// The name.
        host: String,
        /// The port at all of its addresses.
        port: u16,
    },
}

impl fmt::Display for UpstreamPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(address) => fmt::Display::fmt(address, f),
            Self::Named { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// A fixed upstream: `127.0.0.1:9000`, `[::1]:9000`, `unix:/path` or `app.internal:9000`, optionally
/// followed by `,weight=3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// The place of the upstream.
    pub place: UpstreamPlace,
    /// The weight of each of its instances.
    pub weight: Weight,
}

impl FromStr for Upstream {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (place, weight) = match text.split_once(',') {
            None => (text, Weight::ONE),
            Some((place, more)) => {
                let why = "behind the comma stands weight=N, from 1 to 100";
                let wrong = || Invalid::new("upstream", text, why);
                let weight = more.strip_prefix("weight=").ok_or_else(wrong)?;
                let weight = weight.parse().ok().and_then(Weight::new).ok_or_else(wrong)?;
                (place, weight)
            }
        };
        let named = || named(place).map(Ok);
        let place =
            place.parse().map(UpstreamPlace::Fixed).or_else(|e| named().unwrap_or(Err(e)))?;
        Ok(Self { place, weight })
    }
}

/// Parses a host name and a port.
fn named(text: &str) -> Option<UpstreamPlace> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let is_label = |label: &str| {
        let of_name = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(of_name) && !label.starts_with('-')
    };
    let labels = host.strip_suffix('.').unwrap_or(host);
    // A name whose last part is a number is an invalid address.
    let is_name = host.len() <= 253
        && labels.split('.').all(is_label)
        && !labels.rsplit('.').next()?.bytes().all(|b| b.is_ascii_digit());
    is_name.then(|| UpstreamPlace::Named { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn an_upstream_is_an_address_or_a_name_and_may_have_a_weight() {
        for (text, place, weight) in [
            ("127.0.0.1:9000", "127.0.0.1:9000", 1),
            ("[::1]:9000,weight=3", "[::1]:9000", 3),
            ("unix:/run/app.sock,weight=100", "unix:/run/app.sock", 100),
            ("app.internal:9000", "app.internal:9000", 1),
            ("localhost:80,weight=1", "localhost:80", 1),
            ("my_app.:80", "my_app.:80", 1),
        ] {
            let upstream: Upstream = text.parse().unwrap();
            assert_eq!(
                (upstream.place.to_string().as_str(), upstream.weight.get()),
                (place, weight)
            );
        }
        for bad in [
            "",
            ":80",
            "app",
            "app:",
            "app:0",
            "app:99999",
            "-a:80",
            "a..b:80",
            "300.1.1.1:80",
            "127.0.0.1",
            "http://a:80",
            "a b:80",
            "a:80,weight=0",
            "a:80,weight=101",
            "a:80,w=1",
            "a:80,",
            "unix:run",
            "a:80,weight=1,weight=2",
        ] {
            assert!(bad.parse::<Upstream>().is_err(), "{bad:?}");
        }
    }
}
