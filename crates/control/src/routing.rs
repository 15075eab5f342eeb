//! Composes the sections of all apps into whole, numbered snapshots, and tracks their acknowledgement.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use model::{AppName, AppSection, Generation, ProxyId, Snapshot, Timestamp, TrafficReport};
use rollout::Spread;

use crate::message::Command;
use crate::proxies::{Proxies, ReportNews};
use crate::publishing::Publishing;

/// The routing table, and the snapshots that the proxies hold of it.
#[derive(Clone, Debug)]
pub(crate) struct Routing {
    generation: Generation,
    sections: BTreeMap<AppName, AppSection>,
    /// State versions of apps in snapshots that are not acknowledged by all yet, oldest first.
    pending: VecDeque<(Generation, BTreeMap<AppName, u64>)>,
    published: bool,
    /// The reports of the proxies.
    pub proxies: Proxies,
    publishing: Publishing,
}

impl Routing {
    /// Maximum number of snapshots remembered while a worker does not answer. Beyond it,
    /// acknowledgements are only noticed later.
    const PENDING: usize = 64;

    /// Begins a new term, with the proxies that must acknowledge.
    pub fn new(term: u64, proxies: &[ProxyId]) -> Self {
        Self {
            generation: Generation { term, counter: 0 },
            sections: BTreeMap::new(),
            pending: VecDeque::new(),
            published: false,
            proxies: Proxies::new(proxies),
            publishing: Publishing::default(),
        }
    }

    /// Takes new sections. Returns a snapshot if the table has changed or none was made yet. Otherwise
    /// the newest snapshot also covers these versions.
    pub fn update(
        &mut self,
        changed: Vec<(AppName, Option<AppSection>, u64)>,
    ) -> Option<Arc<Snapshot>> {
        let mut versions = BTreeMap::new();
        let mut differs = !self.published;
        for (app, section, version) in changed {
            let before = match section {
                Some(section) => self.sections.insert(app.clone(), section),
                None => {
                    self.proxies.forget(&app);
                    self.sections.remove(&app)
                }
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
                // A later snapshot covers the earlier ones.
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

    /// Returns the versions that every worker of every proxy has acknowledged since the last call.
    pub fn newly_acknowledged(&mut self) -> BTreeMap<AppName, u64> {
        let everywhere = self.proxies.acknowledged();
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

    /// Returns how the proxies have taken the last snapshot, if there are several.
    pub fn spread(&self) -> Option<Spread> {
        let committed = self.publishing.committed();
        self.proxies.spread(committed.map(|committed| committed.prepare).unwrap_or_default())
    }

    /// Returns the newest snapshot.
    pub fn newest(&self) -> Option<&Arc<Snapshot>> {
        self.publishing.newest()
    }

    /// Gives the proxies a snapshot. One that takes users back does not wait long for slow proxies.
    pub fn publish(
        &mut self,
        snapshot: Arc<Snapshot>,
        is_urgent: bool,
        now: Timestamp,
        commands: &mut Vec<Command>,
    ) {
        self.publishing.offer(snapshot, is_urgent, now);
        self.go_on(now, commands);
    }

    /// Takes a proxy's report. Returns whether the proxy has restarted: it then knows nothing.
    pub fn report(&mut self, mut report: TrafficReport) -> bool {
        // Nothing is kept of apps that nobody knows, whatever a proxy says.
        report.gaps.retain(|app, _| self.sections.contains_key(app));
        if let Some(counters) = &mut report.counters {
            counters.retain(|app, _| self.sections.contains_key(app));
        }
        self.proxies.report(report) == ReportNews::BegunAnew
    }

    /// Moves the snapshots under way on, and tells proxies what they lack. Returns whether proxies have become
    /// late or lost, or are so no more, or can use other instances meanwhile.
    pub fn go_on(&mut self, now: Timestamp, commands: &mut Vec<Command>) -> bool {
        let mut has_changed = self.proxies.look(&self.publishing, now);
        if self.proxies.is_alone() {
            self.publishing.commit_at_once(now);
        }
        while self.publishing.commit(&self.proxies, now) {
            has_changed |= self.proxies.look(&self.publishing, now);
        }
        self.proxies.tell(&self.publishing, commands);
        has_changed
    }

    /// Lets commands be repeated that a proxy on another machine may have missed.
    pub fn remind(&mut self) {
        self.proxies.remind(self.generation);
    }

    /// Returns the time of the next [`Routing::go_on`] that changes anything.
    pub fn wake_at(&self) -> Option<Timestamp> {
        self.proxies.wake_at(&self.publishing)
    }

    /// Returns the newest snapshot's number.
    pub fn generation(&self) -> Generation {
        self.generation
    }
}
