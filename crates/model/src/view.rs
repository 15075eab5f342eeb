//! What people are shown: derived from state and observations, never stored.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::{
    Address, AppName, AppSpec, Conventions, Digest, Health, InstanceId, Label, Millis, NotReady,
    Outcome, Reason, Receipt, ReleaseNo, RolloutId, Service, Share, Stage, Timestamp,
};

/// One app as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppView {
    /// The app.
    pub app: AppName,
    /// Counts the app's facts; a command that carries it loses to whoever came first.
    pub version: u64,
    /// The release that gets production traffic.
    pub live: Option<ArmView>,
    /// The previous one, kept warm.
    pub standby: Option<ArmView>,
    /// The one a rollout is bringing in.
    pub candidate: Option<ArmView>,
    /// The rollout under way.
    pub rollout: Option<RolloutView>,
    /// Whether a rollback would work at once, and why not.
    pub rollback: Readiness,
    /// What the app waits for besides the rollout: back-off, recovery.
    pub waiting: Vec<Reason>,
    /// All stored releases, oldest first.
    pub releases: Vec<ReleaseView>,
    /// The receipts of the last rollouts, oldest first.
    pub receipts: Vec<Receipt>,
    /// The app is closed for its users, by hand or by its rollout.
    pub maintenance: bool,
    /// As many instances as `segue scale` asked for, if it did.
    pub scale: Option<u16>,
    /// The app is being removed.
    pub removing: bool,
}

/// A release on offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArmView {
    /// The release.
    pub release: ReleaseNo,
    /// Its label.
    pub label: Label,
    /// Its part of the traffic.
    pub share: Share,
    /// Its instances that are not Gone.
    pub instances: Vec<InstanceView>,
}

/// An instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceView {
    /// Which.
    pub id: InstanceId,
    /// Its process, once it runs.
    pub pid: Option<u32>,
    /// Where it listens.
    pub address: Address,
    /// Its stage.
    pub stage: Stage,
    /// Its health.
    pub health: Health,
    /// Requests and tunnels in flight on it.
    pub in_flight: u32,
    /// Since when it has been too busy to answer its probes, if it is.
    pub busy_since: Option<Timestamp>,
}

/// A rollout under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutView {
    /// Which.
    pub id: RolloutId,
    /// The strategy's name, or `rollback`.
    pub strategy: String,
    /// The phase's name.
    pub phase: &'static str,
    /// Since when this phase lasts.
    pub since: Timestamp,
    /// Since when the rollout lasts.
    pub started: Timestamp,
    /// The candidate's share.
    pub share: Share,
    /// Which step or batch it is at, and how many there are; from 1 on.
    pub step: (u16, u16),
    /// Somebody, or a failure, holds it where it is.
    pub paused: bool,
    /// The least time the whole rollout can take with the drains and starts of its instances as
    /// measured so far; `None` while nothing was measured.
    pub at_least: Option<Millis>,
    /// What it waits for.
    pub waiting: Option<Reason>,
    /// Why it is being taken back, if it is.
    pub cause: Option<String>,
}

/// Whether a rollback would work at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// One switch away.
    Ready {
        /// To this release.
        to: ReleaseNo,
        /// Its label.
        label: Label,
    },
    /// Refused, for this reason.
    NotReady(NotReady),
}

/// A stored release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseView {
    /// Its number.
    pub no: ReleaseNo,
    /// Its label.
    pub label: Label,
    /// Its digest.
    pub digest: Digest,
    /// Its settings.
    pub spec: Arc<AppSpec>,
    /// Names the list of its files.
    pub content: Option<Digest>,
    /// When it was first deployed.
    pub created: Timestamp,
    /// Why it is marked bad, if it is.
    pub bad: Option<String>,
    /// Whether it ever had users.
    pub service: Service,
    /// How its instances are checked and probed.
    pub conventions: Conventions,
}

/// Something that happened, for whoever follows a rollout. Derived from a committed fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutEvent {
    /// When.
    pub at: Timestamp,
    /// In which app.
    pub app: AppName,
    /// In which rollout, if in one.
    pub rollout: Option<RolloutId>,
    /// One sentence for people.
    pub text: String,
    /// Set on the last event of a rollout.
    pub outcome: Option<Outcome>,
}
