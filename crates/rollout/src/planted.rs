//! Bugs that tests plant in this core and in control, to show that the simulation finds them. They can
//! be planted only with the feature `testing`. Without it the program contains none of them.

#[cfg(feature = "testing")]
use core::sync::atomic::{AtomicU8, Ordering};

/// A bug in the code that answers, decides, folds or plans, or in what control does with the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The plan routes to instances that drain.
    RoutesToDraining,
    /// An instance is released although requests are in flight on it.
    IgnoresInFlight,
    /// An instance counts as idle although some proxy cannot tell what is in flight on it.
    TakesUnknownForIdle,
    /// A draining instance counts as absent from all tables before any worker has swapped its table.
    LeavesAtOnce,
    /// The candidate gets its share as soon as one instance is ready.
    SwitchesShort,
    /// The old release is let go when the rollout begins, regardless of how many instances are left.
    ForgetsFloor,
    /// The number of an instance that is gone is given to the next one.
    RepeatsNumbers,
    /// A rollback only begins. The switch needs another commit.
    RollsBackInTwo,
    /// The plan gives the candidate no traffic while its next step starts.
    ForgetsShare,
    /// An instance that may be stopped counts as one that has ended.
    LeavesProcesses,
    /// No host is told which files are no longer needed.
    LeavesFiles,
    /// A release that must not run beside another one does so.
    RunsBeside,
    /// The watch after the last switch never ends.
    WatchesForever,
    /// Control lets proxies use a snapshot before all of them have prepared their tables.
    CommitsEarly,
    /// Control sends nothing to a proxy that has restarted.
    ForgetsProxies,
    /// Control takes a late report of a proxy for the newest one.
    BelievesLateReports,
    /// A lease is granted while another work holds it.
    LeasesTwice,
    /// A work that is told to end counts as ended at once.
    EndsWorkEarly,
    /// Works run on when their app is removed.
    ForgetsWork,
    /// Control never asks a host again that has not reported on an instance for a long time.
    TrustsSilence,
    /// Control does not repeat to a host what the host has to keep.
    NeverRepeatsKeep,
    /// Control keeps the commands to hosts about instances that are gone.
    RemembersTold,
    /// Control leaves a port among the resting ports when the port is used again.
    RestsTwice,
    /// Control at once asks a host again that has few ports.
    AsksAtOnce,
    /// While one instance is replaced, no other instance that hangs is replaced.
    ReplacesOnlyOne,
    /// Control takes an append with an unknown result for a refused one.
    TrustsLostAppend,
    /// A report that arrives twice is counted twice.
    CountsTwice,
    /// Apps that are begun at the same moment do not count against the limit.
    ForgetsNewcomers,
    /// Apps that were removed count against the limit.
    CountsRemovedApps,
    /// Only the values of variables that the live release names are kept.
    ForgetsValues,
    /// Instances are placed on hosts that are not heard.
    PlacesOnLostHosts,
    /// Instances are placed on hosts that are to get nothing new.
    PlacesOnCordonedHosts,
    /// The instances of a lost host count as ended.
    TakesLostForGone,
    /// The receipt does not name the hosts on which instances are still to be stopped.
    ForgetsOwed,
    /// The server never suspects its own network.
    TrustsOwnNetwork,
    /// Proxies that are late or lost count as if they could use nothing.
    ForgetsAbsent,
    /// A rollout goes on although no proxy is here that could move the users.
    ForgetsNoProxy,
    /// Instances serve whether proxies reach them or not.
    ForgetsReach,
    /// Proxies on other machines get instances that they cannot reach.
    SendsEverything,
    /// A recreate stops instances that a proxy on another machine may use.
    StopsUnderProxies,
    /// A rollout goes on, however many hosts have failed.
    NeverSpendsBudget,
    /// One host can be put aside again and again.
    CountsHostTwice,
    /// Hosts are put aside on the way back.
    SpendsOnTheWayBack,
    /// Hosts that were lost before the rollout began are put aside.
    SpendsForLostBefore,
    /// The candidate is placed on hosts that were put aside.
    PlacesOnHostsAside,
    /// Lost hosts are not put aside.
    ForgetsLostHosts,
}

impl Bug {
    /// All bugs.
    pub const ALL: [Self; 46] = [
        Self::RoutesToDraining,
        Self::IgnoresInFlight,
        Self::TakesUnknownForIdle,
        Self::LeavesAtOnce,
        Self::SwitchesShort,
        Self::ForgetsFloor,
        Self::RepeatsNumbers,
        Self::RollsBackInTwo,
        Self::ForgetsShare,
        Self::LeavesProcesses,
        Self::LeavesFiles,
        Self::RunsBeside,
        Self::WatchesForever,
        Self::CommitsEarly,
        Self::ForgetsProxies,
        Self::BelievesLateReports,
        Self::LeasesTwice,
        Self::EndsWorkEarly,
        Self::ForgetsWork,
        Self::TrustsSilence,
        Self::NeverRepeatsKeep,
        Self::RemembersTold,
        Self::RestsTwice,
        Self::AsksAtOnce,
        Self::ReplacesOnlyOne,
        Self::TrustsLostAppend,
        Self::CountsTwice,
        Self::ForgetsNewcomers,
        Self::CountsRemovedApps,
        Self::ForgetsValues,
        Self::PlacesOnLostHosts,
        Self::PlacesOnCordonedHosts,
        Self::TakesLostForGone,
        Self::ForgetsOwed,
        Self::TrustsOwnNetwork,
        Self::ForgetsAbsent,
        Self::ForgetsNoProxy,
        Self::ForgetsReach,
        Self::SendsEverything,
        Self::StopsUnderProxies,
        Self::NeverSpendsBudget,
        Self::CountsHostTwice,
        Self::SpendsOnTheWayBack,
        Self::SpendsForLostBefore,
        Self::PlacesOnHostsAside,
        Self::ForgetsLostHosts,
    ];

    /// Returns whether this bug is planted.
    #[cfg(feature = "testing")]
    pub fn is_planted(self) -> bool {
        PLANTED.load(Ordering::Relaxed) == self.number()
    }

    /// Returns whether this bug is planted: never.
    #[cfg(not(feature = "testing"))]
    pub const fn is_planted(self) -> bool {
        false
    }

    #[cfg(feature = "testing")]
    const fn number(self) -> u8 {
        self as u8 + 1
    }
}

/// The number of the planted bug; 0 means none.
#[cfg(feature = "testing")]
static PLANTED: AtomicU8 = AtomicU8::new(0);

/// Plants this bug in the process, in place of any other.
#[cfg(feature = "testing")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.store(bug.map_or(0, Bug::number), Ordering::Relaxed);
}
