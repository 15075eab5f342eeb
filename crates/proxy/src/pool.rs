//! A worker's idle connections to instances: last in, first out, and not for long. Never gives out
//! one that is known to be closed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::instance::Instance;
use crate::stream::Stream;

/// What a request demands of a connection that has been used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// Any will do: if it turns out closed, the request can be sent again.
    Any,
    /// The request cannot be sent again: idle for less than a second, and certainly open.
    Certain,
}

/// Between two bursts of requests more may be idle than the limit: closing them only to open them
/// again would cost more than it saves. So many times the limit, and for so long.
const BURST: u32 = 16;
const BRIEF_MS: u64 = 100;

/// Idle for longer, the kernel is asked whether a connection still stands.
const TRUSTED_MS: u64 = 1_000;

#[derive(Debug)]
struct Idle {
    stream: Stream,
    since_ms: u64,
    until_ms: u64,
    place: Place,
}

/// One of the places that an instance's idle connections may take, over all workers.
#[derive(Debug)]
struct Place(Arc<Instance>);

impl Place {
    fn take(instance: &Arc<Instance>, most: u32) -> Option<Self> {
        let before = instance.idle.fetch_add(1, Ordering::Relaxed);
        let place = Self(Arc::clone(instance));
        (before < most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.idle.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Idle {
    /// Whether it still stands. What the last events told may be out of date in either direction,
    /// so a doubt is settled by the kernel.
    fn stands(&self, now_ms: u64, ask: bool) -> bool {
        let quiet = self.stream.is_quiet() && !ask;
        self.until_ms > now_ms && (quiet || self.stream.is_quiet_now())
    }
}

/// The idle connections.
#[derive(Debug, Default)]
pub(crate) struct Pool(RefCell<HashMap<u64, Vec<Idle>>>);

impl Pool {
    pub(crate) fn take(&self, key: u64, demand: Demand, now_ms: u64) -> Option<Stream> {
        let mut pool = self.0.borrow_mut();
        let idle = pool.get_mut(&key)?;
        while let Some(candidate) = idle.pop() {
            let age = now_ms.saturating_sub(candidate.since_ms);
            let asked = match demand {
                Demand::Any => age >= TRUSTED_MS,
                Demand::Certain if age >= TRUSTED_MS => {
                    // Those below it are older still.
                    idle.clear();
                    return None;
                }
                Demand::Certain => true,
            };
            if candidate.stands(now_ms, asked) {
                return Some(candidate.stream);
            }
        }
        None
    }

    pub(crate) fn put(
        &self,
        stream: Stream,
        instance: &Arc<Instance>,
        most: u32,
        since_ms: u64,
        until_ms: u64,
    ) {
        let Some(place) = Place::take(instance, most.saturating_mul(BURST)) else { return };
        if instance.has_left() {
            return;
        }
        let idle = Idle { stream, since_ms, until_ms, place };
        self.0.borrow_mut().entry(instance.key).or_default().push(idle);
    }

    /// Closes what is not to be kept: of instances that have left, too old, closed by the peer, or
    /// idle for more than a moment and beyond `most` per instance, oldest first.
    pub(crate) fn retain(&self, now_ms: u64, most: u32, serves: impl Fn(u64) -> bool) {
        self.0.borrow_mut().retain(|&key, idle| {
            if serves(key) {
                idle.retain(|idle| {
                    let beyond = idle.place.0.idle.load(Ordering::Relaxed) > most
                        && now_ms.saturating_sub(idle.since_ms) >= BRIEF_MS;
                    !beyond && idle.stands(now_ms, false)
                });
            } else {
                idle.clear();
            }
            !idle.is_empty()
        });
    }
}
