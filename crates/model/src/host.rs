//! Messages between control and the agent of a host. Commands may be repeated: each describes a desired
//! state, so carrying it out twice has the effect of carrying it out once.

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
    /// The number of the instance or the work. Both share one sequence of numbers.
    pub id: InstanceId,
    /// Its release.
    pub release: ReleaseNo,
    /// The release's label.
    pub label: Label,
    /// The digest of the list of the release's files.
    pub content: Option<Digest>,
    /// The settings to run it.
    pub run: Run,
    /// The settings to reach and probe an instance; `None` for a work, which serves no requests.
    pub serving: Option<Serving>,
    /// The number of the lease that a work holds. The command gets it as `SEGUE_LEASE_TOKEN`.
    pub token: Option<FencingToken>,
}

/// The settings to reach and probe an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serving {
    /// The address it has to listen at. The app gets it as `HOST` and `PORT`, or as `SOCKET`.
    pub address: Address,
    /// The address for probes, if it is a separate one. The app gets the port as `HEALTH_PORT`.
    pub health_address: Option<Address>,
    /// The `Host` of its probes; `None` uses the address.
    pub probe_host: Option<String>,
    /// The conventions for checks and probes that the settings do not determine.
    pub conventions: Conventions,
    /// The health check, from its start to its end.
    pub health: HealthCheck,
}

impl Serving {
    /// Returns who may listen at its address, according to the settings.
    pub fn listener(&self, run: &Run) -> ListenerRule {
        match self.conventions {
            Conventions::First => ListenerRule::Any,
            Conventions::Second => run.listener,
        }
    }
}

/// The state of an instance that the agent should expect when it is told to run it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expect {
    /// The instance may have to be started. One that was started before is adopted.
    Fresh,
    /// The instance was seen running. It is adopted or reported as exited, and never started again.
    Running,
}

/// A command to a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToHost {
    /// The host.
    pub host: HostId,
    /// The term of the sending control. An agent refuses commands of a lower term than it has seen, since
    /// that control has been replaced.
    pub term: u64,
    /// The command.
    pub command: HostCommand,
}

/// A report from a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FromHost {
    /// The host.
    pub host: HostId,
    /// The report.
    pub report: HostReport,
}

/// A command from control to an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostCommand {
    /// Run and probe this instance.
    Run {
        /// The instance.
        launch: alloc::boxed::Box<Launch>,
        /// The state to expect. It determines whether the agent may start the instance.
        expect: Expect,
    },
    /// End this instance with its whole process tree: SIGTERM, and SIGKILL after `grace`. Answered by
    /// [`HostReport::Exited`], even if the instance was never started.
    Stop {
        /// The instance.
        id: InstanceId,
        /// Time between SIGTERM and SIGKILL.
        grace: Millis,
    },
    /// Name free ports. Answered by [`HostReport::Ports`].
    OfferPorts {
        /// Ports that are in use or resting, regardless of the machine's view.
        except: Vec<u16>,
    },
    /// Delete everything of an app except this. Answered by [`HostReport::Kept`] once the rest is deleted.
    Keep(alloc::boxed::Box<Keep>),
}

/// The data that a host still needs for one app. All other data of the app is deleted. Without any release
/// or instance, the app is removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    /// The app.
    pub app: AppName,
    /// The releases, with the digest of their list of files.
    pub releases: Vec<(ReleaseNo, Option<Digest>)>,
    /// The digests of the values of all variables that these releases name.
    pub env: BTreeSet<Digest>,
    /// Instances that are not Gone, works that have not ended, and the last ones of both that have. Their
    /// output is kept.
    pub instances: Vec<InstanceId>,
    /// Time at which the app was removed with its state. A state folder created before is deleted too. One
    /// created later, by hand or from a backup, stays.
    pub forget_state: Option<Timestamp>,
    /// The app's last rollout when the command was issued. The command does not concern data of later
    /// rollouts.
    pub last_rollout: RolloutId,
}

impl Keep {
    /// Returns whether the app is removed.
    pub fn is_nothing(&self) -> bool {
        self.releases.is_empty() && self.instances.is_empty()
    }
}

/// A report from an agent to control.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostReport {
    /// What the instance needs is being fetched from the server, before it is started.
    Fetching {
        /// The instance.
        id: InstanceId,
        /// The number of bytes of its release's files that are here, of those that were missing.
        bytes: u64,
        /// The number of bytes that were missing.
        of: u64,
        /// Why the last try failed; `None` if bytes have come since the last report.
        trouble: Option<String>,
    },
    /// The instance's process runs.
    Running {
        /// The instance.
        id: InstanceId,
        /// The process id.
        pid: u32,
    },
    /// The health or the result of the last probe changed.
    Health {
        /// The instance.
        id: InstanceId,
        /// The health according to `rise` and `fall`.
        health: Health,
        /// Number of consecutive probes with this result.
        streak: u32,
        /// The result of the last bad probe: `GET /up answered 500`, `connection refused`.
        note: Option<String>,
        /// True if the instance would be Down with unanswered probes counted as bad. `health` ignores those,
        /// since a busy instance may be healthy.
        #[serde(default)]
        unanswered: bool,
        /// The sockets that listen at its address.
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
        /// The exit.
        exit: Exit,
        /// True if another program holds its port, which is not the release's fault.
        address_in_use: bool,
        /// The last lines of its output.
        tail: Vec<String>,
    },
    /// Everything that this command did not name is deleted.
    Kept(alloc::boxed::Box<Keep>),
    /// These ports were free just before.
    Ports {
        /// The ports.
        free: Vec<u16>,
    },
}

/// Why an instance could not be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotStarted {
    /// Another program holds its port.
    AddressInUse,
    /// The machine or the release does not allow the start. The text names act, object and cause.
    Refused(String),
}

/// The exit of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// An exit with this code.
    Code(i32),
    /// Termination by this signal.
    Signal(i32),
    /// The end was not observed: the machine went down, or the shim was killed.
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
