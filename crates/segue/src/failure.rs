//! The error for a server that cannot be started.

use std::error::Error;

use cli::CommandError;

/// Returns the error for a server that cannot be started for this reason.
pub fn cannot_start(error: &dyn Error) -> CommandError {
    CommandError::new("start the server", error)
}
