//! The step function: observe, decide, journal, apply, plan, act. No IO, no clock, no randomness.
//!
//! At most one append is under way. Until it is answered, what is seen is collected and nothing is
//! decided; when it is answered, its facts are applied and everything that follows is published.

mod look;
mod lost;
mod questions;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use journal::{Lost, Recovered};
use model::{
    AppName, AppView, Generation, Health, HealthTable, HostAbilities, HostCommand, HostReport,
    InstanceId, Listeners, Millis, ProxyId, Timestamp, TrafficReport,
};
use rollout::{App, Ask, Fact, Minted};

use crate::managed::{Managed, Shared};
use crate::message::{Answer, Command, Event, Mode, Ticket};
use crate::ports::{Ports, in_use};
use crate::record::{CheckpointBody, Record, RecoverError, parse};
use crate::routing::Routing;
use questions::refuse;

#[derive(Clone, Debug)]
struct Question {
    ticket: Ticket,
    app: AppName,
    ask: Ask,
    version: Option<u64>,
    mode: Mode,
}

/// The append under way.
#[derive(Clone, Debug, Default)]
struct Append {
    records: Vec<Record>,
    answers: Vec<(Ticket, Answer)>,
}

/// All apps of one control plane.
#[derive(Clone, Debug)]
pub struct Engine {
    apps: BTreeMap<AppName, Managed>,
    routing: Routing,
    ports: Ports,
    abilities: HostAbilities,
    health: HealthTable,
    questions: VecDeque<Question>,
    append: Option<Append>,
    /// Why the last append failed, until one succeeds.
    journal_fault: Option<String>,
    /// After a failed append, when to try again.
    retry_at: Option<Timestamp>,
    last_fact: Timestamp,
    recovered: Timestamp,
    remind_at: Timestamp,
    appended: u32,
    keep_releases: u16,
    /// A fact that this program decided and cannot fold.
    defect: Option<String>,
    /// Why it has stepped down, if it has.
    lost: Option<Lost>,
    shown: BTreeMap<AppName, Arc<AppView>>,
}

impl Engine {
    /// Apps at the most; and so many that were removed, of which the numbers are kept.
    pub const APPS: usize = 1_000;
    /// Questions that may wait for the journal.
    pub const QUESTIONS: usize = 256;
    /// Records between two checkpoints.
    pub const CHECKPOINT: u32 = 1_000;
    /// What a host was told and has not made so is told again after this time.
    const REMIND: Millis = Millis::from_secs(5);
    /// After a restart a command that hangs on how instances are waits so long for their first probes.
    const FIRST_LOOK: Millis = Millis::from_secs(3);
    /// After the journal refused a record, the next attempt.
    const RETRY: Millis = Millis::from_secs(1);

    /// The state after a checkpoint and the records since. `term` is larger than that of any engine before.
    pub fn recover(
        term: u64,
        proxies: &[ProxyId],
        recovered: &Recovered,
    ) -> Result<Self, RecoverError> {
        let mut apps = BTreeMap::new();
        let mut last_fact = Timestamp(0);
        if let Some(checkpoint) = &recovered.checkpoint {
            let CheckpointBody { apps: stored, at } = CheckpointBody::read(checkpoint)?;
            last_fact = at;
            apps.extend(stored.into_iter().map(|app| (app.name.clone(), app)));
        }
        for journal::Record { seq, version, body } in &recovered.records {
            let seq = seq.0;
            let Record { app, facts } = parse(seq, *version, body)?;
            let app = apps.entry(app.clone()).or_insert_with(|| App::new(app));
            for fact in &facts {
                last_fact = last_fact.max(fact.at());
                rollout::apply(app, fact)
                    .map_err(|source| RecoverError::Illegal { seq, source })?;
            }
        }
        Ok(Self {
            apps: apps.into_iter().map(|(name, app)| (name, Managed::new(app))).collect(),
            routing: Routing::new(term, proxies),
            ports: Ports::default(),
            abilities: HostAbilities::default(),
            health: HealthTable {
                version: Generation { term, counter: 0 },
                ..HealthTable::default()
            },
            questions: VecDeque::new(),
            append: None,
            journal_fault: None,
            retry_at: None,
            last_fact,
            recovered: last_fact,
            remind_at: last_fact,
            appended: 0,
            keep_releases: App::KEPT,
            defect: None,
            lost: None,
            shown: BTreeMap::new(),
        })
    }

