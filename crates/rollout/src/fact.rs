//! Facts: events that have happened, with their time and the numbers that the decision was based on.
//! Their shape is a file format. Change it only together with the record version in `control`.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use model::{
    Address, Exit, Generation, HostAside, HostId, Listeners, Maintenance, Millis, Outcome, Receipt,
    Release, ReleaseNo, RolloutId, Share, Strategy, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::{Cause, EndCause, RolloutKind, Spread, WorkBegun, WorkEnded};

/// An event in the life of an app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fact {
    /// A rollout began.
    Started(Box<Started>),
    /// Instances were given numbers and addresses; they are to be started.
    Minted {
        /// The release of the new instances.
        release: ReleaseNo,
        /// The new instances.
        instances: Vec<Minted>,
        /// Time of the event.
        at: Timestamp,
    },
    /// An instance was healthy for the first time and may get requests.
    Serving {
        /// The instance's number.
        instance: u64,
        /// Number of good probes in a row.
        probes: u32,
        /// The sockets at its address at that time.
        #[serde(default)]
        listeners: Listeners,
        /// Time of the event.
        at: Timestamp,
    },
    /// An instance has been Down for too long. Another one takes its place.
    Doomed {
        /// The instance's number.
        instance: u64,
        /// Time for which it has been Down.
        down: Millis,
        /// Time of the event.
        at: Timestamp,
    },
    /// Instances get no new requests from now on and will be stopped.
    Draining {
        /// The instances' numbers.
        instances: Vec<u64>,
        /// Why.
        cause: DrainCause,
        /// Time of the event.
        at: Timestamp,
    },
    /// An instance may be stopped (I2).
    Released {
        /// The instance's number.
        instance: u64,
        /// Why it may be stopped.
        by: ReleasedBy,
        /// Time of the event.
        at: Timestamp,
    },
    /// Instances that may be stopped are on lost hosts. They are stopped when the hosts are heard again.
    Owed {
        /// The instances' numbers.
        instances: Vec<u64>,
        /// Time of the event.
        at: Timestamp,
    },
    /// Numbers up to this one were given out before, by a control whose journal had more than this one: the
    /// server was restored from a backup. They are given to no other instance.
    NumbersSkipped {
        /// The last of them.
        to: u64,
        /// Time of the event.
        at: Timestamp,
    },
    /// An instance has ended, with its whole process tree.
    Gone {
        /// The instance's number.
        instance: u64,
        /// The exit; `None` if it never started.
        exit: Option<Exit>,
        /// True if another program holds its port.
        address_in_use: bool,
        /// The last lines of its output.
        tail: Vec<String>,
        /// True if a proxy on another machine may still send requests to its address, which therefore is given
        /// to no other instance.
        #[serde(default, skip_serializing_if = "core::ops::Not::not")]
        in_use: bool,
        /// Time of the event.
        at: Timestamp,
    },
    /// No proxy can send requests to the addresses of these instances any more, which are Gone.
    AddressesFreed {
        /// Their numbers.
        instances: Vec<u64>,
        /// Time of the event.
        at: Timestamp,
    },
    /// The candidate is complete. A gate delays the switch.
    Ready {
        /// The rollout.
        rollout: RolloutId,
        /// Number of its instances that are Serving and Up.
        ready: u16,
        /// Time of the event.
        at: Timestamp,
    },
    /// The candidate's share was set.
    Shifted {
        /// The rollout.
        rollout: RolloutId,
        /// The new share.
        share: Share,
        /// Number of the candidate's instances that are Serving and Up.
        ready: u16,
        /// Time at which the switch was decided, or the command accepted.
        at: Timestamp,
    },
    /// The gate of a step is open: the rollout moves to this rung.
    Stepped {
        /// The rollout.
        rollout: RolloutId,
        /// The rung, from 1 on.
        rung: u16,
        /// Time of the event.
        at: Timestamp,
    },
    /// The rollout is paused.
    Paused {
        /// The rollout.
        rollout: RolloutId,
        /// The failure that paused it; `None` if a person asked for the pause.
        because: Option<String>,
        /// Time of the event.
        at: Timestamp,
    },
    /// The rollout continues after a pause.
    Resumed {
        /// The rollout.
        rollout: RolloutId,
        /// Time of the event.
        at: Timestamp,
    },
    /// The rollout goes on without a host.
    HostAside {
        /// The rollout.
        rollout: RolloutId,
        /// The host, and why.
        aside: HostAside,
        /// Time of the event.
        at: Timestamp,
    },
    /// A person confirmed that the silent hosts are lost, although the server suspected its own network.
    LossConfirmed {
        /// Time of the event.
        at: Timestamp,
    },
    /// The number of instances of every release was set.
    Scaled {
        /// The number of instances; `None` returns to the number in the app files.
        replicas: Option<u16>,
        /// Time of the event.
        at: Timestamp,
    },
    /// The standby was brought to the live version: a second set of instances of the live content.
    Synced {
        /// The release that is the standby from now on.
        to: ReleaseNo,
        /// The whole release, if it was not stored before.
        release: Option<Box<Release>>,
        /// Number of releases that stay stored, as in [`Fact::Ended`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keep: Option<u16>,
        /// Time of the event.
        at: Timestamp,
    },
    /// The app was closed for its users, or opened again.
    Maintained {
        /// The maintenance settings; `None` opens the app.
        on: Option<Maintenance>,
        /// Time of the event.
        at: Timestamp,
    },
    /// Every worker of every proxy acknowledged the switch.
    Acknowledged {
        /// The rollout.
        rollout: RolloutId,
        /// The acknowledged snapshot.
        generation: Generation,
        /// Time from the decision to the last acknowledgement.
        took: Millis,
        /// How far apart the proxies were, if there are several.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        spread: Option<Spread>,
        /// Time of the event.
        at: Timestamp,
    },
    /// The watch is over. The release stays.
    Settled {
        /// The rollout.
        rollout: RolloutId,
        /// Why the rollout has failed, if the release stays only because no other is better.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<Cause>,
        /// Time of the event.
        at: Timestamp,
    },
    /// The rollout is reverted: the old release gets the traffic back.
    Reverting {
        /// The rollout.
        rollout: RolloutId,
        /// Why the rollout is reverted.
        cause: Cause,
        /// Time of the event.
        at: Timestamp,
    },
    /// The rollout fails and moves no traffic: the live release stays live.
    Kept {
        /// The rollout.
        rollout: RolloutId,
        /// Why it ends.
        cause: Cause,
        /// Time of the event.
        at: Timestamp,
    },
    /// The rollout is over.
    Ended {
        /// The outcome of the rollout, and its cost.
        receipt: Box<Receipt>,
        /// Number of releases that stay stored besides those on offer. It applies to those that had
        /// users, and once more to those that never had any. Facts of earlier versions keep the last
        /// ten, whether they had users or not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keep: Option<u16>,
        /// Time of the event.
        at: Timestamp,
    },
    /// The standby's time is over.
    StandbyRetired {
        /// The release that was the standby.
        release: ReleaseNo,
        /// Time of the event.
        at: Timestamp,
    },
    /// The app is being removed: it gets no requests, and all its instances drain.
    Removing {
        /// True if the app's state is removed as well.
        #[serde(default)]
        with_state: bool,
        /// Time of the event.
        at: Timestamp,
    },
    /// A work is to be started.
    WorkBegun(Box<WorkBegun>),
    /// A work was seen running.
    WorkRuns {
        /// The work's number.
        work: u64,
        /// Time of the event.
        at: Timestamp,
    },
    /// A work is told to end.
    WorkStopped {
        /// The work's number.
        work: u64,
        /// Why it is told to end.
        cause: EndCause,
        /// Time of the event.
        at: Timestamp,
    },
    /// A work has ended.
    WorkEnded(Box<WorkEnded>),
}

