//! Before the proxy begins from a saved table: leaves out the instances at whose address somebody else
//! listens by now, and tells proxy and control. It judges nothing itself: [`agent::strangers`] does.

use std::path::Path;
use std::sync::Arc;

use model::{HealthTable, InstanceId, Snapshot};

/// Instances that get no requests until the agent has found them well, and why.
pub struct Strangers(Vec<(InstanceId, String)>);

/// Takes them out of a saved table.
pub fn leave_out(data: &Path, saved: &mut Snapshot) -> Strangers {
    let arms = saved.apps.iter().flat_map(|app| &app.arms);
    let strangers = agent::strangers(data, arms.flat_map(|arm| &arm.instances));
    for (id, why) in &strangers {
        tracing::warn!(instance = %id, "gets no requests: {why}");
    }
    let is_strange = |id: &InstanceId| strangers.iter().any(|(strange, _)| strange == id);
    for arm in saved.apps.iter_mut().flat_map(|app| &mut app.arms) {
        arm.instances.retain(|target| !is_strange(&target.id));
    }
    Strangers(strangers)
}

impl Strangers {
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

impl IntoIterator for Strangers {
    type Item = (InstanceId, String);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
