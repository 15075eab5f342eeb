//! The state that the handle, the reporter and the workers share. Locked only when a snapshot comes or a
//! report is made, never by a worker.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use model::{AppName, Generation, HealthTable, InFlight, Snapshot, TrafficReport};
use tokio::sync::Notify;

use crate::access_log::RequestLog;
use crate::acknowledged::{Acknowledged, in_order};
use crate::availability_gap::RecentGaps;
use crate::config::{Config, Settings};
use crate::counted::Counted;
use crate::error::Stale;
use crate::reach::ReachList;
use crate::rebalance::ArrivalQueue;
use crate::service::{LeavingConnections, ServiceState, Swept};
use crate::signal::Signal;
use crate::signing::Keyring;
use crate::table::{Directory, Table};

/// One worker, as other threads see it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct WorkerHandle {
    /// Wakes the task that follows snapshots.
    pub(crate) wake: Notify,
    /// Connections that other workers hand over.
    pub(crate) arrivals: ArrivalQueue,
    /// The sequence of the newest snapshot that the worker has acknowledged.
    pub(crate) acknowledged: Acknowledged,
    /// What the worker said of itself at its last sweep.
    pub(crate) swept: Swept,
    /// True once the worker's thread has ended and sends nothing any more.
    pub(crate) ended: AtomicBool,
}

/// Everything that outlives a snapshot. No worker ever waits for its lock, and the lock is not held while
/// a table is built or counts are summed.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// A table that is built and not used yet.
    prepared: Option<Arc<Table>>,
    /// Tables that a worker may still hold. They are dropped here, not on a worker.
    old: Vec<Arc<Table>>,
    pub(crate) directory: Directory,
    health: Arc<HealthTable>,
    /// The newest generation that every worker has acknowledged.
    acknowledged: Generation,
    /// The number of the report that is being made, or was made last.
    seq: u64,
    gaps: BTreeMap<AppName, RecentGaps>,
}

impl Ledger {
    fn apply_health(&self) {
        for (id, instance) in &self.directory.instances {
            if self.health.foreign.contains(id) {
                instance.set_foreign();
                continue;
            }
            let health = self.health.get(id);
            if instance.is_foreign() || health != instance.health() {
                instance.set_health(health);
            }
        }
    }
}

/// The settings that may change while the proxy runs.
#[derive(Debug)]
pub(crate) struct LiveSettings {
    /// Limits, and who is believed. Workers keep the ones that they use.
    pub(crate) settings: ArcSwap<Settings>,
    pub(crate) keyring: ArcSwap<Keyring>,
    /// The instances on other machines that the proxy asks.
    pub(crate) reach: Arc<ReachList>,
}

/// The state that all threads of one proxy share.
#[derive(Debug)]
pub(crate) struct ProxyState {
    pub(crate) config: Config,
    pub(crate) workers: Box<[WorkerHandle]>,
    pub(crate) signal: Arc<Signal>,
    pub(crate) connections: AtomicUsize,
    /// Number of idle connections without a task.
    pub(crate) resting: AtomicUsize,
    /// Number of connections handed from one worker to another.
    pub(crate) handed_over: AtomicU64,
    /// Number of connections that were evicted.
    pub(crate) evicted: AtomicU64,
    /// Number of health tables so far. Tells workers when to look again.
    pub(crate) health_epoch: AtomicU64,
    pub(crate) service: ServiceState,
    pub(crate) access_log: Option<RequestLog>,
    pub(crate) live: LiveSettings,
    /// The newest snapshot, prepared for use. Workers read it without waiting for the thread that makes
    /// the next one.
    pub(crate) current: ArcSwap<Table>,
    ledger: Mutex<Ledger>,
    /// Held while a table is built: one at a time.
    making: Mutex<()>,
    /// Held while a report is made, so that a report with a larger number was made later.
    reporting: Mutex<()>,
}

