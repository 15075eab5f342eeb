//! The error of a call to a server.

use crate::{Distrust, Problem};

/// The error of a call to a server.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address cannot be the address of a server.
    #[error("{url:?} is not the address of a server: {why}")]
    Url {
        /// The address.
        url: String,
        /// The reason.
        why: &'static str,
    },
    /// The server did not answer.
    #[error("no answer from {url}")]
    Unreachable {
        /// The address.
        url: String,
        /// The cause.
        source: ureq::Error,
    },
    /// The listening process is not trusted. Nothing was sent to it.
    #[error(transparent)]
    Distrusted(#[from] Distrust),
    /// The connection broke in the middle of a response.
    #[error("the connection to {url} broke")]
    Lost {
        /// The address.
        url: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The content of a file is no longer the listed one.
    #[error("it changed while it was sent")]
    Changed,
    /// A file cannot be read any more.
    #[error("it cannot be read")]
    Unreadable(#[source] std::io::Error),
    /// The server refused the request.
    #[error(transparent)]
    Refused(#[from] Problem),
    /// The response is not one of the API's.
    #[error("{url} did not answer as a segue server does")]
    Answer {
        /// The address.
        url: String,
        /// The reason why the response is not one of the API's.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
