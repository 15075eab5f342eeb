//! What is in the journal becomes so: facts are folded, then everything that follows from them is published.

use std::collections::BTreeSet;

use journal::Lost;
use model::{AppName, Timestamp};
use rollout::{App, Fact, FleetFact};

use super::{Append, Engine};
use crate::message::Command;
use crate::record::{CheckpointBody, Record};

impl Engine {
    /// The append was answered: its facts are history, or nothing has happened.
    pub(super) fn appended(
        &mut self,
        result: Result<(), Lost>,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) {
        if let Err(lost) = result {
            return self.not_appended(lost, now, commands);
        }
        let Some(Append { records, answers }) = self.writing.append.take() else { return };
        self.writing.fault = None;
        let mut changed = BTreeSet::new();
        let mut events = Vec::new();
        for record in &records {
            match record {
                Record::App { app, facts } => {
                    changed.insert(app.clone());
                    self.fold(app, facts, &mut events);
                }
                Record::Fleet(facts) => {
                    facts.iter().for_each(|fact| self.fold_fleet(fact));
                    changed.extend(self.apps.iter().map(|(name, _)| name.clone()));
                }
            }
        }
        self.writing.records += u32::try_from(records.len()).unwrap_or(u32::MAX);
        self.make_so(&changed, commands);
        let answered =
            answers.into_iter().map(|(ticket, answer)| Command::Answer(ticket, Ok(answer)));
        commands.extend(answered);
        commands.extend(events.into_iter().map(Command::Announce));
        if self.writing.records >= Self::CHECKPOINT {
            self.writing.records = 0;
            self.forget_removed();
            let apps = self.apps().cloned().collect();
            let fleet = self.hosts.fleet().clone();
            let body = CheckpointBody { apps, fleet, at: self.last_fact };
            commands.push(Command::Checkpoint(body));
        }
    }

    /// Of removed apps only the last few keep their numbers; a checkpoint carries no others.
    fn forget_removed(&mut self) {
        let removed = self.apps.states().filter(|app| app.is_removed());
        let mut removed: Vec<(Option<Timestamp>, AppName)> =
            removed.map(|app| (app.removing, app.name.clone())).collect();
        removed.sort();
        let surplus = removed.len().saturating_sub(Self::APPS);
        for (_, name) in &removed[..surplus] {
            self.apps.remove(name);
        }
    }

    /// Applies one record's facts, one by one so that each event sees the state it led to.
    fn fold(&mut self, name: &AppName, facts: &[Fact], events: &mut Vec<model::Event>) {
        if self.apps.get(name).is_none() {
            self.apps.insert(App::new(name.clone()));
        }
        for fact in facts {
            self.last_fact = self.last_fact.max(fact.at());
            if matches!(fact, Fact::Started(_)) {
                self.routing.proxies.forget_gap(name);
            }
            self.hosts.used(fact.minted());
            let (hosts, routing) = (&mut self.hosts, &self.routing);
            let applied = self.apps.change(name, |managed| {
                let gone = if let Fact::Gone { instance, .. } = fact {
                    managed.app.instances.get(instance).cloned()
                } else {
                    None
                };
                let applied = managed.apply(std::slice::from_ref(fact), routing);
                if let Some(instance) = gone {
                    hosts.rest(&instance, name, managed.app.version, fact.at());
                }
                events.push(rollout::event(&managed.app, fact));
                applied
            });
            // Decided facts were applied to a draft before: only a defect makes one illegal now.
            if let Some(Err(illegal)) = applied {
                self.defect.get_or_insert_with(|| format!("{name}: {illegal}"));
            }
        }
    }

    /// A host that has joined can get instances of every app.
    fn fold_fleet(&mut self, fact: &FleetFact) {
        self.last_fact = self.last_fact.max(fact.at());
        self.hosts.apply(fact);
        self.apps.dirty_all();
    }

    /// Publishes what the changed apps' plans say and tells the hosts what is new to them.
    pub(super) fn make_so(&mut self, changed: &BTreeSet<AppName>, commands: &mut Vec<Command>) {
        let mut sections = Vec::new();
        let mut effects = Vec::new();
        for name in changed {
            let hosts = &self.hosts;
            self.apps.change(name, |managed| {
                let plan = rollout::plan(&managed.app);
                sections.push((name.clone(), plan.section, managed.app.version));
                effects.extend(managed.news_for_hosts(plan.effects, plan.keep, hosts));
            });
        }
        if let Some(snapshot) = self.routing.update(sections) {
            self.routing.publish(snapshot, commands);
        }
        commands.extend(effects.into_iter().map(|effect| self.to_host(effect)));
        self.publish_health(changed, commands);
    }
}
