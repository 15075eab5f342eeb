//! Control: the only component that decides and causes changes.
//!
//! [`Engine::step`] is synchronous and does no IO: it takes an event and returns commands. Append,
//! apply and plan are serial. Effects run concurrently wherever they are carried out. [`Runner`] feeds
//! the engine with real time, a log, and the two ports [`HostLinks`] and [`ProxyLinks`]. [`lead()`] runs one
//! runner after the other. Nothing here opens a socket.

mod apps;
mod busy;
mod clock;
mod counts;
mod engine;
mod hosts;
mod inbox;
mod lead;
mod links;
mod managed;
mod message;
mod minutes;
mod places;
mod ports;
mod proxies;
#[cfg(test)]
mod proxies_tests;
mod proxy_member;
mod publishing;
mod record;
mod reports;
mod routing;
mod runner;

pub use clock::SteadyClock;
pub use engine::Engine;
pub use inbox::{Inbox, Mail};
pub use lead::lead;
pub use message::{Answer, Command, Event, Mode, Ticket};
pub use record::{CheckpointBody, Record, RecoverError, VERSION};
/// The types of a command and its answer, for callers that pass them on.
pub use rollout::{
    Ask, Course, FleetAsk, NewRelease, Promote, Refusal, RefusalCode, RolloutKind, address_fault,
};
pub use runner::{CrashPoint, Ended, HostLinks, Outbox, ProxyLinks, Runner, RunnerConfig};
