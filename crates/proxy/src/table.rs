//! A snapshot made ready for the workers: routes indexed, instances joined with their counts. Built
//! off the workers, never changed afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{
    AppLimits, AppName, AppSection, Generation, InstanceId, Prefix, ReleaseNo, Share, Snapshot,
};

use crate::closed::Closed;
use crate::instance::Instance;
use crate::redirect::Redirects;
use crate::router::Router;
use crate::signal::Signal;
use crate::split::SplitEntry;
use crate::stats::{AppStats, ReleaseStats};

/// One snapshot, ready.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) generation: Generation,
    /// Counts the snapshots of this process.
    pub(crate) sequence: u64,
    pub(crate) apps: Vec<AppEntry>,
    pub(crate) router: Router,
    /// Keys of all instances, sorted.
    keys: Vec<u64>,
    /// The keys of instances whose arm has a share, sorted.
    carrying: Vec<u64>,
    /// Keys of all apps with their places, sorted.
    places: Vec<(u32, usize)>,
}

/// One app in a table.
#[derive(Debug)]
pub(crate) struct AppEntry {
    pub(crate) stats: Arc<AppStats>,
    pub(crate) hold_ms: u64,
    pub(crate) limits: AppLimits,
    pub(crate) drain_ms: u64,
    /// Bytes of the path that its instances do not see.
    pub(crate) strip: usize,
    /// Set if some of its users are sent elsewhere.
    pub(crate) redirects: Option<Redirects>,
    /// Set while a candidate has a part of the traffic, or may get users by its cohort.
    pub(crate) split: Option<SplitEntry>,
    /// Set while the app is closed for its users.
    pub(crate) closed: Option<Arc<Closed>>,
    pub(crate) arms: Vec<ArmEntry>,
}

/// One release on offer.
#[derive(Debug)]
pub(crate) struct ArmEntry {
    pub(crate) share: Share,
    pub(crate) stats: Arc<ReleaseStats>,
    pub(crate) instances: Vec<Arc<Instance>>,
}

impl Table {
    /// Whether the instance is Serving in this snapshot (I1).
    pub(crate) fn serves(&self, key: u64) -> bool {
        self.keys.binary_search(&key).is_ok()
    }

    /// Whether the instance's arm has a part of the traffic: a tunnel on one that has none any more,
    /// a kept standby, lives until the drain deadline as if the instance had left.
    pub(crate) fn carries(&self, key: u64) -> bool {
        self.carrying.binary_search(&key).is_ok()
    }

    /// An app by its key.
    pub(crate) fn app(&self, key: u32) -> Option<&AppEntry> {
        let at = self.places.binary_search_by_key(&key, |(key, _)| *key).ok()?;
        self.apps.get(self.places[at].1)
    }
}

/// All that outlives a snapshot: instances that may still have requests, counters.
#[derive(Debug)]
pub(crate) struct Directory {
    workers: usize,
    next_instance: u64,
    next_app: u32,
    drained: Arc<Signal>,
    pub(crate) instances: BTreeMap<InstanceId, Arc<Instance>>,
    pub(crate) apps: BTreeMap<AppName, Arc<AppStats>>,
    pub(crate) releases: BTreeMap<(AppName, ReleaseNo), Arc<ReleaseStats>>,
}

impl Directory {
    pub(crate) fn new(workers: usize, drained: Arc<Signal>) -> Self {
        Self {
            workers,
            next_instance: 1,
            next_app: 1,
            drained,
            instances: BTreeMap::new(),
            apps: BTreeMap::new(),
            releases: BTreeMap::new(),
        }
    }

    /// Makes a table of `snapshot` and marks the instances that are no longer in it.
    pub(crate) fn build(&mut self, snapshot: &Snapshot, sequence: u64, now_ms: u64) -> Table {
        let apps: Vec<_> = snapshot.apps.iter().map(|app| self.app(app, now_ms)).collect();
        let instances = apps.iter().flat_map(|app| &app.arms).flat_map(|arm| &arm.instances);
        let mut keys: Vec<u64> = instances.map(|instance| instance.key).collect();
        keys.sort_unstable();
        let with_share = apps.iter().flat_map(|app| &app.arms).filter(|a| a.share != Share::NONE);
        let mut carrying: Vec<u64> =
            with_share.flat_map(|arm| &arm.instances).map(|instance| instance.key).collect();
        carrying.sort_unstable();
        for instance in self.instances.values() {
            instance.set_left(keys.binary_search(&instance.key).is_err());
        }
        let router = Router::new(snapshot.apps.iter().map(|app| &app.route));
        let mut places: Vec<_> = apps.iter().map(|app| app.stats.key).zip(0..).collect();
        places.sort_unstable();
        Table { generation: snapshot.generation, sequence, apps, router, keys, carrying, places }
    }

    fn app(&mut self, section: &AppSection, now_ms: u64) -> AppEntry {
        let stats = match self.apps.get(&section.app) {
            Some(stats) => Arc::clone(stats),
            None => {
                let key = self.next_app;
                self.next_app += 1;
                let stats = AppStats::new(key, section.app.clone(), self.workers, now_ms);
                let stats = Arc::new(stats);
                self.apps.insert(section.app.clone(), Arc::clone(&stats));
                stats
            }
        };
        let arms = section.arms.iter().map(|arm| ArmEntry {
            share: arm.share,
            stats: self.release(&section.app, arm.release),
            instances: arm.instances.iter().map(|target| self.instance(target)).collect(),
        });
        AppEntry {
            arms: arms.collect(),
            stats,
            hold_ms: section.route.hold.0,
            limits: section.route.limits,
            drain_ms: section.drain_deadline.0,
            strip: match section.route.prefix {
                Prefix::Kept => 0,
                Prefix::Stripped => section.route.path.trim_end_matches('/').len(),
            },
            redirects: Redirects::new(&section.route),
            split: SplitEntry::new(section),
            closed: section.maintenance.as_ref().map(|it| Arc::new(Closed::new(it))),
        }
    }

    fn release(&mut self, app: &AppName, release: ReleaseNo) -> Arc<ReleaseStats> {
        let workers = self.workers;
        let new = || Arc::new(ReleaseStats::new(release, workers));
        Arc::clone(self.releases.entry((app.clone(), release)).or_insert_with(new))
    }

    fn instance(&mut self, target: &model::Target) -> Arc<Instance> {
        if let Some(instance) = self.instances.get(&target.id) {
            return Arc::clone(instance);
        }
        let key = self.next_instance;
        self.next_instance += 1;
        let (id, address) = (target.id.clone(), target.address.clone());
        let instance = Arc::new(Instance::new(key, id, address, Arc::clone(&self.drained)));
        self.instances.insert(target.id.clone(), Arc::clone(&instance));
        instance
    }

    /// Forgets instances that have left and that nobody can send to or count any more, and in time the
    /// counts of apps and releases that have left.
    pub(crate) fn forget_gone(&mut self, now_ms: u64) {
        self.apps.retain(|_, stats| stats.used.stays(Arc::strong_count(stats) > 1, now_ms));
        self.releases.retain(|_, stats| stats.used.stays(Arc::strong_count(stats) > 1, now_ms));
        self.instances.retain(|_, instance| {
            !instance.has_left() || instance.in_flight() > 0 || Arc::strong_count(instance) > 1
        });
    }
}
