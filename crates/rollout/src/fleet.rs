//! The fleet: hosts, and members with their invites. Its state is a fold over its facts, which belong to no
//! app.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use model::{
    Digest, FleetView, HostDuty, HostId, MemberName, MemberView, Millis, ProxyDuty, ProxyId, Role,
    Timestamp,
};
use serde::{Deserialize, Serialize};

/// The hosts that instances can be placed on, and the members of the fleet.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fleet {
    /// Hosts by name.
    pub hosts: BTreeMap<HostId, Host>,
    /// Members on other machines.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub members: BTreeMap<MemberName, FleetMember>,
    /// Invites that can still be used.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub invites: BTreeMap<MemberName, Invitation>,
    /// Members that were removed, for as long as they may still have a certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<RemovedMember>,
}

/// A host of the fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// The address at which its instances listen.
    pub address: IpAddr,
    /// Time at which it joined the fleet.
    pub joined: Timestamp,
    /// What it is used for.
    #[serde(default, skip_serializing_if = "HostDuty::is_active")]
    pub duty: HostDuty,
}

/// A member on another machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetMember {
    /// Its role.
    pub role: Role,
    /// The SHA-256 of its public key.
    pub key: Digest,
    /// The address of its instances, if its invite named one. Otherwise it is the one that it connects from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What it is used for, if it is a proxy. The duty of a host is kept with the [`Host`].
    #[serde(default, skip_serializing_if = "ProxyDuty::is_active")]
    pub proxy_duty: ProxyDuty,
    /// Time at which it joined.
    pub joined: Timestamp,
}

/// An invite, as the server keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// The role that the member will have.
    pub role: Role,
    /// The SHA-256 of the invite's secret.
    pub secret: Digest,
    /// The address of the member's instances; `None` takes the one that it connects from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The member's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Time at which the invite ends.
    pub until: Timestamp,
    /// The SHA-256 of the key that has used the invite. The same key may use it again, since the answer may
    /// have been lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_by: Option<Digest>,
}

impl Invitation {
    /// Time for which an invite can be used.
    pub const LIFE: Millis = Millis::from_secs(60 * 60);
}

/// A member that was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedMember {
    /// Its name.
    pub name: MemberName,
    /// The SHA-256 of its public key.
    pub key: Digest,
    /// Time at which it was removed.
    pub at: Timestamp,
}

