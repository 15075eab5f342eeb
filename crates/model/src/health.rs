//! Health: the second axis of an instance, never mixed with its stage.

use alloc::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{AppName, Generation, InstanceId};

/// What the probes say of an instance.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// Not yet known: booting, or just adopted.
    #[default]
    Unknown,
    /// `rise` good probes in a row.
    Up,
    /// `fall` bad probes in a row, or the process has ended.
    Down,
}

/// The health of all instances. Handed to proxies beside the snapshot, unacknowledged: flapping
/// makes no snapshots. A table with a lower version is older and refused.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HealthTable {
    /// Counts up with every change, and with every start of control.
    pub version: Generation,
    /// What is not in here is Unknown.
    pub health: BTreeMap<InstanceId, Health>,
    /// Instances at whose address somebody else listens: whatever their health, they get nothing.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub foreign: BTreeSet<InstanceId>,
}

impl HealthTable {
    /// The health of one instance.
    pub fn get(&self, id: &InstanceId) -> Health {
        self.health.get(id).copied().unwrap_or_default()
    }

    /// Puts this in the place of what is known of one app's instances. Returns whether it is something else.
    pub fn replace(
        &mut self,
        app: &AppName,
        health: BTreeMap<InstanceId, Health>,
        foreign: BTreeSet<InstanceId>,
    ) -> bool {
        let first = InstanceId { app: app.clone(), number: 0 };
        let all = first.clone()..=InstanceId { number: u64::MAX, ..first };
        let is_same = self.health.range(all.clone()).eq(&health)
            && self.foreign.range(all.clone()).eq(&foreign);
        if !is_same {
            self.health.retain(|id, _| id.app != *app);
            self.foreign.retain(|id| id.app != *app);
            self.health.extend(health);
            self.foreign.extend(foreign);
        }
        !is_same
    }
}
