//! Runs before the proxy starts from a saved table. Leaves out the instances at whose addresses foreign
//! processes listen by now, and tells the proxy and control. [`agent::foreign_listeners`] finds them; this
//! module decides nothing.

use std::path::Path;
use std::sync::Arc;

use model::{HealthTable, InstanceId, Snapshot};

/// The instances that get no requests until the agent has found them healthy, each with the reason.
pub struct ForeignListeners(Vec<(InstanceId, String)>);

/// Removes these instances from a saved table.
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
    /// Tells a proxy that has just started. Control's first table contains these instances again, and its
    /// first health table excludes all of them at once.
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
