//! The engine's interface for the API. It contains no decisions; the engine behind the trait makes them.

use std::pin::Pin;
use std::sync::Arc;

use control::{Answer, Ask, Refusal};
use model::{AppName, AppView, Receipt, Timestamp};

use crate::Subscription;

/// A future with an answer of the engine.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The engine, as the API uses it. Reading never waits for a rollout or for the journal.
pub trait ApiEngine: Send + Sync + 'static {
    /// Returns the time by the engine's clock. Texts about waiting count from this time.
    fn now(&self) -> Timestamp;

    /// Returns the current view of one app.
    fn view(&self, app: &AppName) -> Option<Arc<AppView>>;

    /// Returns the views of all apps, sorted by name.
    fn apps(&self) -> Vec<Arc<AppView>>;

    /// Gives a command. The future completes when the command is journaled or refused, not when it is carried
    /// out. Dropping the future does not cancel the command.
    fn command(&self, command: EngineCommand) -> Pending<'_, Result<Answer, Refusal>>;

    /// Returns the answer that [`ApiEngine::command`] would give, and changes nothing.
    fn dry_run(&self, command: EngineCommand) -> Pending<'_, Result<Answer, Refusal>>;

    /// Returns the receipt so far of the app's rollout; `None` if no rollout is under way.
    fn account(&self, app: &AppName) -> Pending<'_, Option<Receipt>>;

    /// Subscribes to the events of an app that come after the event number `after`; 0 for all remembered
    /// events.
    fn events(&self, app: &AppName, after: u64) -> Subscription;

    /// Returns the reason why changes are refused; `None` if they are accepted. Traffic is served in both
    /// cases.
    fn read_only(&self) -> Option<String>;
}

/// A command to the engine.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineCommand {
    /// The app.
    pub app: AppName,
    /// The version of the app that the client has seen. The command is a conflict if the app's version is
    /// newer.
    pub seen: Option<u64>,
    /// The command itself.
    pub ask: Ask,
}
