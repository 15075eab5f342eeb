//! Messages between a server and a member of its fleet, as JSON in text frames of a WebSocket.
//!
//! Each end names its version in its first message. A server and a member understand each other if their
//! versions differ by at most one. A message of a kind that the receiver does not know is skipped.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use model::{
    Abilities, AppName, Digest, Generation, HealthTable, HostAbilities, HostCommand, HostReport,
    InstanceId, ProxyDuty, ProxySettings, ReachTarget, Reached, Snapshot, TrafficReport,
};
use serde::{Deserialize, Serialize};
use wire::{LogPage, LogRequest, ProxyDrain, Secret};

use crate::shared_json::SharedJson;

/// The version of the messages that this program speaks.
pub const VERSION: u32 = 1;

/// Returns whether this program understands the messages of that version.
pub fn is_spoken(version: u32) -> bool {
    version.abs_diff(VERSION) <= 1
}

/// A run of control: a term, and a random number that tells two controls with the same term apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlRun {
    /// The term. A member refuses commands of a lower term than it has obeyed.
    pub term: u64,
    /// The random number of this run.
    pub run: u64,
}

impl fmt::Display for ControlRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:08x}", self.term, self.run)
    }
}

/// A message from a server to a member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum ToMember {
    /// The first message of every session.
    Welcome(Welcome),
    /// The server is there.
    Heartbeat,
    /// A command to a host.
    Host {
        /// The control that sends it.
        by: ControlRun,
        /// The command.
        command: HostCommand,
    },
    /// Prepare a table for this snapshot without using it.
    Prepare {
        /// The control that sends it.
        by: ControlRun,
        /// The snapshot.
        snapshot: SharedJson<Snapshot>,
    },
    /// Use the prepared snapshot of this generation.
    Commit {
        /// The control that sends it.
        by: ControlRun,
        /// The generation.
        generation: Generation,
    },
    /// Use this health table.
    Health {
        /// The control that sends it.
        by: ControlRun,
        /// The table.
        table: SharedJson<HealthTable>,
    },
    /// Use these settings.
    Settings {
        /// The control that sends it. A later one may have other settings.
        by: ControlRun,
        /// The settings.
        settings: ProxySettings,
    },
    /// Use these keys for users' cookies.
    CookieKeys {
        /// The control that sends it.
        by: ControlRun,
        /// The keys, newest first, one per line in hexadecimal.
        keys: Secret,
    },
    /// Ask these instances, and no others, whether they can be reached. Reports of the proxy say what it found.
    Reach {
        /// The control that sends it.
        by: ControlRun,
        /// The instances.
        targets: SharedJson<Vec<ReachTarget>>,
    },
    /// Be used for this. Answered by [`FromMember::Drain`] if the proxy is drained, until it is.
    Duty {
        /// The control that sends it.
        by: ControlRun,
        /// What the proxy is used for.
        duty: ProxyDuty,
    },
    /// Ask these addresses, if there is no control after a boot, which instances of the saved table still listen.
    Hosts {
        /// The control that sends it.
        by: ControlRun,
        /// Where the hosts answer, each at the address of its instances.
        confirm: Vec<SocketAddr>,
        /// Whether these are all hosts of the fleet. A server that has just started does not know those that have not
        /// connected since.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        complete: bool,
    },
    /// Read output of instances. Answered by [`FromMember::Logs`].
    ReadLogs {
        /// The number of the question, for its answer.
        question: u64,
        /// The lines that are wanted.
        request: LogRequest,
    },
    /// The member was removed from the fleet. The last message of a session.
    Removed,
    /// A message of a kind that this program does not know.
    #[serde(other)]
    Unknown,
}

