//! Why an attempt at a request came to nothing, and what the client is told if there is no other.

use crate::pages::ErrorPage;

/// Why an attempt came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttemptFailure {
    /// No connection. `Ours` if the instance has no part in it.
    Connect,
    ConnectOurs,
    /// The instance listens, and has had no room for another connection in all the time there was.
    NoRoom,
    /// The connection broke before an answer.
    Broken,
    /// What came on a connection that had been idle is no answer to this request.
    Stale,
    /// No answer in time.
    Timeout,
    /// An answer that cannot be passed on.
    BadAnswer,
    /// We cut it: its instance has left and the drain deadline is over.
    Drained,
}

impl AttemptFailure {
    /// Whether the instance has no part in it.
    pub(super) const fn is_ours(self) -> bool {
        match self {
            Self::ConnectOurs | Self::NoRoom | Self::Drained => true,
            Self::Connect | Self::Broken | Self::Stale | Self::Timeout | Self::BadAnswer => false,
        }
    }

    /// What the client gets if there is no other attempt.
    pub(super) const fn page(self) -> ErrorPage {
        match self {
            Self::NoRoom | Self::Timeout | Self::Drained => ErrorPage::GATEWAY_TIMEOUT,
            Self::Connect | Self::ConnectOurs | Self::Broken | Self::Stale | Self::BadAnswer => {
                ErrorPage::BAD_GATEWAY
            }
        }
    }
}
