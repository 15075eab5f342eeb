//! The way from control to the proxies on other machines. They get the tables of the server's own proxy, but for
//! instances that cannot be reached from there.

use std::sync::Arc;

use link::{ControlRun, ToMember};
use model::{ProxyCommand, ProxyId, Snapshot};

use super::desk::Desk;

/// The proxies on other machines.
pub struct RemoteProxies {
    desk: Arc<Desk>,
    by: ControlRun,
    /// The last snapshot, and what proxies on other machines get of it.
    last: Option<(Arc<Snapshot>, Arc<Snapshot>)>,
}

impl RemoteProxies {
    /// Returns the way to the proxies for this control.
    pub fn new(desk: Arc<Desk>, by: ControlRun) -> Self {
        Self { desk, by, last: None }
    }

    /// Sends a command to a proxy. One to a proxy without a session is dropped: once it connects, everything is
    /// said again.
    pub fn send(&mut self, proxy: &ProxyId, command: ProxyCommand) {
        let by = self.by;
        let message = match command {
            ProxyCommand::Prepare(snapshot) => {
                ToMember::Prepare { by, snapshot: self.for_other_machines(snapshot) }
            }
            ProxyCommand::Commit(generation) => ToMember::Commit { by, generation },
            ProxyCommand::Health(table) => ToMember::Health { by, table },
        };
        if let (Some(to_members), Ok(member)) = (self.desk.to_members(), proxy.as_str().parse()) {
            to_members.send(&member, message);
        }
    }

    /// Returns what proxies on other machines get of a snapshot. It is made once for all of them.
    fn for_other_machines(&mut self, snapshot: Arc<Snapshot>) -> Arc<Snapshot> {
        match &self.last {
            Some((last, made)) if Arc::ptr_eq(last, &snapshot) => made.clone(),
            Some(_) | None => {
                let made = for_other_machines(&snapshot);
                self.last = Some((snapshot, made.clone()));
                made
            }
        }
    }
}

/// Returns a snapshot without the instances that other machines than the server cannot reach.
fn for_other_machines(snapshot: &Arc<Snapshot>) -> Arc<Snapshot> {
    let arms = snapshot.apps.iter().flat_map(|app| &app.arms);
    let mut targets = arms.flat_map(|arm| &arm.instances);
    if targets.all(|target| target.address.beyond_its_machine().is_some()) {
        return snapshot.clone();
    }
    let mut made = Snapshot::clone(snapshot);
    for arm in made.apps.iter_mut().flat_map(|app| &mut app.arms) {
        arm.instances.retain(|target| target.address.beyond_its_machine().is_some());
    }
    Arc::new(made)
}

#[cfg(test)]
mod tests {
    use model::{Generation, Target};

    use super::*;

    #[test]
    fn other_machines_get_the_table_without_what_they_cannot_reach() {
        let app = serde_json::json!({
            "app": "web", "route": model::Route::everything(model::Millis(0)), "drain_deadline": 0,
            "split": null, "maintenance": null,
            "arms": [{ "release": 1, "label": "v1", "share": model::Share::ALL, "instances": [] }],
        });
        let mut app: model::AppSection = serde_json::from_value(app).unwrap();
        let target = |number: u64, address: &str| {
            Target::new(format!("web-{number}").parse().unwrap(), address.parse().unwrap())
        };
        app.arms[0].instances = vec![
            target(1, "127.0.0.1:20001"),
            target(2, "10.0.0.2:20001"),
            target(3, "unix:/run/web-3"),
            target(4, "[::1]:20001"),
            target(5, "[fd00::5]:20001"),
        ];
        let generation = Generation { term: 1, counter: 7 };
        let snapshot = Arc::new(Snapshot { generation, apps: vec![app] });
        let made = for_other_machines(&snapshot);
        let kept: Vec<_> = made.apps[0].arms[0].instances.iter().map(|it| it.id.number).collect();
        assert_eq!((made.generation, kept), (generation, vec![2, 5]));
        assert!(Arc::ptr_eq(&for_other_machines(&made), &made), "there is nothing to leave out");
    }
}