/// A message from a member to its server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum FromMember {
    /// The first message of every session.
    Hello(Hello),
    /// The member is there.
    Heartbeat,
    /// A report of a host.
    Report {
        /// The report.
        report: HostReport,
    },
    /// The answer to [`ToMember::ReadLogs`].
    Logs {
        /// The number of the question.
        question: u64,
        /// The lines, or why there are none.
        answer: Result<LogPage, String>,
    },
    /// News of the instances that a proxy asks, beyond what it has said in this session. Completes its reports,
    /// which come without.
    Reached {
        /// True if the server is to forget what it was told before.
        anew: bool,
        /// The instances with what it has found; `None` of one that it asks no more.
        news: BTreeMap<InstanceId, Option<Reached>>,
    },
    /// A report of a proxy.
    Traffic {
        /// The report.
        report: Box<TrafficReport>,
    },
    /// The proxy uses the keys of users' cookies that it was given, also if it is started anew.
    CookieKeys {
        /// The SHA-256 of the keys as they were given.
        keys: Digest,
    },
    /// How far a proxy is that is drained.
    Drain {
        /// How far it is; `None` if it is not drained.
        progress: Option<ProxyDrain>,
    },
    /// A message of a kind that this program does not know.
    #[serde(other)]
    Unknown,
}

/// The first message of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version of the server's messages.
    pub version: u32,
    /// The version of the server's program.
    pub segue: String,
    /// The control that commands through this session.
    pub by: ControlRun,
    /// The addresses at which members reach the server, as `HOST:PORT`. A member keeps them.
    pub servers: Vec<String>,
}

/// The first message of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The version of the member's messages.
    pub version: u32,
    /// The version of the member's program.
    pub segue: String,
    /// The id of this boot of the member's machine.
    pub boot: String,
    /// The control that the member obeyed last; `None` if it has obeyed none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obeyed: Option<ControlRun>,
    /// What the member offers in its role.
    pub offers: Offers,
}

/// What a member offers in its role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "kebab-case")]
pub enum Offers {
    /// A host offers to run instances.
    Host {
        /// The features that it offers to new instances.
        abilities: HostAbilities,
        /// The highest number of an instance of each app that it has kept anything of.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        numbers: BTreeMap<AppName, u64>,
        /// The port at which it confirms its instances to proxies, if it does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confirm: Option<u16>,
    },
    /// A proxy offers to take requests to instances.
    Proxy {
        /// What the proxy can do.
        abilities: Abilities,
        /// The process of the proxy. A larger number means a later start.
        epoch: u64,
    },
}

/// Messages that replace an earlier one of the same kind that was not sent yet: only the last one matters.
pub(crate) trait Replaces: Serialize {
    /// Returns the kind of such a message.
    fn slot(&self) -> Option<Slot>;

    /// Returns whether a later message makes no sense without this one.
    fn is_needed_by(&self, later: &Self) -> bool;
}

/// Kinds of messages of which only the last one matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    Prepare,
    Commit,
    Health,
    Reach,
    Traffic,
    Drain,
    Heartbeat,
}

impl Replaces for ToMember {
    fn slot(&self) -> Option<Slot> {
        match self {
            Self::Prepare { .. } => Some(Slot::Prepare),
            Self::Commit { .. } => Some(Slot::Commit),
            Self::Health { .. } => Some(Slot::Health),
            Self::Reach { .. } => Some(Slot::Reach),
            Self::Heartbeat => Some(Slot::Heartbeat),
            Self::Welcome(_)
            | Self::Host { .. }
            | Self::Settings { .. }
            | Self::CookieKeys { .. }
            | Self::Duty { .. }
            | Self::Hosts { .. }
            | Self::ReadLogs { .. }
            | Self::Removed
            | Self::Unknown => None,
        }
    }

    /// A commit means the table that was prepared for it.
    fn is_needed_by(&self, later: &Self) -> bool {
        match (self, later) {
            (Self::Prepare { snapshot, .. }, Self::Commit { generation, .. }) => {
                snapshot.generation == *generation
            }
            _ => false,
        }
    }
}

impl Replaces for FromMember {
    fn is_needed_by(&self, _: &Self) -> bool {
        false
    }

    fn slot(&self) -> Option<Slot> {
        match self {
            Self::Traffic { .. } => Some(Slot::Traffic),
            Self::Heartbeat => Some(Slot::Heartbeat),
            Self::Drain { .. } => Some(Slot::Drain),
            // Each says only what is new.
            Self::Reached { .. } => None,
            Self::Hello(_)
            | Self::Report { .. }
            | Self::Logs { .. }
            | Self::CookieKeys { .. }
            | Self::Unknown => None,
        }
    }
}
