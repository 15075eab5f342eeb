//! One app under control: its state, its observations, and the commands sent to hosts for it.

use std::collections::BTreeMap;

use model::{
    AppCounters, AppView, Generation, Health, HostCommand, HostId, HostReport, Keep, Listeners,
    Millis, NotStarted, Reach, Receipt, Share, Stage, Timestamp,
};
use rollout::{
    Accepted, App, Ask, Bug, Decision, Fact, FetchProgress, FetchSeen, InstanceSeen, Observed,
    Process, Reasons, Refusal, Spread, WorkStage,
};

use crate::busy::{BusyTerms, InstanceLoad, Standstill, Weighed};
use crate::counts::between;
use crate::hosts::Hosts;
use crate::minutes::Minutes;
use crate::routing::Routing;

/// One app under control.
#[derive(Clone, Debug)]
pub(crate) struct Managed {
    /// The state of the app: the fold of its facts.
    pub app: App,
    /// Time of the next decision at the latest.
    pub wake_at: Option<Timestamp>,
    /// True if there are observations or events since the last decision.
    pub dirty: bool,
    /// Observations of instances, and of works, which have no health.
    seen: BTreeMap<u64, InstanceSeen>,
    /// Data that determine whether an instance is busy or down, by number.
    loads: BTreeMap<u64, InstanceLoad>,
    /// Time for which the candidate was busy in the current phase.
    stood: Standstill,
    acknowledged: AcknowledgedVersion,
    /// The counters at the beginning of the rollout in progress; lost in a crash.
    baseline: Option<AppCounters>,
    minutes: Minutes,
    /// Time of the last host report on an instance or work, by number.
    heard: BTreeMap<u64, Timestamp>,
    /// The last commands to hosts about instances and works.
    told: BTreeMap<u64, (HostId, HostCommand)>,
    /// The last command to all hosts about what to keep.
    keep: Option<Box<Keep>>,
    /// The last keep command that each host has carried out.
    kept: BTreeMap<HostId, Box<Keep>>,
    reasons: Reasons,
}

/// The app's state that the proxies hold.
#[derive(Clone, Copy, Debug, Default)]
struct AcknowledgedVersion {
    /// The version of the state.
    version: u64,
    /// How far apart the proxies have acknowledged it.
    spread: Option<Spread>,
    /// Time of the last acknowledgement.
    at: Timestamp,
}

/// Data shared by all apps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shared<'a> {
    pub routing: &'a Routing,
    pub hosts: &'a Hosts,
    pub recovered: Timestamp,
    pub keep_releases: u16,
}

impl Managed {
    /// Time after which a host that has not reported on an instance or work is asked again. Its last
    /// report may have been lost.
    const SILENT: Millis = Millis::from_secs(60);
    /// The equivalent of `SILENT` for an instance that is not Up.
    const UNSURE: Millis = Millis::from_secs(10);

    pub fn new(app: App) -> Self {
        Self {
            app,
            wake_at: None,
            dirty: true,
            seen: BTreeMap::new(),
            loads: BTreeMap::new(),
            stood: Standstill::default(),
            acknowledged: AcknowledgedVersion::default(),
            baseline: None,
            minutes: Minutes::default(),
            heard: BTreeMap::new(),
            told: BTreeMap::new(),
            keep: None,
            kept: BTreeMap::new(),
            reasons: Reasons::default(),
        }
    }

    /// Decides which facts to record next.
    pub fn decide(
        &mut self,
        shared: Shared,
        now: Timestamp,
    ) -> Result<Vec<Fact>, rollout::Illegal> {
        self.dirty = false;
        let counted = self.counted(shared.routing);
        let seen = self.observed(shared, counted.as_ref());
        let Decision { facts, wake_at, reasons } = rollout::decide(&self.app, &seen, now)?;
        (self.wake_at, self.reasons) = (wake_at, reasons);
        Ok(facts)
    }

    /// Answers a command.
    pub fn ask(
        &self,
        ask: &Ask,
        version: Option<u64>,
        shared: Shared,
        now: Timestamp,
    ) -> Result<Accepted, Refusal> {
        let counted = self.counted(shared.routing);
        rollout::ask(&self.app, ask, version, &self.observed(shared, counted.as_ref()), now)
    }

    /// Returns what the rollout in progress has cost so far.
    pub fn account(&self, shared: Shared, now: Timestamp) -> Option<Receipt> {
        let counted = self.counted(shared.routing);
        rollout::account(&self.app, &self.observed(shared, counted.as_ref()), now)
    }

