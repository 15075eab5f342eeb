//! The way from control to the proxies on other machines.

use std::sync::Arc;

use link::{ControlRun, SharedJson, ToMember};
use model::{HealthTable, ProxyCommand, ProxyId, Snapshot};

use super::desk::Desk;

/// The proxies on other machines.
pub struct RemoteProxies {
    desk: Arc<Desk>,
    by: ControlRun,
    /// The last snapshot and the last health table. All of them get the same.
    snapshot: Option<(Arc<Snapshot>, SharedJson<Snapshot>)>,
    health: Option<(Arc<HealthTable>, SharedJson<HealthTable>)>,
}

impl RemoteProxies {
    /// Returns the way to the proxies for this control.
    pub fn new(desk: Arc<Desk>, by: ControlRun) -> Self {
        Self { desk, by, snapshot: None, health: None }
    }

    /// Sends a command to a proxy. One to a proxy without a session is dropped: once it connects, everything is
    /// said again.
    pub fn send(&mut self, proxy: &ProxyId, command: ProxyCommand) {
        let by = self.by;
        let message = match command {
            ProxyCommand::Prepare(snapshot) => {
                ToMember::Prepare { by, snapshot: shared(&mut self.snapshot, snapshot) }
            }
            ProxyCommand::Commit(generation) => ToMember::Commit { by, generation },
            ProxyCommand::Health(table) => {
                ToMember::Health { by, table: shared(&mut self.health, table) }
            }
        };
        if let (Some(to_members), Ok(member)) = (self.desk.to_members(), proxy.as_str().parse()) {
            to_members.send(&member, message);
        }
    }
}

/// Returns a value that is written once for all who get it. `last` is the one before.
fn shared<T>(last: &mut Option<(Arc<T>, SharedJson<T>)>, value: Arc<T>) -> SharedJson<T> {
    match last {
        Some((same, shared)) if Arc::ptr_eq(same, &value) => shared.clone(),
        Some(_) | None => {
            let shared = SharedJson::from(value.clone());
            *last = Some((value, shared.clone()));
            shared
        }
    }
}
