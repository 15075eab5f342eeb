//! The hosts that a deploy would place instances on, for `segue plan`.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::HostId;

/// The hosts that a deploy would place instances on, as it looks now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedHosts {
    /// Number of instances of the release by host, at the end of the rollout.
    pub instances: BTreeMap<HostId, u16>,
    /// The hosts that the release is meant for and that get none of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<HostLeftOut>,
    /// Number of hosts that may fail during the rollout.
    pub may_fail: u16,
}

/// A host that a release is meant for and that gets none of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostLeftOut {
    /// The host.
    pub host: HostId,
    /// Why: "it is not heard".
    pub why: String,
}
