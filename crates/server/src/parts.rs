//! What the API is made of.

use std::sync::Arc;

use tokio::sync::watch;
use wire::{Code, Problem};

use crate::engine::ApiEngine;
use crate::host::ApiHost;
use crate::store::ApiStore;

/// Text for `/metrics`.
pub type Metrics = dyn Fn() -> String + Send + Sync;
/// Says in a sentence what is not well with an app's traffic, if anything is not.
pub type TrafficWarning = dyn Fn(&model::AppName) -> Option<String> + Send + Sync;
/// Whether traffic is served, for `/readyz`: with what is amiss all the same, if anything is; or why not.
pub type Ready = dyn Fn() -> Result<Option<String>, String> + Send + Sync;

/// Everything the API asks.
#[derive(Clone)]
pub struct Parts {
    /// Decides.
    pub engine: Arc<dyn ApiEngine>,
    /// Keeps files and secrets.
    pub store: Arc<dyn ApiStore>,
    /// Has the instances, their output and the apps' state.
    pub host: Arc<dyn ApiHost>,
    /// Becomes true when somebody asks for the end of all instances, and of the server.
    pub down: watch::Sender<bool>,
    /// Instances run as root unless their app names a user.
    pub as_root: bool,
    /// Text for `/metrics`.
    pub metrics: Arc<Metrics>,
    /// What is not well with an app's traffic.
    pub traffic_warning: Arc<TrafficWarning>,
    /// Answers `/readyz`.
    pub ready: Arc<Ready>,
    /// Becomes true when the server ends: streams end with it.
    pub stop: watch::Receiver<bool>,
}

impl Parts {
    /// Why nothing can be changed, if nothing can.
    pub(crate) fn read_only(&self) -> Option<Problem> {
        let why = self.engine.read_only()?;
        let problem = Problem::new(Code::ReadOnly, format!("nothing can be changed now: {why}"));
        Some(problem.hint("traffic goes on; the server's log says more"))
    }
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}
