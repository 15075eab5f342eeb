//! The state of one app: a fold over its facts. It never holds observations.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;

use model::{
    Address, AppName, Exit, FencingToken, HostAside, HostId, InstanceId, Label, Listeners,
    Maintenance, Millis, Receipt, Release, ReleaseNo, RolloutId, Share, Stage, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::planted::Bug;
use crate::{Budget, Cause, Minted, RolloutKind, Spread, Work};

/// One app.
///
/// Many fields: the type is one object on disk. Its format grows only by adding fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct App {
    /// The app's name.
    pub name: AppName,
    /// Number of facts folded into this state.
    pub version: u64,
    /// Stored releases.
    pub releases: BTreeMap<ReleaseNo, Release>,
    /// Instances that are not Gone, by number.
    pub instances: BTreeMap<u64, Instance>,
    /// Addresses of instances that are Gone, by number, to which a proxy on another machine may still send
    /// requests.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub abandoned: BTreeMap<u64, Abandoned>,
    /// Works that have not ended, by number. A work is a task that runs for the app but serves no
    /// requests.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub works: BTreeMap<u64, Work>,
    /// The release that gets production traffic.
    pub live: Option<ReleaseNo>,
    /// The previous release, kept running.
    pub standby: Option<StandbyState>,
    /// The rollout in progress.
    pub rollout: Option<Rollout>,
    /// Recent deaths of each release's instances, for back-off and for messages.
    pub deaths: BTreeMap<ReleaseNo, Deaths>,
    /// Numbers of the last instances that are Gone, at most [`App::REMEMBERED`]. Their output is kept.
    pub remembered: VecDeque<u64>,
    /// Numbers of the last works that have ended, at most [`App::REMEMBERED`]. Their output is kept.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub remembered_works: VecDeque<u64>,
    /// Receipts of the last rollouts, at most [`App::RECEIPTS`].
    pub receipts: VecDeque<Receipt>,
    /// The last number given to a release. Numbers are never reused.
    pub last_release: u32,
    /// The last number given to a rollout. Numbers are never reused.
    pub last_rollout: u32,
    /// The last number given to an instance or a work. Numbers are never reused.
    pub last_instance: u64,
    /// The number of the last lease that was granted. Numbers are never reused.
    #[serde(default)]
    pub last_token: FencingToken,
    /// Time at which the removal of the app began.
    pub removing: Option<Timestamp>,
    /// Time at which the app was removed together with its state, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forget_state: Option<Timestamp>,
    /// The number of instances of every release. Overrides the number in the releases' app files.
    pub scale: Option<u16>,
    /// Set while the app is closed for its users by command.
    pub maintenance: Option<Maintenance>,
    /// Durations of the last start and the last drain.
    pub pace: Pace,
    /// Time at which a person last confirmed that silent hosts are lost, although the server suspected its
    /// own network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_confirmed: Option<Timestamp>,
    /// Hosts on which the last rollout could not start its release. Until the next one, they get instances only
    /// if no other host has room.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub avoided: Vec<HostAside>,
}

impl App {
    /// Number of Gone instances whose output is kept.
    pub const REMEMBERED: usize = 6;
    /// Number of receipts kept.
    pub const RECEIPTS: usize = 20;
    /// Number of releases not on offer that segue 0.1 kept, whether they had users or not.
    pub(crate) const RELEASES: usize = 10;
    /// Default number of releases kept besides those on offer. The number applies twice: to releases
    /// that had users, and to the rows of releases that never had any.
    pub const KEPT: u16 = 10;
    /// Maximum number of instances of one release.
    pub const REPLICAS: u16 = 1_000;
    /// Maximum number of works at one time.
    pub const WORKS: usize = 100;

    /// Returns an app without any facts.
    pub fn new(name: AppName) -> Self {
        Self {
            name,
            version: 0,
            releases: BTreeMap::new(),
            instances: BTreeMap::new(),
            abandoned: BTreeMap::new(),
            works: BTreeMap::new(),
            live: None,
            standby: None,
            rollout: None,
            deaths: BTreeMap::new(),
            remembered: VecDeque::new(),
            remembered_works: VecDeque::new(),
            receipts: VecDeque::new(),
            last_release: 0,
            last_rollout: 0,
            last_instance: 0,
            last_token: FencingToken::default(),
            removing: None,
            forget_state: None,
            scale: None,
            maintenance: None,
            pace: Pace::default(),
            loss_confirmed: None,
            avoided: Vec::new(),
        }
    }

