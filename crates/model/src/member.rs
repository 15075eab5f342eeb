//! Members of a fleet: their roles, and what people and programs are shown of them.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Digest, Generation, HostId, MemberName, Millis, ProxyId, Reach, Timestamp};

/// The role of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Decides, and commands the others.
    Server,
    /// Runs instances.
    Host,
    /// Takes users' requests to instances.
    Proxy,
}

impl Role {
    /// Returns the role as text, as certificates and commands have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Host => "host",
            Self::Proxy => "proxy",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let roles = [Self::Server, Self::Host, Self::Proxy];
        roles.into_iter().find(|role| role.as_str() == text).ok_or("its role is unknown")
    }
}

/// What a host is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostDuty {
    /// The host gets new instances.
    #[default]
    Active,
    /// The host keeps its instances and gets nothing new.
    Cordoned,
    /// The host's instances are replaced on other hosts, and it gets nothing new.
    Draining,
}

impl HostDuty {
    /// Returns whether the host gets new instances.
    pub fn is_active(&self) -> bool {
        *self == Self::Active
    }
}

/// What a proxy is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyDuty {
    /// The proxy takes users' requests.
    #[default]
    Active,
    /// The proxy closes each client's connection after its next answer. It is drained once all are closed.
    Draining {
        /// Time after which the connections that are left are cut.
        within: Millis,
    },
}

impl ProxyDuty {
    /// Returns whether the proxy takes users' requests.
    pub fn is_active(&self) -> bool {
        *self == Self::Active
    }
}

/// The members of a fleet as control knows them.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct FleetView {
    /// Members, in order of their names.
    pub members: Vec<MemberView>,
    /// Hosts, in order of their names, with the server's own.
    pub hosts: Vec<HostView>,
    /// Proxies, in order of their names, with the server's own.
    pub proxies: Vec<ProxyView>,
    /// Keys of members that were removed.
    pub removed: Vec<Digest>,
}

/// A host as control sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostView {
    /// Its name.
    pub name: HostId,
    /// The address at which its instances listen.
    pub address: IpAddr,
    /// Whether its agent is heard.
    pub reach: Reach,
    /// What it is used for.
    pub duty: HostDuty,
}

/// A proxy as control sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyView {
    /// Its name.
    pub name: ProxyId,
    /// Whether switches wait for it.
    pub state: ProxyPresence,
    /// The table that it uses; `None` until it has reported.
    pub acknowledged: Option<Generation>,
    /// Its process; `None` until it has reported.
    pub epoch: Option<u64>,
}

/// Whether switches wait for a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyPresence {
    /// The proxy answers.
    Here,
    /// The proxy did not answer in time, and has not acknowledged the newest table since.
    Late {
        /// Time since which it is late.
        since: Timestamp,
    },
    /// The proxy was not heard for [`Reach::LOST_AFTER`].
    Lost {
        /// Time at which it was lost.
        since: Timestamp,
    },
}

/// A member as control knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// Its name.
    pub name: MemberName,
    /// Its role.
    pub role: Role,
    /// The SHA-256 of its public key.
    pub key: Digest,
    /// The address at which its instances listen; `None` until a host has connected, and for proxies.
    pub address: Option<IpAddr>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What a proxy is used for; active for members of other roles.
    pub proxy_duty: ProxyDuty,
    /// Time at which it joined.
    pub joined: Timestamp,
}

impl FleetView {
    /// Returns the member with this key.
    pub fn by_key(&self, key: Digest) -> Option<&MemberView> {
        self.members.iter().find(|member| member.key == key)
    }
}