    /// Returns the view of the app for people.
    pub fn view(&self, shared: Shared) -> AppView {
        rollout::view(&self.app, &self.observed(shared, None), self.reasons.clone())
    }

    /// Folds committed facts, and forgets the observations of instances that are Gone.
    pub fn apply(&mut self, facts: &[Fact], routing: &Routing) -> Result<(), rollout::Illegal> {
        for fact in facts {
            rollout::apply(&mut self.app, fact)?;
            if let Fact::Started(started) = fact {
                let counted = routing.proxies.counted(&self.app.name);
                self.minutes.rollout_begins(counted.as_deref(), started.at);
                self.baseline = Some(routing.proxies.counters(&self.app.name).unwrap_or_default());
            }
        }
        let app = &self.app;
        self.seen.retain(|number, _| app.host_of(*number).is_some());
        self.loads.retain(|number, _| app.instances.contains_key(number));
        self.heard.retain(|number, _| app.host_of(*number).is_some());
        if !Bug::RemembersTold.is_planted() {
            self.told.retain(|number, _| app.host_of(*number).is_some());
        }
        self.dirty = true;
        Ok(())
    }

    /// Records that every worker holds the app's state of `version`.
    pub fn acknowledge(&mut self, version: u64, spread: Option<Spread>, at: Timestamp) {
        if version > self.acknowledged.version {
            self.acknowledged = AcknowledgedVersion { version, spread, at };
            self.dirty = true;
        }
    }

    /// Takes the requests in flight from the proxies' reports, and the counts by which a rollout is
    /// also judged. Returns whether the health of an instance has changed: an instance that does not
    /// answer probes is busy only while requests are in flight on it.
    pub fn count_in_flight(&mut self, routing: &Routing, now: Timestamp) -> bool {
        if let Some(counters) = routing.proxies.counted(&self.app.name) {
            self.minutes.count(&counters, now);
        }
        self.dirty |= self.app.rollout.as_ref().is_some_and(|r| r.share > Share::NONE);
        let mut changed = false;
        let numbers: Vec<(u64, Stage)> =
            self.app.instances.iter().map(|(number, i)| (*number, i.stage)).collect();
        for (number, stage) in numbers {
            let id = self.app.id(number);
            let (in_flight, uncounted) = routing.proxies.in_flight(&id);
            let seen = self.seen.entry(number).or_default();
            if (seen.in_flight, seen.uncounted) != (in_flight, uncounted) {
                (seen.in_flight, seen.uncounted) = (in_flight, uncounted);
                self.dirty |= stage == Stage::Draining;
            }
            let load = self.loads.entry(number).or_default();
            load.counted(in_flight, routing.proxies.quiet(&id), now);
            changed |= self.weigh(number, now);
        }
        self.look_at_candidate(now);
        changed
    }

    /// Updates the health from probes and requests in flight. Returns whether it has changed.
    fn weigh(&mut self, number: u64, now: Timestamp) -> bool {
        let Some(instance) = self.app.instances.get(&number) else { return false };
        let spec = self.app.releases.get(&instance.release).map(|release| &release.spec);
        let patience = spec.map_or(BusyTerms::default(), |spec| BusyTerms {
            busy: spec.health.busy,
            first_byte: spec.route.limits.first_byte,
            probe: Millis(spec.health.interval.0 + spec.health.timeout.0),
        });
        let seen = self.seen.entry(number).or_default();
        if seen.process.has_ended() {
            return false;
        }
        let Weighed { health, note, busy } =
            self.loads.entry(number).or_default().weigh(patience, now);
        let changed = (seen.health, seen.busy.is_some()) != (health, busy.is_some());
        if seen.health != health {
            seen.health_since = now;
        }
        (seen.health, seen.note, seen.busy) = (health, note, busy);
        self.dirty |= changed;
        changed
    }

    /// Stops the clock of a rollout step while the candidate is busy.
    fn look_at_candidate(&mut self, now: Timestamp) {
        let Some(rollout) = &self.app.rollout else { return };
        let mut numbers = self.app.instances_of(rollout.to).map(|(number, _)| number);
        let is_busy = numbers.any(|n| self.seen.get(&n).is_some_and(|seen| seen.busy.is_some()));
        self.stood.look(rollout.since, is_busy, now);
    }

