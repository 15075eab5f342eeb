//! The state of one instance that all workers share: requests in flight, health, ejection. Relaxed
//! atomics on a cache line of its own; never a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

use balance::{Candidate, Latency};
use model::{Address, Health, InstanceId, Millis, Target, Weight};

use crate::acknowledged::InFlightCount;
use crate::failures::Failures;
use crate::room::ConnectionRoom;
use crate::signal::Signal;
use crate::upstream_host::UpstreamHost;

/// One instance. Lives as long as a worker may still send to it or a report count it.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct InstanceState {
    in_flight: InFlightCount,
    probed: Probed,
    /// True if the instance is in no arm of the newest snapshot.
    left: AtomicBool,
    /// The attempts that failed by the instance's own fault.
    failures: Failures,
    /// The machine that the instance runs on, if that may be another one.
    host: Option<Arc<UpstreamHost>>,
    /// The time when a request in flight on the instance last made progress.
    moved_at_ms: AtomicU64,
    /// [`Latency::bits`]. Kept only if instances are picked by latency.
    latency: AtomicU64,
    pub(crate) idle: AtomicU32,
    pub(crate) room: Arc<ConnectionRoom>,
    /// Never reused in this process.
    pub(crate) key: u64,
    pub(crate) id: InstanceId,
    /// [`InstanceState::id`] as text.
    pub(crate) name: String,
    pub(crate) address: Address,
    pub(crate) weight: Weight,
    drained: Arc<Signal>,
}

/// The results of probes of an instance since this process knows it.
#[derive(Debug)]
struct Probed {
    /// [`code`], or [`FOREIGN`].
    health: AtomicU8,
    once_up: AtomicBool,
    /// The time when this process first saw the instance in a snapshot.
    since_ms: u64,
}

impl InstanceState {
    pub(crate) fn new(
        key: u64,
        target: &Target,
        host: Option<Arc<UpstreamHost>>,
        drained: Arc<Signal>,
        since_ms: u64,
    ) -> Self {
        Self {
            in_flight: InFlightCount::default(),
            probed: Probed {
                health: AtomicU8::new(code(Health::Unknown)),
                once_up: AtomicBool::new(false),
                since_ms,
            },
            left: AtomicBool::new(false),
            failures: Failures::new(balance::failures_to_eject()),
            host,
            moved_at_ms: AtomicU64::new(since_ms),
            latency: AtomicU64::new(Latency::default().bits()),
            idle: AtomicU32::new(0),
            room: Arc::default(),
            key,
            id: target.id.clone(),
            name: target.id.to_string(),
            address: target.address.clone(),
            weight: target.weight,
            drained,
        }
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.get()
    }

    /// Notes progress of a request in flight: the instance sent a byte, or took more of a body.
    pub(crate) fn moved(&self, now_ms: u64) {
        if self.moved_at_ms.load(Ordering::Relaxed) != now_ms {
            self.moved_at_ms.store(now_ms, Ordering::Relaxed);
        }
    }

    /// Returns how long the instance has made no progress.
    pub(crate) fn quiet(&self, now_ms: u64) -> Millis {
        Millis(now_ms.saturating_sub(self.moved_at_ms.load(Ordering::Relaxed)))
    }

    pub(crate) fn health(&self) -> Health {
        match self.probed.health.load(Ordering::Relaxed) {
            1 => Health::Up,
            2 | FOREIGN => Health::Down,
            _ => Health::Unknown,
        }
    }

    /// Sets the health. A good probe ends an ejection.
    pub(crate) fn set_health(&self, health: Health) {
        self.probed.health.store(code(health), Ordering::Relaxed);
        if health == Health::Up {
            self.probed.once_up.store(true, Ordering::Relaxed);
            self.failures.end();
        }
    }

    /// Returns whether another process listens at the instance's address. It gets no request, and no
    /// connection to it is kept.
    pub(crate) fn is_foreign(&self) -> bool {
        self.probed.health.load(Ordering::Relaxed) == FOREIGN
    }

    pub(crate) fn set_foreign(&self) {
        self.probed.health.store(FOREIGN, Ordering::Relaxed);
    }

    pub(crate) fn set_left(&self, left: bool) {
        self.left.store(left, Ordering::SeqCst);
    }

