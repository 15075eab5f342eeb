//! A release as it is kept, and the stage of an instance's life.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::{AppSpec, Digest, Label, ReleaseNo, Timestamp};

/// One immutable version of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Its number within the app.
    pub no: ReleaseNo,
    /// What people call it; not used for another content as long as the release is stored.
    pub label: Label,
    /// Names everything that makes the release: files, command, environment, settings.
    pub digest: Digest,
    /// Names the list of its files; `None` if it brings none.
    pub content: Option<Digest>,
    /// The settings it was deployed with.
    pub spec: Arc<AppSpec>,
    /// When it was first deployed.
    pub created: Timestamp,
    /// Why it must not come back by a bare `rollback`, if it must not.
    pub bad: Option<String>,
    /// How its instances are checked and probed: as by the segue that first stored it.
    #[serde(default, skip_serializing_if = "Conventions::is_first")]
    pub conventions: Conventions,
    /// What it has shown of itself: what has served is kept before what has not.
    #[serde(default, skip_serializing_if = "Service::is_unknown")]
    pub service: Service,
}

/// Whether a release has ever had users.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// Nothing is known yet, or it is of the time before this was kept.
    #[default]
    Unknown,
    /// The release had a part of the traffic.
    Served {
        /// When it last got it, or last lost it.
        last: Timestamp,
    },
    /// Its rollout ended before it had any. Its files are not kept.
    Never {
        /// The last words of the instance that failed.
        last_words: Vec<String>,
    },
}

impl Service {
    fn is_unknown(&self) -> bool {
        *self == Self::Unknown
    }

    /// Its files are kept as long as the release is stored.
    pub fn keeps_files(&self) -> bool {
        match self {
            Self::Unknown | Self::Served { .. } => true,
            Self::Never { .. } => false,
        }
    }
}

/// How segue checks and probes a release's instances where its settings say nothing. Fixed when the
/// release is stored, so that a newer segue does not find an instance unhealthy that was healthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conventions {
    /// The conventions of 0.1: anybody may listen at an instance's address, and a probe names it as its host.
    #[default]
    First,
    /// An instance has to listen itself, and a probe looks like a request of a user.
    Second,
}

impl Conventions {
    /// The conventions that a release deployed now gets.
    pub const NOW: Self = Self::Second;

    pub(crate) fn is_first(&self) -> bool {
        *self == Self::First
    }
}

/// An instance's life. It only moves to the right, and is a question of its own: whether the
/// instance is well is [`crate::Health`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Being started; gets no requests.
    Joining,
    /// May get requests, if its arm has a share.
    Serving,
    /// Gets no new requests; will be stopped.
    Draining,
    /// Ended.
    Gone,
}
