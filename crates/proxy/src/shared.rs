//! What the handle, the reporter and the workers share. Locked only when a snapshot comes or a
//! report is made, never by a worker.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use model::{AppCounters, Generation, HealthTable, Snapshot, TrafficReport};
use tokio::sync::Notify;

use crate::access_log::AccessLog;
use crate::config::Config;
use crate::error::Stale;
use crate::handover::Inbox;
use crate::signal::Signal;
use crate::signing::Keyring;
use crate::table::{Counted, Directory, Table};

/// One worker, as the others see it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Desk {
    /// Wakes its clerk.
    pub(crate) mail: Notify,
    /// Connections that others hand to it.
    pub(crate) inbox: Inbox,
    /// The sequence of the newest snapshot it has acknowledged.
    pub(crate) acknowledged: AtomicU64,
    /// Its thread has ended: it sends nothing any more.
    pub(crate) ended: AtomicBool,
}

/// Everything that outlives a snapshot. No worker ever waits for it.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// Tables that some worker may still hold: they are dropped here, not on a worker.
    old: Vec<Arc<Table>>,
    pub(crate) directory: Directory,
    health: Arc<HealthTable>,
    /// The newest generation that every worker has acknowledged.
    acknowledged: Generation,
    /// Reports made so far.
    reports: u64,
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

/// What all threads of one proxy share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) desks: Box<[Desk]>,
    pub(crate) signal: Arc<Signal>,
    pub(crate) connections: AtomicUsize,
    /// Those of them that are at rest.
    pub(crate) resting: AtomicUsize,
    /// Connections that went from one worker to another.
    pub(crate) handed_over: AtomicU64,
    /// Connections that had to make room for others.
    pub(crate) evicted: AtomicU64,
    /// Counts health tables, so that workers know when to look again.
    pub(crate) health_epoch: AtomicU64,
    /// By the clock; `u64::MAX` while running.
    pub(crate) drain_until_ms: AtomicU64,
    pub(crate) access_log: Option<AccessLog>,
    pub(crate) keyring: Keyring,
    /// The newest snapshot, made ready. Workers read it without waiting for whoever makes the next.
    pub(crate) current: ArcSwap<Table>,
    ledger: Mutex<Ledger>,
}

impl Shared {
    pub(crate) fn new(config: Config, access_log: Option<AccessLog>, initial: &Snapshot) -> Self {
        let workers = config.workers.max(1);
        let signal = Arc::<Signal>::default();
        let mut directory = Directory::new(workers, Arc::clone(&signal));
        let current = ArcSwap::from_pointee(directory.build(initial, 1, config.clock.now_ms()));
        let ledger = Ledger {
            old: Vec::new(),
            directory,
            health: Arc::default(),
            acknowledged: Generation::default(),
            reports: 0,
        };
        Self {
            keyring: Keyring::new(&config.affinity_keys),
            config,
            desks: (0..workers).map(|_| Desk::default()).collect(),
            signal,
            connections: AtomicUsize::new(0),
            resting: AtomicUsize::new(0),
            handed_over: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            health_epoch: AtomicU64::new(0),
            drain_until_ms: AtomicU64::new(u64::MAX),
            access_log,
            current,
            ledger: Mutex::new(ledger),
        }
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.config.clock.now_ms()
    }

    /// Seconds since 1970, for what outlives this process: the lives of cookies.
    pub(crate) fn epoch_s(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.drain_until_ms.load(Ordering::Acquire) != u64::MAX
    }

    pub(crate) fn wake_workers(&self) {
        self.desks.iter().for_each(|desk| desk.mail.notify_one());
    }

    /// Makes `snapshot` the one in use; the workers acknowledge it as they swap.
    pub(crate) fn publish(&self, snapshot: &Snapshot) -> Result<(), Stale> {
        let now_ms = self.now_ms();
        let mut ledger = self.ledger();
        let before = self.current.load_full();
        let current = before.generation;
        if snapshot.generation < current {
            return Err(Stale { offered: snapshot.generation, current });
        }
        if snapshot.generation == current {
            return Ok(());
        }
        let sequence = before.sequence + 1;
        let table = Arc::new(ledger.directory.build(snapshot, sequence, now_ms));
        ledger.apply_health();
        ledger.old.push(before);
        self.current.store(table);
        drop(ledger);
        self.wake_workers();
        Ok(())
    }

