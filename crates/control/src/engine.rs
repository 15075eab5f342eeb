//! The step function: observe, decide, journal, apply, plan, act. No IO, no clock, no randomness.
//!
//! At most one append is in progress. Until it is answered, observations are collected and nothing is
//! decided. Once it is answered, its facts are applied and everything that follows is published.

mod builder;
mod fleet;
mod health;
mod history;
mod hosts;
mod lost;
mod questions;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use journal::{Lost, Recovered};
use model::{
    AppName, AppView, FleetView, HostCommand, HostId, InstanceId, Millis, ProxyId, ProxyLink,
    Receipt, Snapshot, Timestamp, ToHost, TrafficReport,
};
use rollout::{App, Ask, Fleet, FleetAsk, HostSeen, ProxiesSeen, Suspicion};

use self::health::HealthNews;
use crate::apps::Apps;
use crate::hosts::{Hosts, in_use};
use crate::managed::{Managed, Shared};
use crate::message::{Answer, Command, Event, Mode, Ticket};
use crate::record::{CheckpointBody, Record, RecoverError, parse};
use crate::routing::Routing;

#[derive(Clone, Debug)]
struct Question {
    ticket: Ticket,
    app: AppName,
    ask: Ask,
    version: Option<u64>,
    mode: Mode,
}

/// The progress of decided facts into the log.
#[derive(Clone, Debug, Default)]
struct Writing {
    /// The append in progress.
    append: Option<Append>,
    /// Why the last append failed, until an append succeeds.
    fault: Option<String>,
    /// Time of the next attempt after a failed append.
    retry_at: Option<Timestamp>,
    /// Number of records since the last checkpoint.
    records: u32,
}

impl Writing {
    /// Returns whether an append may be tried. After a refused record, only commands are tried at once.
    fn may_append(&self, now: Timestamp) -> bool {
        self.retry_at.is_none_or(|retry| now >= retry)
    }
}

/// The append in progress.
#[derive(Clone, Debug, Default)]
struct Append {
    records: Vec<Record>,
    answers: Vec<(Ticket, Answer)>,
}

/// All apps of one control plane.
#[derive(Clone, Debug)]
pub struct Engine {
    apps: Apps,
    routing: Routing,
    hosts: Hosts,
    health: HealthNews,
    questions: VecDeque<Question>,
    fleet_questions: VecDeque<(Ticket, FleetAsk)>,
    writing: Writing,
    last_fact: Timestamp,
    recovered: Timestamp,
    remind_at: Timestamp,
    most_apps: usize,
    keep_releases: u16,
    /// A fact that this program decided and cannot fold.
    defect: Option<String>,
    /// Why the engine has stepped down, if it has.
    lost: Option<Lost>,
    shown: Shown,
}

/// The views that observers were shown last.
#[derive(Clone, Debug, Default)]
struct Shown {
    apps: BTreeMap<AppName, Arc<AppView>>,
    fleet: Option<Arc<FleetView>>,
}

impl Engine {
    /// Maximum number of apps; also of removed apps whose numbers are kept.
    pub const APPS: usize = 1_000;
    /// Maximum number of questions that wait for the journal.
    pub const QUESTIONS: usize = 4 * Self::QUESTIONS_OF_ONE;
    /// Maximum number of questions of one app that wait for the journal.
    pub const QUESTIONS_OF_ONE: usize = 256;
    /// Number of records between two checkpoints.
    pub const CHECKPOINT: u32 = 1_000;
    /// Interval at which commands that a host has not carried out are repeated.
    const REMIND: Millis = Millis::from_secs(5);
    /// After a restart, commands that depend on health wait this long for the first probes of instances.
    const FIRST_LOOK: Millis = Millis::from_secs(3);
    /// Pause before the next attempt after the journal refused a record.
    const RETRY: Millis = Millis::from_secs(1);

