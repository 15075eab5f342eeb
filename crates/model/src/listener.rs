//! Whose sockets take connections at an instance's address, and whose may.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// Who may listen at an instance's address: `listener` in `[run]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListenerRule {
    /// Only the instance's own processes.
    #[default]
    Own,
    /// Anybody: another program listens for the instance, as with Docker, socket activation or PM2.
    Any,
}

impl ListenerRule {
    pub(crate) fn is_own(&self) -> bool {
        *self == Self::Own
    }
}

/// The sockets that take connections at an instance's address, as its host has found them.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Listeners {
    /// Nobody has looked yet.
    #[default]
    Unknown,
    /// All of them belong to the instance's own processes: the numbers of their inodes, ascending.
    Own(Vec<u64>),
    /// [`ListenerRule::Any`] applies: nobody looks.
    Any,
    /// At least one of them belongs to somebody else: no request may go there.
    Foreign,
}

impl Listeners {
    pub(crate) fn is_unknown(&self) -> bool {
        *self == Self::Unknown
    }
}
