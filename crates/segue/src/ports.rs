//! Control's ports, fitted to the parts behind them. Translates and keeps nothing.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use agent::logs;
use control::{CrashPoint, Hosts, Outbox, Traffic};
use model::{
    AppName, AppView, Event, Generation, HealthTable, InstanceId, ProxyId, Snapshot, ToHost,
    TrafficReport,
};
use server::{Host, LogCursor, LogPage, LogStart};

use crate::desk::Board;

/// The last lines of all instances of an app have at most so many bytes together.
const TAIL_BYTES: usize = 16 << 20;

/// The agent in this server.
pub struct LocalHost(pub Arc<agent::Agent>);

impl Hosts for LocalHost {
    fn send(&mut self, to: ToHost) {
        self.0.handle(to.term, to.command);
    }
}

/// What instances leave behind in this server's data folder.
pub struct LocalFiles {
    pub data: PathBuf,
}

impl Host for LocalFiles {
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

    fn states(&self) -> io::Result<BTreeMap<AppName, PathBuf>> {
        agent::states(&self.data)
    }
}

/// The proxy in this server, and the file it begins from after a crash.
#[derive(Clone)]
pub struct LocalTraffic {
    pub proxy: proxy::Proxy,
    pub saved: PathBuf,
    /// What it has prepared and does not use yet.
    pub prepared: Option<Arc<Snapshot>>,
}

impl Traffic for LocalTraffic {
    fn id(&self) -> ProxyId {
        self.proxy.id()
    }

    fn prepare(&mut self, snapshot: Arc<Snapshot>) {
        match self.proxy.prepare(&snapshot) {
            Ok(()) => self.prepared = Some(snapshot),
            Err(error) => tracing::error!(%error, "the proxy refuses a snapshot"),
        }
    }

    /// Saved first: a new process must not begin behind what a worker held.
    fn commit(&mut self, generation: Generation) {
        let prepared = self.prepared.take_if(|snapshot| snapshot.generation == generation);
        if let Some(snapshot) = prepared
            && let Err(error) = proxy::saved::save(&self.saved, &snapshot)
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

/// Where people look.
pub struct Notices(pub Arc<Board>);

impl Outbox for Notices {
    fn announce(&mut self, event: Event) {
        tracing::info!(app = %event.app, "{}", event.text);
        self.0.feed.publish(event);
    }

    fn show(&mut self, view: Arc<AppView>) {
        self.0.show(view);
    }

    fn hide(&mut self, app: &AppName) {
        self.0.hide(app);
    }
}

/// Kills the process at the n-th crossing of an append or an effect, for tests of recovery:
/// `SEGUE_TEST_CRASH_AT=n`. Nothing is flushed, nobody is told, as in a real `kill -9`.
pub struct CrashAt {
    left: u64,
}

impl CrashAt {
    /// What the environment asks for, if it does.
    pub fn from_env() -> Option<Box<dyn CrashPoint>> {
        let left = std::env::var("SEGUE_TEST_CRASH_AT").ok()?.parse().ok()?;
        Some(Box::new(Self { left }))
    }
}

impl CrashPoint for CrashAt {
    fn cross(&mut self, what: &'static str) {
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            tracing::warn!(what, "SEGUE_TEST_CRASH_AT is reached");
            let _ = rustix::process::kill_process(
                rustix::process::getpid(),
                rustix::process::Signal::KILL,
            );
        }
    }
}
