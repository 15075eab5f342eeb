//! Single requests through the proxy: what reaches the app, what the client gets, and what neither may
//! see of the other.
#![allow(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

#[path = "../common/mod.rs"]
mod common;

mod affinity;
mod bodies;
mod conformance;
mod differential;
mod leaving;
mod logging;
mod maintenance;
mod passing;
mod refusing;
mod reuse;
mod routing;
mod splitting;
mod trusting;
