//! Composes the apps' sections into whole, numbered snapshots and follows their acknowledgement.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use model::{
    AppCounters, AppName, AppSection, Askers, Generation, InstanceId, Millis, ProxyId, ReleaseNo,
    Snapshot, TrafficReport,
};

/// The routing table, and who holds which of its snapshots.
#[derive(Clone, Debug)]
pub(crate) struct Routing {
    generation: Generation,
    sections: BTreeMap<AppName, AppSection>,
    /// State versions of apps in snapshots that are not acknowledged by all yet, oldest first.
    pending: VecDeque<(Generation, BTreeMap<AppName, u64>)>,
    proxies: BTreeMap<ProxyId, TrafficReport>,
    published: bool,
    /// The longest gap of each app since its last rollout began.
    gaps: BTreeMap<AppName, u64>,
}

impl Routing {
    /// Snapshots remembered while a worker does not answer; in between, acknowledgements only come
    /// later than they could.
    const PENDING: usize = 64;

    /// Starts in a new term, with the proxies that must acknowledge.
    pub fn new(term: u64, proxies: &[ProxyId]) -> Self {
        let silent = |id: &ProxyId| {
            let report = TrafficReport {
                proxy: *id,
                number: 0,
                acknowledged: Generation::default(),
                in_flight: BTreeMap::new(),
                quiet: BTreeMap::new(),
                counters: BTreeMap::new(),
            };
            (*id, report)
        };
        Self {
            generation: Generation { term, counter: 0 },
            sections: BTreeMap::new(),
            pending: VecDeque::new(),
            proxies: proxies.iter().map(silent).collect(),
            published: false,
            gaps: BTreeMap::new(),
        }
    }

    /// Takes new sections. A snapshot comes back if the table has changed (or none was made yet);
    /// otherwise the newest one stands for these versions too.
    pub fn update(
        &mut self,
        changed: Vec<(AppName, Option<AppSection>, u64)>,
    ) -> Option<Arc<Snapshot>> {
        let mut versions = BTreeMap::new();
        let mut differs = !self.published;
        for (app, section, version) in changed {
            let before = match section {
                Some(section) => self.sections.insert(app.clone(), section),
                None => self.sections.remove(&app),
            };
            differs |= before.as_ref() != self.sections.get(&app);
            versions.insert(app, version);
        }
        if differs {
            self.published = true;
            self.generation = self.generation.next();
            if self.pending.len() >= Self::PENDING
                && let Some((_, dropped)) = self.pending.pop_back()
            {
                // A later snapshot stands for what came before it.
                for (app, version) in dropped {
                    versions.entry(app).or_insert(version);
                }
            }
            self.pending.push_back((self.generation, versions));
            let apps = self.sections.values().cloned().collect();
            return Some(Arc::new(Snapshot { generation: self.generation, apps }));
        }
        match self.pending.back_mut() {
            Some((_, last)) => last.extend(versions),
            None => self.pending.push_back((self.generation, versions)),
        }
        None
    }

    /// Takes a proxy's report; of an older one than it sent before only the gaps count.
    pub fn report(&mut self, report: TrafficReport) {
        for (app, counters) in &report.counters {
            if let Some(gap) = counters.max_gap_ms {
                let longest = self.gaps.entry(app.clone()).or_default();
                *longest = gap.max(*longest);
            }
        }
        let known = self.proxies.get(&report.proxy);
        let age = |report: &TrafficReport| (report.acknowledged, report.number);
        if known.is_none_or(|known| age(known) <= age(&report)) {
            self.proxies.insert(report.proxy, report);
        }
    }

    /// The versions that every worker of every proxy has acknowledged since this was last asked.
    pub fn newly_acknowledged(&mut self) -> BTreeMap<AppName, u64> {
        let everywhere = self.acknowledged();
        let mut versions = BTreeMap::new();
        while let Some((generation, of_it)) = self.pending.pop_front() {
            if generation > everywhere {
                self.pending.push_front((generation, of_it));
                break;
            }
            versions.extend(of_it);
        }
        versions
    }

