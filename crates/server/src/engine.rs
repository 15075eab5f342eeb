//! What the API asks of the engine. Only words: what they lead to is decided elsewhere.

use std::pin::Pin;
use std::sync::Arc;

use model::{AppName, AppSpec, AppView, Digest, Label, ReleaseNo, RolloutId, Timestamp};

use crate::Subscription;

/// An answer that comes later.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The engine, seen from the API. Reading never waits for a rollout, nor for the journal.
pub trait Engine: Send + Sync + 'static {
    /// The engine's clock; sentences about waiting count from it.
    fn now(&self) -> Timestamp;

    /// One app as it is now.
    fn view(&self, app: &AppName) -> Option<Arc<AppView>>;

    /// All apps, in order of their names.
    fn apps(&self) -> Vec<Arc<AppView>>;

    /// Asks for something. Answers when it is journaled or refused, not when it is done; whoever
    /// stops waiting for the answer does not take the command back.
    fn command(&self, command: Command) -> Pending<'_, Result<Accepted, Refusal>>;

    /// What happens in an app after the event with that number; 0 for all that is remembered.
    fn events(&self, app: &AppName, after: u64) -> Subscription;

    /// Why nothing can be changed, if nothing can: traffic goes on.
    fn read_only(&self) -> Option<String>;
}

/// Ends everything.
pub trait Shutdown: Send + Sync + 'static {
    /// Stops all instances and then the server. Answers as soon as that has begun.
    fn down(&self) -> Pending<'_, Result<Stopping, Refusal>>;
}

/// What ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopping {
    /// Instances that are being stopped.
    pub instances: u32,
}

/// Something that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The app.
    pub app: AppName,
    /// The state the asker has seen: refused as a conflict when the app's is newer.
    pub seen: Option<u64>,
    /// What is asked for.
    pub act: Act,
}

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// A new release is to become live.
    Deploy(Box<Deploy>),
    /// Another release is to become live again.
    Rollback {
        /// Which; the standby if none is named.
        to: Option<ReleaseNo>,
    },
    /// A rollout that waits for somebody is to go on.
    Promote,
    /// A rollout is to end without a new release.
    Abort,
    /// The app is to go, with everything it left behind.
    Remove,
}

/// The parts of a new release. Files and values are stored already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deploy {
    /// The settings, with the digests of the environment's values.
    pub spec: AppSpec,
    /// What to call it; made of its digest if there is none.
    pub label: Option<Label>,
    /// Names the list of its files.
    pub content: Option<Digest>,
    /// What becomes of a rollout under way.
    pub replace: Replace,
}

/// What a deploy does to a rollout of another release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// It is refused while there is one.
    No,
    /// It aborts the other and starts.
    Yes,
}

/// A command that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The rollout to follow; `None` when there is nothing to wait for.
    pub rollout: Option<RolloutId>,
    /// Nothing new was started: it is live already, or this rollout was under way.
    pub already: bool,
    /// The release the command is about, if about one.
    pub release: Option<(ReleaseNo, Label)>,
}

/// A command that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The kind of no.
    pub kind: Refused,
    /// What was asked, of what, and why not.
    pub message: String,
    /// What to do now.
    pub hint: Option<String>,
}

/// The kinds of no an engine knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Understood, and the answer is no.
    No,
    /// Somebody else was first.
    Conflict,
    /// There is no such app or release.
    NotFound,
    /// Not now; later perhaps.
    Unavailable,
    /// Traffic goes on, but nothing can be changed.
    ReadOnly,
}
