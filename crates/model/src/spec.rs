//! What users ask for: one app as its `segue.toml` describes it, checked and with units.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::{AppName, Digest, Millis};

/// One app, as asked for by one deploy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppSpec {
    /// The app's name.
    pub app: AppName,
    /// How an instance is run. Belongs to the release.
    pub run: Run,
    /// How an instance shows that it is well. Belongs to the release.
    pub health: HealthCheck,
    /// Which requests are the app's. Belongs to the live release and moves with it.
    pub route: Route,
    /// How an instance is let go. Belongs to the release.
    pub drain: Drain,
    /// How this release comes in. Belongs to the incoming rollout.
    pub strategy: Strategy,
}

/// How an instance is run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Program and arguments; the program is looked up in the release's folder when it has a `/`,
    /// else in `PATH`. Never empty.
    pub command: Vec<String>,
    /// How many instances; at least 1.
    pub replicas: u16,
    /// Environment variables by name, with the keyed digest of the value: values never come here.
    pub env: BTreeMap<String, Digest>,
    /// The user to run as, when segue runs as root.
    pub user: Option<String>,
    /// The group to run as, when segue runs as root.
    pub group: Option<String>,
}

/// An HTTP GET that an instance has to answer with 2xx.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// Path and query of the request.
    pub path: String,
    /// Time from one probe to the next.
    pub interval: Millis,
    /// An answer that takes longer counts as bad.
    pub timeout: Millis,
    /// Good probes in a row that make an instance Up.
    pub rise: u32,
    /// Bad probes in a row that make an instance Down.
    pub fall: u32,
    /// An instance that is not Up so long after its start is given up.
    pub start_deadline: Millis,
}

/// Which requests are the app's, and what the proxy does with them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Host names in lower case, without port; none means every host.
    pub hosts: Vec<String>,
    /// Requests whose path starts with this, at a border between segments. Starts with `/`.
    pub path: String,
    /// By what a user is recognised.
    pub affinity: Affinity,
    /// How long a request waits for an instance before it is answered with 503.
    pub hold: Millis,
}

/// By what a user is recognised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Affinity {
    /// A signed random cookie.
    Cookie,
    /// The client's address.
    ClientIp,
    /// The value of this request header.
    Header(String),
    /// Not at all.
    None,
}

/// How an instance is let go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Requests in flight get so long to finish; what is left then is cut off.
    pub deadline: Millis,
}

/// How a release comes in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strategy {
    /// The kind and its own settings.
    pub kind: StrategyKind,
    /// What becomes of the release that was live before.
    pub standby: Standby,
    /// How long the new release is watched after the switch, with the old one whole beside it.
    pub watch: Millis,
}

/// The kinds of rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StrategyKind {
    /// A second set beside the live one, then one switch.
    BlueGreen {
        /// When to switch.
        switch: Switch,
    },
}

impl StrategyKind {
    /// The name users write.
    pub fn name(&self) -> &'static str {
        match self {
            Self::BlueGreen { .. } => "blue-green",
        }
    }
}

/// When a blue/green rollout switches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Switch {
    /// As soon as the candidate is ready.
    Auto,
    /// When somebody says `segue promote`.
    Manual,
}

/// What becomes of the release that was live before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standby {
    /// It stays warm until the next switch: rollback is one switch.
    Keep,
    /// It stays warm for this long.
    For(Millis),
    /// It is stopped once the new release has been watched: no warm rollback after that.
    None,
}
