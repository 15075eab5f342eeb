//! Closing so that the client sees the answer: what is written is flushed, our side closes, and what
//! the client still sends is discarded for a while. Never reads a byte as a request.

use std::pin::Pin;
use std::task::{Poll, ready};

use tokio::io::AsyncWrite;

use crate::connection::{Turn, Wakeup};
use crate::slots::Watch;

/// Bytes discarded at most: closing on unread bytes would reset the connection and the answer.
const DISCARDED: usize = 64 << 10;

/// A connection that is being closed.
#[derive(Debug)]
pub(crate) struct Farewell {
    until_ms: u64,
    discarded: usize,
    shut: bool,
}

impl Farewell {
    pub(crate) fn new(turn: &Turn<'_, '_>) -> Self {
        let limits = &turn.worker.shared.config.limits;
        // An answer that is not written yet gets the time of any other write.
        let wait =
            if turn.client.output.is_empty() { limits.linger.0 } else { limits.write_stall.0 };
        Self { until_ms: turn.now_ms + wait, discarded: 0, shut: false }
    }

    pub(crate) fn wakeup(&self) -> Wakeup {
        Wakeup { at_ms: self.until_ms, watch: Watch::Nothing }
    }

    pub(crate) fn poll(&mut self, turn: &mut Turn<'_, '_>) -> Poll<()> {
        if turn.now_ms >= self.until_ms {
            return Poll::Ready(());
        }
        if !self.shut {
            if ready!(turn.client.flush(turn.cx, turn.worker)).is_err() {
                return Poll::Ready(());
            }
            if ready!(Pin::new(&mut turn.client.stream).poll_shutdown(turn.cx)).is_err() {
                return Poll::Ready(());
            }
            self.shut = true;
            self.until_ms = turn.now_ms + turn.worker.shared.config.limits.linger.0;
            self.discarded = turn.client.input.len();
            turn.client.input.clear();
        }
        while !turn.client.ended && self.discarded < DISCARDED {
            turn.client.input.clear();
            match ready!(turn.client.read(turn.cx, turn.worker)) {
                Ok(0) | Err(_) => break,
                Ok(count) => self.discarded += count,
            }
        }
        Poll::Ready(())
    }
}
