//! Reports from a proxy to control.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::{AppName, Generation, InstanceId, Millis, ProxyId, Reached, ReleaseNo};

/// The state of one proxy. It is sent when the last worker acknowledged a snapshot, when the last request on
/// an instance outside the snapshot has ended, and about once a second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficReport {
    /// The proxy.
    pub proxy: ProxyId,
    /// The process of that proxy. A larger number means a later start. Requests in flight of an earlier
    /// process have ended with it.
    pub epoch: u64,
    /// The number of the report from this process. A larger number means a later report.
    pub seq: u64,
    /// The newest snapshot for which it has prepared a table, in use or not.
    pub prepared: Generation,
    /// The snapshot that every worker has swapped to, or gone beyond (I5).
    pub acknowledged: Generation,
    /// Requests and tunnels in flight, seen at that generation or later.
    pub in_flight: InFlight,
    /// Time since the last progress, for each instance with something in flight. Progress is one of four
    /// events: an exchange begins on an instance that has nothing else in flight, the instance sends a byte,
    /// the instance takes more of a body, or an exchange ends with its answer complete. A request that waits
    /// for a connection or for an answer is in flight and makes no progress.
    pub quiet: BTreeMap<InstanceId, Millis>,
    /// Counts since this process began; `None` from a balancer that does not count.
    pub counters: Option<BTreeMap<AppName, AppCounters>>,
    /// The gaps of the last minute, for each app with traffic, oldest first. They are repeated, so that a
    /// lost report loses none.
    pub gaps: BTreeMap<AppName, Vec<Gap>>,
    /// What the proxy found when it asked instances on other machines. One that is missing was not asked, or has
    /// not answered yet.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reached: BTreeMap<InstanceId, Reached>,
}

/// The longest time between two reports in which requests waited and none succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The number of the report that first contained the gap. A reader of that report knows the gap already.
    pub seq: u64,
    /// The length of the gap in milliseconds.
    pub ms: u64,
}

/// Requests and tunnels in flight on the instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InFlight {
    /// The counts. An instance that is missing has none in flight.
    Counted(BTreeMap<InstanceId, u32>),
    /// The proxy cannot tell: any instance may have some.
    Unknown,
}

impl InFlight {
    /// Returns the number on one instance; `None` if it is unknown.
    pub fn on(&self, id: &InstanceId) -> Option<u32> {
        match self {
            Self::Counted(counts) => Some(counts.get(id).copied().unwrap_or(0)),
            Self::Unknown => None,
        }
    }

    /// Returns the instances that certainly have some.
    pub fn counts(&self) -> impl Iterator<Item = (&InstanceId, u32)> {
        let counts = match self {
            Self::Counted(counts) => Some(counts),
            Self::Unknown => None,
        };
        counts.into_iter().flatten().map(|(id, count)| (id, *count))
    }
}

/// Counts of the proxies for one app. Every number only grows.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AppCounters {
    /// Requests answered or broken off, over all releases.
    pub requests: u64,
    /// Answers that the proxy had to generate (502, 503, 504) and answers broken off.
    pub failed: u64,
    /// Answers from instances, by release, regardless of their status.
    pub answers: BTreeMap<ReleaseNo, u64>,
    /// Failed requests for which an instance was to blame (no connection, no answer, answer broken off), by
    /// release. Client aborts and local errors never count.
    pub faults: BTreeMap<ReleaseNo, u64>,
    /// Answers that an instance began and broke off, by release. They count in `answers` by their head, and
    /// in `faults` unless the request had counted there before.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub broken_off: BTreeMap<ReleaseNo, u64>,
    /// 5xx answers from instances, by release.
    pub app_5xx: BTreeMap<ReleaseNo, u64>,
    /// Results that speak against a release: its faults, and its 5xx answers except 501 and 505, which mean
    /// that the client asked for something unsupported. A broken-off answer counts once, whatever its
    /// status.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bad: BTreeMap<ReleaseNo, u64>,
    /// The clients of each release within this minute.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub askers: BTreeMap<ReleaseNo, Askers>,
    /// Requests whose client disconnected first. They never count as failed.
    pub client_aborted: u64,
    /// Attempts that were retried on another connection or instance.
    pub retried: u64,
    /// Requests that had to wait for an instance.
    pub held: u64,
    /// Requests sent to the live release because their own arm had no healthy instance.
    pub diverted: u64,
    /// The longest [`Gap`], in milliseconds, that control has read since it last began to look for one;
    /// `None` without traffic. Proxies report gaps apart from the counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_gap_ms: Option<u64>,
}

/// The clients of a release: the addresses that it answered or failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Askers {
    /// All client addresses.
    pub asked: Addresses,
    /// Addresses whose requests failed, or got an answer that speaks against the release.
    pub failing: Addresses,
}

impl Askers {
    /// Adds clients counted elsewhere or before.
    pub fn add(&mut self, other: &Self) {
        self.asked.add(&other.asked);
        self.failing.add(&other.failing);
    }
}

/// A set of client addresses, each represented by one of 256 bits. Two addresses may share a bit, so the
/// count is a lower bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Addresses(pub [u64; 4]);

impl Addresses {
    /// Adds the address with this bit.
    pub fn insert(&mut self, bit: u8) {
        self.0[usize::from(bit >> 6)] |= 1 << (bit & 63);
    }

    /// Adds all addresses of another set.
    pub fn add(&mut self, other: &Self) {
        for (word, more) in self.0.iter_mut().zip(other.0) {
            *word |= more;
        }
    }

    /// Returns the minimum number of addresses.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }
}
