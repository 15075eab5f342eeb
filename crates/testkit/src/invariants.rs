//! The invariants, checked from outside after every step.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "each check looks at the few commands and facts that it is about"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use control::{Command, Engine, Record};
use model::{
    AppName, AppSection, Expect, Generation, Health, HostCommand, InstanceId, Order, ProxyCommand,
    ReleaseNo, RolloutId, Share, Snapshot, Stage, StrategyKind, Timestamp, ToHost, ToProxy,
};
use rollout::{App, Fact, Instance, Phase, Rollout, RolloutKind};

use crate::bounds;
use crate::budget::{self, Budgets};
use crate::counts::Counts;
use crate::disk::Disk;
use crate::hosts::Hosts;
use crate::proxy::Proxy;
use crate::sabotage::Sabotage;
use crate::silence;
use crate::table_users;
use crate::violation::{Violation, Wrong};
use crate::works::{self, Works};

/// Checks the commands of the engine.
#[derive(Clone, Debug)]
pub struct Checker {
    /// The first violation.
    pub violation: Option<Violation>,
    sabotage: Option<Sabotage>,
    generation: Generation,
    /// Snapshots that take users back, and do not wait for slow proxies.
    pub hurried: BTreeSet<Generation>,
    sections: BTreeMap<AppName, AppSection>,
    rollouts: BTreeMap<AppName, RolloutId>,
    /// Instances of each app that its last share was given without.
    excused: BTreeMap<AppName, usize>,
    /// The states of the apps according to the journal: the fold of every acknowledged record.
    history: BTreeMap<AppName, App>,
    pending: Vec<Record>,
    works: Works,
    /// The failure budgets of rollouts.
    pub budgets: Budgets,
    /// Counts of the requests that proxies have really forwarded.
    pub counts: Counts,
}

impl Checker {
    /// Maximum number of steps in a quarter of an hour without faults.
    pub const QUIET_STEPS: u64 = 10_000;

    /// Returns a checker for a world with that bug planted.
    pub fn new(sabotage: Option<Sabotage>) -> Self {
        Self {
            violation: None,
            sabotage,
            generation: Generation::default(),
            hurried: BTreeSet::new(),
            sections: BTreeMap::new(),
            rollouts: BTreeMap::new(),
            excused: BTreeMap::new(),
            history: BTreeMap::new(),
            pending: Vec::new(),
            works: Works::default(),
            budgets: Budgets::default(),
            counts: Counts::default(),
        }
    }

    /// Returns the term that control is given.
    pub fn term(&self, term: u64) -> u64 {
        if self.sabotage == Some(Sabotage::ReuseTerm) { 1 } else { term }
    }

    /// Prepares for control to read the journal.
    pub fn restarting(&mut self, disk: &mut Disk) {
        if self.sabotage == Some(Sabotage::LoseCommit) {
            disk.lose_last();
        }
    }

    /// I4: acknowledged facts are recovered. Facts of an append in progress are recovered completely or not
    /// at all.
    pub fn recovered(&mut self, engine: &Engine, at: u64) {
        self.counts.restarted();
        let apps: BTreeMap<AppName, App> =
            engine.apps().map(|app| (app.name.clone(), app.clone())).collect();
        let pending = std::mem::take(&mut self.pending);
        let mut with_pending = self.history.clone();
        for record in &pending {
            fold(&mut with_pending, record);
        }
        if apps != self.history && apps != with_pending {
            self.fail("I4", at, "after a crash the state is not what was journaled".into());
        }
        self.history = apps;
    }

    /// The engine decided a fact that it cannot fold.
    pub fn defect(&mut self, defect: &str, at: u64) {
        self.fail("defect", at, defect.into());
    }

    /// The journal could not be read.
    pub fn unreadable(&mut self, error: &control::RecoverError, at: u64) {
        self.fail("I4", at, format!("the journal cannot be read: {error}"));
    }

