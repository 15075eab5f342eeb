//! Observations: what is seen now and may be forgotten.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use model::{
    AppCounters, Askers, Exit, Generation, Health, HostAbilities, HostId, Listeners, Millis,
    ReleaseNo, Timestamp,
};

/// What is seen of one app.
#[derive(Clone, Debug)]
pub struct Observed<'a> {
    /// By instance number; what is missing has not been seen.
    pub instances: &'a BTreeMap<u64, InstanceSeen>,
    /// The app's state up to this version is in a snapshot that every worker acknowledged.
    pub acknowledged: u64,
    /// That snapshot.
    pub generation: Generation,
    /// When the last acknowledgement came.
    pub acknowledged_at: Timestamp,
    /// The hosts that new instances may be placed on.
    pub hosts: &'a BTreeMap<HostId, HostSeen>,
    /// When this control started: guards begin anew from here.
    pub recovered: Timestamp,
    /// How long the candidate was busy in this phase of the rollout: the clock of a step stood.
    pub stood: Millis,
    /// What the proxies counted since the rollout began; `None` if a crash lost it.
    pub counted: Option<&'a AppCounters>,
    /// How many releases that are not on offer stay stored.
    pub keep_releases: u16,
    /// What they counted in the last minutes, oldest first; a minute ends early where a rollout begins.
    pub minutes: &'a VecDeque<Minute>,
}

/// What is seen of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSeen {
    /// Where its instances listen.
    pub address: IpAddr,
    /// Ports that may be given to new instances, best first.
    pub free_ports: Vec<u16>,
    /// What it can do for new instances.
    pub abilities: HostAbilities,
}

/// What was counted of one app in a minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Minute {
    /// When it began.
    pub began: Timestamp,
    /// By release.
    pub releases: BTreeMap<ReleaseNo, Tally>,
}

impl Minute {
    /// How long it is.
    pub const LENGTH: Millis = Millis::from_secs(60);
}

/// What was counted of one release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Tally {
    /// Answers of its instances, and requests that they failed.
    pub answers: u64,
    /// Answers that speak against the release, 5xx but 501 and 505, and requests that its instances failed.
    pub bad: u64,
    /// Whose requests these were.
    pub askers: Askers,
}

impl Tally {
    /// Takes in another one.
    pub fn add(&mut self, other: &Self) {
        self.answers += other.answers;
        self.bad += other.bad;
        self.askers.add(&other.askers);
    }
}

/// What is seen of one instance.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct InstanceSeen {
    /// Its process.
    pub process: Process,
    /// Since when its process is seen to run; what came before was laying out its files.
    pub running_since: Option<Timestamp>,
    /// What the probes say.
    pub health: Health,
    /// Probes in a row that said so.
    pub streak: u32,
    /// What the last bad probe saw.
    pub note: Option<String>,
    /// Who listens at its address.
    pub listeners: Listeners,
    /// Since when it has this health.
    pub health_since: Timestamp,
    /// Requests and tunnels in flight, over all proxies that count them.
    pub in_flight: u32,
    /// Some proxy cannot say whether there are more.
    pub uncounted: bool,
    /// The instance gives no answer to its probes because it is busy with requests: its health stands.
    pub busy: Option<Busy>,
}

/// An instance that is busy with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy {
    /// Since when.
    pub since: Timestamp,
    /// The instance counts as Down from then on, unless it makes progress before.
    pub until: Timestamp,
}

/// What is seen of an instance's process.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Process {
    /// Nothing yet.
    #[default]
    Unseen,
    /// The process runs.
    Running {
        /// Its process id.
        pid: u32,
    },
    /// Its port is held by somebody else.
    AddressInUse,
    /// The process cannot be started.
    Refused(String),
    /// The process has ended, with its whole tree.
    Exited {
        /// How.
        exit: Exit,
        /// Its port is held by somebody else.
        address_in_use: bool,
        /// Its last lines.
        tail: Vec<String>,
    },
}

impl Process {
    /// There is nothing left of it.
    pub fn has_ended(&self) -> bool {
        match self {
            Self::Unseen | Self::Running { .. } => false,
            Self::AddressInUse | Self::Refused(_) | Self::Exited { .. } => true,
        }
    }
}

impl Observed<'_> {
    /// What is seen of the instance with that number.
    pub fn instance(&self, number: u64) -> &InstanceSeen {
        static NOTHING: InstanceSeen = InstanceSeen {
            process: Process::Unseen,
            running_since: None,
            health: Health::Unknown,
            streak: 0,
            note: None,
            listeners: Listeners::Unknown,
            health_since: Timestamp(0),
            in_flight: 0,
            uncounted: false,
            busy: None,
        };
        self.instances.get(&number).unwrap_or(&NOTHING)
    }
}
