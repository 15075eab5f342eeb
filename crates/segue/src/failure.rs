//! Why the server could not be started.

use std::error::Error;

use cli::Failure;

/// The server cannot be started, for this reason.
pub fn cannot_start(error: &dyn Error) -> Failure {
    Failure::new("start the server", error)
}
