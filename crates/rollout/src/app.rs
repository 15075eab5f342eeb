//! The state of one app: a fold over its facts, and nothing else. It never holds observations.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;

use model::{
    Address, AppName, Exit, FencingToken, HostId, InstanceId, Label, Listeners, Maintenance,
    Millis, Receipt, Release, ReleaseNo, RolloutId, Share, Stage, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::planted::Bug;
use crate::{Cause, Minted, RolloutKind, Work};

/// One app.
/// Many fields: it is one object on disk, and grows by fields only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct App {
    /// Its name.
    pub name: AppName,
    /// How many facts made this state.
    pub version: u64,
    /// Stored releases.
    pub releases: BTreeMap<ReleaseNo, Release>,
    /// Instances that are not Gone, by number.
    pub instances: BTreeMap<u64, Instance>,
    /// Works that have not ended, by number: what runs for the app and serves nobody.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub works: BTreeMap<u64, Work>,
    /// The release that gets production traffic.
    pub live: Option<ReleaseNo>,
    /// The previous one, kept warm.
    pub standby: Option<StandbyState>,
    /// The rollout under way.
    pub rollout: Option<Rollout>,
    /// How releases have been dying, for back-off and for messages.
    pub deaths: BTreeMap<ReleaseNo, Deaths>,
    /// The last instances that are Gone, at most [`App::REMEMBERED`]: their output is kept.
    pub remembered: VecDeque<u64>,
    /// The last works that have ended, at most [`App::REMEMBERED`]: their output is kept.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub remembered_works: VecDeque<u64>,
    /// The last rollouts' receipts, at most [`App::RECEIPTS`].
    pub receipts: VecDeque<Receipt>,
    /// The last number given to a release; none is given twice.
    pub last_release: u32,
    /// The last number given to a rollout; none is given twice.
    pub last_rollout: u32,
    /// The last number given to an instance or a work; none is given twice.
    pub last_instance: u64,
    /// The number of the last lease that was granted; none is given twice.
    #[serde(default)]
    pub last_token: FencingToken,
    /// Since when the app is being removed.
    pub removing: Option<Timestamp>,
    /// When the app was removed together with its state, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forget_state: Option<Timestamp>,
    /// The number of instances of every release, instead of what their files say.
    pub scale: Option<u16>,
    /// Set while somebody has closed the app for its users.
    pub maintenance: Option<Maintenance>,
    /// How long starts and drains have taken.
    pub pace: Pace,
}

impl App {
    /// Instances that are Gone whose output is kept.
    pub const REMEMBERED: usize = 6;
    /// Receipts kept.
    pub const RECEIPTS: usize = 20;
    /// Releases kept besides those on offer by segue 0.1, whatever they were worth.
    pub(crate) const RELEASES: usize = 10;
    /// Releases kept besides those on offer where nobody says otherwise: so many that had users, and so
    /// many rows of those that had none.
    pub const KEPT: u16 = 10;
    /// Instances of one release at the most.
    pub const REPLICAS: u16 = 1_000;
    /// Works at the most at one time.
    pub const WORKS: usize = 100;

    /// An app nothing has happened to yet.
    pub fn new(name: AppName) -> Self {
        Self {
            name,
            version: 0,
            releases: BTreeMap::new(),
            instances: BTreeMap::new(),
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
        }
    }

    /// The full id of the instance or work with that number.
    pub fn id(&self, number: u64) -> InstanceId {
        InstanceId { app: self.name.clone(), number }
    }

    /// The releases on offer: every other one's instances are drained. Live first.
    pub fn on_offer(&self) -> impl Iterator<Item = ReleaseNo> + Clone {
        let rollout = self.rollout.as_ref();
        let to = rollout.filter(|r| r.may_have_traffic()).map(|r| r.to);
        let from = rollout.filter(|r| r.phase != Phase::Settling).and_then(|r| r.from);
        let all = [self.live, from, self.standby.map(|s| s.release), to];
        let offered = if self.removing.is_some() { [None; 4] } else { all };
        (0..4).filter_map(move |i| offered[i].filter(|r| !offered[..i].contains(&Some(*r))))
    }

