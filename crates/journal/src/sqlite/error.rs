//! Why a journal could not be opened, or a batch not be written. Never holds a record's content.

use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use crate::log::Lost;

/// Why the journal was not opened. The files are as they were.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The content is not what was written.
    #[error(
        "cannot open the journal {}: it is damaged: {what}\n\
         hint: nothing was changed; restore it from a backup, or begin anew in another data folder",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
        /// What SQLite said, if it was SQLite that noticed.
        source: Option<rusqlite::Error>,
    },
    /// Another program's database.
    #[error(
        "cannot open the journal {}: it is not a journal of segue\n\
         hint: nothing was changed; is this the right data folder?",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Written by a later version of segue.
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
    /// Another process has it.
    #[error(
        "cannot open the journal {}: another process uses it\n\
         hint: only one `segue server` may run on a data folder",
        path.display()
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// No room for the new term, even without the ballast.
    #[error(
        "cannot open the journal {}: the disk is full\nhint: free some space and start again",
        path.display()
    )]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// SQLite could not read or write.
    #[error("cannot {act} the journal {}", path.display())]
    Sqlite {
        /// What we were doing.
        act: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why not.
        source: rusqlite::Error,
    },
    /// The operating system said no.
    #[error("cannot {act} {}", path.display())]
    Io {
        /// What we were doing.
        act: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// Why a batch or a checkpoint was not acknowledged.
#[derive(Debug, Clone, Error)]
pub(super) enum AppendError {
    /// No room, even without the ballast. A later append may succeed.
    #[error("the disk is full")]
    Full,
    /// The queue is full: the disk does not keep up.
    #[error("{waiting} batches wait already")]
    Overloaded {
        /// The bound of the queue.
        waiting: usize,
    },
    /// A checkpoint up to a record that is not there.
    #[error("the journal holds the records {first} to {last}, but not {upto}")]
    NoSuchRecord {
        /// What was asked for.
        upto: u64,
        /// Where the last checkpoint is.
        first: u64,
        /// The last record.
        last: u64,
    },
    /// How far the last append was acknowledged could not be written down, so that nothing more was tried.
    #[error("what was acknowledged cannot be written down")]
    Unmarked(#[source] Arc<std::io::Error>),
    /// Writing failed in a way after which nobody knows what is on the disk.
    #[error("the disk failed")]
    InDoubt(#[source] Arc<rusqlite::Error>),
    /// The disk failed earlier, so nothing was tried.
    #[error("the disk failed earlier")]
    Broken(#[source] Arc<rusqlite::Error>),
    /// The journal's thread has panicked before it said what became of the batch.
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
            // Of the last two nothing was tried. But it takes a new start to write again.
            AppendError::InDoubt(_)
            | AppendError::Died
            | AppendError::Broken(_)
            | AppendError::Closed => Self::Unknown(why),
        }
    }
}
