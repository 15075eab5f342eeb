//! Why a rollout is reverted or has failed.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use model::{Exit, HostAside, HostFault, InstanceId, Label, Millis, ProxyId};
use serde::{Deserialize, Serialize};

/// Why a rollout is reverted or has failed. People read its text in the error of `deploy`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// An instance ended before it was healthy.
    DiedAtStart {
        /// The instance.
        instance: InstanceId,
        /// The exit.
        exit: Exit,
        /// The last lines of its output.
        tail: Vec<String>,
    },
    /// An instance was not healthy in time.
    NeverHealthy {
        /// The instance.
        instance: InstanceId,
        /// The time it was given.
        waited: Millis,
        /// The result of the last bad probe.
        note: Option<String>,
    },
    /// An instance could not be started.
    NotStarted {
        /// The instance.
        instance: InstanceId,
        /// Why it could not be started.
        why: String,
    },
    /// Other programs took the instance's port again and again.
    PortsTaken {
        /// Number of times.
        times: u32,
    },
    /// The host named no free port in time.
    NoPorts {
        /// The time it was given.
        waited: Millis,
    },
    /// Instances kept dying while the rollout waited or was watched.
    KeptDying {
        /// Number of deaths.
        times: u32,
        /// The exit of the last one.
        exit: Option<Exit>,
        /// The last lines of its output.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tail: Vec<String>,
    },
    /// On the way back, the instances of the old release kept dying.
    OldKeptDying {
        /// Number of deaths in a row.
        times: u32,
        /// The exit of the last one; `None` if it was given up while alive.
        exit: Option<Exit>,
    },
    /// After the switch, fewer instances were healthy than required.
    BelowFloor {
        /// Number of instances Serving and Up.
        ready: u16,
        /// Number of instances required.
        floor: u16,
        /// The exit of the last instance that died.
        exit: Option<Exit>,
        /// The last lines of its output.
        tail: Vec<String>,
    },
    /// Most of the candidate's last answers were errors, while those of the live release were not.
    MostlyErrors {
        /// Number of answers and failed requests in these minutes.
        answers: u64,
        /// Number of errors among them.
        errors: u64,
    },
    /// More hosts failed than the failure budget allows.
    BudgetSpent {
        /// Number of hosts that may fail.
        of: u16,
        /// The hosts that failed.
        hosts: Vec<HostAside>,
    },
    /// A proxy did not reach a healthy instance in time.
    NotReached {
        /// The instance.
        instance: InstanceId,
        /// Which proxy, and why.
        note: String,
    },
    /// A proxy reached none of the new instances in time.
    ReachesNone {
        /// The proxy.
        proxy: ProxyId,
        /// One of the instances.
        instance: InstanceId,
        /// Why the proxy does not reach that one.
        note: String,
    },
    /// The app was closed for too long, because a proxy may use what had to stop first.
    LostProxy {
        /// The proxy.
        proxy: ProxyId,
    },
    /// A person ran `segue abort`.
    Aborted,
    /// A person ran `segue rollback`.
    RolledBack,
    /// A person deployed another release with `--replace`.
    Replaced {
        /// The other release.
        by: Label,
    },
    /// The app is being removed.
    Removed,
}

impl Cause {
    /// Returns the last lines of output of the instance that failed, if one did.
    pub fn last_words(&self) -> &[String] {
        match self {
            Self::DiedAtStart { tail, .. }
            | Self::KeptDying { tail, .. }
            | Self::BelowFloor { tail, .. } => tail,
            Self::NeverHealthy { .. }
            | Self::NotStarted { .. }
            | Self::PortsTaken { .. }
            | Self::NoPorts { .. }
            | Self::OldKeptDying { .. }
            | Self::MostlyErrors { .. }
            | Self::BudgetSpent { .. }
            | Self::NotReached { .. }
            | Self::ReachesNone { .. }
            | Self::LostProxy { .. }
            | Self::Aborted
            | Self::RolledBack
            | Self::Replaced { .. }
            | Self::Removed => &[],
        }
    }

    /// Returns whether a person asked for the end of the rollout, as opposed to a fault of anything.
    pub fn is_asked_for(&self) -> bool {
        self.blame() == Blame::Nothing
    }

    /// Returns whether the release is at fault: it goes back to nobody by itself. So is one that a person has left.
    pub fn blames_release(&self) -> bool {
        self.blame() == Blame::Release || *self == Self::RolledBack
    }

