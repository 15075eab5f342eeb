//! The parts of the program that run in this process and not through the API, as the command line sees them.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use crate::{CommandError, ProxyOptions, ServerOptions};

/// The parts of the program that the command line starts but does not know.
pub trait Local {
    /// `segue server`: runs until it is told to end.
    ///
    /// # Errors
    /// When it cannot start or go on.
    fn server(&self, options: ServerOptions) -> Result<(), CommandError>;

    /// `segue proxy`: runs until it is told to end.
    ///
    /// # Errors
    /// When it cannot start or go on.
    fn proxy(&self, options: ProxyOptions) -> Result<(), CommandError>;

    /// Stops the instances of a data folder that no server uses, and says how many there were.
    ///
    /// # Errors
    /// When a server uses the folder, or an instance cannot be stopped.
    fn down(&self, data: &Path) -> Result<u32, CommandError>;

    /// `segue __shim`: keeps one instance.
    fn shim(&self, args: Vec<OsString>) -> ExitCode;

    /// `segue __exec`: becomes an instance's program.
    fn exec(&self, args: Vec<OsString>) -> ExitCode;
}
