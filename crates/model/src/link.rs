//! The connection between control and the agent of a host, as control sees it. Types only.

use alloc::collections::BTreeMap;
use alloc::string::String;
use core::net::IpAddr;

use crate::{AppName, HostAbilities};

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
