//! A snapshot prepared for the workers: routes indexed, instances joined with their counts. Built on
//! other threads than the workers'. After that only the turns of round-robin change.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use balance::WeightedTurn;
use model::{
    Affinity, AppLimits, AppName, AppSection, Balance, Generation, InstanceId, KeepAlive, Millis,
    Prefix, ReleaseNo, Share, Snapshot,
};

use crate::counted::Counted;
use crate::instance::InstanceState;
use crate::maintenance::Closed;
use crate::redirect::Redirects;
use crate::router::Router;
use crate::signal::Signal;
use crate::stats::{AppStats, ReleaseStats};
use crate::traffic_split::SplitEntry;
use crate::upstream_host::UpstreamHost;

/// One snapshot, prepared for use.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) generation: Generation,
    /// The number of the snapshot among those of this process.
    pub(crate) sequence: u64,
    pub(crate) apps: Vec<AppEntry>,
    pub(crate) router: Router,
    /// The keys of all instances, sorted.
    keys: Vec<u64>,
    /// The keys of instances whose arm has a share, sorted.
    carrying: Vec<u64>,
    /// The keys of all apps with their indices, sorted.
    places: Vec<(u32, usize)>,
}

/// One app in a table.
#[derive(Debug)]
pub(crate) struct AppEntry {
    pub(crate) stats: Arc<AppStats>,
    pub(crate) hold_ms: u64,
    pub(crate) limits: AppLimits,
    pub(crate) drain_ms: u64,
    pub(crate) balance: Balance,
    /// Identifies a user, where the pick depends on the user.
    pub(crate) affinity: Affinity,
    /// Time in which new instances get less than their share.
    pub(crate) slow_start: Millis,
    /// The rule by which connections to the app's instances are reused.
    pub(crate) keep_alive: KeepAlive,
    /// The number of bytes to strip from the front of the path.
    pub(crate) strip: usize,
    /// Set if some of the app's users are redirected.
    pub(crate) redirects: Option<Redirects>,
    /// Set while a candidate has a share of the traffic, or may get users by its cohort.
    pub(crate) split: Option<SplitEntry>,
    /// Set while the app is closed to its users.
    pub(crate) closed: Option<Arc<Closed>>,
    pub(crate) arms: Vec<ArmEntry>,
}

/// One release that gets requests.
#[derive(Debug)]
pub(crate) struct ArmEntry {
    pub(crate) share: Share,
    pub(crate) stats: Arc<ReleaseStats>,
    pub(crate) instances: Vec<Arc<InstanceState>>,
    /// The turns of a round, if the instances' weights differ.
    round: Option<Vec<WeightedTurn>>,
    /// The number of the next turn, for round-robin.
    pub(crate) turn: AtomicUsize,
}

impl ArmEntry {
    /// Returns the number of turns in a round: one for each instance, unless their weights differ.
    pub(crate) fn turns(&self) -> usize {
        self.round.as_ref().map_or(self.instances.len(), Vec::len)
    }

    /// Returns the instance whose turn is at this place of the round.
    pub(crate) fn turn_at(&self, place: usize) -> WeightedTurn {
        self.round.as_ref().map_or(WeightedTurn { at: place, nth: 0 }, |round| round[place])
    }
}

impl Table {
    /// Builds the table of `snapshot`. `enlisted` are its apps. Takes long if there are many.
    pub(crate) fn new(snapshot: &Snapshot, enlisted: Vec<Enlisted>, sequence: u64) -> Self {
        let entries = snapshot.apps.iter().zip(enlisted);
        let apps: Vec<_> = entries.map(|(section, app)| AppEntry::new(section, app)).collect();
        let instances = apps.iter().flat_map(|app| &app.arms).flat_map(|arm| &arm.instances);
        let mut keys: Vec<u64> = instances.map(|instance| instance.key).collect();
        keys.sort_unstable();
        let with_share = apps.iter().flat_map(|app| &app.arms).filter(|a| a.share != Share::NONE);
        let mut carrying: Vec<u64> =
            with_share.flat_map(|arm| &arm.instances).map(|instance| instance.key).collect();
        carrying.sort_unstable();
        let router = Router::new(snapshot.apps.iter().map(|app| &app.route));
        let mut places: Vec<_> = apps.iter().map(|app| app.stats.key).zip(0..).collect();
        places.sort_unstable();
        Self { generation: snapshot.generation, sequence, apps, router, keys, carrying, places }
    }

    /// Returns whether the instance is Serving in this snapshot (I1).
    pub(crate) fn serves(&self, key: u64) -> bool {
        self.keys.binary_search(&key).is_ok()
    }

