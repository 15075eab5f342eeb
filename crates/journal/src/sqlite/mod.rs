//! The log in a SQLite file on this machine. Only one process at a time can open it, so it is never fenced.

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
