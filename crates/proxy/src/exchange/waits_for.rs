//! The event that an exchange waits for, and its deadline. Does not decide what follows.

use crate::deadline::Deadline;
use crate::exchange::dispatch::Dispatch;
use crate::exchange::incoming::{AnswerKind, AnswerState, Incoming};
use crate::exchange::link::InstanceLink;
use crate::exchange::outgoing::{Continue, Outgoing};
use crate::exchange::pacing::Pacing;
use crate::turn::Turn;

/// The event that has to come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitsFor {
    /// An instance can be chosen. The request is looked at again at `look` at the latest.
    Instance { look: Deadline },
    /// A connection to an instance on another host. Connecting began at `since_ms`.
    Connection { since_ms: u64 },
    /// A connection to an instance on this host. If the instance listens but has no room, it is slow, not
    /// gone.
    Room { since_ms: u64 },
    /// The client reads the bytes that are there for it.
    Reader,
    /// The instance asks for the body, until `until_ms`. After that the proxy does.
    Continue { until_ms: u64 },
    /// The client sends more of its body.
    Body,
    /// The head of the answer comes.
    Answer,
    /// More of the answer comes.
    More,
    /// More of an answer without an end comes. That may take forever.
    Event,
    /// The exchange ends.
    End,
}

impl WaitsFor {
    /// Returns the event that has to come next.
    #[inline]
    pub(super) fn of(
        outgoing: &Outgoing,
        dispatch: &Dispatch,
        incoming: &Incoming,
        turn: &Turn<'_, '_>,
    ) -> Self {
        match (incoming.state(), dispatch.link()) {
            (_, InstanceLink::Unchosen) => Self::Instance { look: dispatch.held_look() },
            (_, InstanceLink::Connecting(upstream)) if upstream.is_here() => {
                Self::Room { since_ms: upstream.since_ms }
            }
            (_, InstanceLink::Connecting(upstream)) => {
                Self::Connection { since_ms: upstream.since_ms }
            }
            _ if !turn.client.is_flushed() => Self::Reader,
            (AnswerState::Awaited(_), _) if outgoing.waits_for_body(dispatch.link().upstream()) => {
                match outgoing.proceed() {
                    Continue::Upstream { until_ms } => Self::Continue { until_ms },
                    Continue::Settled => Self::Body,
                }
            }
            (AnswerState::Awaited(_), _) => Self::Answer,
            (AnswerState::Body { kind: AnswerKind::EventStream, .. }, _) => Self::Event,
            (AnswerState::Body { .. }, _) => Self::More,
            (AnswerState::Done | AnswerState::Cut | AnswerState::Switched, _) => Self::End,
        }
    }

    /// Returns the deadline of the event, by the proxy's clock.
    #[inline]
    pub(super) fn due(self, pacing: &Pacing, turn: &Turn<'_, '_>) -> Deadline {
        let settings = turn.worker.settings();
        let limits = &settings.limits;
        let of_app = pacing.limits();
        match self {
            Self::Instance { look } => look,
            Self::Room { since_ms } => Deadline::at(since_ms + of_app.first_byte.0),
            Self::Connection { since_ms } => Deadline::at(since_ms + limits.connect.0),
            Self::Reader => pacing.reader_due(turn),
            Self::Continue { until_ms } => Deadline::at(until_ms),
            Self::Body => pacing.body_due(turn),
            Self::Answer => pacing.since_moved(of_app.first_byte),
            Self::More => pacing.since_moved(of_app.between_bytes),
            Self::Event => Deadline::never(),
            Self::End => pacing.since_moved(limits.write_stall),
        }
    }
}
