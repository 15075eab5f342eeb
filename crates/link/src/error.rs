//! What can go wrong between a member and its server.

use identity::IdentityError;
use thiserror::Error;

use crate::session::SessionEnd;

/// The reason why a member could not do something with its server.
#[derive(Debug, Error)]
pub enum LinkError {
    /// There is no connection.
    #[error("cannot connect to the server at {server}: {source}")]
    Connect {
        /// The server's address.
        server: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The connection broke during a request.
    #[error("cannot ask the server at {server}: {source}")]
    Request {
        /// The server's address.
        server: String,
        /// The cause.
        source: hyper::Error,
    },
    /// The server's answer cannot be used.
    #[error("cannot use the answer of the server at {server}: {why}")]
    Answer {
        /// The server's address.
        server: String,
        /// The cause.
        why: String,
    },
    /// The server refused.
    #[error("the server at {server} refuses: {why}")]
    Refused {
        /// The server's address.
        server: String,
        /// The status of its answer.
        status: u16,
        /// Its words.
        why: String,
    },
    /// No address of a server is known.
    #[error("no address of a server is known")]
    NoServer,
    /// The session ended.
    #[error("the session with the server at {server} ended: {end}")]
    Session {
        /// The server's address.
        server: String,
        /// The cause.
        end: SessionEnd,
    },
    /// The WebSocket could not be opened.
    #[error("cannot open a session with the server at {server}: {source}")]
    Open {
        /// The server's address.
        server: String,
        /// The cause.
        source: tokio_tungstenite::tungstenite::Error,
    },
    /// Keys or certificates cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl LinkError {
    /// Returns whether the server has refused what was asked. Asking again does not help.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status < 500)
    }
}
