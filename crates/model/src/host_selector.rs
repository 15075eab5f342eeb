//! The hosts that an app may run on: `on` in `[placement]`.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Invalid;

/// Hosts that have a label with this value, written `KEY=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostSelector {
    key: String,
    value: String,
}

impl HostSelector {
    /// Returns whether a host with these labels is meant.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        labels.get(&self.key) == Some(&self.value)
    }
}

impl fmt::Display for HostSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

impl FromStr for HostSelector {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let is_plain = |part: &str| {
            (1..=64).contains(&part.len())
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b))
        };
        match text.split_once('=') {
            Some((key, value)) if is_plain(key) && is_plain(value) => {
                Ok(Self { key: key.into(), value: value.into() })
            }
            Some(_) | None => {
                Err(Invalid::new("label", text, "it has to be KEY=VALUE, as in role=web"))
            }
        }
    }
}

impl TryFrom<String> for HostSelector {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<HostSelector> for String {
    fn from(selector: HostSelector) -> Self {
        selector.to_string()
    }
}
