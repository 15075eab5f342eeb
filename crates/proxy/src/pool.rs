//! A worker's idle connections to instances: last in, first out, and not for long. Never gives out
//! one that is known to be closed, and never one that carried a client's body to another client.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustc_hash::FxHashMap;

use crate::instance::InstanceState;
use crate::reuse::Kept;
use crate::room::Served;
use crate::stream::InstanceStream;
use crate::timer_id::TimerId;

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

/// An answer that has no body is followed by none within this time, or its connection is closed.
const ASIDE_MS: u64 = 100;

/// Connections that are kept for one client: its requests may go to several instances.
const OWN_MOST: usize = 4;

/// A connection that has carried an answer.
#[derive(Debug)]
pub(crate) struct Used {
    pub(crate) stream: InstanceStream,
    pub(crate) served: Served,
    /// The connection has carried a body, and belongs to whoever sent it.
    pub(crate) own: bool,
}

#[derive(Debug)]
struct Idle {
    used: Used,
    since_ms: u64,
    until_ms: u64,
    /// Nobody uses it before.
    from_ms: u64,
    place: Place,
}

/// One of the places that an instance's idle connections may take, over all workers.
#[derive(Debug)]
struct Place(Arc<InstanceState>);

impl Place {
    fn take(instance: &Arc<InstanceState>, most: u32) -> Option<Self> {
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
    fn instance(&self) -> &InstanceState {
        &self.place.0
    }

    /// Whether it still stands. What the last events told may be out of date in either direction,
    /// so a doubt is settled by the kernel. A byte that has come is an answer nobody asked for.
    fn stands(&self, now_ms: u64, ask: bool) -> bool {
        let quiet = self.used.stream.is_quiet() && !ask;
        self.until_ms > now_ms && (quiet || self.used.stream.is_quiet_now())
    }

    /// Whether it serves a request with this demand.
    fn serves(&self, demand: Demand, now_ms: u64) -> bool {
        let aged = now_ms.saturating_sub(self.since_ms) >= TRUSTED_MS;
        match demand {
            Demand::Any => self.stands(now_ms, aged),
            Demand::Certain => !aged && self.stands(now_ms, true),
        }
    }

    /// Whether it stays, with so many idle connections to its instance at the most.
    fn stays(&self, now_ms: u64, most: u32) -> bool {
        let beyond = self.instance().idle.load(Ordering::Relaxed) > most
            && now_ms.saturating_sub(self.since_ms) >= BRIEF_MS;
        let instance = self.instance();
        // What listens at its address now may have accepted this one.
        !beyond
            && self.stands(now_ms, false)
            && instance.room.keeps(now_ms)
            && !instance.is_foreign()
    }
}

/// The idle connections. The keys are our own numbers: nobody outside chooses them, so a hash that is
/// only quick will do.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    /// For everybody, by instance.
    common: RefCell<FxHashMap<u64, Vec<Idle>>>,
    /// For the client that has sent a body on them.
    own: RefCell<FxHashMap<TimerId, Vec<Idle>>>,
    /// For everybody, once they have been quiet for a while; in order of their time.
    aside: RefCell<Vec<Idle>>,
}

impl Pool {
    /// A connection to the instance: the client's own, or one that is everybody's.
    pub(crate) fn take(
        &self,
        client: TimerId,
        key: u64,
        demand: Demand,
        now_ms: u64,
    ) -> Option<Used> {
        if let Some(own) = self.take_own(client, key, demand, now_ms) {
            return Some(own);
        }
        let mut common = self.common.borrow_mut();
        let idle = common.get_mut(&key)?;
        while let Some(candidate) = idle.pop() {
            if candidate.serves(demand, now_ms) {
                return Some(candidate.used);
            }
            if demand == Demand::Certain && now_ms.saturating_sub(candidate.since_ms) >= TRUSTED_MS
            {
                // Those below it are older still.
                idle.clear();
            }
        }
        None
    }

    fn take_own(&self, client: TimerId, key: u64, demand: Demand, now_ms: u64) -> Option<Used> {
        let mut own = self.own.borrow_mut();
        if own.is_empty() {
            return None;
        }
        let idle = own.get_mut(&client)?;
        let fits = |idle: &Idle| idle.instance().key == key && idle.from_ms <= now_ms;
        while let Some(at) = idle.iter().rposition(fits) {
            let candidate = idle.remove(at);
            if candidate.serves(demand, now_ms) {
                return Some(candidate.used);
            }
        }
        None
    }

    /// Keeps a connection that this client's request was answered on, `most` to its instance.
    pub(crate) fn put(
        &self,
        (client, used): (TimerId, Used),
        instance: &Arc<InstanceState>,
        kept: Kept,
        most: u32,
        (since_ms, until_ms): (u64, u64),
    ) {
        let Some(place) = Place::take(instance, most.saturating_mul(BURST)) else { return };
        if instance.has_left() || instance.is_foreign() || !instance.room.keeps(since_ms) {
            return;
        }
        let from_ms = if kept.aside { since_ms + ASIDE_MS } else { since_ms };
        let idle = Idle { used, since_ms, until_ms, from_ms, place };
        if kept.own {
            let mut own = self.own.borrow_mut();
            let own = own.entry(client).or_default();
            if own.len() == OWN_MOST {
                own.remove(0);
            }
            own.push(idle);
        } else if kept.aside {
            self.aside.borrow_mut().push(idle);
        } else {
            self.common.borrow_mut().entry(instance.key).or_default().push(idle);
        }
    }

    /// The client is gone, and what was kept for it goes with it.
    pub(crate) fn forget(&self, client: TimerId) {
        let mut own = self.own.borrow_mut();
        if !own.is_empty() {
            own.remove(&client);
        }
    }

    /// Closes what is not to be kept: of instances that have left or at whose
    /// address somebody else listens, too old, closed by the peer or
    /// with a byte on it, in the way of others, or idle for more than a moment and beyond `most` per
    /// instance, oldest first. What has been quiet for long enough is everybody's from now on.
    pub(crate) fn retain(&self, now_ms: u64, most: u32, serves: impl Fn(u64) -> bool) {
        let stays = |idle: &Idle| serves(idle.instance().key) && idle.stays(now_ms, most);
        self.common.borrow_mut().retain(|&key, idle| {
            if serves(key) {
                idle.retain(|idle| idle.stays(now_ms, most));
            } else {
                idle.clear();
            }
            !idle.is_empty()
        });
        self.own.borrow_mut().retain(|_, idle| {
            idle.retain(stays);
            !idle.is_empty()
        });
        self.aside.borrow_mut().retain(stays);
        self.bring_back(now_ms);
    }

    /// Gives everybody what has been quiet for long enough.
    pub(crate) fn bring_back(&self, now_ms: u64) {
        let mut aside = self.aside.borrow_mut();
        let count = aside.partition_point(|idle| idle.from_ms <= now_ms);
        if count == 0 {
            return;
        }
        let mut common = self.common.borrow_mut();
        for idle in aside.drain(..count).filter(|idle| idle.stands(now_ms, false)) {
            let others = common.entry(idle.instance().key).or_default();
            let at = others.partition_point(|other| other.since_ms <= idle.since_ms);
            others.insert(at, idle);
        }
    }
}
