//! What control and a host's agent say to each other. Commands may be repeated: each says what is
//! to be so, and doing it twice is the same as doing it once.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    Address, AppName, Conventions, Digest, FencingToken, Health, HealthCheck, HostId, InstanceId,
    Label, ListenerRule, Listeners, Millis, ReleaseNo, RolloutId, Run, Timestamp,
};

/// Everything an agent needs to run an instance or a work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The instance, or the work: both have numbers of one sequence.
    pub id: InstanceId,
    /// Its release.
    pub release: ReleaseNo,
    /// The release's label.
    pub label: Label,
    /// The release's files.
    pub content: Option<Digest>,
    /// What to run.
    pub run: Run,
    /// How an instance is reached and probed; `None` for a work, which serves nobody.
    pub serving: Option<Serving>,
    /// The number of the lease that a work holds: the command gets it as `SEGUE_LEASE_TOKEN`.
    pub token: Option<FencingToken>,
}

/// How an instance is reached and probed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serving {
    /// Where it has to listen: the app gets it as `HOST` and `PORT`, or as `SOCKET`.
    pub address: Address,
    /// Where it has to answer probes, if not there: the app gets the port as `HEALTH_PORT`.
    pub health_address: Option<Address>,
    /// The `Host` of its probes; `None` is the address.
    pub probe_host: Option<String>,
    /// How it is checked and probed where its settings say nothing.
    pub conventions: Conventions,
    /// How to probe it, from its start to its end.
    pub health: HealthCheck,
}

impl Serving {
    /// Who may listen at its address, by the settings of what it runs.
    pub fn listener(&self, run: &Run) -> ListenerRule {
        match self.conventions {
            Conventions::First => ListenerRule::Any,
            Conventions::Second => run.listener,
        }
    }
}

/// What the agent should find when it is told to run an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expect {
    /// The instance may have to be started. One that was started before is adopted.
    Fresh,
    /// The instance was seen running. It is adopted or reported as exited, and never started again.
    Running,
}

/// A command on its way to a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToHost {
    /// The host.
    pub host: HostId,
    /// The term of the control that asks. An agent refuses every command of a lower term than it has
    /// seen: control has been replaced since.
    pub term: u64,
    /// What it asks for.
    pub command: HostCommand,
}

/// A report and the host it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FromHost {
    /// The host.
    pub host: HostId,
    /// What it says.
    pub report: HostReport,
}

/// What control asks of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostCommand {
    /// This instance is to run, and to be probed.
    Run {
        /// The instance.
        launch: alloc::boxed::Box<Launch>,
        /// Whether it may be started.
        expect: Expect,
    },
    /// This instance is to end, with its whole process tree: SIGTERM, after `grace` SIGKILL.
    /// Answered by [`HostReport::Exited`], also if it was never started.
    Stop {
        /// The instance.
        id: InstanceId,
        /// Time between SIGTERM and SIGKILL.
        grace: Millis,
    },
    /// Name ports that are free now. Answered by [`HostReport::Ports`].
    OfferPorts {
        /// Ports that are in use or resting, whatever the machine says.
        except: Vec<u16>,
    },
    /// Only this is still needed for an app. Answered by [`HostReport::Kept`] once the rest is deleted.
    Keep(alloc::boxed::Box<Keep>),
}

/// What a host still needs for one app; everything else of the app goes. With no release and no
/// instance the app is removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    /// The app.
    pub app: AppName,
    /// The releases, with the digest of their list of files.
    pub releases: Vec<(ReleaseNo, Option<Digest>)>,
    /// The digests of all values of variables that these releases name.
    pub env: BTreeSet<Digest>,
    /// Instances that are not Gone, works that have not ended, and the last of both that have: their output
    /// is kept.
    pub instances: Vec<InstanceId>,
    /// The app was removed with its state at this time: a state folder made before goes, too. One made
    /// later, by hand or from a backup, stays.
    pub forget_state: Option<Timestamp>,
    /// The app's last rollout when this was said. What a later one brings is not meant.
    pub last_rollout: RolloutId,
}

impl Keep {
    /// The app is removed.
    pub fn is_nothing(&self) -> bool {
        self.releases.is_empty() && self.instances.is_empty()
    }
}

/// What an agent tells control.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostReport {
    /// The instance's process runs.
    Running {
        /// The instance.
        id: InstanceId,
        /// Its process.
        pid: u32,
    },
    /// The health changed, or what the last probe said did.
    Health {
        /// The instance.
        id: InstanceId,
        /// As `rise` and `fall` make it.
        health: Health,
        /// Probes in a row that said the same.
        streak: u32,
        /// What the last bad probe saw: `GET /up answered 500`, `connection refused`.
        note: Option<String>,
        /// The instance would be Down if probes without an answer in time counted as bad. `health` leaves
        /// those out, since a busy instance may be well.
        #[serde(default)]
        unanswered: bool,
        /// Who listens at its address.
        #[serde(default)]
        listeners: Listeners,
    },
    /// The instance could not be started.
    NotStarted {
        /// The instance.
        id: InstanceId,
        /// Why.
        why: NotStarted,
    },
    /// The instance and its whole process tree have ended. The last report of an instance.
    Exited {
        /// The instance.
        id: InstanceId,
        /// How.
        exit: Exit,
        /// Its port is held by somebody else: not the release's fault.
        address_in_use: bool,
        /// The last lines of its output.
        tail: Vec<String>,
    },
    /// What this command did not name is deleted.
    Kept(alloc::boxed::Box<Keep>),
    /// These ports were free a moment ago.
    Ports {
        /// The ports.
        free: Vec<u16>,
    },
}

/// Why an instance could not be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotStarted {
    /// Its port is held by somebody else.
    AddressInUse,
    /// The machine or the release does not allow it: names act, object and cause.
    Refused(String),
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Nobody saw it: the machine went down, or the shim was killed.
    Unknown,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal(signal) => write!(f, "was ended by signal {signal}"),
            Self::Unknown => f.write_str("ended, nobody saw how"),
        }
    }
}
