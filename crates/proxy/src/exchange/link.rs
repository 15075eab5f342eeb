//! How far a request has come on its way to an instance. Makes no step itself.

use crate::upstream::UpstreamConnection;

/// How far a request has come on its way.
#[derive(Debug)]
pub(super) enum InstanceLink {
    /// No instance is needed: the answer is ours, or it is whole.
    None,
    /// No instance is chosen; if none can be, the request is held.
    Unchosen,
    Connecting(UpstreamConnection),
    Open(UpstreamConnection),
}

impl InstanceLink {
    /// The connection that the request goes out on, if it does.
    pub(super) fn upstream_mut(&mut self) -> Option<&mut UpstreamConnection> {
        match self {
            Self::Open(upstream) => Some(upstream),
            Self::None | Self::Unchosen | Self::Connecting(_) => None,
        }
    }

    /// The open connection that the request goes out on.
    pub(super) fn upstream(&self) -> Option<&UpstreamConnection> {
        match self {
            Self::Open(upstream) => Some(upstream),
            Self::None | Self::Unchosen | Self::Connecting(_) => None,
        }
    }

    /// The connection of the attempt, which ends.
    pub(super) fn take(&mut self) -> Option<UpstreamConnection> {
        match std::mem::replace(self, Self::None) {
            Self::Connecting(upstream) | Self::Open(upstream) => Some(upstream),
            Self::None | Self::Unchosen => None,
        }
    }
}
