//! The simulated proxy: workers that swap at different times, and requests that take time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use model::{
    Abilities, AppCounters, AppName, AppSection, Arm, Generation, Health, HealthTable, InFlight,
    InstanceId, ProxyHello, ProxyId, Reached, ReleaseNo, Snapshot, Target, TrafficReport,
};

use crate::rng::Rng;

/// One proxy.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// The proxy's id.
    pub id: ProxyId,
    /// Its workers.
    pub workers: Vec<Worker>,
    /// Its health table.
    pub health: Arc<HealthTable>,
    /// The counts.
    pub counters: BTreeMap<AppName, AppCounters>,
    /// The requests that fail.
    pub errors: Errors,
    /// The content of `DIR/snapshot`, from which the next process begins.
    pub saved: Arc<Snapshot>,
    /// The snapshot of its prepared table, in use or not.
    prepared: Arc<Snapshot>,
    /// The newest snapshot for which any of its processes has prepared a table.
    pub made: Generation,
    /// True if the proxy is dead and answers nothing.
    pub is_dead: bool,
    /// The connection to control, if it is on a machine of its own.
    pub connection: ProxyConnection,
    /// Number of its process.
    pub epoch: u64,
    /// Number of reports of this process.
    seq: u64,
    /// True if a scrape resets the counts: a planted bug.
    pub scrape_takes_counts: bool,
    /// The instances on other machines that it asks, and what it has found.
    pub reach: Reach,
    /// True if the proxy counts requests in flight. A third-party balancer may not.
    pub counts: bool,
}

/// The connection of a proxy on a machine of its own.
#[derive(Clone, Debug, Default)]
pub struct ProxyConnection {
    /// True if control takes the proxy for connected.
    pub is_up: bool,
    /// The number of the cut through which nothing arrives, if the connection is cut.
    pub cut: Option<u64>,
    /// Time at which the last message to the proxy arrives. Messages keep their order.
    pub arrives: u64,
}

/// Which instances a proxy reaches.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// What it has found.
    pub found: BTreeMap<InstanceId, Reached>,
    /// The addresses that it cannot reach, and since when.
    pub blocked: BTreeMap<IpAddr, u64>,
}

impl Reach {
    /// Asks these instances. Returns whether it has found anything else than before.
    pub fn ask(
        &mut self,
        targets: &BTreeMap<InstanceId, IpAddr>,
        alive: &BTreeSet<&InstanceId>,
    ) -> bool {
        let ask = |(id, address): (&InstanceId, &IpAddr)| {
            let reached = match (self.blocked.contains_key(address), alive.contains(id)) {
                (true, _) => Reached::No("no connection within 2 s".into()),
                (false, true) => Reached::Yes,
                (false, false) => Reached::No("connection refused".into()),
            };
            (id.clone(), reached)
        };
        let found = targets.iter().map(ask).collect();
        let before = std::mem::replace(&mut self.found, found);
        self.found != before
    }
}

/// The requests that fail.
#[derive(Clone, Debug, Default)]
pub struct Errors {
    /// For these releases, one request in this many fails.
    pub once_in: BTreeMap<ReleaseNo, u64>,
    /// The kind of failure.
    pub kind: ErrorKind,
    /// The only client, whose requests all fail; `None` lets a dozen clients take turns.
    pub client: Option<u8>,
}

/// The kind of an instance's failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorKind {
    /// The instance answers with 500.
    #[default]
    Status,
    /// The instance closes the connection without an answer.
    Unanswered,
    /// The instance begins an answer and breaks it off.
    BrokenOff,
}

/// One worker.
#[derive(Clone, Debug, Default)]
pub struct Worker {
    /// The snapshot that it routes by.
    pub snapshot: Arc<Snapshot>,
    /// Requests in flight.
    pub in_flight: BTreeMap<InstanceId, u32>,
}

