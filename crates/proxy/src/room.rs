//! The number of connections that an instance can serve at once, and the rule by which its idle ones make
//! room for connections that wait to be accepted. Knows nothing of the kernel's queues: it goes by the
//! answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Interval in milliseconds at which one connection is closed while an instance has as many connections as it
/// has ever served at once. Requests of other workers, and probes, which no proxy knows of, wait no longer
/// than this for a program that serves one connection after the other.
const MAKE_WAY_MS: u64 = 500;
/// Milliseconds for which no connection is kept open to an instance that has served a new connection only
/// after the proxy had closed the others.
const KEEP_NONE_MS: u64 = 10_000;

/// The connections of one instance, as all workers together know them.
#[derive(Debug, Default)]
pub(crate) struct ConnectionRoom {
    /// Connections that have carried an answer and are still open.
    open: AtomicU32,
    /// The largest number that have been open at once: the instance can serve as many.
    most: AtomicU32,
    /// Requests on connections without an answer for a while, perhaps because the instance has not
    /// accepted them.
    waiting: AtomicU32,
    made_way_ms: AtomicU64,
    keep_none_until_ms: AtomicU64,
}

impl ConnectionRoom {
    /// Returns whether a connection whose answer is complete may stay open, or has to make room.
    pub(crate) fn keeps(&self, now_ms: u64) -> bool {
        if self.open.load(Ordering::Relaxed) < self.most.load(Ordering::Relaxed) {
            return true;
        }
        let made_way_ms = self.made_way_ms.load(Ordering::Relaxed);
        let due = now_ms.saturating_sub(made_way_ms) >= MAKE_WAY_MS;
        let sole = |before| {
            let relaxed = Ordering::Relaxed;
            self.made_way_ms.compare_exchange(before, now_ms, relaxed, relaxed).is_ok()
        };
        let waited_for = self.waiting.load(Ordering::Relaxed) > 0;
        let keeps_none = self.keep_none_until_ms.load(Ordering::Relaxed) > now_ms;
        !(waited_for || keeps_none || due && sole(made_way_ms))
    }

    /// Returns whether a connection that is not served yet may be waiting for another one to be closed.
    fn is_taken(&self) -> bool {
        let open = self.open.load(Ordering::Relaxed);
        open > 0 && open >= self.most.load(Ordering::Relaxed)
    }
}

/// A connection that has carried an answer. Counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Served(Arc<ConnectionRoom>);

impl Served {
    /// Counts a connection whose first answer has begun. `waited` is true if the request was [`Waits`].
    pub(crate) fn first(room: &Arc<ConnectionRoom>, waited: bool, now_ms: u64) -> Self {
        let open = room.open.fetch_add(1, Ordering::Relaxed) + 1;
        if open == 1 {
            room.made_way_ms.store(now_ms, Ordering::Relaxed);
            if waited {
                room.keep_none_until_ms.store(now_ms + KEEP_NONE_MS, Ordering::Relaxed);
            }
        }
        room.most.fetch_max(open, Ordering::Relaxed);
        Self(Arc::clone(room))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request that may be waiting for another connection to be closed. While there is one, no connection
/// is kept open.
#[derive(Debug)]
pub(crate) struct Waits(Arc<ConnectionRoom>);

impl Waits {
    pub(crate) fn for_room(room: &Arc<ConnectionRoom>) -> Option<Self> {
        room.is_taken().then(|| {
            room.waiting.fetch_add(1, Ordering::Relaxed);
            Self(Arc::clone(room))
        })
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
