//! The ways in which an exchange ends, for the connection. Does not decide what the connection does then.

use http1::After;

use crate::exchange::incoming::AnswerState;
use crate::exchange::terms::Terms;
use crate::tunnel::Tunnel;

/// The way in which an exchange has ended.
#[derive(Debug)]
pub(crate) enum ExchangeEnd {
    /// The connection waits for the next request.
    Next,
    /// The answer is complete and the connection is to be closed.
    Close,
    /// The answer is complete, and the client has said that this was its last request.
    Last,
    /// The client has left.
    Gone,
    /// The answer broke off. The connection is reset, to let the client see that.
    Reset,
    /// The connection is a tunnel from now on.
    Tunnel(Box<Tunnel>),
}

/// The bytes that are still on their way when an answer is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rest {
    /// True if the client has not read all of the answer.
    pub(super) unread: bool,
    /// True if the client has not sent all of its request.
    pub(super) unsent: bool,
}

impl ExchangeEnd {
    /// Returns how the exchange ends, or `None` if it goes on. Tunnels are handled elsewhere.
    #[inline]
    pub(super) fn of(answer: &AnswerState, terms: &Terms, rest: Rest) -> Option<Self> {
        match (answer, terms.after()) {
            // The bytes before the break go out first, as far as the client takes them.
            (AnswerState::Cut, _) if !rest.unread => Some(Self::Reset),
            // A client that is still sending its body might read nothing before all of the body is sent.
            (AnswerState::Done, _) if rest.unsent => Some(Self::Close),
            (AnswerState::Done, _) if rest.unread => None,
            (AnswerState::Done, After::KeepAlive) => Some(Self::Next),
            (AnswerState::Done, After::Close) if terms.is_last() => Some(Self::Last),
            (AnswerState::Done, After::Close) => Some(Self::Close),
            (AnswerState::Awaited(_) | AnswerState::Body { .. }, _) => None,
            (AnswerState::Cut | AnswerState::Switched, _) => None,
        }
    }
}
