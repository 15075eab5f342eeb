//! The reasons why contents and lists of files could not be stored.

use std::io;
use std::path::{Path, PathBuf};

use model::Digest;
use thiserror::Error;
use wire::InvalidEntry;

/// The reason why files could not be stored.
#[derive(Debug, Error)]
pub enum ContentError {
    /// The content does not match its digest.
    #[error("cannot store content {expected}: what was sent has the digest {found}")]
    Mismatch {
        /// The expected digest.
        expected: Digest,
        /// The digest of the content that was sent.
        found: Digest,
    },
    /// The content is longer than announced.
    #[error("cannot store content {expected}: it has more than {bytes} bytes")]
    TooLong {
        /// The digest of the content.
        expected: Digest,
        /// The limit, in bytes.
        bytes: u64,
    },
    /// The list of files is invalid.
    #[error("cannot accept the list of files")]
    Refused(#[from] InvalidEntry),
    /// A list of files has a form that this version does not know.
    #[error("cannot read the list of files {manifest}")]
    Unreadable {
        /// The digest of the list.
        manifest: Digest,
        /// The cause.
        source: serde_json::Error,
    },
    /// Some contents that the list of files names are missing.
    #[error("cannot use the list of files {manifest}: {count} contents are missing")]
    Incomplete {
        /// The digest of the list.
        manifest: Digest,
        /// The number of missing contents.
        count: usize,
    },
    /// The operating system refused an operation.
    #[error("cannot {act} {}", path.display())]
    Io {
        /// The act that failed.
        act: &'static str,
        /// The object of the act.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// Returns a closure for `map_err` that adds the act and its object.
pub(crate) fn io_error<'a>(
    act: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> ContentError + 'a {
    move |source| ContentError::Io { act, path: path.to_path_buf(), source }
}