    /// Takes a host's report on the instance or work with this number. Returns whether anything
    /// changed.
    pub fn report(&mut self, number: u64, report: HostReport, now: Timestamp) -> bool {
        self.heard.insert(number, now);
        let seen = self.seen.entry(number).or_default();
        let before = seen.clone();
        match report {
            HostReport::Fetching { bytes, of, trouble, .. } if seen.process == Process::Unseen => {
                let came_at = if trouble.is_none() { Some(now) } else { seen.fetch.came_at };
                let progress = (of > 0).then_some(FetchProgress { bytes, of });
                seen.fetch = FetchSeen { came_at, progress, trouble };
            }
            HostReport::Running { pid, .. } if !seen.process.has_ended() => {
                seen.process = Process::Running { pid };
                seen.running_since.get_or_insert(now);
            }
            HostReport::Health { health, streak, note, unanswered, listeners, .. }
                if !seen.process.has_ended() =>
            {
                (seen.streak, seen.listeners) = (streak, listeners);
                self.loads.entry(number).or_default().probed(health, note, unanswered);
                self.weigh(number, now);
            }
            HostReport::NotStarted { why, .. } => {
                seen.process = match why {
                    NotStarted::AddressInUse => Process::AddressInUse,
                    NotStarted::Refused(why) => Process::Refused(why),
                };
            }
            HostReport::Exited { exit, address_in_use, tail, .. } => {
                seen.process = Process::Exited { exit, address_in_use, tail };
            }
            HostReport::Fetching { .. }
            | HostReport::Running { .. }
            | HostReport::Health { .. }
            | HostReport::Ports { .. }
            | HostReport::Kept(_) => {}
        }
        let changed = self.seen.get(&number) != Some(&before);
        self.dirty |= changed;
        changed
    }

    /// Records that a host has deleted everything that this command did not name.
    pub fn kept(&mut self, host: HostId, keep: Box<Keep>) {
        self.kept.insert(host, keep);
    }

    /// Returns whether the state depends on the clock and the counts: during a rollout, or while an
    /// instance is busy.
    pub fn is_restless(&self) -> bool {
        self.app.rollout.is_some() || self.seen.values().any(|seen| seen.busy.is_some())
    }

    /// Returns whether, after a restart, there are instances that served before but were not observed
    /// yet.
    pub fn has_unseen(&self) -> bool {
        let mut serving = self.app.instances.iter().filter(|(_, i)| i.stage == Stage::Serving);
        serving.any(|(number, _)| {
            let seen = self.seen.get(number);
            seen.is_none_or(|seen| seen.health == Health::Unknown && !seen.process.has_ended())
        })
    }

    /// Returns the health for the proxies. An ended process is Down before any probe reports this.
    pub fn health(&self) -> impl Iterator<Item = (model::InstanceId, Health)> {
        self.seen.iter().filter(|(n, _)| self.app.instances.contains_key(n)).map(
            |(number, seen)| {
                let health = if seen.process.has_ended() { Health::Down } else { seen.health };
                (self.app.id(*number), health)
            },
        )
    }

    /// Returns the instances at whose address another program listens.
    pub fn foreign(&self) -> impl Iterator<Item = model::InstanceId> {
        let foreign = self.seen.iter().filter(|(number, seen)| {
            seen.listeners == Listeners::Foreign && self.app.instances.contains_key(number)
        });
        foreign.map(|(number, _)| self.app.id(*number))
    }

    /// Returns the commands of the plan that hosts have not been sent yet.
    pub fn news_for_hosts(
        &mut self,
        effects: Vec<(HostId, HostCommand)>,
        keep: Option<Box<Keep>>,
        hosts: &Hosts,
    ) -> Vec<(HostId, HostCommand)> {
        let mut news = Vec::new();
        for effect in effects {
            let Some(number) = instance_of(&effect.1) else { continue };
            if self.told.get(&number) != Some(&effect) {
                self.told.insert(number, effect.clone());
                news.push(effect);
            }
        }
        if self.keep != keep {
            self.keep = keep;
            news.extend(self.unkept(hosts));
        }
        news
    }

