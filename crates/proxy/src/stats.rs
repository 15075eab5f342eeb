//! Counters. Each worker writes its own cells, so a request never waits for another worker's count. Sums
//! are made when they are read.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use balance::RetryBudget;
use model::{AppName, Askers, ReleaseNo};

use crate::askers::{AskerCells, AskerVerdict};
use crate::counter::Counter;
use crate::dropped::Dropped;
use crate::unanswered::AvailabilityGap;

/// Upper bounds in milliseconds of the steps in which requests' durations are counted. One more step
/// counts longer ones.
pub(crate) const DURATIONS_MS: [u64; 15] =
    [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000];

/// The counts of one worker for one app.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct AppCells {
    pub(crate) requests: Counter,
    pub(crate) failed: Counter,
    pub(crate) client_aborted: Counter,
    pub(crate) retried: Counter,
    pub(crate) held: Counter,
    pub(crate) diverted: Counter,
    pub(crate) failed_open: Counter,
    /// Answers of the proxy itself, by the class of their status.
    own_by_class: [Counter; 6],
    durations: [Counter; DURATIONS_MS.len() + 1],
    /// The sum of all durations.
    pub(crate) total_ms: Counter,
}

impl AppCells {
    pub(crate) fn answered_ourselves(&self, status: u16) {
        if let Some(cell) = self.own_by_class.get(usize::from(status / 100)) {
            cell.add_one();
        }
    }

    pub(crate) fn took(&self, duration_ms: u64) {
        let step = DURATIONS_MS.partition_point(|&bound| bound < duration_ms);
        if let Some(cell) = self.durations.get(step) {
            cell.add_one();
        }
        self.total_ms.add(duration_ms);
    }
}

/// The time when an app or a release was last in a table or held by a request.
#[derive(Debug, Default)]
pub(crate) struct LastUsed(AtomicU64);

impl LastUsed {
    /// Milliseconds that counts are kept after their app or release has gone. By then every collector has
    /// read the last ones.
    const KEPT_MS: u64 = 60 * 60 * 1_000;

    /// Returns whether the counts are to be kept. `in_use` if they may still change.
    pub(crate) fn stays(&self, in_use: bool, now_ms: u64) -> bool {
        if in_use {
            self.0.store(now_ms, Ordering::Relaxed);
        }
        now_ms.saturating_sub(self.0.load(Ordering::Relaxed)) < Self::KEPT_MS
    }
}

/// The counts of one worker for one release: answers by the class of their status.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct ReleaseCells {
    pub(crate) by_class: [Counter; 6],
    /// All answers, also those whose status belongs to no class.
    pub(crate) answers: Counter,
    /// Requests that failed through the fault of an instance of the release, or would have without
    /// another attempt.
    pub(crate) faults: Counter,
    /// Answers that an instance of the release began and broke off. They are counted among the answers,
    /// too.
    pub(crate) broken_off: Counter,
    /// Requests that speak against the release: faults, and 5xx answers unless the client caused them.
    bad: Counter,
    pub(crate) askers: AskerCells,
}

impl ReleaseCells {
    /// Counts an answer to that client.
    pub(crate) fn answered(&self, status: u16, client: IpAddr, now_ms: u64) {
        self.answers.add_one();
        if let Some(class) = self.by_class.get(usize::from(status / 100)) {
            class.add_one();
        }
        let verdict = verdict(status);
        if verdict == AskerVerdict::Bad {
            self.bad.add_one();
        }
        self.askers.note(client, verdict, now_ms);
    }

    /// Counts a failed request of that client, before an answer had begun.
    pub(crate) fn failed(&self, client: IpAddr, now_ms: u64) {
        self.faults.add_one();
        self.bad.add_one();
        self.askers.note(client, AskerVerdict::Bad, now_ms);
    }

    /// Counts an answer that began with `status` and was broken off. The request counts once, not as an
    /// answer and a failure: otherwise half of all requests would seem well answered.
    pub(crate) fn broke_off(&self, status: u16, client: IpAddr, now_ms: u64) {
        self.faults.add_one();
        self.broken_off.add_one();
        if verdict(status) == AskerVerdict::Good {
            self.bad.add_one();
        }
        self.askers.note(client, AskerVerdict::Bad, now_ms);
    }
}

/// Returns whether an answer with this status speaks against its release.
fn verdict(status: u16) -> AskerVerdict {
    match status {
        // The instance does not know the method or the version, which the client chose.
        501 | 505 => AskerVerdict::Good,
        500..=599 => AskerVerdict::Bad,
        _ => AskerVerdict::Good,
    }
}

