//! Composes the apps' sections into whole, numbered snapshots and follows their acknowledgement.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use model::{AppName, AppSection, Generation, ProxyId, Snapshot, TrafficReport};
use rollout::Bug;

use crate::message::Command;
use crate::proxies::{Proxies, ReportNews};
use crate::publishing::Publishing;

/// The routing table, and who holds which of its snapshots.
#[derive(Clone, Debug)]
pub(crate) struct Routing {
    generation: Generation,
    sections: BTreeMap<AppName, AppSection>,
    /// State versions of apps in snapshots that are not acknowledged by all yet, oldest first.
    pending: VecDeque<(Generation, BTreeMap<AppName, u64>)>,
    published: bool,
    /// What the proxies have said.
    pub proxies: Proxies,
    publishing: Publishing,
}

impl Routing {
    /// Snapshots remembered while a worker does not answer; in between, acknowledgements only come
    /// later than they could.
    const PENDING: usize = 64;

    /// Starts in a new term, with the proxies that must acknowledge.
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

    /// The versions that every worker of every proxy has acknowledged since this was last asked.
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

    /// The newest snapshot.
    pub fn newest(&self) -> Option<&Arc<Snapshot>> {
        self.publishing.newest.as_ref()
    }

    /// Gives the proxies a snapshot.
    pub fn publish(&mut self, snapshot: Arc<Snapshot>, commands: &mut Vec<Command>) {
        self.publishing.offer(snapshot, self.proxies.is_one(), commands);
    }

    /// Takes a proxy's report. Whether the proxy has begun anew: it knows nothing then.
    pub fn report(&mut self, report: TrafficReport, commands: &mut Vec<Command>) -> bool {
        let has_begun = self.proxies.report(report) == ReportNews::BegunAnew;
        if has_begun && !Bug::ForgetsProxies.is_planted() {
            self.publishing.repeat(commands);
        }
        self.publishing.prepared(self.proxies.prepared(), commands);
        has_begun
    }

    /// Says again what a proxy apart may not have heard.
    pub fn remind(&self, commands: &mut Vec<Command>) {
        let is_behind = !self.proxies.is_one() && self.proxies.acknowledged() < self.generation;
        if is_behind && !Bug::ForgetsProxies.is_planted() {
            self.publishing.repeat(commands);
        }
    }

    /// The newest snapshot's number.
    pub fn generation(&self) -> Generation {
        self.generation
    }
}
