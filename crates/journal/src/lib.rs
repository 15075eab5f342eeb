//! The durable log of facts: records in order, one durable write per batch, bounded by checkpoints.
//!
//! [`Log`] is the port. [`sqlite`] implements it with a file. Each record is checksummed and chained to the
//! previous one. A damaged or too new file is never repaired, truncated or overwritten. Nothing here
//! interprets a record or uses the network.
//!
//! ```no_run
//! use journal::{Log, NewRecord};
//! use journal::sqlite::{Journal, JournalOptions};
//!
//! let (mut journal, recovered) = Journal::open("data/journal.db".as_ref(), JournalOptions::default())?;
//! assert!(recovered.term >= 1);
//! let batch = vec![NewRecord { version: 1, body: b"fact".to_vec() }];
//! journal.append(batch, Box::new(|outcome| {
//!     // Called on the journal's thread, once the record is on the disk.
//!     let _seq = outcome;
//! }));
//! # Ok::<(), journal::sqlite::OpenError>(())
//! ```

mod log;
mod record;
pub mod sqlite;

pub use log::{Done, Log, Lost, Room};
pub use record::{Checkpoint, CheckpointPart, NewRecord, Recovered, Seq, StoredRecord};