    /// Recovers the state from a checkpoint and later records. `term` exceeds that of any earlier engine.
    pub fn recover(
        term: u64,
        proxies: &[ProxyId],
        recovered: &Recovered,
    ) -> Result<Self, RecoverError> {
        let mut apps = BTreeMap::new();
        let mut fleet = Fleet::default();
        let mut last_fact = Timestamp(0);
        if let Some(checkpoint) = &recovered.checkpoint {
            let CheckpointBody { apps: stored, fleet: hosts, at } =
                CheckpointBody::read(checkpoint)?;
            (last_fact, fleet) = (at, hosts);
            apps.extend(stored.into_iter().map(|app| (app.name.clone(), app)));
        }
        for journal::StoredRecord { seq, version, body } in &recovered.records {
            let seq = seq.0;
            let (app, facts) = match parse(seq, *version, body)? {
                Record::App { app, facts } => (app, facts),
                Record::Fleet(facts) => {
                    for fact in &facts {
                        last_fact = last_fact.max(fact.at());
                        fleet.apply(fact);
                    }
                    continue;
                }
            };
            let app = apps.entry(app.clone()).or_insert_with(|| App::new(app));
            for fact in &facts {
                last_fact = last_fact.max(fact.at());
                rollout::apply(app, fact)
                    .map_err(|source| RecoverError::Illegal { seq, source })?;
            }
        }
        let mut routing = Routing::new(term, proxies);
        for proxy in fleet.proxies() {
            let instances = apps
                .values()
                .flat_map(|app| rollout::assumed_in_use(app).map(|number| app.id(number)));
            let left = apps.values().flat_map(|app| rollout::out_of_use(app).map(|it| app.id(it)));
            let (instances, left) = (instances.collect(), left.collect());
            routing.proxies.recover(proxy, (instances, left), term);
        }
        Ok(Self {
            apps: Apps::new(apps.into_values()),
            routing,
            hosts: Hosts::new(fleet),
            health: HealthNews::new(term),
            questions: VecDeque::new(),
            fleet_questions: VecDeque::new(),
            writing: Writing::default(),
            last_fact,
            recovered: last_fact,
            remind_at: last_fact,
            most_apps: Self::APPS,
            keep_releases: App::KEPT,
            defect: None,
            lost: None,
            shown: Shown::default(),
        })
    }

    /// Returns the first commands after [`Engine::recover`]: they repeat the whole desired state.
    pub fn begin(&mut self, now: Timestamp) -> Vec<Command> {
        (self.recovered, self.remind_at) = (now, now.after(Self::REMIND));
        let unheard: Vec<ProxyId> = self.routing.proxies.silent().cloned().collect();
        self.hosts.begin(&unheard, now);
        self.routing.proxies.begin(now);
        let mut commands = Vec::new();
        let all = self.apps.iter().map(|(name, _)| name.clone()).collect();
        // An earlier engine may have shown them.
        let removed = self.apps.states().filter(|app| app.is_removed());
        commands.extend(removed.map(|app| Command::Hide(app.name.clone())));
        history::make_so(self, &all, now, &mut commands);
        self.go_on(now, &mut commands);
        commands
    }

    /// Takes one event and returns the commands that follow.
    pub fn step(&mut self, event: Event, now: Timestamp) -> Vec<Command> {
        self.step_all([event], now)
    }

    /// Takes several events in their order and returns the commands that follow from all of them. A decision
    /// looks at every instance of an app, so that many reports at once are worth one decision.
    pub fn step_all(
        &mut self,
        events: impl IntoIterator<Item = Event>,
        now: Timestamp,
    ) -> Vec<Command> {
        let mut commands = Vec::new();
        for event in events {
            self.take(event, now, &mut commands);
        }
        self.count_in_flight(now);
        if self.lost.is_none() {
            self.go_on(now, &mut commands);
        }
        // Answers come last, so that a client that has its answer can see the effect.
        commands.sort_by_key(|command| matches!(command, Command::Answer(..)));
        commands
    }

    fn take(&mut self, event: Event, now: Timestamp, commands: &mut Vec<Command>) {
        match event {
            Event::Host(report) => hosts::report(self, report, now, commands),
            Event::Link { host, link } => hosts::link(self, &host, link, now, commands),
            Event::ProxyLink { proxy, link } => self.proxy_link(&proxy, link, now, commands),
            Event::Traffic(report) => self.traffic(report, now, commands),
            Event::Ask { ticket, app, ask, version, mode } => {
                let question = Question { ticket, app, ask, version, mode };
                questions::queue(self, question, commands);
            }
            Event::Fleet { ticket, ask } => fleet::queue(self, (ticket, ask), commands),
            Event::Appended(result) => history::appended(self, result, now, commands),
            Event::Cut(lost) => lost::step_down(self, lost, commands),
            Event::Tick => {}
        }
    }

    /// Returns the time at which to call [`Engine::step`] with [`Event::Tick`] at the latest.
    pub fn wake_at(&self) -> Timestamp {
        let apps = if self.writing.append.is_some() { None } else { self.apps.wake_at() };
        // Without an append in progress, questions can only wait for the first look.
        let asked = !self.questions.is_empty() && self.writing.append.is_none();
        let look = asked.then(|| self.recovered.after(Self::FIRST_LOOK));
        // While an append is in progress, a retry waits for its answer.
        let retry = self.writing.retry_at.filter(|_| self.writing.append.is_none());
        let times = [retry, apps, look, self.hosts.wake_at(), self.routing.wake_at()];
        times.into_iter().flatten().fold(self.remind_at, Timestamp::min)
    }

