//! The fleet: which hosts there are. A fold over its facts, which belong to no app.

use alloc::collections::BTreeMap;
use core::net::IpAddr;

use model::{HostId, Timestamp};
use serde::{Deserialize, Serialize};

/// The hosts that instances can be placed on.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fleet {
    /// By name.
    pub hosts: BTreeMap<HostId, Host>,
}

/// A host of the fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Where its instances listen.
    pub address: IpAddr,
    /// Since when it belongs to the fleet.
    pub joined: Timestamp,
}

/// Something that has happened to the fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FleetFact {
    /// A host joined, or one that had joined has another address.
    HostJoined {
        /// Its name.
        host: HostId,
        /// Where its instances will listen.
        address: IpAddr,
        /// When.
        at: Timestamp,
    },
}

impl Fleet {
    /// Folds one fact.
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
    /// When it happened.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::HostJoined { at, .. } => *at,
        }
    }

    /// Its name in journals.
    pub fn name(&self) -> &'static str {
        match self {
            Self::HostJoined { .. } => "host-joined",
        }
    }
}
