//! Health: the second property of an instance, kept separate from its stage.

use alloc::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{AppName, Generation, InstanceId};

/// The health of an instance according to its probes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// Not known yet: the instance is starting, or was just adopted.
    #[default]
    Unknown,
    /// The last `rise` probes in a row were good.
    Up,
    /// The last `fall` probes in a row were bad, or the process has ended.
    Down,
}

/// The health of all instances. Proxies get it beside the snapshot and do not acknowledge it, so that
/// flapping makes no snapshots. A receiver refuses a table with a lower version.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HealthTable {
    /// The version, which grows with every change and with every start of control.
    pub version: Generation,
    /// Health by instance. An instance that is missing is Unknown.
    pub health: BTreeMap<InstanceId, Health>,
    /// Instances at whose address another program listens. They get no requests, whatever their health.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub foreign: BTreeSet<InstanceId>,
}

impl HealthTable {
    /// Returns the health of one instance.
    pub fn get(&self, id: &InstanceId) -> Health {
        self.health.get(id).copied().unwrap_or_default()
    }

    /// Replaces the health of one app's instances. Returns whether anything changed.
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
