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
    /// Returns whether a text can be the key or the value of a label: 1 to 64 letters, digits and `-_./`.
    pub fn is_part(text: &str) -> bool {
        (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b))
    }

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
        match text.split_once('=') {
            Some((key, value)) if Self::is_part(key) && Self::is_part(value) => {
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
