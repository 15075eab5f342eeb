//! What others see of an engine. Changes nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use journal::Lost;
use model::{AppName, HostId, InstanceId, Receipt, Snapshot, Timestamp};
use rollout::App;

use super::Engine;
use crate::managed::Managed;

impl Engine {
    /// The apps as they are; for invariants and checkpoints.
    pub fn apps(&self) -> impl Iterator<Item = &App> {
        self.apps.states()
    }

    /// How many commands to hosts about this app's instances and works are kept to be repeated; for invariants.
    pub fn told_count(&self, app: &AppName) -> usize {
        self.apps.get(app).map_or(0, Managed::told_count)
    }

    /// The ports of all hosts that rest after use; for invariants.
    pub fn resting_ports(&self) -> Vec<(&HostId, u16)> {
        self.hosts.resting_ports().collect()
    }

    /// What the rollout of `app` has cost so far, if one is under way.
    pub fn account(&self, app: &AppName, now: Timestamp) -> Option<Receipt> {
        self.apps.get(app)?.account(self.shared(), now)
    }

    /// The latest moment that a fact names; the clock starts no earlier.
    pub fn last_fact(&self) -> Timestamp {
        self.last_fact
    }

    /// Why nothing can be journaled at the moment, if so.
    pub fn journal_fault(&self) -> Option<&str> {
        self.writing.fault.as_deref()
    }

    /// What this program decided and cannot fold, if there is such a thing. Nothing is decided or
    /// answered from then on: what was decided rests on a state that is not what it seems.
    pub fn defect(&self) -> Option<&str> {
        self.defect.as_deref()
    }

    /// The newest snapshot, whether proxies have it already or not.
    pub fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        self.routing.newest()
    }

    /// The instances at whose address somebody else listens, for [`Engine::with_strangers`] of the next.
    pub fn foreign(&self) -> &BTreeSet<InstanceId> {
        &self.health.foreign
    }

    /// Why this engine has stepped down, if it has. It decides nothing any more and answers nobody: the
    /// log has to be opened anew, and another engine goes on from what is found there.
    pub fn lost(&self) -> Option<&Lost> {
        self.lost.as_ref()
    }
}
