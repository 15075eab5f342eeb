//! Many requests and several instances: which one is picked, what a new snapshot changes, and what is
//! counted.
#![allow(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

#[path = "../common/mod.rs"]
mod common;

mod ailing;
mod alone;
mod choosing;
mod counting;
mod growing;
mod scraping;
mod spreading;
mod switching;
mod waiting;
