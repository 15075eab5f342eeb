//! Signals to a process that serves: SIGTERM, SIGINT and SIGQUIT end it in order, and SIGHUP makes it read and
//! open files anew. Others that would end it by their default action are logged and do nothing else.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Signals without a meaning here. Programs for rotating logs send USR1, and the kernel sends XFSZ and XCPU
/// where a limit was inherited: nobody who sends one of them asks for the end of all traffic.
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

/// The signals that are heard.
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
    /// The end, in order.
    End,
    /// Files are read and opened anew.
    Reload,
}

impl Signals {
    /// Starts to listen for the signals. Has to be called on the runtime.
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

    /// Waits for the next signal that asks for something.
    pub async fn next(&mut self) -> SignalAction {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return SignalAction::End,
                _ = self.interrupt.recv() => return SignalAction::End,
                _ = self.quit.recv() => return SignalAction::End,
                _ = self.hangup.recv() => return SignalAction::Reload,
                name = next_of(&mut self.stray) => tracing::warn!(
                    "{name} does nothing: SIGHUP opens the access log anew, SIGTERM ends the process"
                ),
            }
        }
    }
}

/// Waits for any of these signals.
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
