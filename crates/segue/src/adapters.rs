//! Adapters that implement the interfaces of control and of the API with the agent, the store and the proxy
//! of this server. They translate and keep no data.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use agent::logs;
use control::{HostLinks, Traffic};
use model::{
    Abilities, AppName, Generation, HealthTable, InstanceId, ProxyId, Snapshot, ToHost,
    TrafficReport,
};
use server::{ApiHost, LogCursor, LogPage, LogStart};

/// The limit for the last lines of all instances of an app together, in bytes.
const TAIL_BYTES: usize = 16 << 20;

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
    fn logs(
        &self,
        app: &AppName,
        instance: Option<&InstanceId>,
        start: &LogStart,
    ) -> io::Result<LogPage> {
        let of = match instance {
            Some(instance) => vec![instance.clone()],
            None => logs::instances(&self.data, app)?,
        };
        let most = TAIL_BYTES / of.len().max(1);
        let mut page = LogPage::default();
        for id in of {
            let (lines, next) = match start {
                LogStart::Last(count) => {
                    let place = logs::end(&self.data, &id)?;
                    let count = usize::try_from(*count).unwrap_or(usize::MAX);
                    (logs::tail(&self.data, &id, count, most)?, place)
                }
                LogStart::After(LogCursor(places)) => {
                    let place = places.get(&id).copied().unwrap_or(0);
                    logs::page(&self.data, &id, place)?
                }
            };
            page.lines.extend(lines);
            page.next.0.insert(id, next);
        }
        Ok(page)
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
