//! What an exchange waits for, and until when. Decides nothing about what follows.

use crate::deadline::Deadline;
use crate::exchange::dispatch::Dispatch;
use crate::exchange::incoming::{AnswerKind, AnswerState, Incoming};
use crate::exchange::link::InstanceLink;
use crate::exchange::outgoing::{Continue, Outgoing};
use crate::exchange::pacing::Pacing;
use crate::turn::Turn;

/// What has to happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitsFor {
    /// An instance to be chosen; a look is taken at that time at the latest.
    Instance { look: Deadline },
    /// A connection to an instance elsewhere, which began then.
    Connection { since_ms: u64 },
    /// One to an instance here: whoever listens here and has no room is slow, not gone.
    Room { since_ms: u64 },
    /// The client, to read what is there for it.
    Reader,
    /// The instance, to let the client send its body; until then.
    Continue { until_ms: u64 },
    /// The client, to send more of its body.
    Body,
    /// The head of the answer.
    Answer,
    /// More of the answer.
    More,
    /// More of an answer that has no end: that may take forever.
    Event,
    /// The end of the exchange.
    End,
}

impl WaitsFor {
    /// What has to happen next; `unread` if there is something for the client to read.
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

    /// Until when that is waited for, by the proxy's clock.
    #[inline]
    pub(super) fn due(self, pacing: &Pacing, turn: &Turn<'_, '_>) -> Deadline {
        let limits = &turn.worker.shared.config.limits;
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
