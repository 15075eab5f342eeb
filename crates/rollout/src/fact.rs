//! Facts: what has happened, with the numbers the decision rested on and its time.
//! Their shape is a file format: change it only together with the record version in `control`.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use model::{
    Address, Exit, Generation, HostId, Listeners, Maintenance, Millis, Outcome, Receipt, Release,
    ReleaseNo, RolloutId, Share, Strategy, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::{Cause, EndCause, RolloutKind, WorkBegun, WorkEnded};

/// Something that has happened to an app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fact {
    /// A rollout began.
    Started(Box<Started>),
    /// Instances were given numbers and addresses; they are to be started.
    Minted {
        /// Of this release.
        release: ReleaseNo,
        /// The new instances.
        instances: Vec<Minted>,
        /// When.
        at: Timestamp,
    },
    /// An instance was healthy for the first time and may get requests.
    Serving {
        /// The instance's number.
        instance: u64,
        /// Good probes in a row that say so.
        probes: u32,
        /// The sockets at its address then.
        #[serde(default)]
        listeners: Listeners,
        /// When.
        at: Timestamp,
    },
    /// An instance has been Down for too long; another is to take its place.
    Doomed {
        /// The instance's number.
        instance: u64,
        /// How long it has been Down.
        down: Millis,
        /// When.
        at: Timestamp,
    },
    /// Instances get no new requests from now on and will be stopped.
    Draining {
        /// Their numbers.
        instances: Vec<u64>,
        /// Why.
        cause: DrainCause,
        /// When.
        at: Timestamp,
    },
    /// An instance may be stopped (I2).
    Released {
        /// The instance's number.
        instance: u64,
        /// What released it.
        by: ReleasedBy,
        /// When.
        at: Timestamp,
    },
    /// An instance has ended, with its whole process tree.
    Gone {
        /// The instance's number.
        instance: u64,
        /// How; `None` if it never started.
        exit: Option<Exit>,
        /// Its port is held by somebody else.
        address_in_use: bool,
        /// Its last lines.
        tail: Vec<String>,
        /// When.
        at: Timestamp,
    },
    /// The candidate is whole; a gate keeps the switch waiting.
    Ready {
        /// The rollout.
        rollout: RolloutId,
        /// Instances Serving and Up.
        ready: u16,
        /// When.
        at: Timestamp,
    },
    /// The candidate's share was set.
    Shifted {
        /// The rollout.
        rollout: RolloutId,
        /// The share.
        share: Share,
        /// Instances of the candidate Serving and Up.
        ready: u16,
        /// When it was decided, or the command accepted.
        at: Timestamp,
    },
    /// The gate of a step is passed: the rollout climbs to this rung.
    Stepped {
        /// The rollout.
        rollout: RolloutId,
        /// The rung, from 1 on.
        rung: u16,
        /// When.
        at: Timestamp,
    },
    /// The rollout is held where it is.
    Paused {
        /// The rollout.
        rollout: RolloutId,
        /// The failure that holds it; `None` if somebody asked for it.
        because: Option<String>,
        /// When.
        at: Timestamp,
    },
    /// The rollout goes on.
    Resumed {
        /// The rollout.
        rollout: RolloutId,
        /// When.
        at: Timestamp,
    },
    /// Every release is to have so many instances.
    Scaled {
        /// The number of instances; `None` leaves it to the files.
        replicas: Option<u16>,
        /// When.
        at: Timestamp,
    },
    /// The standby was brought to the live version: a second set of the same content.
    Synced {
        /// The release that is the standby from now on.
        to: ReleaseNo,
        /// The whole release, when it was not stored before.
        release: Option<Box<Release>>,
        /// How many releases stay stored, as in [`Fact::Ended`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keep: Option<u16>,
        /// When.
        at: Timestamp,
    },
    /// Somebody closed the app for its users, or opened it again.
    Maintained {
        /// What users see; `None` opens it.
        on: Option<Maintenance>,
        /// When.
        at: Timestamp,
    },
    /// Every worker of every proxy acknowledged the switch.
    Acknowledged {
        /// The rollout.
        rollout: RolloutId,
        /// The snapshot.
        generation: Generation,
        /// From the decision to the last acknowledgement.
        took: Millis,
        /// When.
        at: Timestamp,
    },
    /// The watch is over: the release stays.
    Settled {
        /// The rollout.
        rollout: RolloutId,
        /// Why the rollout has failed, if the release stays only because none is better.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<Cause>,
        /// When.
        at: Timestamp,
    },
    /// The rollout is taken back: the old release has the traffic from now on.
    Reverting {
        /// The rollout.
        rollout: RolloutId,
        /// Why.
        cause: Cause,
        /// When.
        at: Timestamp,
    },
    /// The rollout ends badly and moves nothing: what is live stays live.
    Kept {
        /// The rollout.
        rollout: RolloutId,
        /// Why it ends.
        cause: Cause,
        /// When.
        at: Timestamp,
    },
    /// The rollout is over.
    Ended {
        /// How, and what it cost.
        receipt: Box<Receipt>,
        /// How many releases that are not on offer stay stored, and how many that never had users. Facts of
        /// earlier versions keep the last ten, whatever they were worth.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keep: Option<u16>,
        /// When.
        at: Timestamp,
    },
    /// The standby's time is up.
    StandbyRetired {
        /// The release.
        release: ReleaseNo,
        /// When.
        at: Timestamp,
    },
    /// The app is being removed: no requests, all instances drain.
    Removing {
        /// Its state goes as well.
        #[serde(default)]
        with_state: bool,
        /// When.
        at: Timestamp,
    },
    /// A work is to be started.
    WorkBegun(Box<WorkBegun>),
    /// A work was seen running.
    WorkRuns {
        /// Its number.
        work: u64,
        /// When.
        at: Timestamp,
    },
    /// A work is told to end.
    WorkStopped {
        /// Its number.
        work: u64,
        /// Why.
        cause: EndCause,
        /// When.
        at: Timestamp,
    },
    /// A work has ended.
    WorkEnded(Box<WorkEnded>),
}

