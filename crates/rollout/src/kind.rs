//! What a rollout is for.

use serde::{Deserialize, Serialize};

/// What a rollout is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutKind {
    /// Bring a release in by its strategy.
    Deploy,
    /// Go back to the warm standby: one switch, nothing else.
    Rollback,
    /// Replace every instance of the live release, one after the other.
    Restart,
    /// Start what the live release lacks, and replace what is Down.
    Start,
}

impl RolloutKind {
    /// The live release stays; its instances are renewed.
    pub fn renews(self) -> bool {
        match self {
            Self::Deploy | Self::Rollback => false,
            Self::Restart | Self::Start => true,
        }
    }
}