impl Proxy {
    /// Returns a proxy with this many workers.
    pub fn new(id: ProxyId, workers: usize) -> Self {
        Self {
            id,
            workers: vec![Worker::default(); workers],
            health: Arc::default(),
            counters: BTreeMap::new(),
            errors: Errors::default(),
            saved: Arc::default(),
            prepared: Arc::default(),
            made: Generation::default(),
            is_dead: false,
            connection: ProxyConnection::default(),
            epoch: 1,
            seq: 0,
            scrape_takes_counts: false,
            reach: Reach::default(),
            counts: true,
        }
    }

    /// Takes a health table, unless it is older than the present one.
    pub fn take_health(&mut self, table: &Arc<HealthTable>) {
        if self.health.version <= table.version {
            self.health = table.clone();
        }
    }

    /// Prepares a table for a snapshot, unless it is no newer than the prepared one. Returns whether it did.
    pub fn prepare(&mut self, snapshot: &Arc<Snapshot>) -> bool {
        let is_newer = self.prepared.generation < snapshot.generation;
        if is_newer {
            self.prepared = snapshot.clone();
            self.made = self.made.max(snapshot.generation);
        }
        is_newer
    }

    /// Returns the snapshot that workers have to swap to: the prepared one of that generation. It is saved
    /// first, so that a new process never begins behind a worker's snapshot.
    pub fn commit(&mut self, generation: Generation) -> Option<Arc<Snapshot>> {
        let is_prepared = self.prepared.generation == generation;
        if !is_prepared || self.saved.generation >= generation {
            return None;
        }
        self.saved = self.prepared.clone();
        Some(self.saved.clone())
    }

    /// Swaps a worker's snapshot, unless the new one is older.
    pub fn swap(&mut self, worker: usize, snapshot: Arc<Snapshot>) {
        if let Some(worker) = self.workers.get_mut(worker)
            && worker.snapshot.generation < snapshot.generation
        {
            worker.snapshot = snapshot;
        }
    }

    /// Sends a request for `app` to a worker. Returns the instance that gets it, if there is one. Pick and
    /// count are one atomic step (I5).
    pub fn request(&mut self, app: &AppName, worker: usize, rng: &mut Rng) -> Option<InstanceId> {
        let health = self.health.clone();
        let worker = self.workers.get_mut(worker)?;
        let section = worker.snapshot.apps.iter().find(|section| section.app == *app)?;
        let counters = self.counters.entry(app.clone()).or_default();
        if section.maintenance.is_some() {
            counters.requests += 1;
            return None;
        }
        let arm = pick_arm(section, rng)?;
        counters.requests += 1;
        // A dozen clients take turns, unless a single one is set.
        let in_turn = u8::try_from(counters.requests % 12).unwrap_or(0);
        let client = self.errors.client.unwrap_or(in_turn);
        let askers = counters.askers.entry(arm.release).or_default();
        askers.asked.insert(client);
        let chance = self.errors.once_in.get(&arm.release).copied().unwrap_or(u64::MAX);
        let fails = rng.once_in(chance) || self.errors.client.is_some();
        if fails {
            askers.failing.insert(client);
        }
        count(counters, arm.release, fails.then_some(self.errors.kind));
        let all: Vec<_> =
            arm.instances.iter().filter(|t| !health.foreign.contains(&t.id)).collect();
        let up: Vec<_> =
            all.iter().filter(|t| health.get(&t.id) != Health::Down).copied().collect();
        let target = rng.pick(if up.is_empty() { &all } else { &up })?;
        *worker.in_flight.entry(target.id.clone()).or_default() += 1;
        Some(target.id.clone())
    }

    /// Ends a request.
    pub fn done(&mut self, worker: usize, id: &InstanceId) {
        if let Some(worker) = self.workers.get_mut(worker)
            && let Some(n) = worker.in_flight.get_mut(id)
        {
            *n -= 1;
            if *n == 0 {
                worker.in_flight.remove(id);
            }
        }
    }

    /// Returns the number of requests in flight on one instance.
    pub fn in_flight(&self, id: &InstanceId) -> u32 {
        self.workers.iter().filter_map(|worker| worker.in_flight.get(id)).sum()
    }

