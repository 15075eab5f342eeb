//! Observations: the current facts of the outside world. They may be lost at any time.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use model::{
    AppCounters, AppSpec, Askers, Exit, Generation, Health, HostAbilities, HostDuty, HostId,
    InstanceId, Listeners, Millis, Obstacle, ProxyId, Reach, Reached, ReleaseNo, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::SentTables;
use crate::planted::Bug;

/// Observations of one app.
#[derive(Clone, Debug)]
pub struct Observed<'a> {
    /// Observations of instances, by number. An instance that was not observed is missing.
    pub instances: &'a BTreeMap<u64, InstanceSeen>,
    /// The highest state version contained in a snapshot that every worker acknowledged.
    pub acknowledged: u64,
    /// The number of that snapshot.
    pub generation: Generation,
    /// Time of the last acknowledgement.
    pub acknowledged_at: Timestamp,
    /// How far apart the proxies have acknowledged that snapshot, if there are several.
    pub spread: Option<Spread>,
    /// The hosts of the fleet. New instances are placed on those that are here.
    pub hosts: &'a BTreeMap<HostId, HostSeen>,
    /// Set while the server suspects its own network.
    pub suspicion: Option<Suspicion>,
    /// Time at which this control started. Deadlines begin anew from here.
    pub recovered: Timestamp,
    /// Time for which the candidate was busy in this phase of the rollout. The clock of a step stands
    /// during this time.
    pub stood: Millis,
    /// Counts of the proxies since the rollout began; `None` if a crash lost them.
    pub counted: Option<&'a AppCounters>,
    /// Number of releases that stay stored besides those on offer.
    pub keep_releases: u16,
    /// Counts of the proxies in the last minutes, oldest first. A minute is cut short where a
    /// rollout begins.
    pub minutes: &'a VecDeque<Minute>,
    /// The proxies.
    pub proxies: &'a ProxiesSeen,
}

/// How far apart several proxies have acknowledged one switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// Number of proxies that the switch waited for.
    pub proxies: u16,
    /// Time from the first acknowledgement to the last, as control has heard them.
    pub skew: Millis,
    /// Time that they were given to prepare their tables before.
    #[serde(default)]
    pub prepare: Millis,
}

/// Observations of the proxies.
#[derive(Clone, Debug, Default)]
pub struct ProxiesSeen {
    /// Number of proxies that are heard and neither late nor lost. Without any, no users can be moved.
    pub here: u16,
    /// The proxies, the server's own included, that have to reach an instance before it gets users: all that
    /// switches wait for, except those that are drained.
    pub asked: Vec<AskedProxy>,
    /// The proxies on other machines.
    pub remote: Vec<ProxySeen>,
}

/// A proxy that asks instances on other machines whether it reaches them.
#[derive(Clone, Debug)]
pub struct AskedProxy {
    /// The proxy.
    pub name: ProxyId,
    /// Time since which it is waited for.
    pub since: Timestamp,
    /// What it found last. One that is missing was not asked, or has not answered yet.
    pub reached: Arc<BTreeMap<InstanceId, Reached>>,
}

/// Observations of a proxy on another machine.
#[derive(Clone, Debug)]
pub struct ProxySeen {
    /// The proxy.
    pub name: ProxyId,
    /// Set while switches do not wait for it. It may serve users all the same.
    pub absence: Option<Absence>,
    /// True if it is connected.
    pub is_heard: bool,
    /// Time at which it was last no longer late or lost. What it has in flight is known since then.
    pub followed_at: Timestamp,
    /// The tables that it may use.
    pub tables: Arc<SentTables>,
}

/// The absence of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absence {
    /// Time since which it lasts.
    pub since: Timestamp,
    /// True if the proxy is not heard; false if it does not answer in time.
    pub is_lost: bool,
}

/// Observations of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSeen {
    /// The address at which its instances listen.
    pub address: IpAddr,
    /// Ports that may be given to new instances, best first.
    pub free_ports: Vec<u16>,
    /// The features that it offers to new instances.
    pub abilities: HostAbilities,
    /// Whether its agent is heard.
    pub reach: Reach,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What it is used for.
    pub duty: HostDuty,
    /// Time at which its agent was last heard again after a silence.
    pub back_since: Option<Timestamp>,
}

/// The server's suspicion that its own network is at fault, since so many members fell silent at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspicion {
    /// Time at which it arose.
    pub since: Timestamp,
    /// Number of members that are not heard.
    pub silent: u16,
    /// Number of hosts and proxies on other machines.
    pub of: u16,
}

impl HostSeen {
    /// Returns whether new instances may be placed on the host.
    pub fn takes_instances(&self) -> bool {
        self.reach == Reach::Here && self.duty.is_active()
    }

    /// Returns whether instances of this release are meant for the host.
    pub fn is_meant(&self, spec: &AppSpec) -> bool {
        spec.on.as_ref().is_none_or(|on| on.matches(&self.labels))
    }

