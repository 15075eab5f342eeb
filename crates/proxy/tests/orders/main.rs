//! Every order in which threads may meet, where an invariant rests on atomics. A program of its own: the
//! files under test are compiled here with the atomics of a model.

#[allow(dead_code, reason = "picks, which may be a moment behind, are no part of the model")]
#[path = "../../src/acknowledged.rs"]
mod acknowledged;

#[path = "../../src/unanswered.rs"]
mod unanswered;

/// The atomics of the model, in place of the real ones.
mod sync {
    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
}

use acknowledged::{Acknowledged, InFlightCount, in_order};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use unanswered::AvailabilityGap;

/// The snapshot that has the instance, and the one that lacks it.
const BEFORE: u64 = 1;
const AFTER: u64 = 2;

struct World {
    acknowledged: Vec<Acknowledged>,
    in_flight: InFlightCount,
    stopped: AtomicBool,
}

impl World {
    /// All workers have the snapshot before.
    fn of(workers: usize) -> Self {
        let acknowledged: Vec<_> = (0..workers).map(|_| Acknowledged::default()).collect();
        acknowledged.iter().for_each(|one| one.set(BEFORE));
        let (in_flight, stopped) = (InFlightCount::default(), AtomicBool::new(false));
        Self { acknowledged, in_flight, stopped }
    }

    /// A worker sends a request by the snapshot before, takes over the one after, and gets its answer.
    fn work(&self, worker: usize) {
        self.in_flight.add();
        self.acknowledged[worker].set(AFTER);
        assert!(!self.stopped.load(Ordering::SeqCst), "stopped under a request (I2)");
        self.in_flight.remove();
    }

    /// Control stops the instance if a report says that nobody uses it.
    fn stop_if_unused(&self) {
        let oldest = || self.acknowledged.iter().map(Acknowledged::get).min();
        let (oldest, in_flight) = in_order(oldest, |_| self.in_flight.get());
        if oldest == Some(AFTER) && in_flight == 0 {
            self.stopped.store(true, Ordering::SeqCst);
        }
    }
}

/// Tries the orders in which so many workers and the reporter can meet. Of several workers, the orders in
/// which a thread is interrupted twice at most: all of them would take hours.
fn in_every_order(workers: usize, interruptions: Option<usize>) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = interruptions;
    model.check(move || {
        let world = Arc::new(World::of(workers));
        let threads: Vec<_> = (0..workers)
            .map(|worker| {
                let world = Arc::clone(&world);
                thread::spawn(move || world.work(worker))
            })
            .collect();
        world.stop_if_unused();
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        // The last report is the truth: nobody uses the instance.
        world.stop_if_unused();
        assert!(world.stopped.load(Ordering::SeqCst), "never stopped");
    });
}

#[test]
fn an_instance_is_never_stopped_under_a_request() {
    in_every_order(1, None);
}

#[test]
fn an_instance_is_never_stopped_under_a_request_of_the_slower_worker() {
    in_every_order(2, Some(2));
}

/// A request that comes after an hour without any is no gap of an hour, whenever a report is made.
#[test]
fn a_time_without_requests_is_no_gap() {
    const HOUR: u64 = 3_600_000;
    loom::model(|| {
        let gap = std::sync::Arc::new(AvailabilityGap::default());
        gap.begin(1).succeeded(2);
        assert_eq!(gap.take_ms(3), Some(1));
        let request = {
            let gap = std::sync::Arc::clone(&gap);
            thread::spawn(move || gap.begin(HOUR).succeeded(HOUR + 5))
        };
        let reported = gap.take_ms(HOUR + 5);
        assert!(reported.is_none_or(|ms| ms <= 5), "{reported:?}");
        request.join().expect("no panic");
        assert!(gap.take_ms(HOUR + 5).or(reported) == Some(5));
    });
}
