//! Errors of opening a journal and of writing a batch. They never contain a record's content.

use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use crate::log::Lost;

/// Why the journal was not opened. The files are unchanged.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The content differs from what was written.
    #[error(
        "cannot open the journal {}: it is damaged: {what}\n\
         hint: nothing was changed; restore it from a backup, or begin anew in another data folder",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The kind of damage.
        what: String,
        /// The error from SQLite, if SQLite noticed the damage.
        source: Option<rusqlite::Error>,
    },
    /// The file is another program's database.
    #[error(
        "cannot open the journal {}: it is not a journal of segue\n\
         hint: nothing was changed; is this the right data folder?",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a later version of segue.
    #[error(
        "cannot open the journal {}: its format is {found}, this segue knows {known}\n\
         hint: nothing was changed; start the newer segue that wrote it",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The file's format.
        found: i64,
        /// The newest format this program reads.
        known: i64,
    },
    /// Another process uses the file.
    #[error(
        "cannot open the journal {}: another process uses it\n\
         hint: only one `segue server` may run on a data folder",
        path.display()
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The disk has no room for the new term, even without the ballast.
    #[error(
        "cannot open the journal {}: the disk is full\nhint: free some space and start again",
        path.display()
    )]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// SQLite could not read or write the file.
    #[error("cannot {act} the journal {}", path.display())]
    Sqlite {
        /// The action that failed.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: rusqlite::Error,
    },
    /// The operating system refused the action.
    #[error("cannot {act} {}", path.display())]
    Io {
        /// The action that failed.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

/// Why a batch or a checkpoint was not acknowledged.
#[derive(Debug, Clone, Error)]
pub(super) enum AppendError {
    /// The disk has no room, even without the ballast. A later append may succeed.
    #[error("the disk is full")]
    Full,
    /// The queue is full because the disk does not keep up.
    #[error("{waiting} batches wait already")]
    Overloaded {
        /// The capacity of the queue.
        waiting: usize,
    },
    /// The checkpoint covers a record that does not exist.
    #[error("the journal holds the records {first} to {last}, but not {upto}")]
    NoSuchRecord {
        /// The requested record.
        upto: u64,
        /// The record of the last checkpoint.
        first: u64,
        /// The last record.
        last: u64,
    },
    /// The mark of the last acknowledged append could not be written, so no further write was tried.
    #[error("what was acknowledged cannot be written down")]
    Unmarked(#[source] Arc<std::io::Error>),
    /// A write failed in such a way that the content of the disk is unknown.
    #[error("the disk failed")]
    InDoubt(#[source] Arc<rusqlite::Error>),
    /// The disk failed earlier, so no write was tried.
    #[error("the disk failed earlier")]
    Broken(#[source] Arc<rusqlite::Error>),
    /// The journal's thread panicked before it reported the result of the batch.
    #[error("the journal's thread has panicked")]
    Died,
    /// The journal's thread has ended.
    #[error("the journal is closed")]
    Closed,
}

impl From<AppendError> for Lost {
    fn from(error: AppendError) -> Self {
        let why = model::in_full(&error);
        match error {
            AppendError::Full
            | AppendError::Overloaded { .. }
            | AppendError::NoSuchRecord { .. }
            | AppendError::Unmarked(_) => Self::Refused(why),
            // In the last two cases no write was tried. A restart is required before writing again.
            AppendError::InDoubt(_)
            | AppendError::Died
            | AppendError::Broken(_)
            | AppendError::Closed => Self::Unknown(why),
        }
    }
}
