//! The request on its way to an instance: its body as it comes, and who asks the client for it (100
//! Continue). Never takes more from the client than the instance is ready for.

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

/// The side that asks the client to send its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Continue {
    /// Neither: the client does not wait for that, or has been asked.
    Settled,
    /// The instance may until `until_ms`, then the proxy does.
    Upstream { until_ms: u64 },
}

/// Bytes of a request that the kernel of an instance's machine takes at once, even if the instance reads none.
const ALWAYS_TAKEN: usize = 8 << 10;

/// A request on its way to an instance.
#[derive(Debug)]
pub(super) struct Outgoing {
    request: Replay,
    proceed: Continue,
}

/// The reason why a body is not passed on.
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
    /// Returns a request whose head, as written for an instance, is `bytes`.
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
        let until_ms = turn.now_ms + turn.worker.settings().limits.continue_wait.0;
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

    /// Returns how many bytes of memory a request takes up before it is sent.
    pub(super) fn held_bytes(&self, client: &ClientSide) -> usize {
        // The head counts once, though it is also kept as the client sent it.
        self.request.len() + client.behind_head()
    }

    /// Returns whether the request can be sent again after a part of it went out.
    pub(super) fn is_kept(&self) -> bool {
        self.request.is_kept()
    }

    /// Returns whether all of the request has come from the client.
    pub(super) fn is_whole(&self) -> bool {
        self.request.is_whole()
    }

    /// Returns whether all of the request has gone out on this connection.
    pub(super) fn is_out(&self, upstream: &UpstreamConnection) -> bool {
        upstream.side.has_sent_all(&self.request)
    }

    /// Returns whether everything that came has gone out, and more has to come.
    pub(super) fn waits_for_body(&self, upstream: Option<&UpstreamConnection>) -> bool {
        let unwritten = upstream.map_or(0, |upstream| upstream.side.unwritten());
        !self.request.is_whole() && self.request.len() + unwritten == 0
    }

    /// Returns how many more bytes of the body there is room for.
    pub(super) fn room(&self, upstream: &UpstreamConnection) -> usize {
        self.request.room().saturating_sub(upstream.side.unwritten())
    }

    /// Returns which side asks the client to send its body.
    pub(super) fn proceed(&self) -> Continue {
        self.proceed
    }

    /// Notes that the client has been asked for its body, or need not be any more.
    pub(super) fn settles(&mut self) {
        self.proceed = Continue::Settled;
    }

    /// Takes as much of the body from the client as there is room for.
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
            // After a failed write no one reads the body, but its end is still needed.
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

    /// Writes as much as the instance takes.
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
        if unsent && (!self.request.is_whole() || self.request.len() > ALWAYS_TAKEN) {
            upstream.wait_for_reader();
        }
        match upstream.side.poll_send(turn.cx, &mut self.request, &turn.worker.stock) {
            Poll::Pending => Ok(0),
            Poll::Ready(Ok(count)) => {
                // The kernel takes the first bytes even if the instance hangs. Only later bytes show that
                // the instance reads.
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
                // An answer may have come before the connection broke. That answer is read first.
                if certainly_unprocessed { Err(AttemptFailure::Broken) } else { Ok(1) }
            }
        }
    }

    /// Goes back to the first byte, for another attempt.
    pub(super) fn rewind(&mut self) {
        self.request.rewind();
    }

    /// Discards the part of the body that has come, because no instance takes it. If that completes the
    /// body, a connection that is to stay open remains usable.
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

    /// Gives the buffers back.
    pub(super) fn give_back(&mut self, stock: &Stock) {
        self.request.give_back(stock);
    }
}
