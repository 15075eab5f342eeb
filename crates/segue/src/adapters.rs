//! Adapters that implement the interfaces of control and of the API with the agent, the store and the proxy
//! of this server. They translate and keep no data.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use control::{HostLinks, Traffic};
use model::{
    Abilities, AppName, Generation, HealthTable, ProxyId, Snapshot, ToHost, TrafficReport,
};
use server::ApiHost;
use wire::{LogPage, LogRequest};

/// The largest number of bytes of output in one page, of all instances of an app together.
const PAGE_BYTES: usize = 16 << 20;

/// The agent in this server.
pub struct LocalHost(pub Arc<agent::Agent>);

impl HostLinks for LocalHost {
    fn send(&mut self, to: ToHost) {
        self.0.handle(to.term, to.command);
    }
}

/// The output and state of instances in this server's data folder.
pub struct LocalFiles {
    pub data: PathBuf,
}

impl ApiHost for LocalFiles {
    fn logs(&self, request: &LogRequest) -> io::Result<LogPage> {
        agent::logs::answer(&self.data, request, PAGE_BYTES)
    }

    fn running(&self) -> io::Result<u32> {
        agent::running(&self.data)
    }

    fn states(&self) -> io::Result<BTreeMap<AppName, PathBuf>> {
        agent::states(&self.data)
    }
}

/// The proxy in this server, and the snapshot file from which it starts after a crash.
#[derive(Clone)]
pub struct LocalTraffic {
    pub proxy: proxy::Proxy,
    pub saved: PathBuf,
    /// The snapshot that the proxy has prepared and does not use yet.
    pub prepared: Option<Arc<Snapshot>>,
}

impl Traffic for LocalTraffic {
    fn id(&self) -> ProxyId {
        self.proxy.id()
    }

    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    fn prepare(&mut self, snapshot: Arc<Snapshot>) {
        match self.proxy.prepare(&snapshot) {
            Ok(()) => self.prepared = Some(snapshot),
            Err(error) => tracing::error!(%error, "the proxy refuses a snapshot"),
        }
    }

    /// Saves the snapshot first: a new process must not start from an older one than a worker has used.
    fn commit(&mut self, generation: Generation) {
        let prepared = self.prepared.take_if(|snapshot| snapshot.generation == generation);
        if let Some(snapshot) = prepared
            && let Err(error) = proxy::snapshot_file::save(&self.saved, &snapshot)
        {
            tracing::warn!(%error, "the snapshot is not saved; traffic is not affected");
        }
        self.proxy.commit(generation);
    }

    fn health(&mut self, table: Arc<HealthTable>) {
        self.proxy.set_health(table);
    }

    fn sample(&mut self) -> Option<TrafficReport> {
        Some(self.proxy.report())
    }
}
