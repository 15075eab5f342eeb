//! How an exchange ends, for the connection. Knows nothing of what becomes of the connection then.

use http1::After;

use crate::exchange::incoming::AnswerState;
use crate::exchange::terms::Terms;
use crate::tunnel::Tunnel;

/// How an exchange has ended.
#[derive(Debug)]
pub(crate) enum ExchangeEnd {
    /// The connection waits for the next request.
    Next,
    /// The answer is whole and the connection is to close.
    Close,
    /// The answer is whole, and the client has said that this was its last request.
    Last,
    /// The client has gone.
    Gone,
    /// The answer broke off: the client must see that.
    Reset,
    /// The protocol was switched.
    Tunnel(Box<Tunnel>),
}

/// What there is between an exchange and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rest {
    /// The client has something to read.
    pub(super) unread: bool,
    /// The client has not sent all of its request.
    pub(super) unsent: bool,
}

impl ExchangeEnd {
    /// How an exchange whose answer has come so far ends, if it does. A tunnel is not told here.
    #[inline]
    pub(super) fn of(answer: &AnswerState, terms: &Terms, rest: Rest) -> Option<Self> {
        match (answer, terms.after()) {
            // What came before the break goes out first, as far as the client takes it.
            (AnswerState::Cut, _) if !rest.unread => Some(Self::Reset),
            // Who still sends its body may read nothing before that is out.
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
