//! The port to the durable log: what control asks of it, and how it answers. Says nothing of where the
//! log is kept.

use thiserror::Error;

use crate::record::{CheckpointPart, NewRecord, Seq};

/// Told once what became of an append or a checkpoint.
pub type Done<T> = Box<dyn FnOnce(Result<T, Lost>) + Send>;

/// An open log. One at a time writes to it.
pub trait Log: Send {
    /// Writes a batch: all of it or nothing. `done` gets the number of its last record once it is durable,
    /// or what became of it otherwise: on another thread, in the order of the appends, or right here.
    fn append(&mut self, batch: Vec<NewRecord>, done: Done<Seq>);

    /// Lets `parts` stand for all records up to `upto`, which are deleted.
    fn checkpoint(&mut self, upto: Seq, parts: Vec<CheckpointPart>, done: Done<()>);

    /// Whether there is room. While it is [`Room::Spent`], take nothing new on.
    fn room(&self) -> Room;
}

/// Whether a log has room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// There is room.
    Plenty,
    /// What is left is for the way back.
    Spent,
}

/// Why a batch or a checkpoint was not acknowledged. Each says why in words for people.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Lost {
    /// Nothing of it is there, and a later one may succeed.
    #[error("{0}")]
    Refused(String),
    /// The append may be there or not. This shows when the log is opened anew; until then it takes nothing.
    #[error("{0}")]
    Unknown(String),
    /// Somebody else writes to the log now, so this one never will again.
    #[error("another server leads since term {by}")]
    Fenced {
        /// The term of whoever writes now.
        by: u64,
    },
}
