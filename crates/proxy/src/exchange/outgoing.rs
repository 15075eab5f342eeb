//! The request on its way to an instance: its head written anew, its body decoded and framed anew. Never
//! takes more from the client than the instance is ready for.

use std::task::Poll;

use http1::{After, Body, Encoder, RequestHead};

use crate::buffer::{Buffer, Keep, LARGE, Stock};
use crate::exchange::failure::Failure;
use crate::exchange::pacing::Pacing;
use crate::exchange::request_info::RequestInfo;
use crate::exchange::terms::REPLAY;
use crate::pages::Page;
use crate::stopwatch::Stopwatch;
use crate::turn::{Client, Turn};
use crate::upstream::Upstream;

/// Who tells the client to go on with its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Continue {
    /// It does not ask, or it has been told.
    Settled,
    /// The upstream may, until then; then we do.
    Upstream { until_ms: u64 },
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// Bytes of its head, while that stands at the start of the client's input: until the request
    /// goes out it may have to be routed anew.
    head_len: usize,
    /// The request as the instance gets it; kept from its first byte on while `intact`.
    bytes: Buffer,
    intact: bool,
    body: Body,
    encoder: Encoder,
    body_done: bool,
    proceed: Continue,
}

/// Why a body is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadBody {
    Malformed,
    TooLarge,
}

impl BadBody {
    pub(super) fn page(self) -> Page {
        match self {
            Self::Malformed => Page::new(400, "The request's body is malformed."),
            Self::TooLarge => Page::TOO_LARGE,
        }
    }
}

impl Outgoing {
    /// A request whose head, of `head_len` bytes in the client's input, is `bytes` for the instance.
    #[inline]
    pub(super) fn of(
        head: &RequestHead,
        head_len: usize,
        bytes: Buffer,
        turn: &Turn<'_, '_>,
    ) -> Self {
        let body = head.body();
        let body_done = body.is_empty();
        let until_ms = turn.now_ms + turn.worker.shared.config.limits.continue_wait.0;
        Self {
            head_len,
            bytes,
            intact: true,
            encoder: if body.is_chunked() { Encoder::Chunked } else { Encoder::Plain },
            body,
            body_done,
            proceed: match head.awaits_continue() && !body_done {
                true => Continue::Upstream { until_ms },
                false => Continue::Settled,
            },
        }
    }

    /// Whether its head is still in the client's input, so that it may be routed anew.
    pub(super) fn is_unsent(&self) -> bool {
        self.head_len > 0
    }

    /// It has been routed anew.
    pub(super) fn replace(&mut self, bytes: Buffer, stock: &Stock) {
        stock.put(std::mem::replace(&mut self.bytes, bytes));
    }

    /// Takes the head off the client's input: what follows is the body.
    fn take_head(&mut self, client: &mut Client) {
        client.input.consume(std::mem::take(&mut self.head_len));
    }

    /// How many bytes of memory a request takes that has not gone out.
    pub(super) fn held_bytes(&self, client: &Client) -> usize {
        // The head counts once, though it is kept as it came, too.
        self.bytes.len() + client.input.len() - self.head_len
    }

    /// Whether it could be sent again from its first byte on.
    pub(super) fn is_intact(&self) -> bool {
        self.intact
    }

    /// Whether all of it has come from the client.
    pub(super) fn is_whole(&self) -> bool {
        self.body_done
    }

    /// Whether all of it has gone out.
    pub(super) fn is_out(&self) -> bool {
        self.body_done && self.bytes.is_empty()
    }

    /// Whether more of the body has to come before anything can go out.
    pub(super) fn waits_for_body(&self) -> bool {
        !self.body_done && self.bytes.is_empty()
    }

    /// Whether there is room for more of the body.
    pub(super) fn has_room(&self) -> bool {
        self.bytes.len() < LARGE
    }

    /// Who tells the client to go on.
    pub(super) fn proceed(&self) -> Continue {
        self.proceed
    }

    /// The client has been told to go on, or need not be any more.
    pub(super) fn settles(&mut self) {
        self.proceed = Continue::Settled;
    }

    /// Moves body bytes from the client's input into the request.
    #[inline]
    pub(super) fn take_from(
        &mut self,
        client: &mut Client,
        upstream: &Upstream,
        pacing: &mut Pacing,
    ) -> Result<usize, BadBody> {
        self.take_head(client);
        let mut moved = 0;
        while !self.body_done && !client.input.is_empty() && self.bytes.len() < LARGE {
            let input = client.input.unread();
            let room = (LARGE - self.bytes.len()).min(input.len());
            let step = self.body.read(&input[..room]).map_err(|_| BadBody::Malformed)?;
            pacing.take(step.data).map_err(|_| BadBody::TooLarge)?;
            if !upstream.deaf {
                let data = &input[step.skip..step.skip + step.data];
                self.encoder.data(data, self.bytes.tail());
            }
            if step.done {
                self.body_done = true;
                if !upstream.deaf {
                    self.encoder.end(self.body.trailers(), self.bytes.tail());
                }
            }
            let taken = step.skip + step.data;
            client.input.consume(taken);
            moved += taken + usize::from(step.done);
            if taken == 0 && !step.done {
                break;
            }
        }
        if moved > 0 && self.bytes.taken() + self.bytes.len() > REPLAY + (32 << 10) {
            self.intact = false;
        }
        Ok(moved)
    }

    /// Writes what the instance takes.
    #[inline]
    pub(super) fn send(
        &mut self,
        upstream: &mut Upstream,
        info: &mut RequestInfo,
        turn: &mut Turn<'_, '_>,
    ) -> Result<usize, Failure> {
        if self.bytes.is_empty() || upstream.deaf {
            return Ok(0);
        }
        // Nothing of a request that may be sent again is dropped before its answer comes. One that
        // may not is kept until its first byte is out: until then it is free to go elsewhere.
        let keep =
            if self.intact && info.terms.is_resendable() { Keep::All } else { Keep::Nothing };
        match self.bytes.drain_to(turn.cx, &mut upstream.stream, keep) {
            Poll::Pending => Ok(0),
            Poll::Ready(Ok(count)) => {
                // The kernel takes the first bytes, whatever the instance does.
                if upstream.sent {
                    upstream.flight.instance().moved(turn.now_ms);
                }
                upstream.sent = true;
                info.presence.begins();
                if let Some(stopwatch) = &mut upstream.stopwatch {
                    *stopwatch = Stopwatch::start();
                }
                Ok(count)
            }
            Poll::Ready(Err(_)) if !upstream.sent => Err(Failure::Broken),
            Poll::Ready(Err(_)) => {
                // An answer may have come before the connection broke: that is read first.
                upstream.deaf = true;
                self.bytes.pass(self.bytes.len());
                Ok(1)
            }
        }
    }

    /// Goes back to its first byte, for another attempt.
    pub(super) fn rewind(&mut self) {
        self.bytes.rewind();
    }

    /// Nobody wants it. What has come of its body is discarded: if that is all, a connection that is
    /// to stay remains usable.
    #[inline]
    pub(super) fn discard(&mut self, client: &mut Client, after: After) {
        self.take_head(client);
        while after == After::KeepAlive && !self.body_done && !client.input.is_empty() {
            let Ok(step) = self.body.read(client.input.unread()) else { return };
            client.input.consume(step.skip + step.data);
            self.body_done = step.done;
            if step.skip + step.data == 0 {
                return;
            }
        }
    }

    /// Gives its memory back.
    pub(super) fn ends(&mut self, stock: &Stock) {
        stock.put(std::mem::take(&mut self.bytes));
    }
}
