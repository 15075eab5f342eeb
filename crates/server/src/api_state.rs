//! The parts that the API is made of.

use std::sync::Arc;

use tokio::sync::watch;
use wire::{Code, Problem};

use crate::engine::ApiEngine;
use crate::host::ApiHost;
use crate::store::ApiStore;

/// Text for `/metrics`.
pub type Metrics = dyn Fn() -> String + Send + Sync;
/// Returns a sentence about what is wrong with an app's traffic, if anything is.
pub type TrafficWarning = dyn Fn(&model::AppName) -> Option<String> + Send + Sync;
/// Returns, for `/readyz`, whether traffic is served: with a sentence about a problem that does not prevent it,
/// or with the reason why it is not served.
pub type Ready = dyn Fn() -> Result<Option<String>, String> + Send + Sync;

/// Everything that the API needs.
#[derive(Clone)]
pub struct ApiState {
    /// Decides on commands.
    pub engine: Arc<dyn ApiEngine>,
    /// Keeps files and secrets.
    pub store: Arc<dyn ApiStore>,
    /// Runs the instances, and has their output and the apps' state.
    pub host: Arc<dyn ApiHost>,
    /// Becomes true when a client asks for the end of all instances and of the server.
    pub down: watch::Sender<bool>,
    /// Instances run as root unless their app names a user.
    pub as_root: bool,
    /// Text for `/metrics`.
    pub metrics: Arc<Metrics>,
    /// Says what is wrong with an app's traffic, if anything is.
    pub traffic_warning: Arc<TrafficWarning>,
    /// Answers `/readyz`.
    pub ready: Arc<Ready>,
    /// Becomes true when the server ends: streams end with it.
    pub stop: watch::Receiver<bool>,
}

impl ApiState {
    /// Returns why nothing can be changed, if nothing can.
    pub(crate) fn read_only(&self) -> Option<Problem> {
        let why = self.engine.read_only()?;
        let problem = Problem::new(Code::ReadOnly, format!("nothing can be changed now: {why}"));
        Some(problem.hint("traffic goes on; the server's log says more"))
    }
}

impl std::fmt::Debug for ApiState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}
