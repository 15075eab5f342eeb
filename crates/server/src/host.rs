//! The hosts' interface for the API. Every call may block; the API calls from threads for blocking work.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use model::{AppName, InstanceId};
use wire::LogLine;

/// The hosts, as the API uses them.
pub trait ApiHost: Send + Sync + 'static {
    /// Returns lines of output of one instance or of all instances of the app, at most [`crate::MAX_LINES`].
    ///
    /// # Errors
    /// If the output cannot be read.
    fn logs(
        &self,
        app: &AppName,
        instance: Option<&InstanceId>,
        start: &LogStart,
    ) -> io::Result<LogPage>;

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

/// The position from which output is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogStart {
    /// This number of lines before the end.
    Last(u32),
    /// The end of the previous page.
    After(LogCursor),
}

/// A position in the output of several instances: the number of bytes already read, for each instance.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LogCursor(pub BTreeMap<InstanceId, u64>);

/// A page of output.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LogPage {
    /// The lines. The lines of one instance are in their order.
    pub lines: Vec<LogLine>,
    /// The position after the last line.
    pub next: LogCursor,
}
