//! The connection of a request to an instance, by its stage. Makes no step itself.

use crate::exchange::failure::AttemptFailure;
use crate::upstream::UpstreamConnection;

/// The stage of the connection between a request and an instance.
#[derive(Debug)]
pub(super) enum InstanceLink {
    /// No instance is needed: the proxy answers itself, or the answer is complete.
    None,
    /// No instance is chosen. The request is held if none can be.
    Unchosen,
    Connecting(UpstreamConnection),
    Open(UpstreamConnection),
}

impl InstanceLink {
    /// Returns the open connection that the request is sent on, if there is one.
    pub(super) fn upstream_mut(&mut self) -> Option<&mut UpstreamConnection> {
        match self {
            Self::Open(upstream) => Some(upstream),
            Self::None | Self::Unchosen | Self::Connecting(_) => None,
        }
    }

    /// Returns the open connection that the request is sent on, if there is one.
    pub(super) fn upstream(&self) -> Option<&UpstreamConnection> {
        match self {
            Self::Open(upstream) => Some(upstream),
            Self::None | Self::Unchosen | Self::Connecting(_) => None,
        }
    }

    /// Returns the failure of an attempt whose time is over.
    pub(super) fn late(&self) -> AttemptFailure {
        match self {
            Self::Connecting(upstream) if upstream.is_here() => AttemptFailure::NoRoom,
            Self::Connecting(_) => AttemptFailure::Connect,
            Self::None | Self::Unchosen | Self::Open(_) => AttemptFailure::Timeout,
        }
    }

    /// Takes the connection of the attempt, which ends.
    pub(super) fn take(&mut self) -> Option<UpstreamConnection> {
        match std::mem::replace(self, Self::None) {
            Self::Connecting(upstream) | Self::Open(upstream) => Some(upstream),
            Self::None | Self::Unchosen => None,
        }
    }
}
