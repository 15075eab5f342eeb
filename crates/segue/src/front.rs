//! Traffic: the proxy in this server, from the saved snapshot on. It depends on neither the journal, nor
//! control, nor the API: it starts before them, and goes on when they have stopped.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cli::CommandError;
use control::Inbox;
use proxy::Proxy;

use crate::failure::cannot_start;
use crate::foreign_listeners::{self, ForeignListeners};
use crate::saving_proxy::SavingProxy;

/// The time limit for requests in flight when traffic ends.
pub const DRAIN: Duration = Duration::from_secs(30);

/// The proxy, with the snapshot and the term that it started with.
pub struct Front {
    proxy: Proxy,
    /// The file with the snapshot that the proxy starts from.
    saved: PathBuf,
    term: u64,
    foreign: Option<ForeignListeners>,
}

impl Front {
    /// Starts accepting connections. The proxy sends its traffic reports to `inbox`.
    pub fn start(config: proxy::Config, data: &Path, inbox: &Inbox) -> Result<Self, CommandError> {
        let bound = Proxy::bind(config).map_err(|error| {
            let failure = cannot_start(&error);
            failure.hint("another program listens there; choose another with --http")
        })?;
        let saved = data.join("snapshot");
        let initial = proxy::snapshot_file::load(&saved).unwrap_or_else(|error| {
            tracing::warn!(%error, "traffic starts with an empty table");
            None
        });
        let mut initial = initial.unwrap_or_default().snapshot;
        let foreign = foreign_listeners::leave_out(data, &mut initial);
        let term = initial.generation.term;
        let reports = inbox.clone();
        let proxy = bound
            .start(&initial, move |report| reports.traffic(report))
            .map_err(|error| cannot_start(&error))?;
        foreign.tell(&proxy);
        for http in proxy.local_addrs() {
            tracing::info!("apps are served on http://{http}");
        }
        Ok(Self { proxy, saved, term, foreign: Some(foreign) })
    }

    /// Returns the term of the snapshot that the proxy started with.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// Takes the instances that were left out of that snapshot. Only the first call returns them.
    pub fn take_foreign_listeners(&mut self) -> Option<ForeignListeners> {
        self.foreign.take()
    }

    /// Returns the proxy as control commands it.
    pub fn saving_proxy(&self) -> SavingProxy {
        SavingProxy::new(self.proxy.clone(), self.saved.clone(), None)
    }

    /// Returns the proxy, for questions about its traffic.
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// Stops accepting connections, and waits until requests in flight have finished or [`DRAIN`] is over.
    /// Blocks.
    pub fn drain(self) {
        tracing::info!("ending: requests in flight get {} s", DRAIN.as_secs());
        self.proxy.drain(DRAIN);
        self.proxy.join();
    }
}