    /// How many instances this release has when it is whole.
    pub fn replicas(&self, release: ReleaseNo) -> u16 {
        let stored = self.releases.get(&release);
        stored.map_or(0, |stored| self.scale.unwrap_or(stored.spec.run.replicas))
    }

    /// The part of the traffic this release gets.
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

    /// The instances of one release that are not Gone.
    pub fn instances_of(
        &self,
        release: ReleaseNo,
    ) -> impl Iterator<Item = (u64, &Instance)> + Clone {
        self.instances.iter().filter(move |(_, i)| i.release == release).map(|(n, i)| (*n, i))
    }

    /// The host of the instance or work with that number.
    pub fn host_of(&self, number: u64) -> Option<&HostId> {
        let of_work = || self.works.get(&number).map(|work| &work.host);
        self.instances.get(&number).map(|instance| &instance.host).or_else(of_work)
    }

    /// The work that holds the lease of that name.
    pub fn holder(&self, name: &Label) -> Option<u64> {
        let holds = |work: &Work| work.token.is_some() && work.task.name == *name;
        let holder = self.works.iter().find(|(_, work)| holds(work));
        holder.map(|(number, _)| *number).filter(|_| !Bug::LeasesTwice.is_planted())
    }

    /// The release people call that.
    pub fn labelled(&self, label: &Label) -> Option<&Release> {
        self.releases.values().find(|release| release.label == *label)
    }

    /// A release's label. One that is not stored any more gets a label of its number.
    pub fn label(&self, release: ReleaseNo) -> Label {
        let stored = self.releases.get(&release).map(|stored| stored.label.clone());
        stored.unwrap_or_else(|| {
            let text = alloc::format!("release-{}", release.0);
            text.parse().expect("letters, a dash and digits make a label")
        })
    }

    /// Nothing is left of it but its numbers.
    pub fn is_removed(&self) -> bool {
        self.removing.is_some() && self.instances.is_empty() && self.works.is_empty()
    }
}

/// A running copy of a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// Of which release.
    pub release: ReleaseNo,
    /// Where it runs. States of earlier versions know one host only.
    #[serde(default = "HostId::local")]
    pub host: HostId,
    /// Where it listens.
    pub address: Address,
    /// Where it has to answer probes, if not there.
    #[serde(default)]
    pub health_address: Option<Address>,
    /// How far its life is.
    pub stage: Stage,
    /// The sockets at its address when it became Serving.
    #[serde(default)]
    pub listeners: Listeners,
    /// When it was minted.
    pub minted: Timestamp,
    /// When it reached this stage.
    pub since: Timestamp,
    /// The instance has been Down too long: it is drained as soon as another has taken its place.
    pub doomed: bool,
    /// The state version in which it left the snapshot, once Draining.
    pub left: Option<u64>,
    /// No request is in flight on it, or its time was up: it may be stopped.
    pub released: bool,
}

impl Instance {
    /// One that was minted just now.
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
        }
    }

    /// All addresses that it was given.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        core::iter::once(&self.address).chain(&self.health_address)
    }
}

/// The previous release, kept warm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandbyState {
    /// Which.
    pub release: ReleaseNo,
    /// Until when; `None` keeps it until the next switch.
    pub until: Option<Timestamp>,
}

/// How a release has been dying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deaths {
    /// Deaths in a row, none of them after [`Deaths::STABLE`] of service.
    pub in_a_row: u32,
    /// The last one.
    pub last: Timestamp,
    /// How it ended; `None` if it was given up alive.
    pub exit: Option<Exit>,
}

impl Deaths {
    /// An instance that served so long has not died of its start: counting begins anew.
    pub const STABLE: Millis = Millis::from_secs(60);
    /// Deaths that nobody saw, so close to each other, have one cause.
    pub const TOGETHER: Millis = Millis::from_secs(1);
    /// The longest pause between two starts.
    pub const LONGEST: Millis = Millis::from_secs(60);