    /// Returns the full id of the instance or work with this number.
    pub fn id(&self, number: u64) -> InstanceId {
        InstanceId { app: self.name.clone(), number }
    }

    /// Returns the releases on offer, the live one first. Instances of all other releases are drained.
    pub fn on_offer(&self) -> impl Iterator<Item = ReleaseNo> + Clone {
        let rollout = self.rollout.as_ref();
        let to = rollout.filter(|r| r.may_have_traffic()).map(|r| r.to);
        let from = rollout.filter(|r| r.phase != Phase::Settling).and_then(|r| r.from);
        let all = [self.live, from, self.standby.map(|s| s.release), to];
        let offered = if self.removing.is_some() { [None; 4] } else { all };
        (0..4).filter_map(move |i| offered[i].filter(|r| !offered[..i].contains(&Some(*r))))
    }

    /// Returns the number of instances that a release has when it is complete.
    pub fn replicas(&self, release: ReleaseNo) -> u16 {
        let stored = self.releases.get(&release);
        stored.map_or(0, |stored| self.scale.unwrap_or(stored.spec.run.replicas))
    }

    /// Returns the share of the traffic that a release gets.
    pub fn share(&self, release: ReleaseNo) -> Share {
        let rollout = self.rollout.as_ref().filter(|r| r.kind == RolloutKind::Deploy);
        match rollout {
            Some(rollout) if rollout.to == release => rollout.share,
            Some(rollout) if rollout.from == Some(release) => rollout.share.rest(),
            Some(_) => Share::NONE,
            None if self.live == Some(release) => Share::ALL,
            None => Share::NONE,
        }
    }

    /// Returns whether users are being taken back to another release, and not every proxy has acknowledged it.
    pub fn is_switching_back(&self) -> bool {
        self.rollout.as_ref().is_some_and(Rollout::is_switching_back)
    }

    /// Returns the instances of one release that are not Gone.
    pub fn instances_of(
        &self,
        release: ReleaseNo,
    ) -> impl Iterator<Item = (u64, &Instance)> + Clone {
        self.instances.iter().filter(move |(_, i)| i.release == release).map(|(n, i)| (*n, i))
    }

    /// Returns the host of the instance or work with this number.
    pub fn host_of(&self, number: u64) -> Option<&HostId> {
        let of_work = || self.works.get(&number).map(|work| &work.host);
        self.instances.get(&number).map(|instance| &instance.host).or_else(of_work)
    }

    /// Returns the number of the work that holds the lease of this name.
    pub fn holder(&self, name: &Label) -> Option<u64> {
        let holds = |work: &Work| work.token.is_some() && work.task.name == *name;
        let holder = self.works.iter().find(|(_, work)| holds(work));
        holder.map(|(number, _)| *number).filter(|_| !Bug::LeasesTwice.is_planted())
    }

    /// Returns the release with this label.
    pub fn labelled(&self, label: &Label) -> Option<&Release> {
        self.releases.values().find(|release| release.label == *label)
    }

    /// Returns a release's label. A release that is no longer stored gets a label made of its number.
    pub fn label(&self, release: ReleaseNo) -> Label {
        let stored = self.releases.get(&release).map(|stored| stored.label.clone());
        stored.unwrap_or_else(|| {
            let text = alloc::format!("release-{}", release.0);
            text.parse().expect("letters, a dash and digits make a label")
        })
    }

    /// Returns whether the app is removed: only its numbers are left.
    pub fn is_removed(&self) -> bool {
        self.removing.is_some() && self.instances.is_empty() && self.works.is_empty()
    }
}

