//! Works: tasks, such as jobs, that run for an app and serve no requests. They are kept apart from the
//! instances, so that code that counts, routes or replaces instances never meets them.

use alloc::string::String;
use alloc::vec::Vec;

use model::{Exit, FencingToken, HostId, Label, Millis, ReleaseNo, Timestamp};
use serde::{Deserialize, Serialize};

/// A task that runs on a host, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// The release whose files, user and variables it runs with.
    pub release: ReleaseNo,
    /// The host it runs on.
    pub host: HostId,
    /// The task.
    pub task: Task,
    /// The number of the lease that it holds from its beginning to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<FencingToken>,
    /// The stage of the work.
    pub stage: WorkStage,
    /// Time at which it reached this stage.
    pub since: Timestamp,
}

impl Work {
    /// Time between SIGTERM and SIGKILL when the work is told to end.
    pub const GRACE: Millis = Millis::from_secs(10);

    /// Returns the time at which the work has to end, if it has a limit and is known to run.
    pub(crate) fn time_is_up_at(&self) -> Option<Timestamp> {
        match self.stage {
            WorkStage::Running => self.task.time_limit.map(|limit| self.since.after(limit)),
            WorkStage::Starting | WorkStage::Ending => None,
        }
    }
}

/// The task of a work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// The task's name.
    pub name: Label,
    /// The command, which replaces the release's own.
    pub command: Vec<String>,
    /// Time after which the running work is told to end; `None` sets no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_limit: Option<Millis>,
    /// True if the work runs only with the lease of its name. An app grants one lease per name at a
    /// time.
    #[serde(default)]
    pub needs_lease: bool,
}

/// The stage of a work. Stages only advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkStage {
    /// Its host has been told to start it.
    Starting,
    /// The work was seen running. It is never started again.
    Running,
    /// Its host has been told to end it.
    Ending,
}

/// The beginning of a work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkBegun {
    /// The work's number, which follows those of all instances and works before it.
    pub work: u64,
    /// The release it runs with.
    pub release: ReleaseNo,
    /// The host it runs on.
    pub host: HostId,
    /// The task.
    pub task: Task,
    /// The number of the lease granted to it, which follows those of all leases before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<FencingToken>,
    /// Time of the event.
    pub at: Timestamp,
}

/// The end of a work with its whole process tree. Its lease is free again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkEnded {
    /// The work's number.
    pub work: u64,
    /// The exit; `None` if it never started.
    pub exit: Option<Exit>,
    /// The last lines of its output, or why it could not be started.
    pub tail: Vec<String>,
    /// Time of the event.
    pub at: Timestamp,
}

/// Why a work is told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndCause {
    /// The work has reached its time limit.
    TimeUp,
    /// The app is removed.
    AppRemoved,
}
