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
    /// The label of the release. Without it the server creates one from the digest.
    #[serde(default)]
    pub label: Option<Label>,
    /// The release's files. Their blobs have to be uploaded before.
    #[serde(default)]
    pub manifest: Option<Manifest>,
    /// Environment variables. They override those in the spec.
    #[serde(default)]
    pub env: BTreeMap<String, Secret>,
    /// True if a rollout under way is to be aborted in favour of this one.
    #[serde(default)]
    pub replace: bool,
    /// The version of the app that the client has seen. The request is refused as a conflict if the app's
    /// version is newer.
    #[serde(default)]
    pub version: Option<u64>,
}

/// `POST /v1/apps/{app}/rollback`.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// The label or number (`12`, `#12`) of a release. The default is the standby.
    #[serde(default)]
    pub to: Option<String>,
    /// The version of the app that the client has seen.
    #[serde(default)]
    pub version: Option<u64>,
}

/// `POST /v1/apps/{app}/promote`.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromoteRequest {
    /// True to go to all of the traffic and skip the remaining steps.
    #[serde(default)]
    pub full: bool,
    /// The version of the app that the client has seen.
    #[serde(default)]
    pub version: Option<u64>,
}

/// `POST /v1/apps/{app}/abort`, `…/pause`, `…/restart`, `…/resume` and `…/sync`, which need no other fields.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BareRequest {
    /// The version of the app that the client has seen.
    #[serde(default)]
    pub version: Option<u64>,
}

/// `POST /v1/apps/{app}/scale`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScaleRequest {
    /// The number of instances, 1 to 1000.
    pub replicas: u16,
    /// The version of the app that the client has seen.
    #[serde(default)]
    pub version: Option<u64>,
}

/// The answer to a command that was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandAccepted {
    /// The app.
    pub app: AppName,
    /// The rollout to follow; `None` if there is nothing to wait for.
    pub rollout: Option<u32>,
    /// True if nothing new was started: the release is live already, or this rollout was under way.
    pub already: bool,
    /// The number of the release that the command is about, if it is about one.
    pub release: Option<u32>,
    /// The label of that release.
    pub label: Option<Label>,
    /// One sentence for people; empty if there is nothing to say.
    #[serde(default)]
    pub note: String,
    /// Warnings for the user, as sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The state that a removed app has left behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftState {
    /// The app's name.
    pub app: AppName,
    /// The path of the state folder on the host.
    pub path: PathBuf,
}

/// `POST /v1/blobs/missing`: the contents that a release needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// The blobs.
    pub blobs: Vec<Blob>,
}

/// The content of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blob {
    /// The blake3 digest of the content.
    pub digest: Digest,
    /// The length of the content in bytes.
    pub size: u64,
}

/// The answer to [`Wanted`]: the contents that the server does not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The digests of the contents, which have to be uploaded with `PUT /v1/blobs/{digest}`.
    pub missing: Vec<Digest>,
}

/// The answer to `POST /v1/down`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Down {
    /// The id of the server's process, which ends once everything is stopped.
    pub pid: u32,
    /// The number of instances that are being stopped.
    pub instances: u32,
}