/// A running copy of a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// The instance's release.
    pub release: ReleaseNo,
    /// The host it runs on. States of earlier versions know one host only.
    #[serde(default = "HostId::local")]
    pub host: HostId,
    /// The address it listens at.
    pub address: Address,
    /// The address at which it answers probes, if that is a separate one.
    #[serde(default)]
    pub health_address: Option<Address>,
    /// The stage of its life.
    pub stage: Stage,
    /// The sockets at its address when it became Serving.
    #[serde(default)]
    pub listeners: Listeners,
    /// Time at which it was minted.
    pub minted: Timestamp,
    /// Time at which it reached this stage.
    pub since: Timestamp,
    /// True if the instance was Down for too long. It is drained as soon as another has taken its
    /// place.
    pub doomed: bool,
    /// The state version in which it left the snapshot, once Draining.
    pub left: Option<u64>,
    /// True if it may be stopped: no request is in flight on it, or its drain deadline has passed.
    pub released: bool,
    /// True if it may be stopped and its host is lost. It is stopped when the host is heard again, and no
    /// rollout waits for it, except one whose releases must not run at the same time.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub owed: bool,
}

/// The addresses of an instance that is Gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Abandoned {
    /// The host it ran on.
    pub host: HostId,
    /// The addresses that it was given.
    pub addresses: Vec<Address>,
}

impl Instance {
    /// Returns an instance that was minted just now.
    pub(crate) fn joining(release: ReleaseNo, minted: &Minted, at: Timestamp) -> Self {
        let Minted { number: _, host, address, health_address } = minted.clone();
        Self {
            release,
            host,
            address,
            health_address,
            stage: Stage::Joining,
            listeners: Listeners::Unknown,
            minted: at,
            since: at,
            doomed: false,
            left: None,
            released: false,
            owed: false,
        }
    }

    /// Returns all addresses that the instance was given.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        core::iter::once(&self.address).chain(&self.health_address)
    }
}

/// The previous release, kept running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandbyState {
    /// The release.
    pub release: ReleaseNo,
    /// Time at which it is retired; `None` keeps it until the next switch.
    pub until: Option<Timestamp>,
}

/// Recent deaths of one release's instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deaths {
    /// Deaths in a row. A death after [`Deaths::STABLE`] of service begins a new row.
    pub in_a_row: u32,
    /// Time of the last death.
    pub last: Timestamp,
    /// The exit of the last instance; `None` if it was given up while alive.
    pub exit: Option<Exit>,
}

impl Deaths {
    /// An instance that served for this time has not died of its start: the count begins anew.
    pub const STABLE: Millis = Millis::from_secs(60);
    /// Unobserved deaths within this time of each other count as one.
    pub const TOGETHER: Millis = Millis::from_secs(1);
    /// The longest pause between two starts.
    pub const LONGEST: Millis = Millis::from_secs(60);

    /// Returns the pause before the next start: none after the first death, then 1 s doubling up to 60
    /// s.
    pub fn pause(&self) -> Millis {
        match self.in_a_row {
            0 | 1 => Millis(0),
            n => Millis(1_000 << (n - 2).min(6)).min(Self::LONGEST),
        }
    }

    /// Returns the time at which the next start is due.
    pub fn next_start(&self) -> Timestamp {
        self.last.after(self.pause())
    }
}

/// A move of the app from one release to another.
///
/// Many fields: the type is one object on disk. Its format grows only by adding fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// The rollout's id.
    pub id: RolloutId,
    /// The purpose of the rollout.
    pub kind: RolloutKind,
    /// The release that was live before.
    pub from: Option<ReleaseNo>,
    /// The release that comes in.
    pub to: ReleaseNo,
    /// Time at which it started.
    pub started: Timestamp,
    /// Its current phase.
    pub phase: Phase,
    /// Time at which this phase began.
    pub since: Timestamp,
    /// Deaths of the candidate's instances so far.
    pub crashes: u32,
    /// Number of times that a port turned out to be taken by another program.
    pub ports_taken: u32,
    /// The last change of the share, forward or back.
    pub switched: Option<Switched>,
    /// The candidate's share of the traffic.
    pub share: Share,
    /// The rung that the rollout stands on or moves to, from 1 on.
    pub rung: u16,
    /// True once the candidate has had a share of the traffic. Going back is a revert from then on.
    pub went_live: bool,
    /// Set while the rollout is paused.
    pub paused: Option<Pause>,
    /// True while the app is closed for its users, until the candidate or again the old release is
    /// complete.
    pub closed: bool,
    /// Why the rollout has failed, if the candidate stays because no release is better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Cause>,
    /// The hosts that it may do without, and those that it does without.
    #[serde(default, skip_serializing_if = "Budget::is_absent")]
    pub budget: Budget,
}

