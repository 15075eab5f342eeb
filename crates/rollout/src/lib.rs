//! The rollout core: facts in, plan out.
//!
//! [`decide()`] returns the facts to record next. [`apply()`] folds one fact into an app's state. [`plan()`]
//! returns the desired state that follows from it. [`ask()`] answers commands. Nothing here performs
//! effects: no IO, no clock, no randomness, no async. Time is an argument. Recovery replays facts
//! through the [`apply()`] that also runs live.

#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod app;
mod apply;
mod ask;
mod budget;
mod cause;
mod closing;
mod decide;
mod event_text;
mod fact;
mod fleet;
mod fleet_ask;
mod kind;
mod ladder;
mod observed;
mod patience;
mod plan;
mod planted;
mod reach;
mod reachable;
mod readiness;
mod receipt;
mod sent_tables;
mod view;
mod work;

pub use app::{
    Abandoned, App, Deaths, Instance, Pace, Pause, Phase, Rollout, StandbyState, Switched,
};
pub use apply::{Illegal, apply};
pub use ask::{Accepted, Ask, Course, NewRelease, Promote, Refusal, RefusalCode, ask};
pub use budget::Budget;
pub use cause::Cause;
pub use closing::{assumed_in_use, out_of_use};
pub use decide::{Decision, Reasons, decide};
pub use event_text::event;
pub use fact::{DrainCause, Fact, Minted, ReleasedBy, Started};
pub use fleet::{Fleet, FleetFact, Invitation};
pub use fleet_ask::{FleetAccepted, FleetAsk, address_fault, fleet_ask};
pub use kind::RolloutKind;
pub use ladder::{Rung, rung, rungs, wanted};
pub use observed::{
    Absence, AskedProxy, Busy, FetchProgress, FetchSeen, HostSeen, InstanceSeen, Minute, Observed,
    Process, ProxiesSeen, ProxySeen, Spread, Suspicion, Tally,
};
pub use plan::{Plan, plan};
pub use planted::Bug;
#[cfg(feature = "testing")]
pub use planted::plant;
pub use readiness::readiness;
pub use receipt::account;
pub use sent_tables::SentTables;
pub use view::view;
pub use work::{EndCause, Task, Work, WorkBegun, WorkEnded, WorkStage};
