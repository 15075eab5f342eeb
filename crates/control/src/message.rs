//! What reaches control, and what control wants done. Only words.

use std::sync::Arc;

use journal::Lost;
use model::{
    AppName, AppView, FromHost, Generation, HealthTable, Label, ReleaseNo, RolloutId, Snapshot,
    ToHost, TrafficReport,
};
use rollout::{Ask, Course, Refusal};

use crate::record::{CheckpointBody, Record};

/// Names one question, so that its answer finds the way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Whether an accepted question is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Its facts are journaled, then answered.
    Commit,
    /// The command is answered as if it were to be done, and changes nothing.
    DryRun,
}

/// Something that reaches control.
#[derive(Clone, Debug)]
pub enum Event {
    /// A host's agent reports.
    Host(FromHost),
    /// A proxy reports.
    Traffic(TrafficReport),
    /// Somebody asks for something.
    Ask {
        /// For the answer.
        ticket: Ticket,
        /// Of this app.
        app: AppName,
        /// What.
        ask: Ask,
        /// The state its sender saw.
        version: Option<u64>,
        /// Whether it is done.
        mode: Mode,
    },
    /// The append under way is durable, or was not acknowledged.
    Appended(Result<(), Lost>),
    /// The log takes nothing any more.
    Cut(Lost),
    /// Time has passed.
    Tick,
}

/// Something control wants done. Every one may be carried out concurrently, in this order per kind.
#[derive(Clone, Debug)]
pub enum Command {
    /// Make these records durable together; answered by [`Event::Appended`].
    Append(Vec<Record>),
    /// All records so far amount to this.
    Checkpoint(CheckpointBody),
    /// For a host's agent.
    Host(ToHost),
    /// Every proxy makes its table of this snapshot, and does not use it yet; answered by a report.
    Prepare(Arc<Snapshot>),
    /// Every proxy that has made its table of that snapshot uses it; answered by a report.
    Commit(Generation),
    /// For every proxy, unacknowledged.
    Health(Arc<HealthTable>),
    /// For whoever asked.
    Answer(Ticket, Result<Answer, Refusal>),
    /// For whoever follows.
    Announce(model::RolloutEvent),
    /// How an app looks now.
    Show(Arc<AppView>),
    /// The app is gone; it looks like nothing.
    Hide(AppName),
}

/// The answer to an accepted command, given once it is durable; or to its dry run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The rollout to follow.
    pub rollout: Option<RolloutId>,
    /// The release it is about, if about one.
    pub release: Option<(ReleaseNo, Label)>,
    /// One sentence for people.
    pub note: String,
    /// There was nothing to do.
    pub already: bool,
    /// The rollout under way that it ends.
    pub ends: Option<RolloutId>,
    /// How the rollout goes that it begins.
    pub begins: Option<Box<Course>>,
}
