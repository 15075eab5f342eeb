//! Work: what runs for an app and serves nobody, such as a job. It lives beside the instances and never among
//! them, so that nothing that counts, routes or replaces instances can meet it.

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
    /// What it does.
    pub task: Task,
    /// The number of the lease that it holds, from its beginning to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<FencingToken>,
    /// How far it is.
    pub stage: WorkStage,
    /// When it reached this stage.
    pub since: Timestamp,
}

impl Work {
    /// Time between SIGTERM and SIGKILL when it is told to end.
    pub const GRACE: Millis = Millis::from_secs(10);

    /// When its time is up, if it has a limit and is known to run.
    pub(crate) fn time_is_up_at(&self) -> Option<Timestamp> {
        match self.stage {
            WorkStage::Running => self.task.time_limit.map(|limit| self.since.after(limit)),
            WorkStage::Starting | WorkStage::Ending => None,
        }
    }
}

/// What a work does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// What people call it.
    pub name: Label,
    /// The command, in place of the release's own.
    pub command: Vec<String>,
    /// The work is told to end after running for this time; `None` lets it run on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_limit: Option<Millis>,
    /// The work runs only with the lease of its name, of which an app has one at a time.
    #[serde(default)]
    pub needs_lease: bool,
}

/// How far a work is. Only moves right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkStage {
    /// Its host has been told to start it.
    Starting,
    /// The work was seen running, and is never started again.
    Running,
    /// Its host has been told to end it.
    Ending,
}

/// A work begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkBegun {
    /// Its number, the next after all instances and works before it.
    pub work: u64,
    /// The release it runs with.
    pub release: ReleaseNo,
    /// Where it is to run.
    pub host: HostId,
    /// What it does.
    pub task: Task,
    /// The number of the lease that it is granted, the next after all before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<FencingToken>,
    /// When.
    pub at: Timestamp,
}

/// A work has ended, with its whole process tree. Its lease is free again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkEnded {
    /// Its number.
    pub work: u64,
    /// How; `None` if it never started.
    pub exit: Option<Exit>,
    /// Its last lines, or why it could not be started.
    pub tail: Vec<String>,
    /// When.
    pub at: Timestamp,
}

/// Why a work is told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndCause {
    /// The work has run for as long as it may.
    TimeUp,
    /// Its app is removed.
    AppRemoved,
}