/// A pause of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// The failure that paused it; `None` if a person ran `segue pause`.
    pub because: Option<String>,
    /// Time at which the pause began.
    pub since: Timestamp,
}

/// Durations of the last start and the last drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pace {
    /// Time from minted to Serving.
    pub start: Option<Millis>,
    /// Time from Draining to Gone.
    pub drain: Option<Millis>,
}

impl Rollout {
    /// Returns why the rollout is reverted or has failed, if it is or has.
    pub fn cause(&self) -> Option<&Cause> {
        match &self.phase {
            Phase::Reverting { cause } => Some(cause),
            Phase::Starting
            | Phase::Ready
            | Phase::Switching
            | Phase::Holding
            | Phase::Watching
            | Phase::Settling => self.failed.as_ref(),
        }
    }

    /// Returns whether the candidate has a share of the traffic or may get one.
    pub fn may_have_traffic(&self) -> bool {
        !matches!(self.phase, Phase::Reverting { .. }) || self.share != Share::NONE
    }

    /// Returns whether the live release stays live however the rollout ends. This holds if its
    /// instances are only renewed, or if it is the first release and has the traffic: there is no
    /// release to go back to.
    pub fn keeps_live(&self) -> bool {
        self.kind.renews() || (self.from.is_none() && self.share == Share::ALL)
    }

    /// Returns whether users are being taken back to another release, and not every proxy has acknowledged it.
    pub(crate) fn is_switching_back(&self) -> bool {
        let goes_back =
            self.kind == RolloutKind::Rollback || matches!(self.phase, Phase::Reverting { .. });
        goes_back && self.switched.is_some_and(|switched| switched.took.is_none())
    }

    /// Number of ports taken by other programs after which the rollout fails.
    pub const PORT_ATTEMPTS: u32 = 3;
    /// Number of deaths of instances after which the rollout fails while it waits for a person.
    pub const CRASHES_WHILE_WAITING: u32 = 3;
}

/// The phase of a rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The candidate's instances start and become healthy.
    Starting,
    /// The candidate's instances are healthy. A gate delays the switch.
    Ready,
    /// The candidate's new share is journaled. Workers have yet to acknowledge it.
    Switching,
    /// The candidate has a share of the traffic. A gate delays the next step.
    Holding,
    /// The candidate is live. The old release stays complete beside it.
    Watching,
    /// Instances that are no longer needed drain and stop.
    Settling,
    /// The old release has, or gets back, the traffic. The candidate drains and stops.
    Reverting {
        /// Why the rollout is reverted.
        cause: Cause,
    },
}

impl Phase {
    /// Returns one phase of each kind, in the order in which a rollout may pass through them. Does not
    /// compile until a new kind is given its place here.
    #[cfg(feature = "testing")]
    pub fn all() -> impl Iterator<Item = Self> {
        core::iter::successors(Some(Self::Starting), |phase| match phase {
            Self::Starting => Some(Self::Ready),
            Self::Ready => Some(Self::Switching),
            Self::Switching => Some(Self::Holding),
            Self::Holding => Some(Self::Watching),
            Self::Watching => Some(Self::Settling),
            Self::Settling => Some(Self::Reverting { cause: Cause::Removed }),
            Self::Reverting { .. } => None,
        })
    }

    /// Returns whether a rollout can be paused in this phase.
    pub fn can_pause(&self) -> bool {
        match self {
            Self::Starting | Self::Ready | Self::Holding => true,
            Self::Switching | Self::Watching | Self::Settling | Self::Reverting { .. } => false,
        }
    }

    /// Returns the name of the phase for people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Switching => "switching",
            Self::Holding => "holding",
            Self::Watching => "watching",
            Self::Settling => "settling",
            Self::Reverting { .. } => "reverting",
        }
    }
}

/// A switch of the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switched {
    /// Time of the decision.
    pub at: Timestamp,
    /// The state version that contains the switch.
    pub version: u64,
    /// Time from the decision to the last worker's acknowledgement.
    pub took: Option<Millis>,
    /// How far apart the proxies were, if there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
}
