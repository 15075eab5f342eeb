//! What the API asks of the engine. Only words: what they lead to is decided elsewhere.

use std::pin::Pin;
use std::sync::Arc;

use control::{Answer, Ask, Refusal};
use model::{AppName, AppView, Receipt, Timestamp};

use crate::Subscription;

/// An answer that comes later.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The engine, seen from the API. Reading never waits for a rollout, nor for the journal.
pub trait ApiEngine: Send + Sync + 'static {
    /// The engine's clock; sentences about waiting count from it.
    fn now(&self) -> Timestamp;

    /// One app as it is now.
    fn view(&self, app: &AppName) -> Option<Arc<AppView>>;

    /// All apps, in order of their names.
    fn apps(&self) -> Vec<Arc<AppView>>;

    /// Asks for something. Answers when it is journaled or refused, not when it is done; whoever
    /// stops waiting for the answer does not take the command back.
    fn command(&self, command: EngineCommand) -> Pending<'_, Result<Answer, Refusal>>;

    /// Answers at once what [`ApiEngine::command`] would answer, and changes nothing.
    fn dry_run(&self, command: EngineCommand) -> Pending<'_, Result<Answer, Refusal>>;

    /// What the app's rollout has cost so far; `None` if none is under way.
    fn account(&self, app: &AppName) -> Pending<'_, Option<Receipt>>;

    /// What happens in an app after the event with that number; 0 for all that is remembered.
    fn events(&self, app: &AppName, after: u64) -> Subscription;

    /// Why nothing can be changed, if nothing can: traffic goes on.
    fn read_only(&self) -> Option<String>;
}

/// Something that is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineCommand {
    /// The app.
    pub app: AppName,
    /// The state the asker has seen: refused as a conflict when the app's is newer.
    pub seen: Option<u64>,
    /// What is asked for.
    pub ask: Ask,
}