    /// I4: no instance or work is started twice. I6: no two works run under one lease.
    pub fn started_twice(&mut self, hosts: &Hosts, at: u64) {
        if let Some(id) = hosts.started_twice.first() {
            self.fail("I4", at, format!("{id} was started twice"));
        }
        if let Some(id) = hosts.without_values.first() {
            self.fail("values", at, format!("a value that {id} needs was deleted"));
        }
        self.found(self.works.check_processes(hosts), at);
    }

    /// I2: an instance that was released because it was idle gets no more requests.
    pub fn picked(&mut self, id: &InstanceId, engine: Option<&Engine>, now: Timestamp, at: u64) {
        let app = engine.and_then(|engine| engine.apps().find(|app| app.name == id.app));
        let instance = app.and_then(|app| app.instances.get(&id.number));
        let (Some(app), Some(instance)) = (app, instance) else { return };
        if instance.released && now < table_users::overdue(app, instance) {
            self.fail("I2", at, format!("{id} got a request and may be stopped"));
        }
    }

    /// Checks the commands of a step.
    pub fn check(
        &mut self,
        commands: &[Command],
        engine: Option<&Engine>,
        proxies: &[Proxy],
        now: Timestamp,
        at: u64,
    ) {
        let Some(engine) = engine else { return };
        if self.acknowledged(engine) {
            let records = std::mem::take(&mut self.pending);
            records.iter().for_each(|record| fold(&mut self.history, record));
        }
        let apps: BTreeMap<&AppName, &App> = engine.apps().map(|app| (&app.name, app)).collect();
        // All proxies are sent the same table.
        let mut health = proxies.first().map(|proxy| proxy.health.clone()).unwrap_or_default();
        for command in commands {
            if let Command::Proxy(ToProxy { command: ProxyCommand::Health(table), .. }) = command {
                health.clone_from(table);
            }
        }
        let mut rolled_back = BTreeSet::new();
        for command in commands {
            match command {
                Command::Append(records) => {
                    self.appending(records, at);
                    self.found(table_users::addresses(records, proxies), at);
                    for record in records {
                        if let Some(app) = record.app().and_then(|name| apps.get(name)) {
                            let excused = silence::excused(app, record.facts(), engine);
                            self.excused.extend(excused.map(|n| (app.name.clone(), n)));
                            self.draining(app, record.facts(), &health, engine, at);
                        }
                    }
                }
                Command::Host(to) => match &to.command {
                    HostCommand::Run { launch, expect: Expect::Fresh } => {
                        self.starting(&launch.id, apps.get(&launch.id.app).copied(), at);
                    }
                    HostCommand::Stop { id, .. } => {
                        let app = apps.get(&id.app);
                        let it =
                            app.and_then(|app| Some((id, *app, app.instances.get(&id.number)?)));
                        let wrong = it.and_then(|it| table_users::stopping(it, proxies, now));
                        self.found(wrong, at);
                    }
                    _ => {}
                },
                Command::Announce(event) if event.text.starts_with("rolling back") => {
                    rolled_back.insert(event.app.clone());
                }
                _ => {}
            }
        }
        if let Some(snapshot) = engine.snapshot().filter(|s| s.generation != self.generation) {
            self.published(snapshot, &apps, at);
        }
        self.routed(&apps, at);
        let starts = |command: &&Command| match command {
            Command::Host(ToHost { command: HostCommand::Run { launch, expect }, .. }) => {
                *expect == Expect::Fresh && rolled_back.contains(&launch.id.app)
            }
            _ => false,
        };
        if commands.iter().any(|command| starts(&command)) {
            self.fail("I7", at, "a rollback to a warm standby started an instance".into());
        }
        self.found(bounds::check(engine, &apps), at);
        let wrong = self.works.check(engine.apps());
        self.found(wrong, at);
    }