    fn blame(&self) -> Blame {
        match self {
            Self::Aborted | Self::RolledBack | Self::Replaced { .. } | Self::Removed => {
                Blame::Nothing
            }
            Self::NotReached { .. } | Self::ReachesNone { .. } | Self::LostProxy { .. } => {
                Blame::Machine
            }
            Self::BudgetSpent { hosts, .. } => {
                let cannot_run = |aside: &HostAside| matches!(aside.why, HostFault::CannotRun(_));
                if hosts.iter().any(cannot_run) { Blame::Release } else { Blame::Machine }
            }
            Self::DiedAtStart { .. }
            | Self::NeverHealthy { .. }
            | Self::NotStarted { .. }
            | Self::PortsTaken { .. }
            | Self::NoPorts { .. }
            | Self::KeptDying { .. }
            | Self::OldKeptDying { .. }
            | Self::BelowFloor { .. }
            | Self::MostlyErrors { .. } => Blame::Release,
        }
    }
}

/// What is to blame for the end of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blame {
    /// The release.
    Release,
    /// A machine of the fleet.
    Machine,
    /// Nothing: a person asked for it.
    Nothing,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DiedAtStart { instance, exit, tail } => {
                write!(f, "instance {instance} {exit} before it was healthy")?;
                last_words(f, tail)
            }
            Self::NeverHealthy { instance, waited, note } => {
                write!(f, "instance {instance} was not healthy within {waited}")?;
                note.as_ref().map_or(Ok(()), |note| write!(f, "; last probe: {note}"))
            }
            Self::NotStarted { instance, why } => {
                write!(f, "instance {instance} could not be started: {why}")
            }
            Self::PortsTaken { times } => {
                write!(f, "other programs took the instances' ports {times} times")
            }
            Self::NoPorts { waited } => {
                write!(f, "the host named no free port within {waited}")
            }
            Self::KeptDying { times, exit, tail } => {
                write!(f, "instances died {times} times")?;
                exit.map_or(Ok(()), |exit| write!(f, "; the last one {exit}"))?;
                last_words(f, tail)
            }
            Self::OldKeptDying { times, exit } => {
                write!(f, "on the way back, instances died {times} times")?;
                exit.map_or(Ok(()), |exit| write!(f, "; the last one {exit}"))
            }
            Self::BelowFloor { ready, floor, exit, tail } => {
                write!(f, "after the switch only {ready} of {floor} instances were healthy")?;
                exit.map_or(Ok(()), |exit| write!(f, "; the last one that died {exit}"))?;
                last_words(f, tail)
            }
            Self::MostlyErrors { answers, errors } => {
                write!(f, "{errors} of its last {answers} answers were errors")
            }
            Self::BudgetSpent { of, hosts } => {
                let s = if hosts.len() == 1 { "" } else { "s" };
                write!(f, "{} host{s} failed, and `failure_budget` allows {of}: ", hosts.len())?;
                hosts.iter().enumerate().try_for_each(|(number, aside)| {
                    f.write_str(if number == 0 { "" } else { "; " })?;
                    write!(f, "{aside}")
                })
            }
            Self::NotReached { instance, note } => {
                write!(f, "instance {instance} could get no users: {note}")
            }
            Self::ReachesNone { proxy, instance, note } => {
                write!(f, "{} reaches none of the new instances; ", name_of(proxy))?;
                write!(f, "{instance}: {note}")?;
                if *proxy == ProxyId::local() {
                    return Ok(());
                }
                write!(f, "; `segue fleet drain {proxy}` lets rollouts go on without it")
            }
            Self::LostProxy { proxy } => {
                write!(
                    f,
                    "{proxy} did not follow in time, and may send users to what had to stop first"
                )
            }
            Self::Aborted => f.write_str("somebody said `segue abort`"),
            Self::RolledBack => f.write_str("somebody said `segue rollback`"),
            Self::Replaced { by } => write!(f, "{by} was deployed in its place with --replace"),
            Self::Removed => f.write_str("the app is being removed"),
        }
    }
}

/// Returns the name of a proxy in sentences.
pub(crate) fn name_of(proxy: &ProxyId) -> &str {
    if *proxy == ProxyId::local() { "the server" } else { proxy.as_str() }
}

/// Writes an instance's last lines, indented below the sentence that names the instance.
fn last_words(f: &mut fmt::Formatter<'_>, tail: &[String]) -> fmt::Result {
    if !tail.is_empty() {
        f.write_str("; its last words:")?;
    }
    tail.iter().try_for_each(|line| write!(f, "\n  | {line}"))
}
