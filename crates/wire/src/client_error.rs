//! Why a call to a server did not give an answer.

use crate::{Distrust, Problem};

/// Why a call did not give an answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address cannot be one of a server.
    #[error("{url:?} is not the address of a server: {why}")]
    Url {
        /// The address.
        url: String,
        /// Why not.
        why: &'static str,
    },
    /// The server did not answer.
    #[error("no answer from {url}")]
    Unreachable {
        /// The address.
        url: String,
        /// What went wrong.
        source: ureq::Error,
    },
    /// The process that listens there is not trusted, and was sent nothing.
    #[error(transparent)]
    Distrusted(#[from] Distrust),
    /// The connection broke in the middle of an answer.
    #[error("the connection to {url} broke")]
    Lost {
        /// The address.
        url: String,
        /// What went wrong.
        source: std::io::Error,
    },
    /// A file is not what was listed of it any more.
    #[error("it changed while it was sent")]
    Changed,
    /// A file cannot be read any more.
    #[error("it cannot be read")]
    Unreadable(#[source] std::io::Error),
    /// The server said no.
    #[error(transparent)]
    Refused(#[from] Problem),
    /// An answer that is none of the API's.
    #[error("{url} did not answer as a segue server does")]
    Answer {
        /// The address.
        url: String,
        /// Why the URL is invalid.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
