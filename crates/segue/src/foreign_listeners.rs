//! Before the proxy begins from a saved table: leaves out the instances at whose address somebody else
//! listens by now, and tells proxy and control. It judges nothing itself: [`agent::foreign_listeners`] does.

use std::path::Path;
use std::sync::Arc;

use model::{HealthTable, InstanceId, Snapshot};

/// Instances that get no requests until the agent has found them well, and why.
pub struct ForeignListeners(Vec<(InstanceId, String)>);

/// Takes them out of a saved table.
pub fn leave_out(data: &Path, saved: &mut Snapshot) -> ForeignListeners {
    let arms = saved.apps.iter().flat_map(|app| &app.arms);
    let foreign = agent::foreign_listeners(data, arms.flat_map(|arm| &arm.instances));
    for (id, why) in &foreign {
        tracing::warn!(instance = %id, "gets no requests: {why}");
    }
    let is_foreign = |id: &InstanceId| foreign.iter().any(|(other, _)| other == id);
    for arm in saved.apps.iter_mut().flat_map(|app| &mut app.arms) {
        arm.instances.retain(|target| !is_foreign(&target.id));
    }
    ForeignListeners(foreign)
}

impl ForeignListeners {
    /// Tells a proxy that has just started. Control's first table has all of them again, and its first
    /// health table says of all at once that nothing may be sent to them.
    pub fn tell(&self, proxy: &proxy::Proxy) {
        if self.0.is_empty() {
            return;
        }
        let foreign = self.0.iter().map(|(id, _)| id.clone()).collect();
        proxy.set_health(Arc::new(HealthTable { foreign, ..HealthTable::default() }));
    }
}

impl IntoIterator for ForeignListeners {
    type Item = (InstanceId, String);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
