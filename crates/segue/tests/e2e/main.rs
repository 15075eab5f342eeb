//! The whole program as its users have it: real processes, real sockets, real signals.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod app;
mod browser;
mod crashes;
mod deploys;
mod fleet;
mod kills;
mod listeners;
mod load;
mod planted;
mod reaching;
mod refusals;
mod routes;
mod soak;
mod strategies;
mod takes_over;
mod unix;
mod world;