impl Fact {
    /// Returns the instances that the fact creates.
    pub fn minted(&self) -> &[Minted] {
        if let Self::Minted { instances, .. } = self { instances } else { &[] }
    }

    /// Returns the time of the event.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Started(started) => started.at,
            Self::WorkBegun(begun) => begun.at,
            Self::WorkEnded(ended) => ended.at,
            Self::Minted { at, .. }
            | Self::Serving { at, .. }
            | Self::Doomed { at, .. }
            | Self::Draining { at, .. }
            | Self::Released { at, .. }
            | Self::Owed { at, .. }
            | Self::NumbersSkipped { at, .. }
            | Self::Gone { at, .. }
            | Self::AddressesFreed { at, .. }
            | Self::Ready { at, .. }
            | Self::Shifted { at, .. }
            | Self::Stepped { at, .. }
            | Self::Paused { at, .. }
            | Self::Resumed { at, .. }
            | Self::LossConfirmed { at }
            | Self::HostAside { at, .. }
            | Self::Scaled { at, .. }
            | Self::Synced { at, .. }
            | Self::Maintained { at, .. }
            | Self::Acknowledged { at, .. }
            | Self::Settled { at, .. }
            | Self::Reverting { at, .. }
            | Self::Kept { at, .. }
            | Self::Ended { at, .. }
            | Self::StandbyRetired { at, .. }
            | Self::WorkRuns { at, .. }
            | Self::WorkStopped { at, .. }
            | Self::Removing { at, .. } => *at,
        }
    }

    /// Returns the fact's name in journals and transcripts.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Started(_) => "started",
            Self::Minted { .. } => "minted",
            Self::Serving { .. } => "serving",
            Self::Doomed { .. } => "doomed",
            Self::Draining { .. } => "draining",
            Self::Released { .. } => "released",
            Self::Owed { .. } => "owed",
            Self::NumbersSkipped { .. } => "numbers-skipped",
            Self::Gone { .. } => "gone",
            Self::AddressesFreed { .. } => "addresses-freed",
            Self::Ready { .. } => "ready",
            Self::Shifted { .. } => "shifted",
            Self::Stepped { .. } => "stepped",
            Self::Paused { .. } => "paused",
            Self::Resumed { .. } => "resumed",
            Self::HostAside { .. } => "host-aside",
            Self::LossConfirmed { .. } => "loss-confirmed",
            Self::Scaled { .. } => "scaled",
            Self::Synced { .. } => "synced",
            Self::Maintained { .. } => "maintained",
            Self::Acknowledged { .. } => "acknowledged",
            Self::Settled { .. } => "settled",
            Self::Reverting { .. } => "reverting",
            Self::Kept { .. } => "kept",
            Self::Ended { receipt, .. } => match receipt.outcome {
                Outcome::Completed => "completed",
                Outcome::Reverted => "reverted",
                Outcome::Aborted => "aborted",
                Outcome::Failed => "failed",
            },
            Self::StandbyRetired { .. } => "standby-retired",
            Self::Removing { .. } => "removing",
            Self::WorkBegun(_) => "work-begun",
            Self::WorkRuns { .. } => "work-runs",
            Self::WorkStopped { .. } => "work-stopped",
            Self::WorkEnded(_) => "work-ended",
        }
    }
}

