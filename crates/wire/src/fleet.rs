//! The fleet: an invite for a member, and the members as they are.

use std::collections::BTreeMap;
use std::net::IpAddr;

use model::{HostDuty, MemberName, Millis, Role};
use serde::{Deserialize, Serialize};

use crate::Secret;

/// `POST /v1/fleet/invites`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InviteRequest {
    /// The role that the member will have: a host or a proxy.
    pub role: Role,
    /// The member's name, which no other member has.
    pub name: MemberName,
    /// The address at which its instances will listen. The default is the one that it connects from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// True if the member takes the place of one of that name, whose machine is gone.
    #[serde(default)]
    pub replace: bool,
}

/// The answer to a request for an invite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invited {
    /// The invite: one word, which is shown only once.
    pub invite: Secret,
    /// One sentence for people.
    pub note: String,
}

/// `POST /v1/fleet/hosts/{name}/duty`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DutyRequest {
    /// What the host is used for from now on.
    pub duty: HostDuty,
}

/// `POST /v1/fleet/members/{name}/accept`.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptRequest {
    /// The address at which its instances listen. The default is the one that it connects from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// `POST /v1/fleet/hosts/{name}/address`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddressRequest {
    /// The address at which instances of the host listen from now on.
    pub address: IpAddr,
}

/// `POST /v1/fleet/proxies/{name}/duty`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ProxyDutyRequest {
    /// The proxy takes users' requests.
    Active,
    /// The proxy leaves service.
    Draining {
        /// Time after which the connections that are left are cut. The default is a little more than a client's
        /// connection may be idle.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        within: Option<Millis>,
    },
}

/// How far a proxy is that is drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProxyDrain {
    /// Number of connections that are left.
    pub open: usize,
    /// Number of connections that were cut while they had a request or a stream, because the time was over.
    pub cut: u64,
    /// True once the proxy is drained.
    pub done: bool,
    /// True if its machine still has the floating address then, because no other proxy took it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub holds_address: bool,
}

/// The answer to a command about a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberChanged {
    /// One sentence for people.
    pub note: String,
}

/// The members of a fleet. Fields are only added.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FleetStatus {
    /// The hosts, in order of their names.
    pub hosts: Vec<HostStatus>,
    /// The proxies, in order of their names.
    pub proxies: Vec<ProxyStatus>,
    /// The servers.
    #[serde(default)]
    pub servers: Vec<ServerStatus>,
    /// Members that are connected with a certificate of this fleet, and that the server does not know.
    pub unknown: Vec<String>,
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Its name.
    pub name: String,
    /// The addresses at which members reach it, as `HOST:PORT`.
    pub addresses: Vec<String>,
    /// The version of its program.
    pub version: String,
}

/// State of a member: whether it is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemberState {
    /// The member is connected, and speaks.
    Here,
    /// Nothing is heard of it for the moment.
    Silent,
    /// The proxy did not answer in time, and does not use the newest table yet.
    Late,
    /// Nothing has been heard of it for so long that it counts as gone.
    Lost,
    /// The member has joined, and has not connected since the server was started.
    Joined,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStatus {
    /// Its name.
    pub name: String,
    /// The address at which its instances listen; `None` until it has connected.
    pub address: Option<IpAddr>,
    /// Its state.
    pub state: MemberState,
    /// True if the host gets nothing new.
    #[serde(default)]
    pub cordoned: bool,
    /// True if its instances are replaced on other hosts, too.
    #[serde(default)]
    pub draining: bool,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The number of its instances.
    pub instances: usize,
    /// The number of apps that have instances there which are stopped as soon as it is heard again.
    #[serde(default)]
    pub owed: usize,
    /// The version of its program; `None` until it has connected.
    pub version: Option<String>,
    /// The end of its certificate, in milliseconds since 1970; `None` for the server's own host.
    pub certificate_until: Option<u64>,
    /// Time since which it is in this state, in milliseconds since 1970.
    pub since: Option<u64>,
    /// Why it is not here.
    pub reason: Option<String>,
}

/// A proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyStatus {
    /// Its name.
    pub name: String,
    /// The address that it connects from; `None` until it has connected, and for the server's own proxy.
    #[serde(default)]
    pub address: Option<IpAddr>,
    /// Its state.
    pub state: MemberState,
    /// True if the proxy has a table to serve users from.
    #[serde(default)]
    pub ready: bool,
    /// The table that it uses, as TERM.N; `None` until it has reported.
    #[serde(default)]
    pub acknowledged: Option<String>,
    /// True if a person has drained it.
    #[serde(default)]
    pub draining: bool,
    /// How far that is; `None` if it is not drained, or has not said so yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<ProxyDrain>,
    /// Its process. A larger number means a later start; `None` until it has reported.
    #[serde(default)]
    pub epoch: Option<u64>,
    /// The version of its program; `None` until it has connected.
    pub version: Option<String>,
    /// The end of its certificate, in milliseconds since 1970; `None` for the server's own proxy.
    pub certificate_until: Option<u64>,
    /// Time since which it is in this state, in milliseconds since 1970.
    pub since: Option<u64>,
    /// Why it is not here.
    pub reason: Option<String>,
}
