//! Views for people: derived from state and observations, never stored.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::{
    Address, AppName, AppSpec, Conventions, Digest, Health, HostId, InstanceId, Label, Millis,
    NotReady, Outcome, Reason, Receipt, ReleaseNo, RolloutId, Service, Share, Stage, Timestamp,
};

/// The current view of one app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppView {
    /// The app.
    pub app: AppName,
    /// Number of the app's facts. A command with this version is refused if another command came first.
    pub version: u64,
    /// The release that gets production traffic.
    pub live: Option<ArmView>,
    /// The previous release, kept warm.
    pub standby: Option<ArmView>,
    /// The release that a rollout is bringing in.
    pub candidate: Option<ArmView>,
    /// The rollout in progress.
    pub rollout: Option<RolloutView>,
    /// The readiness for an immediate rollback, or the reason why none is possible.
    pub rollback: Readiness,
    /// Reasons why the app waits, besides those of the rollout: back-off, recovery.
    pub waiting: Vec<Reason>,
    /// All stored releases, oldest first.
    pub releases: Vec<ReleaseView>,
    /// The receipts of the last rollouts, oldest first.
    pub receipts: Vec<Receipt>,
    /// True while the app is closed for its users, by command or by its rollout.
    pub maintenance: bool,
    /// Number of instances set by `segue scale`, if it was used.
    pub scale: Option<u16>,
    /// True while the app is being removed.
    pub removing: bool,
    /// The lost hosts on which instances are to be stopped as soon as the hosts are heard again.
    pub owed: Vec<HostId>,
}

impl AppView {
    /// Returns the releases on offer.
    pub fn arms(&self) -> impl Iterator<Item = &ArmView> {
        [&self.live, &self.standby, &self.candidate].into_iter().flatten()
    }

    /// Returns the instances of the releases on offer.
    pub fn instances(&self) -> impl Iterator<Item = &InstanceView> {
        self.arms().flat_map(|arm| &arm.instances)
    }
}

/// A release on offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArmView {
    /// The release.
    pub release: ReleaseNo,
    /// Its label.
    pub label: Label,
    /// Its share of the traffic.
    pub share: Share,
    /// Its instances that are not Gone.
    pub instances: Vec<InstanceView>,
}

/// An instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceView {
    /// The instance's id.
    pub id: InstanceId,
    /// The host that it runs on.
    pub host: HostId,
    /// Its process id, once it runs.
    pub pid: Option<u32>,
    /// The address it listens at.
    pub address: Address,
    /// Its stage.
    pub stage: Stage,
    /// Its health.
    pub health: Health,
    /// Requests and tunnels in flight on it.
    pub in_flight: u32,
    /// Time since which it has been too busy to answer its probes, if it is.
    pub busy_since: Option<Timestamp>,
}

/// A rollout in progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutView {
    /// The rollout's id.
    pub id: RolloutId,
    /// The strategy's name, or `rollback`.
    pub strategy: String,
    /// The phase's name.
    pub phase: &'static str,
    /// Time at which this phase began.
    pub since: Timestamp,
    /// Time at which the rollout began.
    pub started: Timestamp,
    /// The candidate's share.
    pub share: Share,
    /// The current step or batch, and the number of them; from 1 on.
    pub step: (u16, u16),
    /// True while a person or a failure has paused the rollout.
    pub paused: bool,
    /// Minimum duration of the whole rollout, by the drains and starts of its instances as measured so far;
    /// `None` if nothing was measured.
    pub at_least: Option<Millis>,
    /// Why it waits.
    pub waiting: Option<Reason>,
    /// Why it is being reverted, if it is.
    pub cause: Option<String>,
}

/// The readiness for an immediate rollback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// The rollback is one switch.
    Ready {
        /// The release that a rollback goes to.
        to: ReleaseNo,
        /// Its label.
        label: Label,
        /// The hosts with instances of it that are not heard. It is ready without them.
        without: Vec<HostId>,
    },
    /// The rollback would be refused for this reason.
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
    /// The digest of the list of its files.
    pub content: Option<Digest>,
    /// Time of its first deploy.
    pub created: Timestamp,
    /// Why it is marked bad, if it is.
    pub bad: Option<String>,
    /// Its past use: whether it has ever had users.
    pub service: Service,
    /// The conventions by which its instances are checked and probed.
    pub conventions: Conventions,
}

/// An event of a rollout, for people who follow it. It is derived from a committed fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutEvent {
    /// Time of the event.
    pub at: Timestamp,
    /// The app.
    pub app: AppName,
    /// The rollout, if there is one.
    pub rollout: Option<RolloutId>,
    /// One sentence for people.
    pub text: String,
    /// Set on the last event of a rollout.
    pub outcome: Option<Outcome>,
}