    /// Keeps so many releases of each app stored besides those on offer, instead of [`App::KEPT`].
    #[must_use]
    pub fn keeping(self, keep_releases: u16) -> Self {
        Self { keep_releases, ..self }
    }

    /// The same, for a host that can do this.
    #[must_use]
    pub fn with_abilities(self, abilities: HostAbilities) -> Self {
        Self { abilities, ..self }
    }

    /// The same, for a host where somebody else listens at the address of these instances, and why that is
    /// thought. They stand in the first health table, all of them.
    #[must_use]
    pub fn with_strangers(
        mut self,
        strangers: impl IntoIterator<Item = (InstanceId, String)>,
    ) -> Self {
        for (id, why) in strangers {
            let managed = self.apps.get_mut(&id.app);
            let managed = managed.filter(|managed| managed.app.instances.contains_key(&id.number));
            let Some(managed) = managed else { continue };
            let number = id.number;
            let report = HostReport::Health {
                id,
                health: Health::Down,
                streak: 1,
                note: Some(why),
                unanswered: false,
                listeners: Listeners::Foreign,
            };
            managed.report(number, report, self.last_fact);
        }
        self
    }

    /// The first commands after [`Engine::recover`]: everything that should be so is said again.
    pub fn begin(&mut self, now: Timestamp) -> Vec<Command> {
        (self.recovered, self.remind_at) = (now, now.after(Self::REMIND));
        let mut commands = Vec::new();
        let all = self.apps.keys().cloned().collect();
        // An engine before this one may have shown them.
        let removed = self.apps.values().filter(|managed| managed.app.is_removed());
        commands.extend(removed.map(|managed| Command::Hide(managed.app.name.clone())));
        self.make_so(&all, &mut commands);
        self.go_on(now, &mut commands);
        commands
    }

    /// Takes one event, says what is to be done.
    pub fn step(&mut self, event: Event, now: Timestamp) -> Vec<Command> {
        let mut commands = Vec::new();
        match event {
            Event::Host(report) => self.host(report, now, &mut commands),
            Event::Traffic(report) => self.traffic(report, now, &mut commands),
            Event::Ask { ticket, app, ask, version, mode } => {
                self.question(Question { ticket, app, ask, version, mode }, &mut commands);
            }
            Event::Appended(result) => self.appended(result, now, &mut commands),
            Event::Cut(lost) => self.step_down(lost, &mut commands),
            Event::Tick => {}
        }
        if self.lost.is_none() {
            self.go_on(now, &mut commands);
        }
        // Whoever is answered can see what was done.
        commands.sort_by_key(|command| matches!(command, Command::Answer(..)));
        commands
    }

    /// When to call [`Engine::step`] with [`Event::Tick`] at the latest.
    pub fn wake_at(&self) -> Timestamp {
        let apps = self.apps.values().filter_map(|managed| managed.wake_at);
        let apps = if self.append.is_some() { None } else { apps.min() };
        // Without an append under way they can only wait for the first look.
        let asked = !self.questions.is_empty() && self.append.is_none();
        let look = asked.then(|| self.recovered.after(Self::FIRST_LOOK));
        // While an append is under way, what was to be tried again waits for its answer.
        let retry = self.retry_at.filter(|_| self.append.is_none());
        [Some(self.remind_at), retry, apps, look]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(self.remind_at)
    }

    fn host(&mut self, report: HostReport, now: Timestamp, commands: &mut Vec<Command>) {
        let id: InstanceId = match &report {
            HostReport::Ports { free } => {
                let coming = self.append.iter().flat_map(|append| &append.records);
                let used = in_use(self.apps.values().map(|managed| &managed.app), coming);
                if self.ports.offer(free, &used) {
                    self.apps.values_mut().for_each(|managed| managed.dirty = true);
                }
                return;
            }
            HostReport::Kept(keep) => {
                let managed = self.apps.get_mut(&keep.app);
                return managed.into_iter().for_each(|managed| managed.kept(keep.clone()));
            }
            HostReport::Running { id, .. }
            | HostReport::Health { id, .. }
            | HostReport::NotStarted { id, .. }
            | HostReport::Exited { id, .. } => id.clone(),
        };
        let managed = self.apps.get_mut(&id.app);
        let managed = managed.filter(|managed| managed.app.instances.contains_key(&id.number));
        let runs = matches!(report, HostReport::Running { .. });
        let Some(managed) = managed else {
            if runs {
                // Something runs that no fact knows: it is not ours to keep.
                commands.push(Command::Host(HostCommand::Stop { id, grace: Millis(0) }));
            }
            return;
        };
        if managed.report(id.number, report, now) {
            self.publish_health(commands);
        }
    }

