//! Names and numbers with identity. Each has its own type, so that they cannot be mixed up.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::fmt;
use core::net::SocketAddr;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// The error for a text that cannot be parsed: what it should be, and why it is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    what: &'static str,
    text: String,
    why: String,
}

impl Invalid {
    /// Returns the error. `what` names the kind of value, `text` is the input, `why` completes "because …".
    pub fn new(what: &'static str, text: &str, why: impl Into<String>) -> Self {
        let text: String = text.chars().take(80).collect();
        Self { what, text, why: why.into() }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a valid {}: {}", self.text, self.what, self.why)
    }
}

impl core::error::Error for Invalid {}

/// Implements Serde through `Display` and `FromStr`, so that a text from disk or network is parsed once.
macro_rules! serde_as_text {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// Implements `Display`, `Debug` and Serde for types whose text is shown and stored without changes.
macro_rules! written_as_it_is {
    ($type:ty) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        serde_as_text!($type);
    };
}

/// The name of an app: 1 to 40 lower-case letters, digits and `-`, starting with a letter and not
/// ending in `-`. Safe as a part of a path or a host name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppName(Arc<str>);

impl AppName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AppName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match name_fault(text) {
            None => Ok(Self(text.into())),
            Some(why) => Err(Invalid::new("app name", text, why)),
        }
    }
}

written_as_it_is!(AppName);

/// The name of a host, by the rules for an app's name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(Arc<str>);

impl HostId {
    /// Returns the host that the server itself runs on.
    pub fn local() -> Self {
        Self("local".into())
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match name_fault(text) {
            None => Ok(Self(text.into())),
            Some(why) => Err(Invalid::new("host name", text, why)),
        }
    }
}

written_as_it_is!(HostId);

/// The name of a proxy, by the rules for an app's name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProxyId(Arc<str>);

impl ProxyId {
    /// Returns the proxy in the server's own process.
    pub fn local() -> Self {
        Self("local".into())
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProxyId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match name_fault(text) {
            None => Ok(Self(text.into())),
            Some(why) => Err(Invalid::new("proxy name", text, why)),
        }
    }
}

written_as_it_is!(ProxyId);

/// The name of a member of a fleet, by the same rule: no other member has it, whatever either does.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberName(Arc<str>);

impl MemberName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The member as a host.
    pub fn as_host(&self) -> HostId {
        HostId(self.0.clone())
    }

    /// The member as a proxy.
    pub fn as_proxy(&self) -> ProxyId {
        ProxyId(self.0.clone())
    }
}

impl From<&HostId> for MemberName {
    fn from(host: &HostId) -> Self {
        Self(host.0.clone())
    }
}

impl From<&ProxyId> for MemberName {
    fn from(proxy: &ProxyId) -> Self {
        Self(proxy.0.clone())
    }
}

impl FromStr for MemberName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match name_fault(text) {
            None => Ok(Self(text.into())),
            Some(why) => Err(Invalid::new("member name", text, why)),
        }
    }
}

written_as_it_is!(MemberName);

/// Returns why a text cannot be the name of an app, a host or a member, if it cannot.
fn name_fault(text: &str) -> Option<&'static str> {
    if text.is_empty() || text.len() > 40 {
        Some("it has to have 1 to 40 characters")
    } else if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        Some("only lower-case letters, digits and `-` may stand in it")
    } else if !text.starts_with(|c: char| c.is_ascii_lowercase()) || text.ends_with('-') {
        Some("it has to start with a letter and may not end in `-`")
    } else {
        None
    }
}

/// The name that people give a release: 1 to 64 letters, digits and `._+-`, starting with a letter or digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(Arc<str>);

impl Label {
    /// Returns the label as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let why = if text.is_empty() || text.len() > 64 {
            "it has to have 1 to 64 characters"
        } else if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b)) {
            "only letters, digits and `._+-` may stand in it"
        } else if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            "it has to start with a letter or a digit"
        } else {
            return Ok(Self(text.into()));
        };
        Err(Invalid::new("release label", text, why))
    }
}

written_as_it_is!(Label);

/// A content hash of 256 bits; 64 hexadecimal digits as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Returns the digest with the 32 bytes of a hash function.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the first eight hexadecimal digits, for people.
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(8);
        text
    }
}

