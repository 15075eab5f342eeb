//! The log in a SQLite file of this machine. One process at a time has it, so that it is never fenced.

mod acked;
mod ballast;
mod chain;
mod check;
mod error;
mod format;
mod options;
mod store;
mod worker;

pub use error::OpenError;
pub use options::JournalOptions;
pub use worker::Journal;
