//! A proxy that saves each routing table before it uses it, so that its next process does not start from an
//! older one.

use std::path::PathBuf;
use std::sync::Arc;

use model::{Generation, HealthTable, Snapshot, in_full};
use proxy::Proxy;

/// A proxy, and the file with the table from which its next process starts.
#[derive(Clone, Debug)]
pub struct SavingProxy {
    proxy: Proxy,
    saved: PathBuf,
    /// The boot that is saved with a table.
    boot: Option<String>,
    /// The snapshot that the proxy has prepared and does not use yet.
    prepared: Option<Arc<Snapshot>>,
}

impl SavingProxy {
    /// Returns the proxy with the file in which it saves tables, each with the id of this boot if there is one.
    pub fn new(proxy: Proxy, saved: PathBuf, boot: Option<String>) -> Self {
        Self { proxy, saved, boot, prepared: None }
    }

    /// Returns the proxy.
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// Prepares the table of a snapshot without using it. One that is older than the newest is refused.
    pub fn prepare(&mut self, snapshot: Arc<Snapshot>) {
        match self.proxy.prepare(&snapshot) {
            Ok(()) => self.prepared = Some(snapshot),
            Err(error) => tracing::error!(error = in_full(&error), "a snapshot is refused"),
        }
    }

    /// Saves the prepared snapshot of this generation, and uses it. If it cannot be saved, the server's own proxy
    /// uses it all the same: after a crash, control tells it anew. One on another machine may have to start without
    /// control, with instances that are long gone in its table; it stays with the table that it has, and is late.
    pub fn commit(&mut self, generation: Generation) {
        let prepared = self.prepared.take_if(|snapshot| snapshot.generation == generation);
        if let Some(snapshot) = prepared
            && let Err(error) =
                proxy::snapshot_file::save(&self.saved, &snapshot, self.boot.as_deref())
        {
            if self.boot.is_some() {
                tracing::error!(%error, "the routing table cannot be saved, so it is not used");
                self.prepared = Some(snapshot);
                return;
            }
            tracing::warn!(%error, "the snapshot is not saved; traffic is not affected");
        }
        self.proxy.commit(generation);
    }

    /// Uses a health table.
    pub fn set_health(&self, table: Arc<HealthTable>) {
        self.proxy.set_health(table);
    }
}