    /// Returns the current states of the apps; for invariants and checkpoints.
    pub fn apps(&self) -> impl Iterator<Item = &App> {
        self.apps.states()
    }

    /// Returns how many commands to hosts about this app are kept to be repeated; for invariants.
    pub fn told_count(&self, app: &AppName) -> usize {
        self.apps.get(app).map_or(0, Managed::told_count)
    }

    /// Returns the hosts of the fleet, and whether they are heard.
    pub fn hosts(&self) -> &BTreeMap<HostId, HostSeen> {
        self.hosts.seen()
    }

    /// Returns which proxies are here, and what the others may use.
    pub fn proxies(&self) -> &ProxiesSeen {
        self.routing.proxies.seen()
    }

    /// Returns the suspicion of the server against its own network, while there is one.
    pub fn suspicion(&self) -> Option<Suspicion> {
        self.hosts.suspicion()
    }

    /// Returns the resting ports of all hosts; for invariants.
    pub fn resting_ports(&self) -> Vec<(&HostId, u16)> {
        self.hosts.resting_ports().collect()
    }

    /// Returns how many requests to this app all proxies together have counted; for invariants.
    pub fn counted_requests(&self, app: &AppName) -> u64 {
        self.routing.proxies.requests(app)
    }

    /// Returns what the rollout of `app` has cost so far, if one is in progress.
    pub fn account(&self, app: &AppName, now: Timestamp) -> Option<Receipt> {
        self.apps.get(app)?.account(self.shared(), now)
    }

    /// Returns the latest time in any fact. The clock starts no earlier.
    pub fn last_fact(&self) -> Timestamp {
        self.last_fact
    }

    /// Returns why nothing can be journaled at the moment, if so.
    pub fn journal_fault(&self) -> Option<&str> {
        self.writing.fault.as_deref()
    }

    /// Returns the decision that this program cannot fold, if there is one. The engine then decides and
    /// answers nothing more, since the state is not what the decision assumed.
    pub fn defect(&self) -> Option<&str> {
        self.defect.as_deref()
    }