    /// The pause before the next start: none after the first death, then 1 s doubling up to 60 s.
    pub fn pause(&self) -> Millis {
        match self.in_a_row {
            0 | 1 => Millis(0),
            n => Millis(1_000 << (n - 2).min(6)).min(Self::LONGEST),
        }
    }

    /// When the next start is due.
    pub fn next_start(&self) -> Timestamp {
        self.last.after(self.pause())
    }
}

/// Moving the app from one release to another.
/// Many fields: it is one object on disk, and grows by fields only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// Which.
    pub id: RolloutId,
    /// What it is for.
    pub kind: RolloutKind,
    /// The release that was live before.
    pub from: Option<ReleaseNo>,
    /// The release that comes in.
    pub to: ReleaseNo,
    /// When it started.
    pub started: Timestamp,
    /// Where it is.
    pub phase: Phase,
    /// When this phase began.
    pub since: Timestamp,
    /// Deaths of the candidate's instances so far.
    pub crashes: u32,
    /// How often a port turned out to be taken.
    pub ports_taken: u32,
    /// The last change of the share, forward or back.
    pub switched: Option<Switched>,
    /// The candidate's part of the traffic.
    pub share: Share,
    /// The rung it stands on, or climbs to, from 1 on.
    pub rung: u16,
    /// The candidate has had a part of the traffic: from then on a way back is a revert.
    pub went_live: bool,
    /// Why and since when the rollout is held where it is, if it is.
    pub paused: Option<Pause>,
    /// The app is closed for its users until the candidate, or the old release again, is whole.
    pub closed: bool,
    /// Why it has failed, if the candidate stays because no release is better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Cause>,
}

/// Why a rollout is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// A failure that held it; `None` if somebody said `segue pause`.
    pub because: Option<String>,
    /// Since when.
    pub since: Timestamp,
}

/// How long starts and drains have taken, the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pace {
    /// From minted to Serving.
    pub start: Option<Millis>,
    /// From Draining to Gone.
    pub drain: Option<Millis>,
}

impl Rollout {
    /// Why it is taken back or has failed, if so.
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

    /// The candidate has a part of the traffic, or may get one.
    pub fn may_have_traffic(&self) -> bool {
        !matches!(self.phase, Phase::Reverting { .. }) || self.share != Share::NONE
    }

    /// Whatever becomes of it, what is live stays live: its instances are only renewed, or it is the
    /// first release and has the traffic, so that there is nothing to go back to.
    pub fn keeps_live(&self) -> bool {
        self.kind.renews() || (self.from.is_none() && self.share == Share::ALL)
    }

    /// How often an instance's port may be taken by somebody else.
    pub const PORT_ATTEMPTS: u32 = 3;
    /// How often an instance may die while the rollout waits for a person.
    pub const CRASHES_WHILE_WAITING: u32 = 3;
}

/// Where a rollout is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The candidate's instances start and become healthy.
    Starting,
    /// The candidate's instances are healthy; a gate keeps the switch waiting.
    Ready,
    /// The candidate's new share is journaled; workers acknowledge it.
    Switching,
    /// The candidate has a part of the traffic; a gate keeps the next step waiting.
    Holding,
    /// The candidate is live; the old release stays whole beside it.
    Watching,
    /// What is no longer needed drains and stops.
    Settling,
    /// The old release has the traffic (again); the candidate drains and stops.
    Reverting {
        /// Why.
        cause: Cause,
    },
}

impl Phase {
    /// Returns one phase of each kind, in the order in which a rollout may come through them. A new kind has to
    /// be given its place here before this compiles.
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

    /// A rollout can be held here.
    pub fn can_pause(&self) -> bool {
        match self {
            Self::Starting | Self::Ready | Self::Holding => true,
            Self::Switching | Self::Watching | Self::Settling | Self::Reverting { .. } => false,
        }
    }

    /// Its name for people.
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
    /// When it was decided.
    pub at: Timestamp,
    /// The state version that has it.
    pub version: u64,
    /// How long it took until the last worker acknowledged it.
    pub took: Option<Millis>,
}
