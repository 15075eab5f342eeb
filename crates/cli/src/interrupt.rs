//! Handles Ctrl-C, SIGTERM and the closing of the terminal (SIGHUP) while a command waits. The command stops
//! waiting and says how to go on. A second Ctrl-C ends the program at once. A signal that the parent process
//! ignores, as `nohup` does with SIGHUP, stays ignored.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// A flag that is true once the command has been told to end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Starts to catch the signals. If they cannot be caught, they end the program as usual.
    pub(crate) fn listen() -> Self {
        let asked = Self::default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        for signal in [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|it| !is_ignored(*it, &status)) {
            let _ = flag::register_conditional_shutdown(signal, 1, asked.0.clone());
            let _ = flag::register(signal, asked.0.clone());
        }
        asked
    }

    pub(crate) fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Returns whether a process ignores a signal, according to its file `status` in `/proc`.
fn is_ignored(signal: i32, status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_stays_so() {
        let status = "Name:\tsegue\nSigBlk:\t0000000000000002\nSigIgn:\t0000000000001001\n";
        assert_eq!(
            [SIGHUP, SIGINT, SIGTERM].map(|it| is_ignored(it, status)),
            [true, false, false]
        );
        assert!(!is_ignored(SIGHUP, ""));
    }
}