    pub(crate) fn has_left(&self) -> bool {
        self.left.load(Ordering::SeqCst)
    }

    pub(crate) fn candidate(&self, now_ms: u64, slow_start: Millis, tried: &[u64]) -> Candidate {
        let age = Millis(now_ms.saturating_sub(self.probed.since_ms));
        Candidate {
            health: self.health(),
            once_up: self.probed.once_up.load(Ordering::Relaxed),
            ejected: self.is_ejected(now_ms),
            tried: self.is_foreign() || self.is_ruled_out(tried),
            load: balance::weighted(self.in_flight.estimate().into(), self.weight),
            warmth: balance::warmth(age, slow_start),
        }
    }

    /// Like [`InstanceState::candidate`], by the cost of one more request.
    pub(crate) fn candidate_by_cost(
        &self,
        now_ms: u64,
        slow_start: Millis,
        tried: &[u64],
    ) -> Candidate {
        let latency = Latency::from_bits(self.latency.load(Ordering::Relaxed));
        let load = latency.cost(self.in_flight.estimate(), now_ms);
        Candidate { load, ..self.candidate(now_ms, slow_start, tried) }
    }

    /// Notes how long the instance took to answer, or until it was given up.
    pub(crate) fn took(&self, took_us: u64, now_ms: u64) {
        let seen = |bits| Some(Latency::from_bits(bits).seen(took_us, now_ms).bits());
        let _ = self.latency.fetch_update(Ordering::Relaxed, Ordering::Relaxed, seen);
    }

    /// Returns whether the instance, or its host, is among what is not tried again.
    fn is_ruled_out(&self, tried: &[u64]) -> bool {
        let is_in = |key: u64| tried.contains(&key);
        !tried.is_empty() && (is_in(self.key) || self.host.as_ref().is_some_and(|it| is_in(it.key)))
    }

    /// Returns the machine that the instance runs on, if that may be another one.
    pub(crate) fn host(&self) -> Option<&UpstreamHost> {
        self.host.as_deref()
    }

    /// Returns whether the instance gets no requests for a while, for its own failures or for its host's.
    pub(crate) fn is_ejected(&self, now_ms: u64) -> bool {
        self.failures.is_ejected(now_ms)
            || self.host.as_ref().is_some_and(|host| host.is_ejected(now_ms))
    }

    /// Notes that the instance answered an attempt, to the end if the answer has one.
    pub(crate) fn answered(&self) {
        self.failures.succeeded();
    }

    /// Counts an attempt that failed by the instance's own fault. Returns whether it has now failed too
    /// often.
    pub(crate) fn failed(&self) -> bool {
        self.failures.failed()
    }

    pub(crate) fn eject(&self, now_ms: u64) {
        self.failures.eject(now_ms);
    }
}

/// A code beside those of [`code`]: another process would answer, whatever the probes say.
const FOREIGN: u8 = 3;

fn code(health: Health) -> u8 {
    match health {
        Health::Unknown => 0,
        Health::Up => 1,
        Health::Down => 2,
    }
}

/// One request or tunnel in flight on an instance. Counted from the pick until this is dropped.
#[derive(Debug)]
pub(crate) struct InFlightGuard(Arc<InstanceState>);

impl InFlightGuard {
    pub(crate) fn new(instance: Arc<InstanceState>, now_ms: u64) -> Self {
        if instance.in_flight.add() == 0 {
            // Its time without progress begins with this request.
            instance.moved(now_ms);
        }
        Self(instance)
    }

    pub(crate) fn instance(&self) -> &Arc<InstanceState> {
        &self.0
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        let before = self.0.in_flight.remove();
        if before == 1 && self.0.has_left() {
            self.0.drained.ring();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_rest_one_failure_is_enough_until_it_has_answered() {
        let id = InstanceId { app: "web".parse().expect("a name"), number: 1 };
        let address = Address::Tcp(([127, 0, 0, 1], 9).into());
        let instance =
            InstanceState::new(1, &Target::new(id, address), None, Arc::new(Signal::default()), 0);
        let fails = || (1..10).find(|_| instance.failed());
        assert_eq!(fails(), Some(5));
        instance.eject(1_000);
        assert_eq!(fails(), Some(1));
        instance.eject(3_100);
        instance.answered();
        assert_eq!(fails(), Some(5));
    }
}
