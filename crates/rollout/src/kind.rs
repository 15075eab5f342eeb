//! The purpose of a rollout.

use serde::{Deserialize, Serialize};

/// The purpose of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutKind {
    /// Bring a release in by its strategy.
    Deploy,
    /// Go back to the warm standby: one switch, nothing else.
    Rollback,
    /// Replace every instance of the live release, one after the other.
    Restart,
    /// Start the instances that the live release lacks, and replace those that are Down.
    Start,
}

impl RolloutKind {
    /// Returns whether the live release stays and only its instances are renewed.
    pub fn renews(self) -> bool {
        match self {
            Self::Deploy | Self::Rollback => false,
            Self::Restart | Self::Start => true,
        }
    }
}
