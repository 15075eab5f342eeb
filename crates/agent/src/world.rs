//! What all tasks of an agent share. Starts nothing, and knows none of the tasks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use model::{AppName, HostReport, Keep};
use store::ReleaseStore;

use crate::layout::Layout;
use crate::lookout::Lookout;
use crate::protocol::OpenFiles;
use crate::release_files::ReleaseFiles;

/// What an agent has to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data folder.
    pub data: PathBuf,
    /// The binary that knows the hidden verbs `__shim` and `__exec`.
    pub program: PathBuf,
    /// This boot of the machine, from [`crate::boot_id`].
    pub boot_id: String,
    /// The limit of open files that instances get; `None` leaves it as it is here.
    pub open_files: Option<OpenFiles>,
}

/// What all tasks share.
pub(crate) struct World {
    pub config: Config,
    pub layout: Layout,
    pub store: Arc<ReleaseStore>,
    pub files: ReleaseFiles,
    pub report: Box<dyn Fn(HostReport) + Send + Sync>,
    pub lookout: Arc<Lookout>,
    /// Held by those who start a shim; whoever moves processes between control groups has it alone.
    pub starting: tokio::sync::RwLock<()>,
    clearing: Mutex<BTreeMap<AppName, Arc<tokio::sync::Mutex<()>>>>,
    kept: Mutex<BTreeMap<AppName, Box<Keep>>>,
}

impl World {
    pub fn new(
        config: Config,
        layout: Layout,
        store: Arc<ReleaseStore>,
        files: ReleaseFiles,
        report: Box<dyn Fn(HostReport) + Send + Sync>,
    ) -> Self {
        Self {
            config,
            layout,
            store,
            files,
            report,
            lookout: Arc::default(),
            starting: tokio::sync::RwLock::default(),
            clearing: Mutex::default(),
            kept: Mutex::default(),
        }
    }

    /// The right to delete what an app does not need any more: one has it at a time.
    pub fn clearing(&self, app: &AppName) -> Arc<tokio::sync::Mutex<()>> {
        let mut clearing = self.clearing.lock().unwrap_or_else(PoisonError::into_inner);
        clearing.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(clearing.entry(app.clone()).or_default())
    }

    /// What the latest command said that an app needs.
    pub fn kept(&self, app: &AppName) -> Option<Box<Keep>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(app).cloned()
    }

    /// Takes what the command says as the latest.
    pub fn keeps(&self, keep: Box<Keep>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(keep.app.clone(), keep);
    }
}
