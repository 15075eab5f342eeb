//! A failure to send a request, and what follows from it for another attempt.

use std::io;

/// The reason why sending stopped.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) error: io::Error,
    /// True if the instance has not got a byte of the request, which may then go to another one (I10).
    /// False if a part went out before the error, even in the same call.
    pub(crate) certainly_unprocessed: bool,
}