impl ProxyState {
    pub(crate) fn new(config: Config, access_log: Option<RequestLog>, initial: &Snapshot) -> Self {
        let workers = config.workers.max(1);
        let signal = Arc::<Signal>::default();
        let mut directory = Directory::new(workers, Arc::clone(&signal));
        let enlisted = directory.enlist(initial, config.clock.now_ms());
        let current = ArcSwap::from_pointee(Table::new(initial, enlisted, 1));
        let ledger = Ledger {
            prepared: None,
            old: Vec::new(),
            directory,
            health: Arc::default(),
            acknowledged: Generation::default(),
            seq: 0,
            gaps: BTreeMap::new(),
        };
        Self {
            live: LiveSettings {
                settings: ArcSwap::from_pointee(Settings::of(&config)),
                keyring: ArcSwap::from_pointee(Keyring::new(&config.affinity_keys)),
                reach: Arc::new(ReachList::new(Arc::clone(&signal))),
            },
            config,
            workers: (0..workers).map(|_| WorkerHandle::default()).collect(),
            signal,
            connections: AtomicUsize::new(0),
            resting: AtomicUsize::new(0),
            handed_over: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            health_epoch: AtomicU64::new(0),
            service: ServiceState::new(),
            access_log,
            current,
            ledger: Mutex::new(ledger),
            making: Mutex::new(()),
            reporting: Mutex::new(()),
        }
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.config.clock.now_ms()
    }

    /// Returns the seconds since 1970, for the lifetime of cookies, which outlive this process.
    pub(crate) fn epoch_s(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
    }

    pub(crate) fn is_draining(&self) -> bool {
        !self.service.ends_at.get().is_never()
    }

    /// Returns the workers that have not ended.
    fn running(&self) -> impl Iterator<Item = &WorkerHandle> {
        self.workers.iter().filter(|worker| !worker.ended.load(Ordering::Acquire))
    }

    /// Returns the connections of a proxy that leaves service, once every worker has counted them since the service
    /// changed.
    pub(crate) fn leaving_connections(&self) -> Option<LeavingConnections> {
        let since_ms = self.service.counted_from_ms();
        let mut counts = self.running().map(|worker| worker.swept.counted_after(since_ms));
        counts.try_fold(LeavingConnections::default(), |sum, count| {
            let LeavingConnections { left_over, settled } = count?;
            let (left_over, settled) = (sum.left_over + left_over, sum.settled + settled);
            Some(LeavingConnections { left_over, settled })
        })
    }

    /// Returns the milliseconds since the last sweep of the worker that has been silent longest.
    pub(crate) fn silent_ms(&self) -> u64 {
        let heard_ms = self.running().map(|worker| worker.swept.at_ms()).min();
        heard_ms.map_or(0, |heard_ms| self.now_ms().saturating_sub(heard_ms))
    }

    pub(crate) fn wake_workers(&self) {
        self.workers.iter().for_each(|worker| worker.wake.notify_one());
    }

    /// Uses the table of `snapshot`, unless a newer one is in use. A newer one that was prepared and may never be
    /// committed is dropped for it.
    pub(crate) fn publish(&self, snapshot: &Snapshot) -> Result<(), Stale> {
        if snapshot.generation > self.current.load().generation {
            let is_newer = |table: &mut Arc<Table>| table.generation > snapshot.generation;
            let dropped = self.ledger().prepared.take_if(is_newer);
            drop(dropped);
        }
        self.prepare(snapshot)?;
        self.commit(snapshot.generation);
        Ok(())
    }

    /// Builds the table of `snapshot` without using it: see [`ProxyState::commit`]. Replaces a prepared
    /// table that was never used.
    pub(crate) fn prepare(&self, snapshot: &Snapshot) -> Result<(), Stale> {
        let _one = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ledger = self.ledger();
        let newest = self.newest(&ledger);
        if snapshot.generation < newest {
            return Err(Stale { offered: snapshot.generation, current: newest });
        }
        if snapshot.generation == newest {
            return Ok(());
        }
        let enlisted = ledger.directory.enlist(snapshot, self.now_ms());
        let sequence = self.current.load().sequence + 1;
        drop(ledger);
        let table = Arc::new(Table::new(snapshot, enlisted, sequence));
        let replaced = self.ledger().prepared.replace(table);
        drop(replaced);
        Ok(())
    }

    /// Uses the table that was prepared for that generation. The workers acknowledge it as they swap.
    /// Does nothing if there is no such table.
    pub(crate) fn commit(&self, generation: Generation) {
        let mut ledger = self.ledger();
        let Some(table) = ledger.prepared.take_if(|table| table.generation == generation) else {
            return;
        };
        ledger.directory.uses(&table);
        ledger.apply_health();
        let before = self.current.swap(table);
        ledger.old.push(before);
        drop(ledger);
        self.wake_workers();
    }

    /// Returns the generation of the newest table that was built.
    fn newest(&self, ledger: &Ledger) -> Generation {
        let prepared = ledger.prepared.as_ref().map(|table| table.generation);
        prepared.unwrap_or_default().max(self.current.load().generation)
    }