    /// Returns the instances that the proxy sends requests to, or may any moment: those of the snapshots of its
    /// workers, and of the one that a new process begins from.
    pub fn uses(&self) -> impl Iterator<Item = &Target> {
        let snapshots = self.workers.iter().map(|worker| &worker.snapshot).chain([&self.saved]);
        let sections = snapshots.flat_map(|snapshot| &snapshot.apps);
        sections.flat_map(|section| &section.arms).flat_map(|arm| &arm.instances)
    }

    /// Returns what the proxy says when it connects.
    pub fn hello(&self) -> ProxyHello {
        ProxyHello { abilities: Abilities::default(), epoch: self.epoch }
    }

    /// Kills the process. A new one begins from the saved snapshot.
    pub fn crash(&mut self) {
        let fresh = Worker { snapshot: self.saved.clone(), in_flight: BTreeMap::new() };
        self.workers = vec![fresh; self.workers.len()];
        self.prepared = self.saved.clone();
        self.health = Arc::default();
        self.reach.found.clear();
        self.counters.clear();
        self.epoch += 1;
        self.seq = 0;
    }

    /// Returns the snapshot that every worker holds, or has gone beyond.
    pub fn acknowledged(&self) -> Generation {
        let held = self.workers.iter().map(|worker| worker.snapshot.generation);
        held.min().unwrap_or_default()
    }

    /// Returns how many requests to the app this process has counted.
    pub fn requests(&self, app: &AppName) -> u64 {
        self.counters.get(app).map_or(0, |counters| counters.requests)
    }

    /// Returns the metrics shown to a scraper.
    pub fn scrape(&mut self) -> BTreeMap<AppName, AppCounters> {
        match self.scrape_takes_counts {
            true => std::mem::take(&mut self.counters),
            false => self.counters.clone(),
        }
    }

    /// Returns the next report to control.
    pub fn report(&mut self) -> TrafficReport {
        self.seq += 1;
        let mut in_flight = BTreeMap::new();
        for (id, n) in self.workers.iter().flat_map(|worker| &worker.in_flight) {
            *in_flight.entry(id.clone()).or_default() += n;
        }
        TrafficReport {
            proxy: self.id.clone(),
            epoch: self.epoch,
            seq: self.seq,
            prepared: self.prepared.generation,
            acknowledged: self.acknowledged(),
            in_flight: match self.counts {
                true => InFlight::Counted(in_flight),
                false => InFlight::Unknown,
            },
            quiet: BTreeMap::new(),
            counters: Some(self.counters.clone()),
            gaps: BTreeMap::new(),
            reached: self.reach.found.clone(),
        }
    }
}

/// Picks an arm by its share, as for a user without a key.
fn pick_arm<'a>(section: &'a AppSection, rng: &mut Rng) -> Option<&'a Arm> {
    let mut ticket = rng.between(0, 9_999);
    section.arms.iter().find(|arm| {
        let share = u64::from(arm.share.ten_thousandths());
        let hit = ticket < share;
        ticket = ticket.saturating_sub(share);
        hit
    })
}

/// Counts a request as the real proxy does.
fn count(counters: &mut AppCounters, release: ReleaseNo, error: Option<ErrorKind>) {
    let AppCounters { answers, faults, broken_off, app_5xx, bad, failed, .. } = counters;
    let kinds: &mut [&mut BTreeMap<ReleaseNo, u64>] = match error {
        None => &mut [answers],
        Some(ErrorKind::Status) => &mut [answers, app_5xx, bad],
        Some(ErrorKind::Unanswered) => &mut [faults, bad],
        Some(ErrorKind::BrokenOff) => &mut [answers, faults, broken_off, bad],
    };
    for kind in kinds {
        *kind.entry(release).or_default() += 1;
    }
    *failed += u64::from(matches!(error, Some(ErrorKind::Unanswered | ErrorKind::BrokenOff)));
}
