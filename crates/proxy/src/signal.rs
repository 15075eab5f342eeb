//! Wakes the reporter from any thread. Carries no data: the events are read from the counters.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;

/// A wake-up signal for one thread.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    thread: OnceLock<Thread>,
    rung: AtomicBool,
}

impl Signal {
    /// Sets the thread that listens. Only the first call counts.
    pub(crate) fn listen(&self, thread: Thread) {
        let _ = self.thread.set(thread);
    }

    /// Wakes the listener.
    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Returns whether the signal was sent since the last call.
    pub(crate) fn take(&self) -> bool {
        self.rung.swap(false, Ordering::AcqRel)
    }
}
