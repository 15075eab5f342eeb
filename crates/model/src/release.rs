//! A release as it is kept, and the stage of an instance's life.

use alloc::string::String;
use alloc::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{AppSpec, Digest, Label, ReleaseNo, Timestamp};

/// One immutable version of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Its number within the app.
    pub no: ReleaseNo,
    /// What people call it; never used for another content.
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