/// The start of a rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// The rollout.
    pub rollout: RolloutId,
    /// The purpose of the rollout.
    pub kind: RolloutKind,
    /// The live release.
    pub from: Option<ReleaseNo>,
    /// The release that comes in.
    pub to: ReleaseNo,
    /// The whole release, if it was not stored before.
    pub release: Option<Release>,
    /// The strategy of the command, if the release was stored before. `None` uses the strategy stored
    /// with the release, as journals of earlier versions always did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Box<Strategy>>,
    /// The hosts that the release can be placed on, which are those that its failure budget is about. Empty if
    /// it has none: a way back never has one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostId>,
    /// Time of the event.
    pub at: Timestamp,
}

/// A new instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Minted {
    /// The instance's number.
    pub number: u64,
    /// The host it runs on. Facts of earlier versions know one host only.
    #[serde(default = "HostId::local")]
    pub host: HostId,
    /// The address it has to listen at.
    pub address: Address,
    /// The address at which it has to answer probes, if that is a separate one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_address: Option<Address>,
}

impl Minted {
    /// Returns all addresses that the instance was given.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        core::iter::once(&self.address).chain(&self.health_address)
    }
}

/// Why instances drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DrainCause {
    /// The release needs fewer instances, or none.
    NotNeeded,
    /// The instance was not healthy in time.
    NeverHealthy,
    /// The instance was Down for too long, and another has taken its place.
    Replaced,
    /// The release is restarted, and the successor starts only after this instance has gone.
    Restarted,
    /// The instance's host is drained, and the successor starts only after this instance has gone.
    HostDrained,
    /// The rollout goes on without the instance's host.
    HostAside,
}

/// Why an instance may be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleasedBy {
    /// Every worker acknowledged a snapshot without the instance and reports no request in flight on
    /// it.
    Idle,
    /// Its drain deadline passed while requests were in flight.
    Deadline {
        /// Number of requests cut off.
        in_flight: u32,
    },
}
