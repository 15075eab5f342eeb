//! A stored release, and the stages of an instance's life.

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
    /// The name that people give it. It is not used for another content while the release is stored.
    pub label: Label,
    /// The digest over everything that makes up the release: files, command, environment, settings.
    pub digest: Digest,
    /// The digest of the list of its files; `None` if it has none.
    pub content: Option<Digest>,
    /// The settings it was deployed with.
    pub spec: Arc<AppSpec>,
    /// Time of its first deploy.
    pub created: Timestamp,
    /// Why a `rollback` without `--to` must not bring it back, if so.
    pub bad: Option<String>,
    /// The conventions by which its instances are checked and probed: those of the segue that first stored
    /// it.
    #[serde(default, skip_serializing_if = "Conventions::is_first")]
    pub conventions: Conventions,
    /// Its past use. Releases that had users are kept before those that had none.
    #[serde(default, skip_serializing_if = "Service::is_unknown")]
    pub service: Service,
}

/// A release's past use: whether it has ever had users.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// Nothing is known yet, or the release is older than this record.
    #[default]
    Unknown,
    /// The release had a share of the traffic.
    Served {
        /// Time at which it last got or lost its share.
        last: Timestamp,
    },
    /// Its rollout ended before it had any traffic. Its files are not kept.
    Never {
        /// The last lines of output of the instance that failed.
        last_words: Vec<String>,
    },
}

impl Service {
    fn is_unknown(&self) -> bool {
        *self == Self::Unknown
    }

    /// Returns whether its files are kept while the release is stored.
    pub fn keeps_files(&self) -> bool {
        match self {
            Self::Unknown | Self::Served { .. } => true,
            Self::Never { .. } => false,
        }
    }
}

/// The way in which segue checks and probes a release's instances where its settings do not determine it.
/// The conventions are fixed when the release is stored, so that a newer segue does not find a healthy
/// instance unhealthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conventions {
    /// The conventions of 0.1: any process may listen at an instance's address, and a probe names this
    /// address as its host.
    #[default]
    First,
    /// An instance has to listen itself, and a probe looks like a user's request.
    Second,
}

impl Conventions {
    /// The conventions of a release that is deployed now.
    pub const NOW: Self = Self::Second;

    pub(crate) fn is_first(&self) -> bool {
        *self == Self::First
    }
}

/// The stages of an instance's life. Stages only advance. Whether the instance is healthy is a separate
/// question: see [`crate::Health`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The instance is being started and gets no requests.
    Joining,
    /// The instance may get requests, if its arm has a share.
    Serving,
    /// The instance gets no new requests and will be stopped.
    Draining,
    /// The instance has ended.
    Gone,
}
