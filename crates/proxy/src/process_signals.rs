//! Signals to a process that serves. SIGTERM, SIGINT and SIGQUIT end it in order, and SIGHUP makes it
//! read and open files anew. Other signals that would end it by their default action are only logged.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Signals without a meaning here. Programs that rotate logs send USR1, and the kernel sends XFSZ and
/// XCPU at an inherited limit. The sender of such a signal does not ask for the end of all traffic.
const STRAY: [(&str, Number); 10] = [
    ("SIGUSR1", Number::USR1),
    ("SIGUSR2", Number::USR2),
    ("SIGALRM", Number::ALARM),
    ("SIGVTALRM", Number::VTALARM),
    ("SIGPROF", Number::PROF),
    ("SIGIO", Number::IO),
    ("SIGPWR", Number::POWER),
    ("SIGSTKFLT", Number::STKFLT),
    ("SIGXCPU", Number::XCPU),
    ("SIGXFSZ", Number::XFSZ),
];

/// The signals that the process listens for.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hangup: Signal,
    stray: Vec<(&'static str, Signal)>,
}

/// The action that a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalAction {
    /// End in order.
    End,
    /// Read and open files anew.
    Reload,
}

impl Signals {
    /// Starts to listen for the signals. Must be called on the runtime.
    ///
    /// # Errors
    /// If the system does not let this process catch one of them.
    pub fn listen() -> io::Result<Self> {
        let stray = STRAY
            .into_iter()
            .map(|(name, number)| Ok((name, signal(SignalKind::from_raw(number.as_raw()))?)));
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
            stray: stray.collect::<io::Result<_>>()?,
        })
    }

    /// Waits for the next signal that asks for an action.
    pub async fn next(&mut self) -> SignalAction {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return SignalAction::End,
                _ = self.interrupt.recv() => return SignalAction::End,
                _ = self.quit.recv() => return SignalAction::End,
                _ = self.hangup.recv() => return SignalAction::Reload,
                name = next_of(&mut self.stray) => tracing::warn!(
                    "{name} does nothing: SIGHUP reopens the access log, SIGTERM ends the process"
                ),
            }
        }
    }
}

/// Waits for any of these signals. Returns the name of the one that came.
async fn next_of(signals: &mut [(&'static str, Signal)]) -> &'static str {
    poll_fn(|context| {
        for (name, signal) in signals.iter_mut() {
            if signal.poll_recv(context).is_ready() {
                return Poll::Ready(*name);
            }
        }
        Poll::Pending
    })
    .await
}