    /// Takes over a newer health table; ignores an older one. The table is kept, because a later snapshot
    /// may have instances that it speaks of.
    pub(crate) fn set_health(&self, table: Arc<HealthTable>) {
        let mut ledger = self.ledger();
        if table.version < ledger.health.version {
            return;
        }
        ledger.health = table;
        ledger.apply_health();
        drop(ledger);
        self.health_epoch.fetch_add(1, Ordering::AcqRel);
        self.wake_workers();
    }

    /// Returns the sequence that every worker has acknowledged. `None` if no worker runs: then there is
    /// none to wait for.
    fn acknowledged_sequence(&self) -> Option<u64> {
        self.running().map(|worker| worker.acknowledged.get()).min()
    }

    /// Returns the newest generation that every worker has acknowledged.
    fn acknowledged(&self, ledger: &Ledger) -> Generation {
        let sequence = self.acknowledged_sequence();
        let current = self.current.load_full();
        let tables = ledger.old.iter().chain([&current]);
        let is_acknowledged = |table: &&Arc<Table>| sequence.is_none_or(|it| table.sequence <= it);
        let newest = tables.filter(is_acknowledged).map(|table| table.generation).max();
        newest.unwrap_or(ledger.acknowledged).max(ledger.acknowledged)
    }

    /// Returns the counts and the acknowledged generation, for readers that change nothing.
    pub(crate) fn seen(&self) -> (Counted, Generation) {
        let ledger = self.ledger();
        // Acknowledgements are read before the requests in flight (I2).
        let acknowledged = self.acknowledged(&ledger);
        (ledger.directory.counted(), acknowledged)
    }

    /// Logs once an hour for each app which fields of unnamed proxies are dropped.
    pub(crate) fn warn(&self) {
        let now_ms = self.now_ms();
        for (app, stats) in &self.ledger().directory.apps {
            if let Some(warning) = stats.dropped.warning(now_ms) {
                tracing::warn!(%app, "{warning}");
            }
        }
    }

    /// Returns a report for control, with a number of its own.
    pub(crate) fn report(&self) -> TrafficReport {
        let _one = self.reporting.lock().unwrap_or_else(PoisonError::into_inner);
        self.settle();
        self.observe()
    }

    /// Begins the next report: takes the gaps since the one before, and drops the tables and counts that
    /// are not used any more.
    fn settle(&self) {
        let now_ms = self.now_ms();
        let mut ledger = self.ledger();
        ledger.acknowledged = self.acknowledged(&ledger);
        let sequence = self.acknowledged_sequence();
        let is_unused = |table: &mut Arc<Table>| sequence.is_none_or(|it| table.sequence < it);
        let unused: Vec<_> = ledger.old.extract_if(.., is_unused).collect();
        ledger.seq += 1;
        ledger.directory.forget_gone(now_ms);
        let Ledger { directory, gaps, seq, .. } = &mut *ledger;
        gaps.retain(|app, _| directory.apps.contains_key(app));
        for (app, stats) in &directory.apps {
            gaps.entry(app.clone()).or_default().take(&stats.gap, *seq, now_ms);
        }
        drop(ledger);
        // Dropped after the lock is released, since they may be large.
        drop(unused);
    }

    /// Returns the present counts under the number of the last report. Changes nothing.
    pub(crate) fn observe(&self) -> TrafficReport {
        let now_ms = self.now_ms();
        let ((acknowledged, counted, gaps, (prepared, seq)), (in_flight, quiet)) = in_order(
            || {
                let ledger = self.ledger();
                let acknowledged = self.acknowledged(&ledger);
                let gaps = ledger.gaps.iter().map(|(app, recent)| (app.clone(), recent.all()));
                let gaps = gaps.filter(|(_, gaps)| !gaps.is_empty()).collect();
                let numbers = (self.newest(&ledger), ledger.seq);
                (acknowledged, ledger.directory.counted(), gaps, numbers)
            },
            |(_, counted, _, _)| counted.in_flight(now_ms),
        );
        TrafficReport {
            proxy: self.config.id.clone(),
            epoch: self.config.epoch,
            seq,
            prepared,
            acknowledged,
            in_flight: InFlight::Counted(in_flight),
            quiet,
            counters: Some(counted.sums(now_ms)),
            gaps,
            reached: self.live.reach.results(),
        }
    }
}
