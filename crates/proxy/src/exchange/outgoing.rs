//! The request on its way to an instance: its body as it comes, and who tells the client to go on with it.
//! Never takes more from the client than the instance is ready for.

use std::task::Poll;

use http1::{After, RequestHead};

use crate::back::broken::Broken;
use crate::back::replay::{Length, Replay};
use crate::buffer::{AfterWrite, Buffer, Stock};
use crate::exchange::failure::AttemptFailure;
use crate::exchange::pacing::Pacing;
use crate::exchange::request_info::RequestInfo;
use crate::exchange::terms::Terms;
use crate::front::side::ClientSide;
use crate::pages::ErrorPage;
use crate::stopwatch::Stopwatch;
use crate::turn::Turn;
use crate::upstream::UpstreamConnection;

/// Who tells the client to go on with its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Continue {
    /// The client does not ask, or has been told.
    Settled,
    /// The upstream may, until then; then we do.
    Upstream { until_ms: u64 },
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Outgoing {
    request: Replay,
    proceed: Continue,
}

/// Why a body is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadBody {
    Malformed,
    TooLarge,
}

impl BadBody {
    pub(super) fn page(self) -> ErrorPage {
        match self {
            Self::Malformed => ErrorPage::new(400, "The request's body is malformed."),
            Self::TooLarge => ErrorPage::TOO_LARGE,
        }
    }
}

impl Outgoing {
    /// A request whose head is `bytes` for an instance.
    #[inline]
    pub(super) fn of(
        head: &RequestHead,
        bytes: Buffer,
        terms: &Terms,
        turn: &Turn<'_, '_>,
    ) -> Self {
        let body = head.body();
        let length = if body.is_chunked() { Length::Open } else { Length::Declared };
        let keep = if terms.is_resendable() { AfterWrite::All } else { AfterWrite::Nothing };
        let mut request = Replay::new(bytes, length, keep);
        if body.is_empty() {
            request.end(&[]);
        }
        let until_ms = turn.now_ms + turn.worker.shared.config.limits.continue_wait.0;
        let proceed = match head.awaits_continue() && !body.is_empty() {
            true => Continue::Upstream { until_ms },
            false => Continue::Settled,
        };
        Self { request, proceed }
    }

    /// Replaces the head of a request that has been routed anew.
    pub(super) fn replace_head(&mut self, bytes: Buffer, stock: &Stock) {
        self.request.replace_head(bytes, stock);
    }

    /// How many bytes of memory a request takes that has not gone out.
    pub(super) fn held_bytes(&self, client: &ClientSide) -> usize {
        // The head counts once, though it is kept as it came, too.
        self.request.len() + client.behind_head()
    }

    /// Whether it can be sent again after bytes of it went out.
    pub(super) fn is_kept(&self) -> bool {
        self.request.is_kept()
    }

    /// Whether all of it has come from the client.
    pub(super) fn is_whole(&self) -> bool {
        self.request.is_whole()
    }

    /// Whether all of it has gone out on this connection.
    pub(super) fn is_out(&self, upstream: &UpstreamConnection) -> bool {
        upstream.side.has_sent_all(&self.request)
    }

    /// Whether all that has come has gone out, and more has to come.
    pub(super) fn waits_for_body(&self, upstream: Option<&UpstreamConnection>) -> bool {
        let unwritten = upstream.map_or(0, |upstream| upstream.side.unwritten());
        !self.request.is_whole() && self.request.len() + unwritten == 0
    }

    /// How much more of the body there is room for, in bytes.
    pub(super) fn room(&self, upstream: &UpstreamConnection) -> usize {
        self.request.room().saturating_sub(upstream.side.unwritten())
    }

    /// Who tells the client to go on.
    pub(super) fn proceed(&self) -> Continue {
        self.proceed
    }

    /// The client has been told to go on, or need not be any more.
    pub(super) fn settles(&mut self) {
        self.proceed = Continue::Settled;
    }

    /// Takes what there is room for of the body.
    #[inline]
    pub(super) fn take_from(
        &mut self,
        client: &mut ClientSide,
        upstream: &UpstreamConnection,
        pacing: &mut Pacing,
    ) -> Result<usize, BadBody> {
        client.take_head();
        let mut moved = 0;
        while !self.request.is_whole() && client.has_input() {
            let room = self.room(upstream);
            if room == 0 {
                break;
            }
            let piece = client.body(room).map_err(|_| BadBody::Malformed)?;
            let (taken, last) = (piece.taken, piece.last);
            pacing.take(piece.data.len()).map_err(|_| BadBody::TooLarge)?;
            // Nobody reads it any more, but its end is worth knowing.
            if !upstream.side.write_failed() {
                self.request.add(piece.data);
            }
            client.took(taken);
            if last {
                self.request.end(client.trailers());
            }
            moved += taken + usize::from(last);
            if taken == 0 && !last {
                break;
            }
        }
        Ok(moved)
    }

    /// Writes what the instance takes.
    #[inline]
    pub(super) fn send(
        &mut self,
        upstream: &mut UpstreamConnection,
        info: &mut RequestInfo,
        turn: &mut Turn<'_, '_>,
    ) -> Result<usize, AttemptFailure> {
        if !upstream.side.has_to_send(&self.request) {
            return Ok(0);
        }
        let unsent = upstream.side.is_unsent();
        match upstream.side.poll_send(turn.cx, &mut self.request, &turn.worker.stock) {
            Poll::Pending => Ok(0),
            Poll::Ready(Ok(count)) => {
                // The kernel takes the first bytes, whatever the instance does.
                if !unsent {
                    upstream.flight.instance().moved(turn.now_ms);
                }
                info.presence.request_begun();
                if let Some(stopwatch) = &mut upstream.stopwatch {
                    *stopwatch = Stopwatch::start();
                }
                Ok(count)
            }
            Poll::Ready(Err(Broken { error, certainly_unprocessed })) => {
                tracing::debug!(%error, "a request cannot be sent on");
                // An answer may have come before the connection broke: that is read first.
                if certainly_unprocessed { Err(AttemptFailure::Broken) } else { Ok(1) }
            }
        }
    }

    /// Goes back to its first byte, for another attempt.
    pub(super) fn rewind(&mut self) {
        self.request.rewind();
    }

    /// Nobody wants it. What has come of its body is discarded: if that is all, a connection that is
    /// to stay remains usable.
    #[inline]
    pub(super) fn discard(&mut self, client: &mut ClientSide, after: After) {
        client.take_head();
        while after == After::KeepAlive && !self.request.is_whole() && client.has_input() {
            let Ok(piece) = client.body(usize::MAX) else { return };
            let (taken, last) = (piece.taken, piece.last);
            client.took(taken);
            if last {
                self.request.end(&[]);
            }
            if taken == 0 {
                return;
            }
        }
    }

    /// Gives its memory back.
    pub(super) fn give_back(&mut self, stock: &Stock) {
        self.request.give_back(stock);
    }
}