    /// Returns commands to be repeated to hosts that are here: those that hosts, as far as observed, have not
    /// carried out, and those about instances or works without a report for long. An instance that has ended is never
    /// started again, however long it takes to journal its end.
    pub fn unheard(&self, hosts: &Hosts, now: Timestamp) -> Vec<(HostId, HostCommand)> {
        let is_unheard = |number: &u64| {
            let released = self.app.instances.get(number).is_some_and(|i| i.released);
            let ending = self.app.works.get(number).is_some_and(|w| w.stage == WorkStage::Ending);
            self.is_silent(*number, now) || released || ending
        };
        let is_here = |host: &HostId| hosts.seen().get(host).is_none_or(|s| s.reach == Reach::Here);
        let told = self.told.iter();
        let told = told.filter(|(number, (host, _))| is_unheard(number) && is_here(host));
        let unkept = self.unkept(hosts).filter(|_| !Bug::NeverRepeatsKeep.is_planted());
        told.map(|(_, told)| told.clone()).chain(unkept).collect()
    }

    /// Returns whether the instance or work was never reported on, or runs and was not reported on for
    /// long.
    fn is_silent(&self, number: u64, now: Timestamp) -> bool {
        let Some(seen) = self.seen.get(&number) else { return true };
        match seen.process {
            Process::Unseen => true,
            Process::Running { .. } => {
                let is_instance = self.app.instances.contains_key(&number);
                let is_unsure = is_instance && seen.health != Health::Up;
                let patience = if is_unsure { Self::UNSURE } else { Self::SILENT };
                let heard = self.heard.get(&number);
                let is_silent = heard.is_none_or(|heard| now >= heard.after(patience));
                is_silent && !Bug::TrustsSilence.is_planted()
            }
            Process::AddressInUse | Process::Refused(_) | Process::Exited { .. } => false,
        }
    }

    /// Returns how many commands about instances and works are kept to be repeated.
    pub fn told_count(&self) -> usize {
        self.told.len()
    }

    /// Returns all commands to a host whose agent has connected: it may have missed any of them.
    pub fn again(&mut self, host: &HostId) -> Vec<(HostId, HostCommand)> {
        self.kept.remove(host);
        let keep = self.keep.iter().map(|keep| (host.clone(), HostCommand::Keep(keep.clone())));
        let told = self.told.values().filter(|(of, _)| of == host).cloned();
        told.chain(keep).collect()
    }

    /// Forgets the health of the instances on a host, which may have changed while nobody heard of it.
    pub fn forget_health(&mut self, host: &HostId, now: Timestamp) {
        let there = self.app.instances.iter().filter(|(_, instance)| instance.host == *host);
        let numbers: Vec<u64> = there.map(|(number, _)| *number).collect();
        for number in numbers {
            let load = self.loads.entry(number).or_default();
            load.probed(Health::Unknown, None, false);
            self.weigh(number, now);
        }
    }

    /// Returns the command about what to keep, for the hosts that are here and have not carried it out.
    fn unkept(&self, hosts: &Hosts) -> impl Iterator<Item = (HostId, HostCommand)> {
        let keep = self.keep.as_ref();
        let behind = hosts.here().filter(move |host| self.kept.get(*host) != keep);
        behind.filter_map(move |host| Some((host.clone(), HostCommand::Keep(keep?.clone()))))
    }

    fn counted(&self, routing: &Routing) -> Option<AppCounters> {
        // Requests that some proxy does not count are missing from every sum.
        let baseline = self.baseline.as_ref().filter(|_| routing.proxies.count_all());
        let now = routing.proxies.counters(&self.app.name).unwrap_or_default();
        baseline.map(|baseline| between(baseline, &now))
    }

    fn observed<'a>(
        &'a self,
        shared: Shared<'a>,
        counted: Option<&'a AppCounters>,
    ) -> Observed<'a> {
        let Shared { routing, hosts, recovered, keep_releases } = shared;
        let generation: Generation = routing.generation();
        Observed {
            instances: &self.seen,
            acknowledged: self.acknowledged.version,
            generation,
            acknowledged_at: self.acknowledged.at,
            spread: self.acknowledged.spread,
            hosts: hosts.seen(),
            suspicion: hosts.suspicion(),
            recovered,
            stood: self.stood.total(),
            counted,
            keep_releases,
            minutes: self.minutes.all(),
            proxies: routing.proxies.seen(),
        }
    }
}

/// Returns the instance or work that a command concerns, if there is one.
fn instance_of(command: &HostCommand) -> Option<u64> {
    match command {
        HostCommand::Run { launch, .. } => Some(launch.id.number),
        HostCommand::Stop { id, .. } => Some(id.number),
        HostCommand::Keep(_) | HostCommand::OfferPorts { .. } => None,
    }
}