    /// The snapshot that every worker of every proxy holds, or a later one.
    pub fn acknowledged(&self) -> Generation {
        self.proxies.values().map(|report| report.acknowledged).min().unwrap_or(self.generation)
    }

    /// The newest snapshot's number.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Requests in flight on one instance, over all proxies.
    pub fn in_flight(&self, id: &InstanceId) -> u32 {
        self.proxies.values().filter_map(|report| report.in_flight.get(id)).sum()
    }

    /// For how long nothing has moved on that instance, by the proxy where something moved last; `None`
    /// if no proxy has anything in flight on it.
    pub fn quiet(&self, id: &InstanceId) -> Option<Millis> {
        self.proxies.values().filter_map(|report| report.quiet.get(id)).min().copied()
    }

    /// What the proxies have counted for one app, the gap aside.
    pub fn counted(&self, app: &AppName) -> Option<Cow<'_, AppCounters>> {
        let mut of_app = self.proxies.values().filter_map(|report| report.counters.get(app));
        let first = Cow::Borrowed(of_app.next()?);
        Some(of_app.fold(first, |sum, more| Cow::Owned(plus(sum.into_owned(), more.clone()))))
    }

    /// What the proxies have counted for one app.
    pub fn counters(&self, app: &AppName) -> Option<AppCounters> {
        let max_gap_ms = self.gaps.get(app).copied();
        let counted = self.counted(app)?.into_owned();
        Some(AppCounters { max_gap_ms, ..counted })
    }

    /// The longest gap is that since now.
    pub fn forget_gap(&mut self, app: &AppName) {
        self.gaps.remove(app);
    }
}

fn plus(a: AppCounters, b: AppCounters) -> AppCounters {
    let both = |mut a: BTreeMap<ReleaseNo, u64>, b: BTreeMap<ReleaseNo, u64>| {
        for (release, n) in b {
            *a.entry(release).or_default() += n;
        }
        a
    };
    AppCounters {
        requests: a.requests + b.requests,
        failed: a.failed + b.failed,
        answers: both(a.answers, b.answers),
        faults: both(a.faults, b.faults),
        app_5xx: both(a.app_5xx, b.app_5xx),
        bad: both(a.bad, b.bad),
        askers: together(a.askers, b.askers),
        client_aborted: a.client_aborted + b.client_aborted,
        retried: a.retried + b.retried,
        held: a.held + b.held,
        diverted: a.diverted + b.diverted,
        max_gap_ms: a.max_gap_ms.max(b.max_gap_ms),
    }
}

fn together(
    mut a: BTreeMap<ReleaseNo, Askers>,
    b: BTreeMap<ReleaseNo, Askers>,
) -> BTreeMap<ReleaseNo, Askers> {
    for (release, askers) in b {
        a.entry(release).or_default().add(&askers);
    }
    a
}

/// What was counted from `start` to `end`.
pub(crate) fn between(start: &AppCounters, end: &AppCounters) -> AppCounters {
    let grown = |start: &BTreeMap<ReleaseNo, u64>, end: &BTreeMap<ReleaseNo, u64>| {
        let since = |(release, n): (&ReleaseNo, &u64)| {
            (*release, n.saturating_sub(start.get(release).copied().unwrap_or(0)))
        };
        end.iter().map(since).filter(|(_, n)| *n > 0).collect()
    };
    AppCounters {
        requests: end.requests.saturating_sub(start.requests),
        failed: end.failed.saturating_sub(start.failed),
        answers: grown(&start.answers, &end.answers),
        faults: grown(&start.faults, &end.faults),
        app_5xx: grown(&start.app_5xx, &end.app_5xx),
        bad: grown(&start.bad, &end.bad),
        // Of a minute, not of a rollout.
        askers: BTreeMap::new(),
        client_aborted: end.client_aborted.saturating_sub(start.client_aborted),
        retried: end.retried.saturating_sub(start.retried),
        held: end.held.saturating_sub(start.held),
        diverted: end.diverted.saturating_sub(start.diverted),
        max_gap_ms: end.max_gap_ms,
    }
}