impl Fact {
    /// The instances it brings into being.
    pub fn minted(&self) -> &[Minted] {
        if let Self::Minted { instances, .. } = self { instances } else { &[] }
    }

    /// When it happened.
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
            | Self::Gone { at, .. }
            | Self::Ready { at, .. }
            | Self::Shifted { at, .. }
            | Self::Stepped { at, .. }
            | Self::Paused { at, .. }
            | Self::Resumed { at, .. }
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

    /// Its name in journals and transcripts.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Started(_) => "started",
            Self::Minted { .. } => "minted",
            Self::Serving { .. } => "serving",
            Self::Doomed { .. } => "doomed",
            Self::Draining { .. } => "draining",
            Self::Released { .. } => "released",
            Self::Gone { .. } => "gone",
            Self::Ready { .. } => "ready",
            Self::Shifted { .. } => "shifted",
            Self::Stepped { .. } => "stepped",
            Self::Paused { .. } => "paused",
            Self::Resumed { .. } => "resumed",
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

/// A rollout began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// The rollout.
    pub rollout: RolloutId,
    /// What it is for.
    pub kind: RolloutKind,
    /// The release that is live.
    pub from: Option<ReleaseNo>,
    /// The release that comes in.
    pub to: ReleaseNo,
    /// The whole release, when it was not stored before.
    pub release: Option<Release>,
    /// The strategy that was asked for with a release that was stored before. Without one the release
    /// comes in by the strategy it is stored with, as every one did in journals of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Box<Strategy>>,
    /// When.
    pub at: Timestamp,
}

/// A new instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Minted {
    /// Its number.
    pub number: u64,
    /// Where it is to run. Facts of earlier versions know one host only.
    #[serde(default = "HostId::local")]
    pub host: HostId,
    /// Where it has to listen.
    pub address: Address,
    /// Where it has to answer probes, if not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_address: Option<Address>,
}

impl Minted {
    /// All addresses that it was given.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        core::iter::once(&self.address).chain(&self.health_address)
    }
}

/// Why instances drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DrainCause {
    /// Their release needs fewer instances, or none.
    NotNeeded,
    /// The instance was not healthy in time.
    NeverHealthy,
    /// The instance was Down for too long and another has taken its place.
    Replaced,
    /// Its release is restarted, and its successor comes only after it.
    Restarted,
}

/// What released an instance for its stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleasedBy {
    /// Every worker acknowledged its absence and reports nothing in flight.
    Idle,
    /// Its drain deadline passed with so many requests in flight.
    Deadline {
        /// Requests cut off.
        in_flight: u32,
    },
}
