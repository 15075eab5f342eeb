//! The fleet: the set of hosts. Its state is a fold over its facts, which belong to no app.

use alloc::collections::BTreeMap;
use core::net::IpAddr;

use model::{HostId, Timestamp};
use serde::{Deserialize, Serialize};

/// The hosts that instances can be placed on.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fleet {
    /// Hosts by name.
    pub hosts: BTreeMap<HostId, Host>,
}

/// A host of the fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// The address at which its instances listen.
    pub address: IpAddr,
    /// Time at which it joined the fleet.
    pub joined: Timestamp,
}

/// An event in the life of the fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FleetFact {
    /// A host joined, or a host that had joined has a new address.
    HostJoined {
        /// The host's name.
        host: HostId,
        /// The address at which its instances will listen.
        address: IpAddr,
        /// Time of the event.
        at: Timestamp,
    },
}

impl Fleet {
    /// Folds one fact into the fleet.
    pub fn apply(&mut self, fact: &FleetFact) {
        match fact {
            FleetFact::HostJoined { host, address, at } => {
                let (address, joined) = (*address, *at);
                let known = self.hosts.entry(host.clone()).or_insert(Host { address, joined });
                known.address = address;
            }
        }
    }
}

impl FleetFact {
    /// Returns the time of the event.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::HostJoined { at, .. } => *at,
        }
    }

    /// Returns the fact's name in journals.
    pub fn name(&self) -> &'static str {
        match self {
            Self::HostJoined { .. } => "host-joined",
        }
    }
}
