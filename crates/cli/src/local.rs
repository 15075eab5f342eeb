//! The verbs that run in this process and not through the API, as an interface for the command line.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use crate::{AgentOptions, CommandError, ProxyOptions, ServerOptions};

/// The verbs that the command line runs but does not implement.
pub trait Local {
    /// Runs `segue server` until the server is told to stop.
    ///
    /// # Errors
    /// If the server cannot start or continue.
    fn server(&self, options: ServerOptions) -> Result<(), CommandError>;

    /// Runs `segue proxy` until the proxy is told to stop, or is removed from its fleet.
    ///
    /// # Errors
    /// If the proxy cannot join its fleet, start or continue.
    fn proxy(&self, options: ProxyOptions) -> Result<(), CommandError>;

    /// Runs `segue agent` until the agent is told to stop, or its host is removed from the fleet.
    ///
    /// # Errors
    /// If the host cannot join its fleet, or the agent cannot start.
    fn agent(&self, options: AgentOptions) -> Result<(), CommandError>;

    /// Stops the instances of a data folder that no server uses. Returns the number of instances that were
    /// running.
    ///
    /// # Errors
    /// If a server uses the folder, or an instance cannot be stopped.
    fn down(&self, data: &Path) -> Result<u32, CommandError>;

    /// Runs `segue __shim`, which supervises one instance.
    fn shim(&self, args: Vec<OsString>) -> ExitCode;

    /// Runs `segue __watch`, which writes a proxy's priority for the floating address.
    fn watch(&self, args: Vec<OsString>) -> ExitCode;

    /// Runs `segue __exec`, which becomes an instance's program.
    fn exec(&self, args: Vec<OsString>) -> ExitCode;
}
