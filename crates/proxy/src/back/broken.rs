//! Why a request cannot be sent on, and what that says of it.

use std::io;

/// Why sending stopped.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) error: io::Error,
    /// The instance has not had a byte of the request, so that it may go elsewhere (I10). Not so if a
    /// part went out before the error, be it in one write with it.
    pub(crate) certainly_unprocessed: bool,
}
