//! Messages to control, and commands from control. Types only.

use std::sync::Arc;

use journal::Lost;
use model::{
    AppName, AppView, FleetView, FromHost, HostId, Label, Link, ProxyId, ProxyLink, ReleaseNo,
    RolloutId, ToHost, ToProxy, TrafficReport,
};
use rollout::{Ask, Course, FleetAsk, Refusal};

use crate::record::{CheckpointBody, Record};

/// Identifies a question, so that its answer can be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// The mode of an accepted question: commit or dry run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Its facts are journaled before it is answered.
    Commit,
    /// The command is answered as if it were carried out, and changes nothing.
    DryRun,
}

/// A message to control.
#[derive(Clone, Debug)]
pub enum Event {
    /// A host's agent reports.
    Host(FromHost),
    /// The connection to a host's agent has changed. A silent host is lost after
    /// [`model::Reach::LOST_AFTER`], without another word.
    Link {
        /// The host.
        host: HostId,
        /// The change.
        link: Link,
    },
    /// The connection to a proxy on another machine has changed.
    ProxyLink {
        /// The proxy.
        proxy: ProxyId,
        /// The change.
        link: ProxyLink,
    },
    /// A proxy reports.
    Traffic(TrafficReport),
    /// A client asks a question.
    Ask {
        /// The ticket for the answer.
        ticket: Ticket,
        /// The app that the question concerns.
        app: AppName,
        /// The command.
        ask: Ask,
        /// The state that the sender saw.
        version: Option<u64>,
        /// The mode: commit or dry run.
        mode: Mode,
    },
    /// A client asks for a change of the fleet.
    Fleet {
        /// The ticket for the answer.
        ticket: Ticket,
        /// The command.
        ask: FleetAsk,
    },
    /// The append in progress is durable, or was not acknowledged.
    Appended(Result<(), Lost>),
    /// The log accepts nothing any more.
    Cut(Lost),
    /// Time has passed.
    Tick,
}

/// A command from control. Commands of different kinds may run concurrently; each kind keeps its order.
#[derive(Clone, Debug)]
pub enum Command {
    /// Make these records durable together. Answered by [`Event::Appended`].
    Append(Vec<Record>),
    /// Store the state that all records so far lead to.
    Checkpoint(CheckpointBody),
    /// Send a command to a host's agent.
    Host(ToHost),
    /// Send a command to a proxy.
    Proxy(ToProxy),
    /// Answer the client.
    Answer(Ticket, Result<Answer, Refusal>),
    /// Announce an event to observers.
    Announce(model::RolloutEvent),
    /// Show the current view of an app.
    Show(Arc<AppView>),
    /// Remove an app from view.
    Hide(AppName),
    /// Show the current members of the fleet.
    ShowFleet(Arc<FleetView>),
}

/// The answer to an accepted command, sent once the command is durable, or to its dry run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The rollout to follow.
    pub rollout: Option<RolloutId>,
    /// The release that the command concerns, if there is one.
    pub release: Option<(ReleaseNo, Label)>,
    /// One sentence for people.
    pub note: String,
    /// True if there was nothing to do.
    pub already: bool,
    /// The rollout in progress that the command ends.
    pub ends: Option<RolloutId>,
    /// The course of the rollout that the command begins.
    pub begins: Option<Box<Course>>,
}