    /// Returns whether the engine has applied the append in progress.
    fn acknowledged(&self, engine: &Engine) -> bool {
        let version = |name: &AppName| {
            engine.apps().find(|app| app.name == *name).map_or(0, |app| app.version)
        };
        let before = |name: &AppName| self.history.get(name).map_or(0, |app| app.version);
        let mut of_apps = self.pending.iter().filter_map(Record::app);
        !self.pending.is_empty() && of_apps.all(|name| version(name) > before(name))
    }

    /// I7: a rollback is one record that contains the switch.
    fn appending(&mut self, records: &[Record], at: u64) {
        self.pending = records.to_vec();
        for record in records {
            self.works.appending(record);
            let removes = record.facts().iter().any(|fact| matches!(fact, Fact::Removing { .. }));
            record.app().filter(|_| removes).into_iter().for_each(|app| self.counts.removed(app));
            let mut rollback = false;
            for fact in record.facts() {
                match fact {
                    Fact::Started(started) => rollback = started.kind == RolloutKind::Rollback,
                    Fact::Shifted { .. } => rollback = false,
                    _ => {}
                }
            }
            if let Some(app) = record.app().filter(|_| rollback) {
                self.fail("I7", at, format!("the rollback of {app} needs a second commit"));
            }
        }
    }

    /// I5: generations grow. I3: the arm with the traffic is complete.
    fn published(&mut self, snapshot: &Arc<Snapshot>, apps: &BTreeMap<&AppName, &App>, at: u64) {
        if snapshot.generation <= self.generation {
            let (new, old) = (snapshot.generation, self.generation);
            self.fail("I5", at, format!("snapshot {new} was published after {old}"));
        }
        self.generation = snapshot.generation;
        if apps.values().any(|app| app.is_switching_back()) {
            self.hurried.insert(snapshot.generation);
        }
        for (at_place, one) in snapshot.apps.iter().enumerate() {
            let others = snapshot.apps.iter().skip(at_place + 1);
            for other in others.filter(|other| one.route.conflict(&other.route).is_some()) {
                self.fail("places", at, format!("{} and {} have one place", one.app, other.app));
            }
        }
        for section in &snapshot.apps {
            let Some(app) = apps.get(&section.app) else { continue };
            self.switched(section, app, at);
        }
        self.sections = snapshot.apps.iter().map(|s| (s.app.clone(), s.clone())).collect();
    }

    /// I1: only Serving instances are in the newest snapshot, even if none was published just now.
    fn routed(&mut self, apps: &BTreeMap<&AppName, &App>, at: u64) {
        let arms = self.sections.values().flat_map(|s| s.arms.iter().map(move |arm| (&s.app, arm)));
        let targets =
            arms.flat_map(|(name, arm)| arm.instances.iter().map(move |t| (name, arm, t)));
        let wrong = targets.into_iter().find_map(|(name, arm, target)| {
            let instance = apps.get(name)?.instances.get(&target.id.number);
            let fits =
                instance.is_some_and(|i| i.stage == Stage::Serving && i.release == arm.release);
            let stage = instance.map(|i| (i.stage, i.release));
            let (id, of) = (&target.id, arm.release);
            (!fits).then(|| format!("{id} is in the arm of {of} and is {stage:?}"))
        });
        if let Some(what) = wrong {
            self.fail("I1", at, what);
        }
    }