    /// Returns whether the instance's arm has a share of the traffic. A tunnel on an instance whose arm
    /// has none any more (a kept standby) lives until the drain deadline, as if the instance had left.
    pub(crate) fn carries(&self, key: u64) -> bool {
        self.carrying.binary_search(&key).is_ok()
    }

    /// Returns an app by its key.
    pub(crate) fn app(&self, key: u32) -> Option<&AppEntry> {
        let at = self.places.binary_search_by_key(&key, |(key, _)| *key).ok()?;
        self.apps.get(self.places[at].1)
    }
}

impl AppEntry {
    fn new(section: &AppSection, Enlisted { stats, arms }: Enlisted) -> Self {
        let arms = section.arms.iter().zip(arms).map(|(arm, EnlistedArm { stats, instances })| {
            let weights: Vec<_> = arm.instances.iter().map(|target| target.weight).collect();
            let (round, turn) = (balance::round(&weights), AtomicUsize::new(anywhere()));
            ArmEntry { share: arm.share, stats, instances, round, turn }
        });
        Self {
            arms: arms.collect(),
            stats,
            hold_ms: section.route.hold.0,
            limits: section.route.limits,
            drain_ms: section.drain_deadline.0,
            balance: section.route.balance,
            affinity: section.route.affinity.clone(),
            slow_start: section.route.slow_start,
            keep_alive: section.route.keep_alive,
            strip: match section.route.prefix {
                Prefix::Kept => 0,
                Prefix::Stripped => section.route.path.trim_end_matches('/').len(),
            },
            redirects: Redirects::new(&section.route),
            split: SplitEntry::new(section),
            closed: section.maintenance.as_ref().map(|it| Arc::new(Closed::new(it))),
        }
    }
}

/// An app of a snapshot, with its counters and instances, which outlive the snapshot.
#[derive(Debug)]
pub(crate) struct Enlisted {
    stats: Arc<AppStats>,
    /// In the order of the snapshot.
    arms: Vec<EnlistedArm>,
}

#[derive(Debug)]
struct EnlistedArm {
    stats: Arc<ReleaseStats>,
    /// In the order of the snapshot.
    instances: Vec<Arc<InstanceState>>,
}

/// Returns a random place for round-robin to begin at. With a fixed place, every new snapshot and every
/// process would give the first instance more than the others.
fn anywhere() -> usize {
    let mut place = [0; size_of::<usize>()];
    // Without random numbers the first instance begins. Requests are still served.
    let _ = getrandom::fill(&mut place);
    usize::from_le_bytes(place)
}

/// Everything that outlives a snapshot: counters, and instances that may still have requests.
#[derive(Debug)]
pub(crate) struct Directory {
    workers: usize,
    /// The next key of an instance or a host.
    next_key: u64,
    next_app: u32,
    drained: Arc<Signal>,
    pub(crate) instances: BTreeMap<InstanceId, Arc<InstanceState>>,
    hosts: BTreeMap<IpAddr, Arc<UpstreamHost>>,
    pub(crate) apps: BTreeMap<AppName, Arc<AppStats>>,
    pub(crate) releases: BTreeMap<(AppName, ReleaseNo), Arc<ReleaseStats>>,
}

impl Directory {
    pub(crate) fn new(workers: usize, drained: Arc<Signal>) -> Self {
        Self {
            workers,
            next_key: 1,
            next_app: 1,
            drained,
            instances: BTreeMap::new(),
            hosts: BTreeMap::new(),
            apps: BTreeMap::new(),
            releases: BTreeMap::new(),
        }
    }

    /// Returns everything that is counted.
    pub(crate) fn counted(&self) -> Counted {
        fn all<K: Clone, V>(map: &BTreeMap<K, Arc<V>>) -> Vec<(K, Arc<V>)> {
            map.iter().map(|(key, value)| (key.clone(), Arc::clone(value))).collect()
        }
        Counted {
            instances: all(&self.instances),
            apps: all(&self.apps),
            releases: all(&self.releases),
        }
    }

    /// Finds the counters and instances of `snapshot`, and creates the new ones. [`Table::new`] builds
    /// the table from them without the directory.
    pub(crate) fn enlist(&mut self, snapshot: &Snapshot, now_ms: u64) -> Vec<Enlisted> {
        snapshot.apps.iter().map(|section| self.enlist_app(section, now_ms)).collect()
    }

