//! The processes whose sockets accept connections at an instance's address, and those that may.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// The processes that may listen at an instance's address: `listener` in `[run]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListenerRule {
    /// Only the instance's own processes.
    #[default]
    Own,
    /// Any process, for setups where another program listens for the instance: Docker, socket activation,
    /// PM2.
    Any,
}

impl ListenerRule {
    pub(crate) fn is_own(&self) -> bool {
        *self == Self::Own
    }
}

/// The sockets that accept connections at an instance's address, as found by its host.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Listeners {
    /// Not checked yet.
    #[default]
    Unknown,
    /// All sockets belong to the instance's own processes. Their inode numbers, ascending.
    Own(Vec<u64>),
    /// [`ListenerRule::Any`] applies, so there is no check.
    Any,
    /// At least one socket belongs to another program. No request may go to the address.
    Foreign,
}

impl Listeners {
    pub(crate) fn is_unknown(&self) -> bool {
        *self == Self::Unknown
    }
}