    fn traffic(&mut self, report: TrafficReport, now: Timestamp, commands: &mut Vec<Command>) {
        if self.routing.report(report, commands) {
            commands.push(Command::Health(Arc::new(self.health.clone())));
        }
        self.take_acknowledgements(now);
        let (apps, routing) = (self.apps.values_mut(), &self.routing);
        if apps.map(|managed| managed.count_in_flight(routing, now)).fold(false, |a, b| a | b) {
            self.publish_health(commands);
        }
    }

    fn question(&mut self, question: Question, commands: &mut Vec<Command>) {
        if self.questions.len() >= Self::QUESTIONS {
            let why = format!("{} commands are waiting for the journal", Self::QUESTIONS);
            commands.push(Command::Answer(question.ticket, Err(refuse(&question.app, &why))));
            return;
        }
        self.questions.push_back(question);
    }

    /// The append was answered: its facts are history, or nothing has happened.
    fn appended(&mut self, result: Result<(), Lost>, now: Timestamp, commands: &mut Vec<Command>) {
        if let Err(lost) = result {
            return self.not_appended(lost, now, commands);
        }
        let Some(Append { records, answers }) = self.append.take() else { return };
        self.journal_fault = None;
        let mut changed = BTreeSet::new();
        let mut events = Vec::new();
        for Record { app, facts } in &records {
            changed.insert(app.clone());
            self.fold(app, facts, &mut events);
        }
        self.appended += u32::try_from(records.len()).unwrap_or(u32::MAX);
        self.make_so(&changed, commands);
        let answered =
            answers.into_iter().map(|(ticket, answer)| Command::Answer(ticket, Ok(answer)));
        commands.extend(answered);
        commands.extend(events.into_iter().map(Command::Announce));
        if self.appended >= Self::CHECKPOINT {
            self.appended = 0;
            self.forget_removed();
            let apps = self.apps().cloned().collect();
            commands.push(Command::Checkpoint(CheckpointBody { apps, at: self.last_fact }));
        }
    }

    /// Of removed apps only the last few keep their numbers; a checkpoint carries no others.
    fn forget_removed(&mut self) {
        let removed = self.apps.values().filter(|managed| managed.app.is_removed());
        let mut removed: Vec<(Option<Timestamp>, AppName)> =
            removed.map(|managed| (managed.app.removing, managed.app.name.clone())).collect();
        removed.sort();
        let surplus = removed.len().saturating_sub(Self::APPS);
        for (_, name) in &removed[..surplus] {
            self.apps.remove(name);
        }
    }

    /// Applies one record's facts, one by one so that each event sees the state it led to.
    fn fold(&mut self, name: &AppName, facts: &[Fact], events: &mut Vec<model::Event>) {
        let managed =
            self.apps.entry(name.clone()).or_insert_with(|| Managed::new(App::new(name.clone())));
        for fact in facts {
            self.last_fact = self.last_fact.max(fact.at());
            if matches!(fact, Fact::Started(_)) {
                self.routing.proxies.forget_gap(name);
            }
            if let Fact::Minted { instances, .. } = fact {
                instances.iter().flat_map(Minted::addresses).for_each(|it| self.ports.used(it));
            }
            let gone = if let Fact::Gone { instance, .. } = fact {
                managed.app.instances.get(instance).cloned()
            } else {
                None
            };
            // Decided facts were applied to a draft before: only a defect makes one illegal now.
            if let Err(illegal) = managed.apply(std::slice::from_ref(fact), &self.routing) {
                self.defect.get_or_insert_with(|| format!("{name}: {illegal}"));
            }
            if let Some(instance) = gone {
                let version = managed.app.version;
                instance.addresses().for_each(|it| self.ports.rest(it, name, version, fact.at()));
            }
            events.push(rollout::event(&managed.app, fact));
        }
    }