    /// Marks the instances that are not in `table`, which is the one in use from now on.
    pub(crate) fn uses(&self, table: &Table) {
        for instance in self.instances.values() {
            instance.set_left(!table.serves(instance.key));
        }
    }

    fn enlist_app(&mut self, section: &AppSection, now_ms: u64) -> Enlisted {
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
        let arms = section.arms.iter().map(|arm| EnlistedArm {
            stats: self.release(&section.app, arm.release),
            instances: arm.instances.iter().map(|target| self.instance(target, now_ms)).collect(),
        });
        let arms = arms.collect();
        Enlisted { stats, arms }
    }

    fn release(&mut self, app: &AppName, release: ReleaseNo) -> Arc<ReleaseStats> {
        let workers = self.workers;
        let new = || Arc::new(ReleaseStats::new(release, workers));
        Arc::clone(self.releases.entry((app.clone(), release)).or_insert_with(new))
    }

    fn instance(&mut self, target: &model::Target, now_ms: u64) -> Arc<InstanceState> {
        if let Some(instance) = self.instances.get(&target.id) {
            return Arc::clone(instance);
        }
        let elsewhere = target.address.beyond_its_machine();
        let host = elsewhere.map(|address| self.host(address.ip()));
        let (key, drained) = (self.key(), Arc::clone(&self.drained));
        let instance = Arc::new(InstanceState::new(key, target, host, drained, now_ms));
        self.instances.insert(target.id.clone(), Arc::clone(&instance));
        instance
    }

    fn host(&mut self, ip: IpAddr) -> Arc<UpstreamHost> {
        let key = self.key();
        let new = || Arc::new(UpstreamHost::new(key));
        Arc::clone(self.hosts.entry(ip).or_insert_with(new))
    }

    fn key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key
    }

    /// Removes instances that have left once no one can send to them or count them any more, and later
    /// the counts of apps and releases that have left.
    pub(crate) fn forget_gone(&mut self, now_ms: u64) {
        self.apps.retain(|_, stats| stats.used.stays(Arc::strong_count(stats) > 1, now_ms));
        self.releases.retain(|_, stats| stats.used.stays(Arc::strong_count(stats) > 1, now_ms));
        self.instances.retain(|_, instance| {
            !instance.has_left() || instance.in_flight() > 0 || Arc::strong_count(instance) > 1
        });
        self.hosts.retain(|_, host| Arc::strong_count(host) > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Address, Arm, Route, Target};

    /// Returns a snapshot of one app with these instances, on ports that are never dialled.
    fn snapshot(counter: u64, numbers: &[u64]) -> Snapshot {
        let app: AppName = "web".parse().expect("a name");
        let target = |number: &u64| {
            let id = InstanceId { app: app.clone(), number: *number };
            Target::new(id, Address::Tcp(([127, 0, 0, 1], 9).into()))
        };
        let arm = Arm {
            release: ReleaseNo(1),
            label: "v1".parse().expect("a label"),
            share: Share::ALL,
            instances: numbers.iter().map(target).collect(),
        };
        let section = AppSection {
            app: app.clone(),
            route: Route { slow_start: Millis(10_000), ..Route::everything(Millis(0)) },
            drain_deadline: Millis(0),
            split: None,
            maintenance: None,
            arms: vec![arm],
        };
        Snapshot { generation: Generation { term: 1, counter }, apps: vec![section] }
    }

    #[test]
    fn an_instance_is_young_from_its_first_snapshot_on_and_no_later_one_makes_it_younger() {
        let mut directory = Directory::new(1, Arc::new(Signal::default()));
        let warmth = |table: &Table, now_ms| -> Vec<u16> {
            let app = &table.apps[0];
            let look = |instance: &Arc<InstanceState>| {
                instance.candidate(now_ms, app.slow_start, &[]).warmth.ten_thousandths()
            };
            app.arms[0].instances.iter().map(look).collect()
        };
        let mut build = |counter, numbers: &[u64], now_ms| {
            let snapshot = snapshot(counter, numbers);
            let enlisted = directory.enlist(&snapshot, now_ms);
            Table::new(&snapshot, enlisted, counter)
        };
        build(1, &[1], 1_000);
        let table = build(2, &[1, 2], 50_000);
        assert_eq!(warmth(&table, 50_000), [10_000, 0]);
        assert_eq!(warmth(&table, 52_500), [10_000, 2_500]);
        let table = build(3, &[2, 1, 3], 55_000);
        assert_eq!(warmth(&table, 57_500), [7_500, 10_000, 2_500]);
        assert_eq!(warmth(&table, 65_000), [10_000; 3]);
    }
}
