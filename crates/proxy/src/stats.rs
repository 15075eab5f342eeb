//! Counters. Each worker writes its own cells, so a request never waits for another's count; sums
//! are made when somebody asks.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use balance::RetryBudget;
use model::{AppName, ReleaseNo};

use crate::gap::Gap;

/// A counter that only one thread writes.
#[derive(Debug, Default)]
pub(crate) struct Cell(AtomicU64);

impl Cell {
    pub(crate) fn add_one(&self) {
        self.0.store(self.0.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one worker counts for one app.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct AppCells {
    pub(crate) requests: Cell,
    pub(crate) failed: Cell,
    pub(crate) client_aborted: Cell,
    pub(crate) retried: Cell,
    pub(crate) held: Cell,
    pub(crate) diverted: Cell,
    pub(crate) failed_open: Cell,
}

/// What one worker counts for one release: answers by the hundreds of their status.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct ReleaseCells {
    pub(crate) by_class: [Cell; 6],
    /// All answers, also those whose status belongs to no class.
    pub(crate) answers: Cell,
    /// Requests of which an instance of it was to blame that they failed, or would have failed
    /// without another attempt.
    pub(crate) faults: Cell,
}

/// One app over all workers.
#[derive(Debug)]
pub(crate) struct AppStats {
    /// Never used twice in this process.
    pub(crate) key: u32,
    pub(crate) app: AppName,
    pub(crate) workers: Box<[AppCells]>,
    pub(crate) gap: Arc<Gap>,
    pub(crate) held_now: AtomicU32,
    pub(crate) held_bytes: AtomicUsize,
    budget: Mutex<RetryBudget>,
}

impl AppStats {
    pub(crate) fn new(key: u32, app: AppName, workers: usize, now_ms: u64) -> Self {
        Self {
            key,
            app,
            workers: (0..workers).map(|_| AppCells::default()).collect(),
            gap: Arc::default(),
            held_now: AtomicU32::new(0),
            held_bytes: AtomicUsize::new(0),
            budget: Mutex::new(RetryBudget::new(now_ms)),
        }
    }

    /// The sum of one counter over all workers.
    pub(crate) fn sum(&self, of: impl Fn(&AppCells) -> &Cell) -> u64 {
        self.workers.iter().map(|cells| of(cells).get()).sum()
    }

    /// Takes one retry from the app's budget, if there is one. Locks: retries are rare.
    pub(crate) fn may_retry(&self, now_ms: u64) -> bool {
        let requests = self.sum(|cells| &cells.requests);
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        budget.take(now_ms, requests)
    }
}

/// One release over all workers.
#[derive(Debug)]
pub(crate) struct ReleaseStats {
    pub(crate) release: ReleaseNo,
    pub(crate) workers: Box<[ReleaseCells]>,
}

impl ReleaseStats {
    pub(crate) fn new(release: ReleaseNo, workers: usize) -> Self {
        let workers = (0..workers).map(|_| ReleaseCells::default()).collect();
        Self { release, workers }
    }

    /// Answers with a status of these hundreds.
    pub(crate) fn sum_class(&self, class: usize) -> u64 {
        let cell = |cells: &ReleaseCells| cells.by_class.get(class).map_or(0, Cell::get);
        self.workers.iter().map(cell).sum()
    }

    /// The sum of one counter over all workers.
    pub(crate) fn sum(&self, of: impl Fn(&ReleaseCells) -> &Cell) -> u64 {
        self.workers.iter().map(|cells| of(cells).get()).sum()
    }
}