/// One app, over all workers.
#[derive(Debug)]
pub(crate) struct AppStats {
    /// Never reused in this process.
    pub(crate) key: u32,
    pub(crate) app: AppName,
    pub(crate) workers: Box<[AppCells]>,
    pub(crate) gap: Arc<AvailabilityGap>,
    pub(crate) held_now: AtomicU32,
    pub(crate) held_bytes: AtomicUsize,
    budget: Mutex<RetryBudget>,
    /// Fields of unnamed proxies that were dropped.
    pub(crate) dropped: Dropped,
    pub(crate) used: LastUsed,
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
            dropped: Dropped::default(),
            used: LastUsed::default(),
        }
    }

    /// Returns the sum of one counter over all workers.
    pub(crate) fn sum(&self, of: impl Fn(&AppCells) -> &Counter) -> u64 {
        self.workers.iter().map(|cells| of(cells).get()).sum()
    }

    /// Returns the number of answers of the proxy itself with a status of this class.
    pub(crate) fn sum_own_class(&self, class: usize) -> u64 {
        self.sum_at(|cells| cells.own_by_class.get(class))
    }

    /// Returns the number of requests whose duration fell into this step of [`DURATIONS_MS`].
    pub(crate) fn sum_duration(&self, step: usize) -> u64 {
        self.sum_at(|cells| cells.durations.get(step))
    }

    fn sum_at(&self, of: impl Fn(&AppCells) -> Option<&Counter>) -> u64 {
        self.workers.iter().filter_map(|cells| of(cells).map(Counter::get)).sum()
    }

    /// Takes one retry from the app's budget. Returns false if none is left. Locks, which is fine because
    /// retries are rare.
    pub(crate) fn may_retry(&self, now_ms: u64) -> bool {
        let requests = self.sum(|cells| &cells.requests);
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        budget.take(now_ms, requests)
    }
}

/// One release, over all workers.
#[derive(Debug)]
pub(crate) struct ReleaseStats {
    pub(crate) release: ReleaseNo,
    pub(crate) workers: Box<[ReleaseCells]>,
    pub(crate) used: LastUsed,
}

impl ReleaseStats {
    pub(crate) fn new(release: ReleaseNo, workers: usize) -> Self {
        let workers = (0..workers).map(|_| ReleaseCells::default()).collect();
        Self { release, workers, used: LastUsed::default() }
    }

    /// Returns the number of answers with a status of this class.
    pub(crate) fn sum_class(&self, class: usize) -> u64 {
        let cell = |cells: &ReleaseCells| cells.by_class.get(class).map_or(0, Counter::get);
        self.workers.iter().map(cell).sum()
    }

    /// Returns the number of requests that speak against the release.
    pub(crate) fn bad(&self) -> u64 {
        self.sum(|cells| &cells.bad)
    }

    /// Returns the clients that the release has answered within this minute.
    pub(crate) fn askers(&self, now_ms: u64) -> Askers {
        let mut all = Askers::default();
        self.workers.iter().for_each(|cells| all.add(&cells.askers.seen(now_ms)));
        all
    }

    /// Returns the sum of one counter over all workers.
    pub(crate) fn sum(&self, of: impl Fn(&ReleaseCells) -> &Counter) -> u64 {
        self.workers.iter().map(|cells| of(cells).get()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_the_first_step_that_is_not_shorter() {
        let cells = AppCells::default();
        for duration_ms in [0, 1, 2, 3, 60_000, 60_001, u64::from(u32::MAX)] {
            cells.took(duration_ms);
        }
        let counted: Vec<u64> = cells.durations.iter().map(Counter::get).collect();
        assert_eq!(counted, [2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
    }

    #[test]
    fn what_the_client_chose_does_not_speak_against_a_release() {
        let stats = ReleaseStats::new(ReleaseNo(1), 2);
        let client = IpAddr::from([192, 0, 2, 1]);
        for status in [200, 404, 501, 505] {
            stats.workers[0].answered(status, client, 0);
        }
        assert_eq!((stats.bad(), stats.askers(0).failing.count()), (0, 0));
        stats.workers[0].answered(500, client, 0);
        stats.workers[1].answered(503, client, 0);
        stats.workers[1].failed(client, 0);
        assert_eq!(stats.bad(), 3);
        assert_eq!((stats.sum(|cells| &cells.answers), stats.sum_class(5)), (6, 4));
        let askers = stats.askers(0);
        assert_eq!((askers.asked.count(), askers.failing.count()), (1, 1), "of both workers");
    }

    #[test]
    fn an_answer_that_is_broken_off_speaks_against_its_release_once_whatever_its_status() {
        let stats = ReleaseStats::new(ReleaseNo(1), 1);
        let client = IpAddr::from([192, 0, 2, 1]);
        for status in [200, 500, 501] {
            stats.workers[0].answered(status, client, 0);
            stats.workers[0].broke_off(status, client, 0);
        }
        let sum = |of: fn(&ReleaseCells) -> &Counter| stats.sum(of);
        assert_eq!((stats.bad(), sum(|cells| &cells.answers)), (3, 3));
        assert_eq!((sum(|cells| &cells.faults), sum(|cells| &cells.broken_off)), (3, 3));
    }

    #[test]
    fn counts_stay_for_an_hour_after_their_last_use() {
        let used = LastUsed::default();
        assert!(used.stays(true, 5_000_000));
        assert!(used.stays(false, 5_000_000 + LastUsed::KEPT_MS - 1));
        assert!(!used.stays(false, 5_000_000 + LastUsed::KEPT_MS));
        assert!(used.stays(true, 5_000_000 + LastUsed::KEPT_MS), "it is used again");
    }
}
