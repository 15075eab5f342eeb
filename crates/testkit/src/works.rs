//! Invariants of works, checked from outside: I6, and that no work is taken for an instance.

use std::collections::{BTreeMap, BTreeSet};

use control::{Engine, Record};
use model::{AppName, FencingToken, InstanceId, Label};
use rollout::{App, Fact, WorkStage};

use crate::hosts::Hosts;
use crate::violation::Wrong;

/// The works seen so far.
#[derive(Clone, Debug, Default)]
pub struct Works {
    /// The last lease of each app.
    tokens: BTreeMap<AppName, FencingToken>,
    /// The names of all tasks that were ever begun.
    names: BTreeMap<InstanceId, Label>,
}

impl Works {
    /// Records the works that a record begins.
    pub fn appending(&mut self, record: &Record) {
        let Some(app) = record.app() else { return };
        for fact in record.facts() {
            if let Fact::WorkBegun(begun) = fact {
                let id = InstanceId { app: app.clone(), number: begun.work };
                self.names.insert(id, begun.task.name.clone());
            }
        }
    }

    /// Checks the works of all apps.
    pub fn check<'a>(&mut self, apps: impl Iterator<Item = &'a App>) -> Option<Wrong> {
        apps.filter_map(|app| self.check_app(app)).next()
    }

    fn check_app(&mut self, app: &App) -> Option<Wrong> {
        let name = &app.name;
        let before = self.tokens.insert(name.clone(), app.last_token);
        if before.is_some_and(|before| before > app.last_token) {
            return Some(("I6", format!("the leases of {name} begin anew")));
        }
        let mut held = BTreeSet::new();
        for (number, work) in &app.works {
            if app.instances.contains_key(number) || *number > app.last_instance {
                return Some(("I4", format!("the number of {} was given twice", app.id(*number))));
            }
            let Some(token) = work.token else { continue };
            if token > app.last_token || !held.insert(&work.task.name) {
                let task = &work.task.name;
                return Some(("I6", format!("the lease {task} of {name} is held twice")));
            }
        }
        (app.works.len() > App::WORKS).then(|| ("I9", format!("{name} has too many works")))
    }

    /// I6: no two processes run under the lease of one name.
    pub fn check_processes(&self, hosts: &Hosts) -> Option<Wrong> {
        let mut held = BTreeSet::new();
        let alive = hosts.processes().filter(|(_, process)| process.exit.is_none());
        for (id, _) in alive.filter(|(_, process)| process.launch.token.is_some()) {
            let task = self.names.get(id);
            if !held.insert((&id.app, task)) {
                return Some(("I6", format!("{id} runs beside another with its lease")));
            }
        }
        None
    }
}

/// Checks, at rest, that every work runs or is over, and that none is left of a removed app.
pub fn check_quiet(engine: &Engine, alive: &BTreeSet<&InstanceId>) -> Option<Wrong> {
    for app in engine.apps() {
        for (number, work) in &app.works {
            let id = app.id(*number);
            let runs = work.stage == WorkStage::Running && alive.contains(&id);
            if !runs || app.removing.is_some() || work.task.time_limit.is_some() {
                return Some(("work", format!("{id} is still {:?}", work.stage)));
            }
        }
    }
    None
}
