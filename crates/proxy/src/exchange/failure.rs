//! Reasons why an attempt at a request failed, and the page that the client gets if no other attempt
//! follows.

use crate::pages::ErrorPage;

/// The reason why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttemptFailure {
    /// No connection. `ConnectOurs` if the cause is on the proxy's side, not the instance's.
    Connect,
    ConnectOurs,
    /// The instance listens, but its backlog had no room for another connection until the time was over.
    NoRoom,
    /// The connection broke before an answer came.
    Broken,
    /// The bytes that came on a reused connection are not an answer to this request.
    Stale,
    /// No answer came in time.
    Timeout,
    /// The answer cannot be passed on.
    BadAnswer,
    /// The proxy cut the connection: the instance has left, and the drain deadline is over.
    Drained,
}

impl AttemptFailure {
    /// Returns whether the instance is not to blame.
    pub(super) const fn is_ours(self) -> bool {
        match self {
            Self::ConnectOurs | Self::NoRoom | Self::Drained => true,
            Self::Connect | Self::Broken | Self::Stale | Self::Timeout | Self::BadAnswer => false,
        }
    }

    /// Returns the page that the client gets if there is no other attempt.
    pub(super) const fn page(self) -> ErrorPage {
        match self {
            Self::NoRoom | Self::Timeout | Self::Drained => ErrorPage::GATEWAY_TIMEOUT,
            Self::Connect | Self::ConnectOurs | Self::Broken | Self::Stale | Self::BadAnswer => {
                ErrorPage::BAD_GATEWAY
            }
        }
    }
}
