//! The health table for the proxies. What has changed is collected during a step and told once at its end,
//! since a table names all instances and every proxy gets it whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{AppName, Generation, Health, HealthTable, InstanceId, ProxyId, Timestamp};

use crate::apps::Apps;
use crate::hosts::Hosts;
use crate::managed::Managed;
use crate::message::Command;
use crate::proxies::Proxies;

/// The health table, and which apps may differ from it.
#[derive(Clone, Debug, Default)]
pub(super) struct HealthNews {
    table: HealthTable,
    changed: BTreeSet<AppName>,
}

impl HealthNews {
    /// Returns an empty table for a control of this term.
    pub fn new(term: u64) -> Self {
        let version = Generation { term, counter: 0 };
        let table = HealthTable { version, ..HealthTable::default() };
        Self { table, changed: BTreeSet::new() }
    }

    /// Returns the instances at whose address another program listens.
    pub fn foreign(&self) -> &BTreeSet<InstanceId> {
        &self.table.foreign
    }

    /// Notes that the health of an app's instances may have changed.
    pub fn changed(&mut self, app: AppName) {
        self.changed.insert(app);
    }

    /// Tells one proxy the table as it is.
    pub fn tell(&self, proxy: &ProxyId) -> Command {
        Proxies::health_to(proxy, Arc::new(self.table.clone()))
    }

    /// Tells all proxies the table, if it has changed. An instance on a host that has been silent for a while is
    /// Unknown: proxies prefer those of other hosts.
    pub fn publish(
        &mut self,
        apps: &Apps,
        hosts: &Hosts,
        proxies: &Proxies,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) {
        let mut differs = false;
        for name in std::mem::take(&mut self.changed) {
            let managed = apps.get(&name);
            let mut health: BTreeMap<InstanceId, Health> =
                managed.into_iter().flat_map(Managed::health).collect();
            let foreign = managed.into_iter().flat_map(Managed::foreign).collect();
            for (id, health) in &mut health {
                let host = managed.and_then(|managed| managed.app.host_of(id.number));
                if *health == Health::Up && host.is_some_and(|host| hosts.is_doubted(host, now)) {
                    *health = Health::Unknown;
                }
            }
            differs |= self.table.replace(&name, health, foreign);
        }
        if differs {
            self.table.version = self.table.version.next();
            proxies.health(&Arc::new(self.table.clone()), commands);
        }
    }
}