impl RemovedMember {
    /// Time for which a removed member is told that it was removed: 90 days after the end of the last
    /// certificate that it can have, which lives 30 days.
    const KEPT: Millis = Millis::from_secs(120 * 24 * 60 * 60);
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
    /// A person said what a host is used for.
    DutySet {
        /// The host's name.
        host: HostId,
        /// What it is used for.
        duty: HostDuty,
        /// Time of the event.
        at: Timestamp,
    },
    /// A person said what a proxy is used for.
    ProxyDutySet {
        /// The proxy's name.
        proxy: MemberName,
        /// What it is used for.
        duty: ProxyDuty,
        /// Time of the event.
        at: Timestamp,
    },
    /// A member was invited. An earlier invite of that name ends.
    Invited {
        /// The member's name.
        name: MemberName,
        /// The invite.
        invitation: Invitation,
        /// Time of the event.
        at: Timestamp,
    },
    /// A member used its invite. One that had this name before is replaced.
    MemberJoined {
        /// The member's name.
        name: MemberName,
        /// The SHA-256 of its public key.
        key: Digest,
        /// Time of the event.
        at: Timestamp,
    },
    /// A person took in a member that the authority had certified and that was not known, as after a restore from a
    /// backup. An unused invite of that name ends.
    MemberAccepted {
        /// The member's name.
        name: MemberName,
        /// The role in its certificate.
        role: Role,
        /// The SHA-256 of its public key.
        key: Digest,
        /// The address of its instances; `None` takes the one that it connects from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<IpAddr>,
        /// Its labels.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        labels: BTreeMap<String, String>,
        /// Time of the event.
        at: Timestamp,
    },
    /// A member was removed, or its invite.
    MemberRemoved {
        /// The member's name.
        name: MemberName,
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
                let new = Host { address, joined, duty: HostDuty::Active };
                self.hosts.entry(host.clone()).or_insert(new).address = address;
            }
            FleetFact::DutySet { host, duty, .. } => {
                self.hosts.entry(host.clone()).and_modify(|host| host.duty = *duty);
            }
            FleetFact::ProxyDutySet { proxy, duty, .. } => {
                self.members.entry(proxy.clone()).and_modify(|member| member.proxy_duty = *duty);
            }
            FleetFact::Invited { name, invitation, at } => {
                self.invites.retain(|_, invite| invite.until > *at);
                self.invites.insert(name.clone(), invitation.clone());
            }
            FleetFact::MemberJoined { name, key, at } => self.joined(name, *key, *at),
            FleetFact::MemberAccepted { name, role, key, address, labels, at } => {
                let (role, key, address, labels) = (*role, *key, *address, labels.clone());
                let (proxy_duty, joined) = (ProxyDuty::Active, *at);
                let member = FleetMember { role, key, address, labels, proxy_duty, joined };
                self.members.insert(name.clone(), member);
                // Whoever found an invite of that name would take its place.
                self.invites.retain(|invited, invite| invited != name || invite.used_by.is_some());
            }
            FleetFact::MemberRemoved { name, at } => self.removed(name, *at),
        }
    }

    fn joined(&mut self, name: &MemberName, key: Digest, at: Timestamp) {
        let Some(invite) = self.invites.get_mut(name) else { return };
        invite.used_by = Some(key);
        let Invitation { role, address, labels, .. } = invite.clone();
        self.removed.retain(|removed| removed.key != key);
        if let Some(before) = self.members.get(name).filter(|before| before.key != key) {
            let key = before.key;
            self.removed.push(RemovedMember { name: name.clone(), key, at });
        }
        let proxy_duty = ProxyDuty::Active;
        let member = FleetMember { role, key, address, labels, proxy_duty, joined: at };
        self.members.insert(name.clone(), member);
    }

    fn removed(&mut self, name: &MemberName, at: Timestamp) {
        self.invites.remove(name);
        self.removed.retain(|removed| at < removed.at.after(RemovedMember::KEPT));
        if let Some(FleetMember { key, .. }) = self.members.remove(name) {
            self.removed.push(RemovedMember { name: name.clone(), key, at });
        }
        self.hosts.remove(&name.as_host());
    }

    /// Returns the proxies on other machines, with what each is used for.
    pub fn proxies(&self) -> impl Iterator<Item = (ProxyId, ProxyDuty)> {
        let proxies = self.members.iter().filter(|(_, member)| member.role == Role::Proxy);
        proxies.map(|(name, member)| (name.as_proxy(), member.proxy_duty))
    }

    /// Returns what observers are shown, without what is seen of the hosts.
    pub fn view(&self) -> FleetView {
        let members = self.members.iter().map(|(name, member)| MemberView {
            name: name.clone(),
            role: member.role,
            key: member.key,
            address: self.hosts.get(&name.as_host()).map(|host| host.address).or(member.address),
            labels: member.labels.clone(),
            proxy_duty: member.proxy_duty,
            joined: member.joined,
        });
        let removed = self.removed.iter().map(|removed| removed.key);
        FleetView {
            members: members.collect(),
            hosts: Vec::new(),
            proxies: Vec::new(),
            removed: removed.collect(),
        }
    }
}

impl FleetFact {
    /// Returns the time of the event.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::HostJoined { at, .. }
            | Self::DutySet { at, .. }
            | Self::ProxyDutySet { at, .. }
            | Self::Invited { at, .. }
            | Self::MemberJoined { at, .. }
            | Self::MemberAccepted { at, .. }
            | Self::MemberRemoved { at, .. } => *at,
        }
    }

    /// Returns the fact's name in journals.
    pub fn name(&self) -> &'static str {
        match self {
            Self::HostJoined { .. } => "host-joined",
            Self::DutySet { .. } => "duty-set",
            Self::ProxyDutySet { .. } => "proxy-duty-set",
            Self::Invited { .. } => "invited",
            Self::MemberJoined { .. } => "member-joined",
            Self::MemberAccepted { .. } => "member-accepted",
            Self::MemberRemoved { .. } => "member-removed",
        }
    }
}