    /// Takes in a newer health table; an older one is ignored. It is kept, because the instances it
    /// speaks of may come with a later snapshot.
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

    /// The sequence that every worker has acknowledged.
    fn acknowledged_sequence(&self) -> u64 {
        let running = self.desks.iter().filter(|desk| !desk.ended.load(Ordering::Acquire));
        let acknowledged = running.map(|desk| desk.acknowledged.load(Ordering::Acquire));
        acknowledged.min().unwrap_or(u64::MAX)
    }

    /// The newest snapshot that every worker has acknowledged. Lets go of the tables before it.
    fn settle(&self, ledger: &mut Ledger) -> Generation {
        let sequence = self.acknowledged_sequence();
        let current = self.current.load_full();
        let tables = ledger.old.iter().chain([&current]);
        let newest = tables.filter(|table| table.sequence <= sequence).map(|t| t.generation).max();
        ledger.acknowledged = newest.unwrap_or(ledger.acknowledged).max(ledger.acknowledged);
        ledger.old.retain(|table| table.sequence >= sequence);
        ledger.acknowledged
    }

    /// What is counted and what has been acknowledged, for whoever only looks: nothing of it is taken
    /// from the next report.
    pub(crate) fn seen(&self) -> (Counted, Generation) {
        let mut ledger = self.ledger();
        let acknowledged = self.settle(&mut ledger);
        (ledger.directory.counted(), acknowledged)
    }

    /// Says of each app what is dropped of what unnamed proxies say, once an hour.
    pub(crate) fn warn(&self) {
        let now_ms = self.now_ms();
        for (app, stats) in &self.ledger().directory.apps {
            if let Some(warning) = stats.dropped.warning(now_ms) {
                tracing::warn!(%app, "{warning}");
            }
        }
    }

    /// Counts what is seen now. Acknowledgements are read before the requests in flight (I2).
    pub(crate) fn report(&self) -> TrafficReport {
        let now_ms = self.now_ms();
        let mut ledger = self.ledger();
        let acknowledged = self.settle(&mut ledger);
        ledger.reports += 1;
        let number = ledger.reports;
        ledger.directory.forget_gone(now_ms);
        let directory = &ledger.directory;
        let (mut in_flight, mut quiet) = (BTreeMap::new(), BTreeMap::new());
        for (id, instance) in &directory.instances {
            let count = instance.in_flight();
            if count > 0 {
                in_flight.insert(id.clone(), count);
                quiet.insert(id.clone(), instance.quiet(now_ms));
            }
        }
        let mut counters: BTreeMap<_, _> = directory
            .apps
            .iter()
            .map(|(app, stats)| {
                let counted = AppCounters {
                    answers: BTreeMap::new(),
                    faults: BTreeMap::new(),
                    requests: stats.sum(|cells| &cells.requests),
                    failed: stats.sum(|cells| &cells.failed),
                    app_5xx: BTreeMap::new(),
                    bad: BTreeMap::new(),
                    askers: BTreeMap::new(),
                    client_aborted: stats.sum(|cells| &cells.client_aborted),
                    retried: stats.sum(|cells| &cells.retried),
                    held: stats.sum(|cells| &cells.held),
                    diverted: stats.sum(|cells| &cells.diverted),
                    max_gap_ms: stats.gap.take_ms(now_ms),
                };
                (app.clone(), counted)
            })
            .collect();
        for ((app, release), stats) in &directory.releases {
            if let Some(counters) = counters.get_mut(app) {
                counters.answers.insert(*release, stats.sum(|cells| &cells.answers));
                counters.faults.insert(*release, stats.sum(|cells| &cells.faults));
                counters.app_5xx.insert(*release, stats.sum_class(5));
                counters.bad.insert(*release, stats.bad());
                counters.askers.insert(*release, stats.askers(now_ms));
            }
        }
        TrafficReport { proxy: self.config.id, number, acknowledged, in_flight, quiet, counters }
    }
}
