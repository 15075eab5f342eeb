//! What a proxy tells control.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::{AppName, Generation, InstanceId, Millis, ProxyId, ReleaseNo};

/// The state of one proxy. Sent when the last worker acknowledged a snapshot, when an instance that
/// left the snapshot has no request in flight any more, and about once a second besides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficReport {
    /// Which proxy.
    pub proxy: ProxyId,
    /// Which process of that proxy: of two, the one with the larger number began later. What an earlier
    /// one had in flight has ended with it.
    pub epoch: u64,
    /// Counts the reports of this process: of two, the one with the larger number was made later.
    pub seq: u64,
    /// The newest snapshot of which it has made a table, whether that is in use or not.
    pub prepared: Generation,
    /// Every worker has swapped to this snapshot or a later one (I5).
    pub acknowledged: Generation,
    /// Requests and tunnels in flight, seen at that generation or later.
    pub in_flight: InFlight,
    /// For each instance with something in flight: the time since it last made progress there. It
    /// does when an exchange of ours begins on it while nothing else is in flight, when it sends a
    /// byte, when it takes more of a body, and when an exchange ends with its answer whole. A request
    /// that waits for a connection or for an answer is in flight and moves nothing.
    pub quiet: BTreeMap<InstanceId, Millis>,
    /// Counted since this process began; `None` from a balancer that does not count.
    pub counters: Option<BTreeMap<AppName, AppCounters>>,
    /// The gaps of the last minute, of each app that had traffic, oldest first. A report that was lost
    /// loses none of them.
    pub gaps: BTreeMap<AppName, Vec<Gap>>,
}

/// The longest time in which requests waited and none succeeded, between one report and the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The number of the report that told it first: whoever has read that one knows it.
    pub seq: u64,
    /// How long it was, in milliseconds.
    pub ms: u64,
}

/// Requests and tunnels in flight on the instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InFlight {
    /// Counted; what is missing has none.
    Counted(BTreeMap<InstanceId, u32>),
    /// Nobody can say: there may be some on any instance.
    Unknown,
}

impl InFlight {
    /// How many there are on one instance; `None` if nobody can say.
    pub fn on(&self, id: &InstanceId) -> Option<u32> {
        match self {
            Self::Counted(counts) => Some(counts.get(id).copied().unwrap_or(0)),
            Self::Unknown => None,
        }
    }

    /// The instances that have some for certain.
    pub fn counts(&self) -> impl Iterator<Item = (&InstanceId, u32)> {
        let counts = match self {
            Self::Counted(counts) => Some(counts),
            Self::Unknown => None,
        };
        counts.into_iter().flatten().map(|(id, count)| (id, *count))
    }
}

/// What the proxies have counted for one app. Every number only grows.
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
    /// Answers that an instance began and broke off, by release. They count in `answers` by their head, and in
    /// `faults` unless the request had counted there before.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub broken_off: BTreeMap<ReleaseNo, u64>,
    /// 5xx answers that came from instances, by release.
    pub app_5xx: BTreeMap<ReleaseNo, u64>,
    /// What speaks against a release: its faults, and its 5xx answers but 501 and 505, which say that the
    /// client asked for what there is not. An answer that was broken off counts once, whatever its status.
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
    /// The longest [`Gap`], in milliseconds, of those that control has read since it last began to look
    /// for the longest; `None` without traffic. Proxies tell gaps apart from what they count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_gap_ms: Option<u64>,
}

/// Who has asked a release: the addresses of clients that it answered or failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Askers {
    /// All of them.
    pub asked: Addresses,
    /// Addresses whose requests failed, or were answered with what speaks against the release.
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
