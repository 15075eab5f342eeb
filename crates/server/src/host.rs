//! The hosts as the API sees them. Every call may block; the API makes them on threads for blocking work.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use model::{AppName, InstanceId};
use wire::LogLine;

/// The hosts, seen from the API.
pub trait ApiHost: Send + Sync + 'static {
    /// Lines of output, of one instance or of all of the app, at most [`crate::MAX_LINES`].
    ///
    /// # Errors
    /// When it cannot be read.
    fn logs(
        &self,
        app: &AppName,
        instance: Option<&InstanceId>,
        start: &LogStart,
    ) -> io::Result<LogPage>;

    /// How many instances run.
    ///
    /// # Errors
    /// When they cannot be counted.
    fn running(&self) -> io::Result<u32>;

    /// The apps that have a folder with state, and where it is.
    ///
    /// # Errors
    /// When they cannot be listed.
    fn states(&self) -> io::Result<BTreeMap<AppName, PathBuf>>;
}

/// Where to read output from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogStart {
    /// This many lines before the end.
    Last(u32),
    /// Where the page before ended.
    After(LogCursor),
}

/// A place in the output of several instances: bytes already read, for each.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LogCursor(pub BTreeMap<InstanceId, u64>);

/// Some lines of output.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LogPage {
    /// The lines, an instance's own in their order.
    pub lines: Vec<LogLine>,
    /// Where they end.
    pub next: LogCursor,
}
