//! The whole program as its users have it: real processes, real sockets, real signals.

mod app;
mod crashes;
mod deploys;
mod load;
mod refusals;
mod world;
