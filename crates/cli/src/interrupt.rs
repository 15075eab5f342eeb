//! Ctrl-C, SIGTERM and a terminal that is closed (SIGHUP) while a command waits: it stops waiting and says how to go on. A second
//! Ctrl-C ends the program at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// Whether somebody wants the command to end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on. If the signals cannot be caught, they end the program as ever.
    pub(crate) fn listen() -> Self {
        let asked = Self::default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let _ = flag::register_conditional_shutdown(signal, 1, asked.0.clone());
            let _ = flag::register(signal, asked.0.clone());
        }
        asked
    }

    pub(crate) fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
