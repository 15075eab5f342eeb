//! Signals to the server: SIGTERM and SIGINT end it, SIGHUP makes it read and open files anew. Heard from
//! the start on, so that none of them ends it in the middle of something.

use std::io;
use std::path::Path;

use server::Guard;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that are heard.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// The action that a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalAction {
    End,
    Reload,
}

impl Signals {
    /// Starts to listen for the signals. Call this on the runtime.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    pub async fn next(&mut self) -> SignalAction {
        tokio::select! {
            _ = self.terminate.recv() => SignalAction::End,
            _ = self.interrupt.recv() => SignalAction::End,
            _ = self.hangup.recv() => SignalAction::Reload,
        }
    }
}

/// Opens the access log anew, for whoever has renamed it, and reads the token. What cannot be read stays as
/// it was.
pub async fn reload(data: &Path, guard: &Guard, proxy: &proxy::Proxy) {
    let (data, guard, proxy) = (data.to_owned(), guard.clone(), proxy.clone());
    let work = move || {
        match proxy.reopen_access_log() {
            Ok(()) => tracing::info!("SIGHUP: the access log, if there is one, is opened anew"),
            Err(error) => {
                tracing::error!("the access log stays where it is: {}", model::in_full(&error))
            }
        }
        match server::load_or_create_token(&data) {
            Ok(token) => guard.replace_token(token),
            Err(error) => tracing::error!("the token stays as it was: {error}"),
        }
    };
    let _ = tokio::task::spawn_blocking(work).await;
}
