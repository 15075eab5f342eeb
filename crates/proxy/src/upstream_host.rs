//! Another machine on which instances run: whether connections to it are made at all. A machine that is
//! switched off sends no word, so each attempt at one of its instances costs the time to connect.

use model::Millis;

use crate::failures::Failures;

/// One machine, by its address. Shared by all instances there.
#[derive(Debug)]
pub(crate) struct UpstreamHost {
    /// Never reused in this process, and never the key of an instance.
    pub(crate) key: u64,
    timeouts: Failures,
}

impl UpstreamHost {
    pub(crate) fn new(key: u64) -> Self {
        Self { key, timeouts: Failures::new(balance::timeouts_to_eject_host()) }
    }

    pub(crate) fn is_ejected(&self, now_ms: u64) -> bool {
        self.timeouts.is_ejected(now_ms)
    }

    /// Notes that a connection is being made. After an ejection one connection is tried at a time: the
    /// others would wait with it for a machine that is still off.
    pub(crate) fn tries(&self, within: Millis, now_ms: u64) {
        if self.timeouts.is_doubted() && !self.timeouts.is_ejected(now_ms) {
            self.timeouts.rest_until(now_ms.saturating_add(within.0));
        }
    }

    /// Notes that the machine has answered: it made a connection, or refused one.
    pub(crate) fn answered(&self) {
        if self.timeouts.are_there() {
            self.timeouts.end();
        }
    }

    /// Notes that a connection could not be made for want of any answer.
    pub(crate) fn timed_out(&self, now_ms: u64) {
        // Those that were on their way when it was ejected say nothing new about it.
        let was_ejected = self.timeouts.is_ejected(now_ms);
        if self.timeouts.failed() && !was_ejected {
            self.timeouts.eject(now_ms);
        }
    }
}