    /// Returns the newest snapshot, whether proxies have it already or not.
    pub fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        self.routing.newest()
    }

    /// Returns the instances at whose address another program listens, for [`Engine::with_strangers`].
    pub fn foreign(&self) -> &BTreeSet<InstanceId> {
        self.health.foreign()
    }

    /// Returns why this engine has stepped down, if it has. It then decides and answers nothing more.
    /// The log has to be opened again, and another engine continues from the log's content.
    pub fn lost(&self) -> Option<&Lost> {
        self.lost.as_ref()
    }

    fn to_host(&self, (host, command): (HostId, HostCommand)) -> Command {
        Command::Host(ToHost { host, term: self.routing.generation().term, command })
    }

    fn proxy_link(
        &mut self,
        proxy: &ProxyId,
        link: ProxyLink,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) {
        let is_up = matches!(link, ProxyLink::Up(_));
        if self.routing.proxies.link(proxy, link, now) {
            if self.hosts.proxy_link(proxy, is_up, now) {
                self.all_changed();
            }
            if is_up {
                commands.push(self.health.tell(proxy));
            }
            self.look_at_proxies(now, commands);
        }
    }

    fn traffic(&mut self, report: TrafficReport, now: Timestamp, commands: &mut Vec<Command>) {
        let moved = self.routing.proxies.moved(&report);
        for app in self.routing.proxies.found_anew(&report) {
            self.apps.change(&app, |managed| managed.dirty = true);
        }
        let proxy = report.proxy.clone();
        if self.routing.report(report) {
            commands.push(self.health.tell(&proxy));
        }
        self.look_at_proxies(now, commands);
        self.take_acknowledgements(now);
        self.apps.moved(moved);
    }

    /// Counts requests in flight on the apps that reports have moved.
    fn count_in_flight(&mut self, now: Timestamp) {
        let routing = &self.routing;
        for name in self.apps.take_moved() {
            let counted = self.apps.change(&name, |managed| managed.count_in_flight(routing, now));
            if counted == Some(true) {
                self.health.changed(name);
            }
        }
    }

    /// Moves snapshots on their way to the proxies on. Decisions depend on which proxies are here.
    fn look_at_proxies(&mut self, now: Timestamp, commands: &mut Vec<Command>) {
        if self.routing.go_on(now, commands) {
            self.hosts.show_again();
            self.apps.dirty_all();
        }
    }

    /// Answers and decides whatever is possible, unless an append is in progress. Then shows changes.
    fn go_on(&mut self, now: Timestamp, commands: &mut Vec<Command>) {
        self.look_at_proxies(now, commands);
        // Versions without a new snapshot belong to one that may be acknowledged already.
        self.take_acknowledgements(now);
        if self.hosts.pass(now) {
            self.all_changed();
        }
        if self.writing.append.is_none() && self.defect.is_none() {
            let mut append = Append::default();
            if self.writing.may_append(now) {
                let newcomers = self.hosts.newcomers(now);
                if !newcomers.is_empty() {
                    append.records.push(Record::Fleet(newcomers));
                }
            }
            if self.writing.may_append(now) {
                append.records.extend(self.hosts.skipped_numbers(self.apps.states(), now));
            }
            fleet::answer(self, now, &mut append, commands);
            questions::answer_questions(self, now, &mut append, commands);
            if self.writing.may_append(now) {
                self.writing.retry_at = None;
                self.decide(now, &mut append);
            }
            if !append.records.is_empty() {
                commands.push(Command::Append(append.records.clone()));
                self.writing.append = Some(append);
            }
        }
        let (apps, append) = (&self.apps, &self.writing.append);
        let used = |host: &HostId| {
            let coming = append.iter().flat_map(|append| &append.records);
            in_use(host, apps.states(), coming)
        };
        for (host, except) in self.hosts.questions(now, used) {
            commands.push(self.to_host((host, HostCommand::OfferPorts { except })));
        }
        if now >= self.remind_at {
            self.remind_at = now.after(Self::REMIND);
            self.hosts.forget_questions();
            self.routing.remind();
            let unheard =
                self.apps.iter().flat_map(|(_, managed)| managed.unheard(&self.hosts, now));
            commands.extend(unheard.map(|told| self.to_host(told)));
        }
        self.health.publish(&self.apps, &self.hosts, &self.routing.proxies, now, commands);
        self.show(now, commands);
    }

    /// Looks at every app again: which hosts are heard has changed.
    fn all_changed(&mut self) {
        self.apps.dirty_all();
        let names: Vec<AppName> = self.apps.iter().map(|(name, _)| name.clone()).collect();
        names.into_iter().for_each(|name| self.health.changed(name));
    }

    fn take_acknowledgements(&mut self, now: Timestamp) {
        let spread = self.routing.spread();
        for (app, version) in self.routing.newly_acknowledged() {
            self.hosts.acknowledged(&app, version);
            self.apps.change(&app, |managed| managed.acknowledge(version, spread, now));
        }
    }

    fn decide(&mut self, now: Timestamp, append: &mut Append) {
        for name in self.apps.due(now) {
            if append.records.iter().any(|record| record.app() == Some(&name)) {
                continue;
            }
            let shared = Shared {
                routing: &self.routing,
                hosts: &self.hosts,
                recovered: self.recovered,
                keep_releases: self.keep_releases,
            };
            let facts = match self.apps.change(&name, |managed| managed.decide(shared, now)) {
                Some(Ok(facts)) => facts,
                Some(Err(illegal)) => {
                    self.defect.get_or_insert_with(|| format!("{name}: {illegal}"));
                    return;
                }
                None => continue,
            };
            facts.iter().for_each(|fact| self.hosts.used(fact.minted()));
            if !facts.is_empty() {
                append.records.push(Record::App { app: name, facts });
            }
        }
    }

    pub(super) fn shared(&self) -> Shared<'_> {
        Shared {
            routing: &self.routing,
            hosts: &self.hosts,
            recovered: self.recovered,
            keep_releases: self.keep_releases,
        }
    }

    /// Shows every app whose view has changed, and the fleet if it has.
    fn show(&mut self, now: Timestamp, commands: &mut Vec<Command>) {
        fleet::show(self, now, commands);
        for name in self.apps.take_touched() {
            let managed = self.apps.get(&name).filter(|managed| !managed.app.is_removed());
            let Some(managed) = managed else {
                if self.shown.apps.remove(&name).is_some() {
                    commands.push(Command::Hide(name));
                }
                continue;
            };
            let view = managed.view(self.shared());
            if self.shown.apps.get(&name).is_none_or(|shown| **shown != view) {
                let view = Arc::new(view);
                self.shown.apps.insert(name, view.clone());
                commands.push(Command::Show(view));
            }
        }
    }
}