    /// I3: an arm whose share grows has the instances to carry it, unless it stays because the old release
    /// cannot run, or no arm had any. I8: a candidate's share falls only during a revert.
    fn switched(&mut self, section: &AppSection, app: &App, at: u64) {
        let share_of = |section: Option<&AppSection>, release: ReleaseNo| {
            let arm = section.and_then(|s| s.arms.iter().find(|arm| arm.release == release));
            arm.map_or(Share::NONE, |arm| arm.share)
        };
        let Some(rollout) = &app.rollout else { return };
        let before = share_of(self.sections.get(&section.app), rollout.to);
        let after = share_of(Some(section), rollout.to);
        let back = matches!(rollout.phase, Phase::Reverting { .. });
        let same = self.rollouts.insert(section.app.clone(), rollout.id) == Some(rollout.id);
        let name = &section.app;
        if same && after < before && !back && rollout.kind == RolloutKind::Deploy {
            self.fail("I8", at, format!("{name} was moved back from {before} to {after}"));
            return;
        }
        let known = self.sections.get(&section.app);
        let nobody = known.is_some_and(|s| s.arms.iter().all(|arm| arm.instances.is_empty()));
        let excused = back || rollout.from.is_none() || rollout.failed.is_some() || nobody;
        if after <= before || excused {
            return;
        }
        let Some(arm) = section.arms.iter().find(|arm| arm.release == rollout.to) else { return };
        let wanted = usize::from(rollout::rung(app, rollout, rollout.rung).to);
        let wanted = wanted.saturating_sub(self.excused.get(name).copied().unwrap_or(0));
        if arm.instances.len() < wanted {
            let have = arm.instances.len();
            self.fail("I3", at, format!("{name} was switched to {have} of {wanted} instances"));
        }
    }

    /// I3: no healthy instance is let go if fewer than the floor would remain.
    fn draining(
        &mut self,
        app: &App,
        facts: &[Fact],
        health: &model::HealthTable,
        engine: &Engine,
        at: u64,
    ) {
        let Some(rollout) = app.rollout.as_ref().filter(|r| r.from.is_some()) else { return };
        let kind = app.releases.get(&rollout.to).map(|r| &r.spec.strategy.kind);
        let replicas = app.replicas(rollout.to);
        let all = replicas.min(rollout.from.map_or(replicas, |from| app.replicas(from)));
        let floor = match kind {
            Some(StrategyKind::Recreate { .. }) | None => return,
            Some(_) if rollout.kind.renews() => replicas,
            Some(StrategyKind::Rolling { batch, order: Order::InPlace, .. }) => {
                all.saturating_sub(batch.of(replicas)).max(1)
            }
            Some(_) => all,
        };
        let carries = |app: &App| {
            let well = |(number, i): &(&u64, &Instance)| {
                i.stage == Stage::Serving
                    && app.share(i.release) > Share::NONE
                    && health.get(&app.id(**number)) == Health::Up
                    && silence::is_heard(engine, i)
            };
            app.instances.iter().filter(well).count()
        };
        let before = carries(app);
        let mut after = app.clone();
        for fact in facts {
            let drains = matches!(fact, Fact::Draining { .. });
            let (had, _) = (carries(&after), rollout::apply(&mut after, fact));
            let left = carries(&after);
            let during = after
                .rollout
                .as_ref()
                .is_some_and(|r| !matches!(r.phase, Phase::Reverting { .. } | Phase::Settling));
            let floor = usize::from(floor).saturating_sub(budget::excused(&after, engine));
            if drains && during && left < had && left < floor {
                let name = &app.name;
                let what = format!("{name} was left with {left} of {before}, its floor is {floor}");
                self.fail("I3", at, what);
            }
        }
    }

    /// Recreate: a release is started only when nothing is left of another one.
    fn starting(&mut self, id: &InstanceId, app: Option<&App>, at: u64) {
        let Some((app, rollout)) = app.and_then(|app| Some((app, app.rollout.as_ref()?))) else {
            return;
        };
        let kind = app.releases.get(&rollout.to).map(|r| &r.spec.strategy.kind);
        let alone = matches!(kind, Some(StrategyKind::Recreate { .. }));
        let recreates = rollout.kind == RolloutKind::Deploy && rollout.from.is_some() && alone;
        let restarts = rollout.kind == RolloutKind::Restart && alone;
        // Commands for instances minted before the rollout are only repeated.
        let new = app.instances.get(&id.number).filter(|i| i.minted >= rollout.started);
        let of_before = |i: &Instance| i.minted < rollout.started;
        if restarts && new.is_some() && app.instances.values().any(of_before) {
            self.fail("recreate", at, format!("{id} is started beside one that it replaces"));
        }
        let Some(release) = new.filter(|_| recreates).map(|i| i.release) else { return };
        let is_left_alone = |i: &Instance| i.owed && rollout.budget.is_aside(&i.host);
        if app.instances.values().any(|i| i.release != release && !is_left_alone(i)) {
            self.fail("recreate", at, format!("{id} is started beside another release"));
        }
    }

