//! The proxy's clock. All limits are measured on one clock: the system's, or one that a test advances by
//! hand while real sockets and threads run. Never waits on the path of a request.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use model::Millis;
use tokio::sync::watch;

/// The clock by which a proxy measures its limits. Clones tell the same time.
#[derive(Clone, Debug)]
pub struct Clock(Kind);

#[derive(Clone, Debug)]
enum Kind {
    System(Instant),
    Hand(Arc<Hand>),
}

impl Clock {
    /// Returns the system's monotonic clock.
    pub fn system() -> Self {
        Self(Kind::System(Instant::now()))
    }

    /// Returns the milliseconds since the clock was made.
    pub(crate) fn now_ms(&self) -> u64 {
        match &self.0 {
            Kind::System(made) => u64::try_from(made.elapsed().as_millis()).unwrap_or(u64::MAX),
            Kind::Hand(hand) => hand.now_ms.load(Ordering::Acquire),
        }
    }

    /// Returns the beat that tells one worker when to check its deadlines.
    pub(crate) fn beat(&self) -> Beat {
        match &self.0 {
            Kind::System(_) => Beat::System,
            Kind::Hand(hand) => Beat::Hand(Listener::new(hand)),
        }
    }
}

/// Tells a worker when to check its deadlines.
#[derive(Debug)]
pub(crate) enum Beat {
    System,
    Hand(Listener),
}

impl Beat {
    /// Waits for the next beat: for `every`, or until the hand moves. The caller must have finished the
    /// work of the beat before.
    pub(crate) async fn next(&mut self, every: Duration) {
        match self {
            Self::System => tokio::time::sleep(every).await,
            Self::Hand(listener) => listener.next().await,
        }
    }
}

/// A clock that stands still until it is advanced. A test reaches a limit to the millisecond without
/// waiting for it.
#[derive(Clone, Debug, Default)]
pub struct HandClock(Arc<Hand>);

impl HandClock {
    /// Returns the clock that this hand advances.
    pub fn clock(&self) -> Clock {
        Clock(Kind::Hand(Arc::clone(&self.0)))
    }

    /// Lets workers handle everything that has come so far, advances the time, and returns when every
    /// worker has done the work that is due at the new time.
    ///
    /// # Panics
    /// If a worker does not get to it within twenty seconds.
    pub fn advance(&self, by: Millis) {
        self.settle();
        self.0.now_ms.fetch_add(by.0, Ordering::AcqRel);
        self.settle();
    }

    /// Returns when every worker has handled what its sockets held before, and has checked its deadlines.
    /// The time stands still.
    ///
    /// # Panics
    /// If a worker does not get to it within twenty seconds.
    pub fn settle(&self) {
        (0..ROUNDS).for_each(|_| self.0.round());
    }
}

/// A worker's work in the first round may create work for another one, which does it in the second.
const ROUNDS: usize = 2;
/// Number of times that sockets are checked before and after each beat. A new connection is accepted,
/// woken from idle, read and answered in one of them each.
const LOOKS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Default)]
struct Hand {
    now_ms: AtomicU64,
    round: watch::Sender<u64>,
    /// The last round that each listener has completed.
    done: Mutex<BTreeMap<u64, u64>>,
    progress: Condvar,
}

impl Hand {
    /// Lets every worker check once.
    fn round(&self) {
        let mut this = 0;
        self.round.send_modify(|round| {
            *round += 1;
            this = *round;
        });
        let behind = |done: &mut BTreeMap<u64, u64>| done.values().any(|round| *round < this);
        let waited = self.progress.wait_timeout_while(self.done(), PATIENCE, behind);
        let (done, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        drop(done);
        assert!(!waited.timed_out(), "a worker has not looked at its deadlines for {PATIENCE:?}");
    }

    fn done(&self) -> MutexGuard<'_, BTreeMap<u64, u64>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One worker as the hand sees it, from before its thread starts until it has ended.
#[derive(Debug)]
pub(crate) struct Listener {
    hand: Arc<Hand>,
    number: u64,
    rounds: watch::Receiver<u64>,
    /// The round that the worker is in.
    round: u64,
}

impl Listener {
    fn new(hand: &Arc<Hand>) -> Self {
        let rounds = hand.round.subscribe();
        let round = *rounds.borrow();
        let mut done = hand.done();
        let number = done.last_key_value().map_or(0, |(last, _)| last + 1);
        done.insert(number, round);
        drop(done);
        Self { hand: Arc::clone(hand), number, rounds, round }
    }

    async fn next(&mut self) {
        look().await;
        self.hand.done().insert(self.number, self.round);
        self.hand.progress.notify_all();
        // The channel closes only with the hand, which is held here.
        let _ = self.rounds.changed().await;
        self.round = *self.rounds.borrow_and_update();
        look().await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.hand.done().remove(&self.number);
        self.hand.progress.notify_all();
    }
}

/// Yields to the runtime, which asks the kernel for new events each time and handles them first.
async fn look() {
    for _ in 0..LOOKS {
        tokio::task::yield_now().await;
    }
}
