//! Why the server could not be started.

use std::error::Error;

use cli::CommandError;

/// The server cannot be started, for this reason.
pub fn cannot_start(error: &dyn Error) -> CommandError {
    CommandError::new("start the server", error)
}
