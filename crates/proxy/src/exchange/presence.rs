//! Checks whether the client of a request is still there. For a client that has left, no waiting request
//! is sent, and no request is sent again. A client that has ended only its own side of the connection
//! gets its answer.

use crate::deadline::Deadline;
use crate::socket::Peer;
use crate::turn::Turn;

/// Interval between two checks of a client while its request waits. The check asks the kernel, because
/// the proxy does not read from the client during that time.
const LOOK_EVERY_MS: u64 = 100;

/// The facts known about a request's client.
#[derive(Debug)]
pub(crate) struct Presence {
    /// True if the client had ended its side when its request began to wait; `None` before. Such a
    /// request is whole, and is carried out once.
    half_closed: Option<bool>,
    /// True once a byte of the request has gone to an instance.
    begun: bool,
    gone: bool,
    look_ms: u64,
}

/// The actions that the proxy may still begin for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum May {
    /// Anything that is needed.
    Begin,
    /// Nothing, but the client may still read an answer of the proxy itself.
    Answer,
    /// Nothing: the client has left.
    Nothing,
}

impl Presence {
    #[inline]
    pub(crate) fn since(now_ms: u64) -> Self {
        Self { half_closed: None, begun: false, gone: false, look_ms: now_ms + LOOK_EVERY_MS }
    }

    /// Notes that a byte of the request has gone to an instance.
    pub(crate) fn request_begun(&mut self) {
        self.begun = true;
    }

    /// Notes that the client has left. Its request ends.
    pub(crate) fn mark_gone(&mut self) {
        self.gone = true;
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Returns what may be begun for the client. The first call is made when its request begins to wait.
    fn may_begin(&mut self, turn: &Turn<'_, '_>) -> May {
        let peer = turn.client.peer();
        let ended = turn.client.has_ended() || peer != Peer::Open;
        let half_closed = *self.half_closed.get_or_insert(ended);
        self.look_ms = turn.now_ms + LOOK_EVERY_MS;
        match (ended, self.begun) {
            _ if peer == Peer::Reset => May::Nothing,
            (false, _) => May::Begin,
            (true, true) => May::Answer,
            (true, false) if half_closed => May::Begin,
            (true, false) => May::Nothing,
        }
    }

    /// Returns whether another attempt may be made for the client.
    pub(crate) fn may_retry(&mut self, turn: &Turn<'_, '_>) -> bool {
        match self.may_begin(turn) {
            May::Begin => true,
            May::Answer => false,
            May::Nothing => {
                self.mark_gone();
                false
            }
        }
    }

    /// Checks the client of a request that has waited. Returns whether it has left, and notes that.
    pub(crate) fn check_gone(&mut self, turn: &Turn<'_, '_>) -> bool {
        if self.may_begin(turn) != May::Begin {
            self.mark_gone();
        }
        self.is_gone()
    }

    /// Calls [`Presence::check_gone`] the first time, and then once per interval.
    pub(crate) fn check_gone_if_due(&mut self, turn: &Turn<'_, '_>) -> bool {
        let due = self.half_closed.is_none() || turn.now_ms >= self.look_ms;
        due && self.check_gone(turn)
    }

    /// Returns whether the client has reset the connection while its request is in flight. Needed when
    /// bytes from the client keep the proxy from reading on.
    pub(crate) fn was_reset(&mut self, turn: &Turn<'_, '_>) -> bool {
        if turn.now_ms < self.look_ms {
            return false;
        }
        self.look_ms = turn.now_ms + LOOK_EVERY_MS;
        turn.client.peer() == Peer::Reset
    }

    /// Returns when to check the client again, if the proxy does not read from it.
    pub(crate) fn look(&self) -> Deadline {
        Deadline::at(self.look_ms)
    }
}
