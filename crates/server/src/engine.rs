//! The engine as the API sees it. This is the interface alone; decisions are made behind it.

use std::pin::Pin;
use std::sync::Arc;

use control::{Answer, Ask, Refusal};
use model::{AppName, AppView, Receipt, Timestamp};

use crate::Subscription;

/// An answer that comes later.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The engine, seen from the API. Reading never waits for a rollout, nor for the journal.
pub trait ApiEngine: Send + Sync + 'static {
    /// Returns the time by the engine's clock, which sentences about waiting count from.
    fn now(&self) -> Timestamp;

    /// Returns one app as it is now.
    fn view(&self, app: &AppName) -> Option<Arc<AppView>>;

    /// Returns all apps, sorted by name.
    fn apps(&self) -> Vec<Arc<AppView>>;

    /// Gives a command. The answer comes when the command is journaled or refused, not when it is done.
    /// Dropping the future does not take the command back.
    fn command(&self, command: EngineCommand) -> Pending<'_, Result<Answer, Refusal>>;

    /// Returns what [`ApiEngine::command`] would answer, and changes nothing.
    fn dry_run(&self, command: EngineCommand) -> Pending<'_, Result<Answer, Refusal>>;

    /// Returns the receipt of the app's rollout so far; `None` if none is under way.
    fn account(&self, app: &AppName) -> Pending<'_, Option<Receipt>>;

    /// Subscribes to the events of an app after the one with that number; 0 for all that are remembered.
    fn events(&self, app: &AppName, after: u64) -> Subscription;

    /// Returns why nothing can be changed, if nothing can. Traffic goes on.
    fn read_only(&self) -> Option<String>;
}

/// A command to the engine.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineCommand {
    /// The app.
    pub app: AppName,
    /// The version of the app that the client has seen: the command is a conflict if the app's is newer.
    pub seen: Option<u64>,
    /// The command itself.
    pub ask: Ask,
}