impl FromStr for Digest {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong =
            || Invalid::new("digest", text, "it has to be 64 lower-case hexadecimal digits");
        if text.len() != 64 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = core::str::from_utf8(pair).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

serde_as_text!(Digest);

/// The number of a release within its app, from 1 on; `#12` as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ReleaseNo(pub u32);

/// Reads a number, or the text of one: the keys of a map in JSON are text, and Serde hands them on as such when
/// the map is inside an enum with a tag.
impl<'de> Deserialize<'de> for ReleaseNo {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Number;
        impl serde::de::Visitor<'_> for Number {
            type Value = ReleaseNo;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the number of a release")
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<ReleaseNo, E> {
                u32::try_from(number).map(ReleaseNo).map_err(E::custom)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ReleaseNo, E> {
                text.parse().map(ReleaseNo).map_err(E::custom)
            }
        }
        d.deserialize_any(Number)
    }
}

impl fmt::Display for ReleaseNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl fmt::Debug for ReleaseNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// The number of a rollout within its app, from 1 on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RolloutId(pub u32);

impl fmt::Display for RolloutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for RolloutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rollout {}", self.0)
    }
}

/// The number of a lease of an app. A later lease has a higher number, so that the target of a write can
/// refuse the holder of an earlier one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct FencingToken(pub u64);

impl FencingToken {
    /// Returns the number of the next lease.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// One running copy of a release; `web-17` as text. A restart is a new instance with a new number.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId {
    /// The app it belongs to.
    pub app: AppName,
    /// A number counted up per app and never used twice.
    pub number: u64,
}

impl FromStr for InstanceId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = || Invalid::new("instance id", text, "it has to read APP-NUMBER");
        let (app, number) = text.rsplit_once('-').ok_or_else(wrong)?;
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        Ok(Self { app: app.parse()?, number: number.parse().map_err(|_| wrong())? })
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.app, self.number)
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

serde_as_text!(InstanceId);

/// The address an instance listens at: `127.0.0.1:20001`, `[::1]:20001` or `unix:/path`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// IPv4 or IPv6 with a port.
    Tcp(SocketAddr),
    /// An absolute path of a unix socket.
    Unix(String),
}

impl Address {
    /// Maximum length of the path of a unix socket in bytes: the kernel's limit.
    pub const MOST_PATH: usize = 107;

    /// Returns the port of an IP address.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }
}

impl FromStr for Address {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if let Some(path) = text.strip_prefix("unix:") {
            if !path.starts_with('/') || path.len() > Self::MOST_PATH || path.contains('\0') {
                let why = "the path has to be absolute and at most 107 bytes long";
                return Err(Invalid::new("address", text, why));
            }
            return Ok(Self::Unix(path.to_owned()));
        }
        let why = |e| format!("{e}; write 127.0.0.1:8080, [::1]:8080 or unix:/path");
        text.parse().map(Self::Tcp).map_err(|e| Invalid::new("address", text, why(e)))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => fmt::Display::fmt(address, f),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

serde_as_text!(Address);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_names_are_safe_in_paths_and_host_names() {
        for good in ["a", "web", "web-2", "a0"] {
            assert_eq!(good.parse::<AppName>().unwrap().as_str(), good);
        }
        for bad in ["", "Web", "..", "a/b", "-a", "a-", "2a", "a_b", &"a".repeat(41)] {
            assert!(bad.parse::<AppName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_instance_id_is_read_back_even_when_the_app_name_ends_in_a_number() {
        let id = InstanceId { app: "web-1".parse().unwrap(), number: 7 };
        assert_eq!(id.to_string(), "web-1-7");
        assert_eq!(id.to_string().parse::<InstanceId>().unwrap(), id);
        for bad in ["web", "web-", "web-x", "-1", "web--1", "web-+1"] {
            assert!(bad.parse::<InstanceId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn digests_and_addresses_are_read_back() {
        let digest = Digest::from_bytes([0xa7; 32]);
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        for text in ["127.0.0.1:80", "[::1]:80", "unix:/run/a.sock"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for bad in ["localhost:80", "1.2.3.4", "unix:rel", ""] {
            assert!(bad.parse::<Address>().is_err(), "{bad:?}");
        }
    }
}
