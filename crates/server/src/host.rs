//! The hosts' interface for the API. Every call may block; the API calls from threads for blocking work.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use model::AppName;
use wire::{LogPage, LogRequest};

/// The hosts, as the API uses them.
pub trait ApiHost: Send + Sync + 'static {
    /// Returns the lines that the request asks for, at most [`crate::MAX_LINES`].
    ///
    /// # Errors
    /// If the output cannot be read.
    fn logs(&self, request: &LogRequest) -> io::Result<LogPage>;

    /// Returns the number of running instances.
    ///
    /// # Errors
    /// If the instances cannot be counted.
    fn running(&self) -> io::Result<u32>;

    /// Returns the apps that have a state folder, and the path of that folder.
    ///
    /// # Errors
    /// If the folders cannot be listed.
    fn states(&self) -> io::Result<BTreeMap<AppName, PathBuf>>;
}