    /// Publishes what the changed apps' plans say and tells the host what is new to it.
    fn make_so(&mut self, changed: &BTreeSet<AppName>, commands: &mut Vec<Command>) {
        let mut sections = Vec::new();
        let mut effects = Vec::new();
        for name in changed {
            let Some(managed) = self.apps.get_mut(name) else { continue };
            let plan = rollout::plan(&managed.app);
            sections.push((name.clone(), plan.section, managed.app.version));
            effects.extend(managed.news_for_host(plan.effects));
        }
        if let Some(snapshot) = self.routing.update(sections) {
            self.routing.publish(snapshot, commands);
        }
        commands.extend(effects.into_iter().map(Command::Host));
        self.publish_health(commands);
    }

    fn publish_health(&mut self, commands: &mut Vec<Command>) {
        let health: BTreeMap<_, _> = self.apps.values().flat_map(Managed::health).collect();
        let foreign: BTreeSet<_> = self.apps.values().flat_map(Managed::foreign).collect();
        if health != self.health.health || foreign != self.health.foreign {
            self.health = HealthTable { version: self.health.version.next(), health, foreign };
            commands.push(Command::Health(Arc::new(self.health.clone())));
        }
    }

    /// Answers and decides what can be, unless an append is under way; then shows what changed.
    fn go_on(&mut self, now: Timestamp, commands: &mut Vec<Command>) {
        // Versions that needed no new snapshot stand in one that may be acknowledged already.
        self.take_acknowledgements(now);
        if self.append.is_none() && self.defect.is_none() {
            let mut append = Append::default();
            self.answer_questions(now, &mut append, commands);
            if self.retry_at.is_none_or(|retry| now >= retry) {
                self.retry_at = None;
                self.decide(now, &mut append);
            }
            if !append.records.is_empty() {
                commands.push(Command::Append(append.records.clone()));
                self.append = Some(append);
            }
        }
        let coming = self.append.iter().flat_map(|append| &append.records);
        let used = || in_use(self.apps.values().map(|managed| &managed.app), coming);
        if let Some(except) = self.ports.want_more(now, used) {
            commands.push(Command::Host(HostCommand::OfferPorts { except }));
        }
        if now >= self.remind_at {
            self.remind_at = now.after(Self::REMIND);
            self.ports.forget_question();
            self.routing.remind(commands);
            let unheard = self.apps.values().flat_map(Managed::unheard);
            commands.extend(unheard.map(Command::Host));
        }
        self.show(commands);
    }

    fn take_acknowledgements(&mut self, now: Timestamp) {
        for (app, version) in self.routing.newly_acknowledged() {
            self.ports.acknowledged(&app, version);
            if let Some(managed) = self.apps.get_mut(&app) {
                managed.acknowledge(version, now);
            }
        }
    }

    fn decide(&mut self, now: Timestamp, append: &mut Append) {
        for (name, managed) in &mut self.apps {
            let due = managed.dirty || managed.wake_at.is_some_and(|wake| now >= wake);
            if !due || append.records.iter().any(|record| record.app == *name) {
                continue;
            }
            let free_ports = self.ports.free();
            let shared = Shared {
                routing: &self.routing,
                free_ports,
                abilities: &self.abilities,
                recovered: self.recovered,
                keep_releases: self.keep_releases,
            };
            let facts = match managed.decide(shared, now) {
                Ok(facts) => facts,
                Err(illegal) => {
                    self.defect.get_or_insert_with(|| format!("{name}: {illegal}"));
                    return;
                }
            };
            for fact in &facts {
                let minted = fact.minted().iter().flat_map(Minted::addresses);
                minted.for_each(|address| self.ports.used(address));
            }
            if !facts.is_empty() {
                append.records.push(Record { app: name.clone(), facts });
            }
        }
    }

    /// For whoever only looks: no ports.
    fn shared(&self) -> Shared<'_> {
        Shared {
            routing: &self.routing,
            free_ports: &[],
            abilities: &self.abilities,
            recovered: self.recovered,
            keep_releases: self.keep_releases,
        }
    }

    /// Shows every app whose look has changed.
    fn show(&mut self, commands: &mut Vec<Command>) {
        for (name, managed) in &self.apps {
            if managed.app.is_removed() {
                if self.shown.remove(name).is_some() {
                    commands.push(Command::Hide(name.clone()));
                }
                continue;
            }
            let view = managed.view(self.shared());
            if self.shown.get(name).is_none_or(|shown| **shown != view) {
                let view = Arc::new(view);
                self.shown.insert(name.clone(), view.clone());
                commands.push(Command::Show(view));
            }
        }
    }
}
