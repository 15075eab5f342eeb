//! The simulated world: the real control with simulated hosts, proxies, journal, users and clock, all from
//! one seed. For tests only; nothing in the product depends on it.
//!
//! A [`World`] runs events in virtual time and checks the invariants after every step. [`Chaos`] begins with
//! one fault or command in one phase, then drives the world with impatient users and every fault. [`Script`]
//! drives a world by hand and keeps a transcript. [`Sabotage`] plants bugs in the core and around it, to
//! show that the simulation catches them.

mod ambush;
mod apps;
mod beginnings;
mod bounds;
mod budget;
mod chaos;
mod counts;
mod coverage;
mod disk;
mod happening;
mod host;
mod hosts;
mod invariants;
mod names;
mod proxy;
mod records;
mod rng;
mod sabotage;
mod script;
mod silence;
mod table_users;
mod unreached;
mod values;
mod violation;
mod works;
mod world;

pub use apps::{Behaviour, ONE_PROXY, local_host, release, spec, task};
pub use chaos::{Chaos, Outcome, run_seed};
pub use coverage::Coverage;
pub use disk::{Disk, Loss};
pub use host::{Host, Pace};
pub use hosts::{HostNo, Hosts};
pub use proxy::ErrorKind;
pub use sabotage::Sabotage;
pub use script::Script;
pub use violation::Violation;
pub use world::World;