    /// I9: fifteen minutes without faults take few steps, so no step schedules itself again and again.
    pub fn spinning(&mut self, steps: u64, at: u64) {
        if steps > Self::QUIET_STEPS {
            self.fail("I9", at, format!("{steps} steps in a quiet quarter of an hour"));
        }
    }

    /// At rest, the running processes match the facts, and rollouts have ended.
    pub fn quiet(&mut self, engine: &Engine, hosts: &Hosts, at: u64) {
        let known: BTreeSet<InstanceId> = engine
            .apps()
            .flat_map(|app| app.instances.keys().chain(app.works.keys()).map(|no| app.id(*no)))
            .collect();
        let alive: BTreeSet<&InstanceId> = hosts.alive().collect();
        self.found(works::check_quiet(engine, &alive), at);
        for id in alive.iter().filter(|id| !known.contains(**id)) {
            self.fail("I9", at, format!("{id} runs and no fact knows it"));
        }
        for app in engine.apps() {
            for (_, host) in hosts.machines() {
                let files = host.files.get(&app.name).into_iter().flatten();
                for no in files.filter(|no| !app.releases.contains_key(no)) {
                    let name = &app.name;
                    self.fail("I9", at, format!("the files of {name} {no} are left on a host"));
                }
            }
            // The way back of a recreate to a release that cannot run waits for a person to deploy a better one.
            let is_good = |no: ReleaseNo| {
                let content = app.releases.get(&no).and_then(|release| release.content);
                let behaviour = content.and_then(|content| hosts.behaviours.get(&content));
                behaviour.is_some_and(|behaviour| behaviour.is_good())
            };
            let waits = |rollout: &&Rollout| {
                let goes_back = matches!(rollout.phase, Phase::Reverting { .. }) && rollout.closed;
                goes_back && !rollout.from.is_some_and(is_good)
            };
            if let Some(rollout) = app.rollout.as_ref().filter(|rollout| !waits(rollout)) {
                let (name, phase) = (&app.name, rollout.phase.name());
                self.fail("end", at, format!("the rollout of {name} is still {phase}"));
            }
            let wanted = |no| rollout::wanted(app, no);
            for no in app.on_offer() {
                let serves = |(number, i): &(u64, &Instance)| {
                    let id = app.id(*number);
                    i.stage == Stage::Serving && alive.contains(&id) && !hosts.hangs(&id)
                };
                let serving = app.instances_of(no).filter(serves);
                if is_good(no) && serving.count() < usize::from(wanted(no)) {
                    let name = &app.name;
                    self.fail("end", at, format!("{name} {no} is good and not whole"));
                }
            }
        }
    }

    /// Records a violation found elsewhere.
    pub fn found(&mut self, wrong: Option<Wrong>, at: u64) {
        if let Some((invariant, what)) = wrong {
            self.fail(invariant, at, what);
        }
    }

    fn fail(&mut self, invariant: &'static str, at: u64, what: String) {
        self.violation.get_or_insert(Violation { invariant, at, what });
    }
}

fn fold(apps: &mut BTreeMap<AppName, App>, record: &Record) {
    let Some(name) = record.app() else { return };
    let app = apps.entry(name.clone()).or_insert_with(|| App::new(name.clone()));
    for fact in record.facts() {
        // An illegal fact shows as a difference from the engine's state.
        let _ = rollout::apply(app, fact);
    }
}