    /// Returns why no instance of this release can run here, if so.
    pub fn obstacle(&self, spec: &AppSpec) -> Option<Obstacle> {
        match &spec.on {
            Some(on) if !on.matches(&self.labels) => Some(Obstacle {
                why: format!("no host that takes instances has the label {on}"),
                hint: "`segue fleet` shows their labels; `on` in [placement] says which are meant"
                    .into(),
            }),
            Some(_) | None => self.abilities.obstacle(spec),
        }
    }
}

/// Counts of one app in one minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Minute {
    /// Time at which the minute began.
    pub began: Timestamp,
    /// Counts by release.
    pub releases: BTreeMap<ReleaseNo, Tally>,
}

impl Minute {
    /// The length of a minute.
    pub const LENGTH: Millis = Millis::from_secs(60);
}

/// Counts of one release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Tally {
    /// Number of answers from its instances, and of requests that its instances failed.
    pub answers: u64,
    /// Number of answers that speak against the release (5xx except 501 and 505), and of requests that
    /// its instances failed.
    pub bad: u64,
    /// The clients of these requests.
    pub askers: Askers,
}

impl Tally {
    /// Adds another tally.
    pub fn add(&mut self, other: &Self) {
        self.answers += other.answers;
        self.bad += other.bad;
        self.askers.add(&other.askers);
    }
}

/// Observations of one instance.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct InstanceSeen {
    /// The instance's process.
    pub process: Process,
    /// Time since which its process is seen to run. Before, its files were laid out.
    pub running_since: Option<Timestamp>,
    /// The fetch of its files from the server, before the start.
    pub fetch: FetchSeen,
    /// The health according to the probes.
    pub health: Health,
    /// Number of consecutive probes with this result.
    pub streak: u32,
    /// The result of the last bad probe.
    pub note: Option<String>,
    /// The sockets that listen at its address.
    pub listeners: Listeners,
    /// Time since which it has this health.
    pub health_since: Timestamp,
    /// Number of requests and tunnels in flight, summed over all proxies that count them.
    pub in_flight: u32,
    /// True if some proxy cannot tell whether more requests are in flight.
    pub uncounted: bool,
    /// Set while the instance does not answer its probes because it is busy with requests. Its health
    /// then stays unchanged.
    pub busy: Option<Busy>,
}

/// Observations of the fetch of an instance's files by its host.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct FetchSeen {
    /// Time of the last report that some of them had come.
    pub came_at: Option<Timestamp>,
    /// How far it has come; `None` until it is known what is missing.
    pub progress: Option<FetchProgress>,
    /// Why the last try failed, if nothing has come since.
    pub trouble: Option<String>,
}

/// How far a fetch has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchProgress {
    /// The number of bytes that have come.
    pub bytes: u64,
    /// The number of bytes that were missing.
    pub of: u64,
}

/// An instance that is busy with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy {
    /// Time since which it is busy.
    pub since: Timestamp,
    /// Time from which the instance counts as Down, unless it makes progress before.
    pub until: Timestamp,
}

/// Observations of an instance's process.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Process {
    /// Nothing was observed yet.
    #[default]
    Unseen,
    /// The process runs.
    Running {
        /// The process id.
        pid: u32,
    },
    /// Another program holds its port.
    AddressInUse,
    /// The process cannot be started.
    Refused(String),
    /// The process has ended, with its whole tree.
    Exited {
        /// The exit.
        exit: Exit,
        /// True if another program holds its port.
        address_in_use: bool,
        /// The last lines of its output.
        tail: Vec<String>,
    },
}

impl Process {
    /// Returns whether nothing is left of the process.
    pub fn has_ended(&self) -> bool {
        match self {
            Self::Unseen | Self::Running { .. } => false,
            Self::AddressInUse | Self::Refused(_) | Self::Exited { .. } => true,
        }
    }
}

impl<'a> Observed<'a> {
    /// Returns a proxy on another machine that may send requests to this instance.
    pub fn remote_user(&self, id: &InstanceId) -> Option<&'a ProxySeen> {
        let mut remote = self.proxies.remote.iter();
        remote.find(|proxy| proxy.tables.may_use(id)).filter(|_| !Bug::ForgetsAbsent.is_planted())
    }

    /// Returns a proxy that is late or lost and may send requests to this instance.
    pub fn absent_user(&self, id: &InstanceId) -> Option<&'a ProxySeen> {
        let mut absent = self.proxies.remote.iter().filter(|proxy| proxy.absence.is_some());
        absent.find(|proxy| proxy.tables.may_use(id))
    }

    /// Returns a proxy that is late, lost or not heard just now and may send requests to this instance.
    pub fn unheard_user(&self, id: &InstanceId) -> Option<&'a ProxySeen> {
        let is_unheard = |proxy: &&ProxySeen| proxy.absence.is_some() || !proxy.is_heard;
        let mut unheard = self.proxies.remote.iter().filter(is_unheard);
        unheard.find(|proxy| proxy.tables.may_use(id))
    }

    /// Returns the observations of the instance with this number.
    pub fn instance(&self, number: u64) -> &InstanceSeen {
        static NOTHING: InstanceSeen = InstanceSeen {
            process: Process::Unseen,
            running_since: None,
            fetch: FetchSeen { came_at: None, progress: None, trouble: None },
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
