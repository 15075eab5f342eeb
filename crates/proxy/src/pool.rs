//! A worker's idle connections to instances: last in, first out, and kept for a short time. Never gives
//! out a connection that is known to be closed, and never gives one that carried a client's body to
//! another client.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustc_hash::FxHashMap;

use crate::instance::InstanceState;
use crate::reuse::Kept;
use crate::room::Served;
use crate::stream::InstanceStream;
use crate::timer_id::TimerId;

/// The demand that a request makes of a reused connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// Any connection will do: if it turns out to be closed, the request can be sent again.
    Any,
    /// The request cannot be sent again: the connection must have been idle for less than a second, and
    /// be open for certain.
    Certain,
}

/// Between two bursts of requests, more connections than the limit may be idle, because closing and
/// reopening them would cost more. They may be this many times the limit, for this many milliseconds.
const BURST: u32 = 16;
const BRIEF_MS: u64 = 100;

/// Idle time after which the kernel is asked whether a connection is still open.
const TRUSTED_MS: u64 = 1_000;

/// Milliseconds that a connection is set aside after an answer without a body. If bytes come in that
/// time, or the instance closes it, the connection is dropped.
const ASIDE_MS: u64 = 100;

/// Number of connections that are kept for one client, whose requests may go to several instances.
const OWN_MOST: usize = 4;

/// A connection that has carried an answer.
#[derive(Debug)]
pub(crate) struct Used {
    pub(crate) stream: InstanceStream,
    pub(crate) served: Served,
    /// True if the connection has carried a body. It then belongs to the client that sent the body.
    pub(crate) own: bool,
    /// True if the instance was allowed to leave unread what was sent to it.
    pub(crate) patient: bool,
}

#[derive(Debug)]
struct Idle {
    used: Used,
    since_ms: u64,
    until_ms: u64,
    /// Not used before this time.
    from_ms: u64,
    place: Place,
}

/// One of the places for an instance's idle connections, over all workers.
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

    /// Returns whether the connection is still open and quiet. The last events may be out of date in
    /// either direction, so the kernel settles a doubt. Bytes that have come are an answer to no request.
    fn stands(&self, now_ms: u64, ask: bool) -> bool {
        let quiet = self.used.stream.is_quiet() && !ask;
        self.until_ms > now_ms && (quiet || self.used.stream.is_quiet_now())
    }

    /// Returns whether the connection serves a request with this demand.
    fn serves(&self, demand: Demand, now_ms: u64) -> bool {
        let aged = now_ms.saturating_sub(self.since_ms) >= TRUSTED_MS;
        match demand {
            Demand::Any => self.stands(now_ms, aged),
            Demand::Certain => !aged && self.stands(now_ms, true),
        }
    }

    /// Returns whether the connection is kept, with at most `most` idle connections to its instance.
    fn stays(&self, now_ms: u64, most: u32) -> bool {
        let beyond = self.instance().idle.load(Ordering::Relaxed) > most
            && now_ms.saturating_sub(self.since_ms) >= BRIEF_MS;
        let instance = self.instance();
        // If another process listens at the address now, it may have accepted this connection.
        !beyond
            && self.stands(now_ms, false)
            && instance.room.keeps(now_ms)
            && !instance.is_foreign()
    }
}

/// A worker's pool of idle connections. Its keys are numbers that no outsider chooses, so a fast hash
/// without protection against collisions will do.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    /// Connections for any client, by instance.
    common: RefCell<FxHashMap<u64, Vec<Idle>>>,
    /// Connections for the client that has sent a body on them.
    own: RefCell<FxHashMap<TimerId, Vec<Idle>>>,
    /// Connections for any client once they have been quiet for a while, in order of time.
    aside: RefCell<Vec<Idle>>,
}

impl Pool {
    /// Takes a connection to the instance: the client's own, or a common one.
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
                // The connections below it are older still.
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

    /// Keeps a connection on which this client's request was answered, at most `most` to its instance.
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

    /// Drops the connections that were kept for a client that has left.
    pub(crate) fn forget(&self, client: TimerId) {
        let mut own = self.own.borrow_mut();
        if !own.is_empty() {
            own.remove(&client);
        }
    }

    /// Closes connections that are not to be kept: those to instances that have left or at whose address
    /// another process listens; those too old, closed by the peer or with a byte on them; those in the
    /// way of others; and those idle for more than a moment and beyond `most` per instance, oldest first.
    /// Connections that have been quiet for long enough become common.
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

    /// Makes connections common that have been quiet for long enough.
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
