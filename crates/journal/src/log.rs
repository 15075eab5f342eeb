//! The port to the durable log: the requests of control and their results. Independent of where the log is
//! kept.

use thiserror::Error;

use crate::record::{CheckpointPart, NewRecord, Seq};

/// A callback, called once with the result of an append or a checkpoint.
pub type Done<T> = Box<dyn FnOnce(Result<T, Lost>) + Send>;

/// An open log. It has one writer at a time.
pub trait Log: Send {
    /// Writes a batch, as a whole or not at all. Calls `done` with the number of the last record once the
    /// batch is durable, or with the error. The call comes on another thread, in the order of the appends,
    /// or within this call.
    fn append(&mut self, batch: Vec<NewRecord>, done: Done<Seq>);

    /// Replaces all records up to `upto` with `parts`, and deletes them.
    fn checkpoint(&mut self, upto: Seq, parts: Vec<CheckpointPart>, done: Done<()>);

    /// Returns whether there is room. While the result is [`Room::Spent`], callers should accept no new
    /// work.
    fn room(&self) -> Room;
}

/// The space that a log has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// There is room.
    Plenty,
    /// The remaining space is reserved for rollbacks.
    Spent,
}

/// Why a batch or a checkpoint was not acknowledged. Each variant has a text for people.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Lost {
    /// Nothing of it is in the log. A later one may succeed.
    #[error("{0}")]
    Refused(String),
    /// The append may be in the log or not. This is known once the log is opened again. Until then the log
    /// accepts nothing.
    #[error("{0}")]
    Unknown(String),
    /// Another process writes to the log now. This one never will again.
    #[error("another server leads since term {by}")]
    Fenced {
        /// The term of the other writer.
        by: u64,
    },
}
