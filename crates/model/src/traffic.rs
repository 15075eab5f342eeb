//! What a proxy tells control.

use alloc::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{AppName, Generation, InstanceId, Millis, ProxyId, ReleaseNo};

/// The state of one proxy. Sent when the last worker acknowledged a snapshot, when an instance that
/// left the snapshot has no request in flight any more, and about once a second besides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficReport {
    /// Which proxy.
    pub proxy: ProxyId,
    /// Counts the proxy's reports: of two, the one with the larger number was seen later. 0 from a proxy
    /// that does not count them.
    #[serde(default)]
    pub number: u64,
    /// Every worker has swapped to this snapshot or a later one (I5).
    pub acknowledged: Generation,
    /// Requests and tunnels in flight, seen at that generation or later; what is missing has none.
    pub in_flight: BTreeMap<InstanceId, u32>,
    /// For each instance with something in flight: the time since it last made progress there. It
    /// does when an exchange of ours begins on it while nothing else is in flight, when it sends a
    /// byte, when it takes more of a body, and when an exchange ends with its answer whole. A request
    /// that waits for a connection or for an answer is in flight and moves nothing.
    #[serde(default)]
    pub quiet: BTreeMap<InstanceId, Millis>,
    /// Counted since the proxy started.
    pub counters: BTreeMap<AppName, AppCounters>,
}

impl TrafficReport {
    /// Takes over what `earlier` alone tells: each gap is told once, so a report that is not read must
    /// leave its gaps to the next.
    pub fn take_gaps(&mut self, earlier: &Self) {
        for (app, counters) in &earlier.counters {
            if counters.max_gap_ms.is_some() {
                let gap = &mut self.counters.entry(app.clone()).or_default().max_gap_ms;
                *gap = counters.max_gap_ms.max(*gap);
            }
        }
    }
}

/// What the proxy counted for one app. Every number only grows while the proxy runs, but the gap.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AppCounters {
    /// Requests answered or broken off, over all releases.
    pub requests: u64,
    /// Answers the proxy had to make itself (502, 503, 504) and answers broken off.
    pub failed: u64,
    /// Answers that came from instances, by release; whatever their status.
    pub answers: BTreeMap<ReleaseNo, u64>,
    /// Requests of which an instance was to blame that they failed (no connection, no answer,
    /// answer broken off), by release. Client aborts and local errors never count.
    pub faults: BTreeMap<ReleaseNo, u64>,
    /// 5xx answers that came from instances, by release.
    pub app_5xx: BTreeMap<ReleaseNo, u64>,
    /// What speaks against a release: its faults, and its 5xx answers but 501 and 505, which say that the
    /// client asked for what there is not.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bad: BTreeMap<ReleaseNo, u64>,
    /// Who has asked a release within this minute, by release.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub askers: BTreeMap<ReleaseNo, Askers>,
    /// Requests whose client went away first; never counted as failed.
    pub client_aborted: u64,
    /// Attempts that were made again on another connection or instance.
    pub retried: u64,
    /// Requests that had to wait for an instance.
    pub held: u64,
    /// Requests sent to live because their own arm had no healthy instance.
    pub diverted: u64,
    /// The longest time with a request waiting and none succeeding, in milliseconds, since the
    /// report before; `None` without traffic.
    pub max_gap_ms: Option<u64>,
}

/// Who has asked a release: the addresses of clients that it answered or failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Askers {
    /// All of them.
    pub asked: Addresses,
    /// Those that it failed, or answered with what speaks against it.
    pub failing: Addresses,
}

impl Askers {
    /// Takes in who has asked elsewhere, or before.
    pub fn add(&mut self, other: &Self) {
        self.asked.add(&other.asked);
        self.failing.add(&other.failing);
    }
}

/// A set of client addresses, of which each is one bit out of 256. Two addresses may share a bit, so the
/// count is a lower bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Addresses(pub [u64; 4]);

impl Addresses {
    /// Takes in the address with that bit.
    pub fn insert(&mut self, bit: u8) {
        self.0[usize::from(bit >> 6)] |= 1 << (bit & 63);
    }

    /// Takes in all of another set.
    pub fn add(&mut self, other: &Self) {
        for (word, more) in self.0.iter_mut().zip(other.0) {
            *word |= more;
        }
    }

    /// How many there are, at least.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }
}
