//! Bugs that a test plants in this core and in control, to show that the simulation finds them. Only the feature
//! `testing` lets them be planted: without it none of them is in the program.

#[cfg(feature = "testing")]
use core::sync::atomic::{AtomicU8, Ordering};

/// A bug in what is asked, decided, folded or planned, or in what control makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The plan routes to instances that drain.
    RoutesToDraining,
    /// An instance is released although requests are in flight on it.
    IgnoresInFlight,
    /// An instance counts as idle although some proxy cannot say what is in flight on it.
    TakesUnknownForIdle,
    /// An instance that drains counts as left before any worker has swapped.
    LeavesAtOnce,
    /// The candidate gets its share as soon as one instance is ready.
    SwitchesShort,
    /// The old release is let go when the rollout begins, without a look at how many are left.
    ForgetsFloor,
    /// The number of an instance that is gone is given to the next.
    RepeatsNumbers,
    /// A rollback only begins: the switch needs another commit.
    RollsBackInTwo,
    /// The plan gives the candidate nothing while its next step starts.
    ForgetsShare,
    /// An instance that may be stopped is taken for one that has ended.
    LeavesProcesses,
    /// No host is told what nothing needs any more.
    LeavesFiles,
    /// A release that must not run beside another one does.
    RunsBeside,
    /// The watch after the last switch never ends.
    WatchesForever,
    /// Control lets proxies use a snapshot before all of them have made their table of it.
    CommitsEarly,
    /// Control gives a proxy that has begun anew nothing.
    ForgetsProxies,
    /// Control takes a proxy's report that comes late for the newest.
    BelievesLateReports,
    /// A lease is granted while another work holds it.
    LeasesTwice,
    /// A work that is told to end counts as ended at once.
    EndsWorkEarly,
    /// Works run on when their app is removed.
    ForgetsWork,
    /// Control never asks a host again that has said nothing of an instance for long.
    TrustsSilence,
    /// Control does not repeat to a host what to keep.
    NeverRepeatsKeep,
    /// Control keeps what hosts were told about instances that are gone.
    RemembersTold,
    /// Control keeps a port among those that rest when it is used again.
    RestsTwice,
    /// Control asks a host that has few ports again at once.
    AsksAtOnce,
    /// While one instance is replaced, no other that hangs is.
    ReplacesOnlyOne,
    /// Control takes an append whose end nobody knows for refused.
    TrustsLostAppend,
    /// A report that comes twice is counted twice.
    CountsTwice,
    /// Apps that are begun at once do not count against the limit.
    ForgetsNewcomers,
    /// Apps that were removed count against the limit.
    CountsRemovedApps,
    /// Only the values of variables that live names are kept.
    ForgetsValues,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 30] = [
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
    ];

    /// Whether this bug is to be there.
    #[cfg(feature = "testing")]
    pub fn is_planted(self) -> bool {
        PLANTED.load(Ordering::Relaxed) == self.number()
    }

    /// Whether this bug is to be there: never.
    #[cfg(not(feature = "testing"))]
    pub const fn is_planted(self) -> bool {
        false
    }

    #[cfg(feature = "testing")]
    const fn number(self) -> u8 {
        self as u8 + 1
    }
}

/// The number of the planted bug; 0 is none.
#[cfg(feature = "testing")]
static PLANTED: AtomicU8 = AtomicU8::new(0);

/// From now on this process has that bug, and no other.
#[cfg(feature = "testing")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.store(bug.map_or(0, Bug::number), Ordering::Relaxed);
}
