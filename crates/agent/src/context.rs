//! The state that all tasks of an agent share. Starts nothing, and has no reference to a task.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use model::{AppName, HostReport, Keep};
use store::ReleaseStore;

use crate::fetch::ReleaseFetcher;
use crate::layout::InstanceLayout;
use crate::listener_monitor::SocketMonitor;
use crate::protocol::OpenFiles;
use crate::release_files::ReleaseFiles;

/// Settings of an agent.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The data folder.
    pub data: PathBuf,
    /// The binary that has the hidden verbs `__shim` and `__exec`.
    pub program: PathBuf,
    /// The id of this boot of the machine, from [`crate::boot_id`].
    pub boot_id: String,
    /// The limit of open files that instances get; `None` leaves this process's limit in place.
    pub open_files: Option<OpenFiles>,
}

/// The state that all tasks share.
pub(crate) struct Context {
    pub config: AgentConfig,
    pub layout: InstanceLayout,
    pub store: Arc<ReleaseStore>,
    /// Fetches what the store lacks; `None` on the server's host.
    pub fetcher: Option<Arc<ReleaseFetcher>>,
    pub files: ReleaseFiles,
    pub report: Box<dyn Fn(HostReport) + Send + Sync>,
    pub sockets: Arc<SocketMonitor>,
    /// Held shared while a shim is started, and exclusively while processes are moved between control groups.
    pub starting: tokio::sync::RwLock<()>,
    collecting: Mutex<BTreeMap<AppName, Arc<tokio::sync::Mutex<()>>>>,
    kept: Mutex<BTreeMap<AppName, Box<Keep>>>,
}

impl Context {
    pub fn new(
        config: AgentConfig,
        layout: InstanceLayout,
        store: Arc<ReleaseStore>,
        fetcher: Option<Arc<ReleaseFetcher>>,
        files: ReleaseFiles,
        report: Box<dyn Fn(HostReport) + Send + Sync>,
    ) -> Self {
        Self {
            config,
            layout,
            store,
            fetcher,
            files,
            report,
            sockets: Arc::default(),
            starting: tokio::sync::RwLock::default(),
            collecting: Mutex::default(),
            kept: Mutex::default(),
        }
    }

    /// Returns the app's lock for garbage collection: only one task at a time collects an app's garbage.
    pub fn collecting(&self, app: &AppName) -> Arc<tokio::sync::Mutex<()>> {
        let mut collecting = self.collecting.lock().unwrap_or_else(PoisonError::into_inner);
        collecting.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(collecting.entry(app.clone()).or_default())
    }

    /// Returns the latest [`Keep`] command about an app.
    pub fn kept(&self, app: &AppName) -> Option<Box<Keep>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(app).cloned()
    }

    /// Stores a [`Keep`] command as the latest about its app.
    pub fn keeps(&self, keep: Box<Keep>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(keep.app.clone(), keep);
    }
}
