//! Closes a connection in a way that lets the client read the answer: flushes the output, closes the
//! proxy's side, and discards for a while what the client still sends. Never parses a byte as a request.

use std::pin::Pin;
use std::task::Poll;

use tokio::io::AsyncWrite;

use crate::deadline::Deadline;
use crate::timers::Watch;
use crate::turn::{Turn, Wakeup};

/// Bytes discarded in one poll, before other connections of the worker are polled.
const TURN_BYTES: usize = 256 << 10;

/// A connection that is being closed.
#[derive(Debug)]
pub(crate) struct LingeringClose {
    until: Deadline,
    shut: bool,
}

impl LingeringClose {
    pub(crate) fn new(turn: &Turn<'_, '_>) -> Self {
        let settings = turn.worker.settings();
        let limits = &settings.limits;
        // An answer that is not written yet gets the time of any other write.
        let wait = if turn.client.is_flushed() { limits.linger.0 } else { limits.write_stall.0 };
        Self { until: Deadline::at(turn.now_ms + wait), shut: false }
    }

    pub(crate) fn wakeup(&self) -> Wakeup {
        Wakeup { at: self.until, watch: Watch::Nothing }
    }

    pub(crate) fn poll(&mut self, turn: &mut Turn<'_, '_>) -> Poll<()> {
        if self.until.is_over(turn.now_ms) {
            return Poll::Ready(());
        }
        if !self.shut {
            match turn.client.poll_flush(turn.cx, turn.worker) {
                Poll::Ready(Ok(_)) if turn.client.is_flushed() => {
                    let shut = Pin::new(&mut turn.client.h1().stream).poll_shutdown(turn.cx);
                    if !matches!(shut, Poll::Ready(Ok(()))) {
                        return Poll::Ready(());
                    }
                    self.shut = true;
                    let linger = turn.worker.settings().limits.linger;
                    self.until = Deadline::at(turn.now_ms + linger.0);
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(_)) | Poll::Pending => {}
            }
        }
        // Near the limit every connection counts. A client that has not read the answer by now may miss
        // it.
        if turn.worker.is_crowded() {
            return Poll::Ready(());
        }
        self.discard(turn)
    }

    /// Discards the client's bytes. Closing a socket with unread bytes would reset the connection, and
    /// the answer would be lost. A client that writes all of its request before it reads takes the answer
    /// only after that.
    fn discard(&self, turn: &mut Turn<'_, '_>) -> Poll<()> {
        let mut discarded = 0;
        while !turn.client.has_ended() {
            turn.client.h1().input.clear();
            match turn.client.poll_read(turn.cx, turn.worker) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0) | Err(_)) => turn.client.h1().ended = true,
                Poll::Ready(Ok(count)) => discarded += count,
            }
            if discarded >= TURN_BYTES {
                turn.cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        if self.shut { Poll::Ready(()) } else { Poll::Pending }
    }
}
