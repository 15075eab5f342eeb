//! The state that all handlers of the API share.

use std::sync::Arc;

use tokio::sync::watch;
use wire::{Code, Problem};

use crate::engine::ApiEngine;
use crate::fleet::ApiFleet;
use crate::host::ApiHost;
use crate::store::ApiStore;

/// Returns the text for `/metrics`.
pub type Metrics = dyn Fn() -> String + Send + Sync;
/// Returns a sentence about a problem with an app's traffic; `None` if there is no problem.
pub type TrafficWarning = dyn Fn(&model::AppName) -> Option<String> + Send + Sync;
/// Returns `Ok` for `/readyz` if traffic is served, with a sentence about a problem that does not prevent
/// this, if there is one. Returns `Err` with the reason if traffic is not served.
pub type Ready = dyn Fn() -> Result<Option<String>, String> + Send + Sync;

/// The state that all handlers share.
#[derive(Clone)]
pub struct ApiState {
    /// Decides on commands.
    pub engine: Arc<dyn ApiEngine>,
    /// Keeps files and secrets.
    pub store: Arc<dyn ApiStore>,
    /// Runs the instances. Gives access to their output and to the apps' state.
    pub host: Arc<dyn ApiHost>,
    /// Knows the members of the fleet.
    pub fleet: Arc<dyn ApiFleet>,
    /// Becomes true when a client asks to stop all instances and the server.
    pub down: watch::Sender<bool>,
    /// True if instances run as root unless their app names a user.
    pub as_root: bool,
    /// Returns the text for `/metrics`.
    pub metrics: Arc<Metrics>,
    /// Returns the problem with an app's traffic, if there is one.
    pub traffic_warning: Arc<TrafficWarning>,
    /// Answers `/readyz`.
    pub ready: Arc<Ready>,
    /// Becomes true when the server stops. Streams end then.
    pub stop: watch::Receiver<bool>,
}

impl ApiState {
    /// Returns the reason why changes are refused; `None` if they are accepted.
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
