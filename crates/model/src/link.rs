//! The connections between control and the members of its fleet, as control sees them. Types only.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use core::net::IpAddr;

use crate::{
    Abilities, AppName, Generation, HealthTable, HostAbilities, Millis, ProxyId, Snapshot,
    Timestamp,
};

/// A change of the connection to a host's agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// The agent has connected, for the first time or again after a break.
    Up(HostHello),
    /// The connection broke, or no heartbeat came for 3 s.
    Silent,
}

/// The first message of an agent that has connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostHello {
    /// The address at which the host's instances listen.
    pub address: IpAddr,
    /// The features that the host offers to new instances.
    pub abilities: HostAbilities,
    /// The highest number of an instance of each app that the host has kept anything of.
    pub numbers: BTreeMap<AppName, u64>,
    /// The host's boot id. Another boot has ended all processes of the one before.
    pub boot: String,
}

/// A change of the connection to a proxy on another machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyLink {
    /// The proxy has connected, for the first time or again after a break.
    Up(ProxyHello),
    /// The connection broke, or no heartbeat came for 3 s.
    Silent,
}

/// The first message of a proxy that has connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyHello {
    /// What the proxy can do.
    pub abilities: Abilities,
    /// The process of the proxy. A larger number means a later start.
    pub epoch: u64,
}

/// A command to one proxy.
#[derive(Clone, Debug, PartialEq)]
pub struct ToProxy {
    /// The proxy.
    pub proxy: ProxyId,
    /// The command.
    pub command: ProxyCommand,
}

/// A command to a proxy.
#[derive(Clone, Debug, PartialEq)]
pub enum ProxyCommand {
    /// Prepare a table for this snapshot without using it. Answered by a report. A table that exists already
    /// is not built again.
    Prepare(Arc<Snapshot>),
    /// Use the prepared snapshot of this generation. Answered by a report.
    Commit(Generation),
    /// Use this health table. Not acknowledged.
    Health(Arc<HealthTable>),
}

/// Whether a member, the agent of a host or a proxy, is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The agent is connected.
    Here,
    /// The agent is not heard.
    Silent {
        /// Time since which it is not heard.
        since: Timestamp,
    },
    /// The agent was not heard for [`Reach::LOST_AFTER`].
    Lost {
        /// Time at which the host was lost.
        since: Timestamp,
    },
}

impl Reach {
    /// Time after which proxies prefer the instances of other hosts to those of a silent one. An agent that is
    /// restarted is back before.
    pub const DOUBTED_AFTER: Millis = Millis::from_secs(1);
    /// Time after which a silent host is lost.
    pub const LOST_AFTER: Millis = Millis::from_secs(10);
    /// Time after which the instances of a lost host are started elsewhere.
    pub const REPLACED_AFTER: Millis = Millis::from_secs(60);

    /// Returns the reach at `now` of a host that was last heard at `silent_since`.
    pub fn of_silent(silent_since: Timestamp, now: Timestamp) -> Self {
        let lost = silent_since.after(Self::LOST_AFTER);
        if now >= lost { Self::Lost { since: lost } } else { Self::Silent { since: silent_since } }
    }

    /// Returns whether proxies should prefer the instances of other hosts.
    pub fn is_doubted(self, now: Timestamp) -> bool {
        match self {
            Self::Here => false,
            Self::Silent { since } => now >= since.after(Self::DOUBTED_AFTER),
            Self::Lost { .. } => true,
        }
    }

    /// Returns the time at which the host was lost, if it is.
    pub fn lost_since(self) -> Option<Timestamp> {
        match self {
            Self::Here | Self::Silent { .. } => None,
            Self::Lost { since } => Some(since),
        }
    }
}
