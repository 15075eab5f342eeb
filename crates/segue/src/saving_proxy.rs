//! A proxy that saves each routing table before it uses it, so that its next process does not start from an
//! older one.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use model::{Generation, HealthTable, Snapshot, in_full};
use proxy::{Proxy, snapshot_file};

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

    /// Prepares the table of a snapshot without using it. One that is older than the newest is refused. A proxy on
    /// another machine may have to start without control, so it first makes sure that a crash of the machine does not
    /// lose the table; if that is not possible, it stays with the table that it has, and is late.
    pub fn prepare(&mut self, snapshot: Arc<Snapshot>) {
        // The file with the next table has the newest one, which may be committed later.
        let newest = self.proxy.observe().prepared;
        if snapshot.generation < newest {
            tracing::error!(offered = %snapshot.generation, %newest, "a snapshot is refused: it is older");
            return;
        }
        if let Some(boot) = &self.boot
            && let Err(error) = snapshot_file::save_next(&self.saved, &snapshot, Some(boot))
        {
            tracing::error!(%error, "the routing table cannot be saved, so it is not prepared");
            return;
        }
        match self.proxy.prepare(&snapshot) {
            Ok(()) => self.prepared = Some(snapshot),
            Err(error) => tracing::error!(error = in_full(&error), "a snapshot is refused"),
        }
    }

    /// Saves the prepared snapshot of this generation, and uses it. If it cannot be saved, the server's own proxy
    /// uses it all the same: after a crash, control tells it anew.
    pub fn commit(&mut self, generation: Generation) {
        let prepared = self.prepared.take_if(|snapshot| snapshot.generation == generation);
        let Some(snapshot) = prepared else { return self.proxy.commit(generation) };
        if let Err(error) = self.save(&snapshot) {
            if self.boot.is_some() {
                tracing::error!(%error, "the routing table cannot be saved, so it is not used");
                self.prepared = Some(snapshot);
                return;
            }
            tracing::warn!(%error, "the snapshot is not saved; traffic is not affected");
        }
        // The proxy has it prepared, unless the table of before a boot was used meanwhile.
        if let Err(error) = self.proxy.publish(&snapshot) {
            tracing::error!(error = in_full(&error), "a snapshot is refused");
        }
    }

    fn save(&self, snapshot: &Snapshot) -> io::Result<()> {
        match self.boot {
            Some(_) => snapshot_file::use_next(&self.saved),
            None => snapshot_file::save(&self.saved, snapshot, None),
        }
    }

    /// Uses a health table.
    pub fn set_health(&self, table: Arc<HealthTable>) {
        self.proxy.set_health(table);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    fn table(term: u64, counter: u64) -> Arc<Snapshot> {
        Arc::new(Snapshot { generation: Generation { term, counter }, ..Snapshot::default() })
    }

    fn with_saving_proxy(story: impl FnOnce(&Path, &mut SavingProxy)) {
        let dir = tempfile::tempdir().expect("a folder");
        let saved = dir.path().join("snapshot");
        let listen = "127.0.0.1:0".parse().expect("an address");
        let bound = Proxy::bind(proxy::Config::new(vec![listen])).expect("a free port");
        let proxy = bound.start(&Snapshot::default(), |_| {}).expect("started");
        story(&saved, &mut SavingProxy::new(proxy.clone(), saved.clone(), Some("boot".to_owned())));
        proxy.drain(Duration::ZERO);
        proxy.join();
    }

    #[test]
    fn a_late_message_with_an_older_table_does_not_replace_the_one_that_is_committed_next() {
        with_saving_proxy(|saved, saving| {
            saving.prepare(table(3, 2));
            saving.prepare(table(3, 1));
            saving.commit(table(3, 2).generation);
            let loaded = snapshot_file::load(saved).expect("readable").expect("saved");
            assert_eq!(loaded.snapshot.generation, table(3, 2).generation);
            assert_eq!(saving.proxy().observe().prepared, table(3, 2).generation);
        });
    }

    #[test]
    fn a_table_that_is_never_committed_keeps_the_one_of_before_the_boot_from_nobody() {
        with_saving_proxy(|_, saving| {
            saving.prepare(table(3, 2));
            saving.proxy().publish(&table(0, 1)).expect("nothing newer is in use");
            assert_eq!(saving.proxy().observe().prepared, table(0, 1).generation);
            // Control is back: what it had prepared is used all the same, and stays.
            saving.commit(table(3, 2).generation);
            assert_eq!(saving.proxy().observe().prepared, table(3, 2).generation);
            assert!(saving.proxy().publish(&table(0, 2)).is_err());
        });
    }
}
