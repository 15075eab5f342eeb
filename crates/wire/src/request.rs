//! The bodies of requests, and the answers to commands.

use std::collections::BTreeMap;
use std::path::PathBuf;

use model::{AppName, Digest, Label};
use serde::{Deserialize, Serialize};

use crate::{Manifest, Secret};

/// `POST /v1/apps/{app}/deploys`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeployRequest {
    /// The app file as JSON: the same keys and values as in `segue.toml`, without `run.dir`.
    pub spec: serde_json::Value,
    /// The label of the release; the server makes one from the digest if there is none.
    #[serde(default)]
    pub label: Option<Label>,
    /// The release's files; their blobs have been uploaded before.
    #[serde(default)]
    pub manifest: Option<Manifest>,
    /// Environment variables, beside those in the spec; these win.
    #[serde(default)]
    pub env: BTreeMap<String, Secret>,
    /// Abort a rollout that is under way and start this one.
    #[serde(default)]
    pub replace: bool,
    /// The state the asker has seen; refused as a conflict when it is older than the app's.
    #[serde(default)]
    pub version: Option<u64>,
}

/// `POST /v1/apps/{app}/rollback`.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// A label or number (`12`, `#12`) of a release; the standby if there is none.
    #[serde(default)]
    pub to: Option<String>,
    /// The state the asker has seen.
    #[serde(default)]
    pub version: Option<u64>,
}

/// `POST /v1/apps/{app}/promote`.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromoteRequest {
    /// To all of the traffic, past the steps that are left.
    #[serde(default)]
    pub full: bool,
    /// The state the asker has seen.
    #[serde(default)]
    pub version: Option<u64>,
}

/// `POST /v1/apps/{app}/abort`, `…/pause`, `…/restart`, `…/resume` and `…/sync`: the verb says it all.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BareRequest {
    /// The state the asker has seen.
    #[serde(default)]
    pub version: Option<u64>,
}

/// `POST /v1/apps/{app}/scale`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScaleRequest {
    /// The number of instances, 1 to 1000.
    pub replicas: u16,
    /// The state the asker has seen.
    #[serde(default)]
    pub version: Option<u64>,
}

/// The answer to a command that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandAccepted {
    /// The app.
    pub app: AppName,
    /// The rollout to follow; `None` when there is nothing to wait for.
    pub rollout: Option<u32>,
    /// Whether nothing new was started: the release is live already, or this rollout was under way.
    pub already: bool,
    /// The release the command is about, if about one.
    pub release: Option<u32>,
    /// Its label.
    pub label: Option<Label>,
    /// One sentence for people; empty when there is nothing to say.
    #[serde(default)]
    pub note: String,
    /// Warnings for the user, as sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// State that an app left behind which was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftState {
    /// The app's name.
    pub app: AppName,
    /// The folder on the host.
    pub path: PathBuf,
}

/// `POST /v1/blobs/missing`: what a release needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// The blobs.
    pub blobs: Vec<Blob>,
}

/// One file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blob {
    /// Its blake3 digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// The answer to [`Wanted`]: what the server does not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// To be uploaded with `PUT /v1/blobs/{digest}`.
    pub missing: Vec<Digest>,
}

/// The answer to `POST /v1/down`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Down {
    /// The server's process, which ends once everything is stopped.
    pub pid: u32,
    /// Instances that are being stopped.
    pub instances: u32,
}
