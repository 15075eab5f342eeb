//! Passes bytes both ways after a switch of protocols. An end on one side is passed on to the other. The
//! tunnel ends when both sides have ended, when nothing moves, when its instance has to go, or when its
//! app is closed.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

use crate::buffer::{AfterWrite, Buffer, LARGE, Source};
use crate::deadline::Deadline;
use crate::eviction::{Doing, Moved};
use crate::instance::InFlightGuard;
use crate::stream::InstanceStream;
use crate::timers::Watch;
use crate::turn::{Turn, Wakeup};
use crate::worker::Worker;

/// Bytes moved in one poll, before other connections of the worker are polled.
const TURN_BYTES: usize = 256 << 10;
/// Tunnels and event streams of an instance that goes are closed within this time after the deadline, so
/// that their clients do not all reconnect at the same moment.
pub(crate) const JITTER_MS: u64 = 250;

/// A connection that has become a tunnel.
#[derive(Debug)]
pub(crate) struct Tunnel {
    upstream: InstanceStream,
    flight: InFlightGuard,
    to_client: Flow,
    to_upstream: Flow,
    from_upstream: Buffer,
    terms: TunnelTerms,
    /// True while its app is closed to its client.
    closed: bool,
    leaves_at: Deadline,
    moved: Moved,
    moved_at_ms: u64,
}

/// The terms that the request of a tunnel sets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TunnelTerms {
    /// The key of its app.
    pub(crate) app: Option<u32>,
    pub(crate) drain_ms: u64,
    pub(crate) idle_ms: u64,
}

/// The state of one direction of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Open,
    /// The source has ended. The bytes in the buffer still go out.
    Ending,
    Shut,
}

impl Tunnel {
    /// Opens a tunnel. `from_upstream` holds the bytes that came behind the upstream's 101.
    pub(crate) fn new(
        upstream: InstanceStream,
        flight: InFlightGuard,
        from_upstream: Buffer,
        terms: TunnelTerms,
        turn: &Turn<'_, '_>,
    ) -> Self {
        if flight.instance().host().is_some() {
            upstream.rests();
        }
        Self {
            upstream,
            flight,
            to_client: Flow::Open,
            to_upstream: if turn.client.has_ended() { Flow::Ending } else { Flow::Open },
            from_upstream,
            terms,
            closed: turn.is_closed(terms.app),
            leaves_at: Deadline::never(),
            moved: Moved { since_ms: turn.now_ms, bytes: 0 },
            moved_at_ms: turn.now_ms,
        }
    }

    /// Returns what the tunnel has moved. Used to choose connections to evict.
    pub(crate) fn doing(&self) -> Doing {
        Doing::Tunnel(self.moved)
    }

    pub(crate) fn wakeup(&self) -> Wakeup {
        let idle = Deadline::at(self.moved_at_ms + self.terms.idle_ms);
        Wakeup { at: idle.min(self.leaves_at), watch: Watch::Engaged }
    }

    pub(crate) fn poll(&mut self, turn: &mut Turn<'_, '_>) -> Poll<()> {
        if turn.snapshot_changed {
            self.closed = turn.is_closed(self.terms.app);
        }
        if !self.closed && turn.worker.carries(self.flight.instance().key) {
            self.leaves_at = Deadline::never();
        } else if self.leaves_at.is_never() {
            let jitter = turn.worker.random() % JITTER_MS;
            self.leaves_at = Deadline::at(turn.now_ms + self.terms.drain_ms + jitter);
        }
        if self.wakeup().at.is_over(turn.now_ms) {
            return Poll::Ready(());
        }
        let mut moved = 0;
        loop {
            let Ok(down) = self.down(turn) else { return Poll::Ready(()) };
            let Ok(up) = self.up(turn) else { return Poll::Ready(()) };
            if self.to_client == Flow::Shut && self.to_upstream == Flow::Shut {
                return Poll::Ready(());
            }
            if down + up == 0 {
                return Poll::Pending;
            }
            self.moved_at_ms = turn.now_ms;
            self.flight.instance().moved(turn.now_ms);
            moved += down + up;
            self.moved.bytes += (down + up) as u64;
            if moved >= TURN_BYTES {
                turn.cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    fn down(&mut self, turn: &mut Turn<'_, '_>) -> Result<usize, std::io::Error> {
        // Bytes that were written for the client before, the 101 itself, go first.
        let mut moved = progress(turn.client.poll_flush(turn.cx, turn.worker))?;
        if turn.client.is_flushed() {
            let client = &mut turn.client.h1().stream;
            let (flow, buffer) = (&mut self.to_client, &mut self.from_upstream);
            moved += carry(turn.cx, turn.worker, flow, buffer, &mut self.upstream, client)?;
        }
        Ok(moved)
    }

    fn up(&mut self, turn: &mut Turn<'_, '_>) -> Result<usize, std::io::Error> {
        let client = turn.client.h1();
        let (from, buffer) = (&mut client.stream, &mut client.input);
        carry(turn.cx, turn.worker, &mut self.to_upstream, buffer, from, &mut self.upstream)
    }
}

fn progress(poll: Poll<std::io::Result<usize>>) -> std::io::Result<usize> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Ok(0),
    }
}

/// Moves as much as possible in one direction. Returns how many bytes and ends moved.
fn carry(
    cx: &mut Context<'_>,
    worker: &Worker,
    flow: &mut Flow,
    buffer: &mut Buffer,
    from: &mut impl Source,
    to: &mut (impl AsyncWrite + Unpin),
) -> std::io::Result<usize> {
    let mut moved = 0;
    if *flow == Flow::Open && buffer.len() < LARGE {
        if buffer.tail().capacity() == 0 {
            *buffer = worker.stock.take();
        }
        match buffer.fill(cx, from) {
            Poll::Ready(Ok(0)) => {
                *flow = Flow::Ending;
                moved += 1;
            }
            poll @ (Poll::Ready(_) | Poll::Pending) => moved += progress(poll)?,
        }
    }
    if !buffer.is_empty() {
        moved += progress(buffer.drain_to(cx, to, AfterWrite::Nothing))?;
    }
    if buffer.is_empty() {
        worker.stock.put(std::mem::take(buffer));
        if *flow == Flow::Ending && Pin::new(to).poll_shutdown(cx).is_ready() {
            *flow = Flow::Shut;
            moved += 1;
        }
    }
    Ok(moved)
}
