//! Whether proxies reach instances. An agent finds an instance healthy on its own machine; what lies between
//! that machine and a proxy may be of another opinion, so each proxy asks for itself.

use alloc::string::String;
use core::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{Address, AppSpec, Conventions, InstanceId, Millis, ProbePort, Serving};

/// An instance that a proxy is to ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReachTarget {
    /// The instance.
    pub id: InstanceId,
    /// Where it listens for users' requests.
    pub address: SocketAddr,
    /// The text of the request that it answers with 2xx if it is healthy; `None` if a connection has to be
    /// enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Time limit of one attempt.
    pub timeout: Millis,
}

/// What a proxy found when it asked an instance last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reached {
    /// The proxy reaches it.
    Yes,
    /// The proxy does not reach it, for this reason.
    No(String),
}

impl ReachTarget {
    /// Returns what proxies on other machines ask of an instance of a release at this address; `None` if they
    /// cannot reach it there at all. An instance that is probed by a command, or at a port of its own, is only
    /// connected to: its users' port need not answer health requests.
    pub fn new(
        id: InstanceId,
        address: &Address,
        spec: &AppSpec,
        conventions: Conventions,
    ) -> Option<Self> {
        let tcp = address.beyond_its_machine()?;
        let is_asked = spec.health.command.is_none() && spec.health.port == ProbePort::Same;
        let request = is_asked
            .then(|| Serving::new(spec, conventions, address.clone(), None).health_request());
        Some(Self { id, address: tcp, request, timeout: spec.health.timeout })
    }
}

impl Address {
    /// Returns the address if other machines can reach it: it is neither a unix socket nor a loopback address.
    pub fn beyond_its_machine(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) if !address.ip().is_loopback() => Some(*address),
            Self::Tcp(_) | Self::Unix(_) => None,
        }
    }
}
