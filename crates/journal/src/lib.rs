//! The durable log of facts: records in order, each checksummed and chained to the one before,
//! one fsync per batch, bounded by checkpoints.
//!
//! It does not know what a record means, it never repairs, truncates or overwrites a file that it
//! finds damaged or too new, and it never touches the network.
//!
//! ```no_run
//! use journal::{Journal, NewRecord, Options};
//!
//! let (journal, recovered) = Journal::open("data/journal.db".as_ref(), Options::default())?;
//! assert!(recovered.term >= 1);
//! journal.append(vec![NewRecord { version: 1, body: b"fact".to_vec() }], |outcome| {
//!     // Called on the journal's thread, once the record is on the disk.
//!     let _seq = outcome;
//! });
//! # Ok::<(), journal::OpenError>(())
//! ```

mod acked;
mod ballast;
mod check;
mod error;
mod format;
mod options;
mod record;
mod store;
mod worker;

pub use error::{AppendError, OpenError};
pub use options::Options;
pub use record::{Checkpoint, NewRecord, Record, Recovered, Seq};
pub use worker::{Journal, Room};
