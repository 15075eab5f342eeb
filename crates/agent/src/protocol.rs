//! The protocol between agent and shim: one JSON object per line. The two may be of different versions of
//! segue, because a shim runs as long as its instance: a field or a kind may be added, but none may change
//! its meaning.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use model::{Exit, InstanceId, ResourceLimits};
use serde::{Deserialize, Serialize};

/// Counts the versions of this protocol.
pub(crate) const VERSION: u32 = 1;

/// The order to start an instance. It goes through a pipe, never through a file: it holds secrets.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct StartOrder {
    pub version: u32,
    pub id: InstanceId,
    pub command: Vec<String>,
    /// The working folder; a command with a `/` is looked up here.
    pub folder: PathBuf,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    pub user: Option<String>,
    pub group: Option<String>,
    pub open_files: Option<OpenFiles>,
    /// The limits of the instance's control group.
    #[serde(default, skip_serializing_if = "ResourceLimits::is_none")]
    pub limits: ResourceLimits,
    /// The command is a probe and gets so long; an instance has no limit.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
}

impl fmt::Debug for StartOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.env.keys().collect();
        f.debug_struct("StartOrder")
            .field("id", &self.id)
            .field("command", &self.command)
            .field("env", &names)
            .finish_non_exhaustive()
    }
}

/// The limit of open files, as `ulimit -n` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenFiles {
    /// The limit; `None` is no limit.
    pub soft: Option<u64>,
    /// The limit up to which the process may raise it.
    pub hard: Option<u64>,
}

impl OpenFiles {
    /// The least limit for a web service, even if segue was started from a shell with a lower one.
    const LEAST: u64 = 65_536;

    /// Returns the limit for instances: the limit of this process now, and at least 65 536 where the hard limit
    /// allows that. Call this before raising the limit.
    pub fn for_apps() -> Self {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let least = limit.maximum.map_or(Self::LEAST, |hard| hard.min(Self::LEAST));
        let soft = limit.current.map(|soft| soft.max(least));
        Self { soft, hard: limit.maximum }
    }
}

/// The shim's answer to the order: the first line on its standard output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StartAnswer {
    /// The command runs.
    Started { pid: u32 },
    /// Another shim has this instance, or it was begun or stopped before.
    Taken,
    /// The command cannot be run: act, object and cause.
    Refused(String),
}

/// The outcome of a probe's command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CommandOutcome {
    /// The command ended by itself.
    Ended(Exit),
    /// The command took longer than allowed and was killed.
    TookTooLong,
    /// The command could not be started.
    Refused(String),
}

/// A line to the shim's socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub(crate) enum ShimRequest {
    /// Answered by [`ShimEvent::Hello`].
    Hello { version: u32 },
    /// Answered by [`ShimEvent::Status`].
    Status,
    /// SIGTERM to the whole tree, after the grace SIGKILL. A shorter grace may follow.
    Stop { grace_ms: u64 },
    /// From a later agent: something this version does not know.
    #[serde(other)]
    Unknown,
}

/// A line from the shim's socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub(crate) enum ShimEvent {
    /// The first line on every connection.
    Hello { version: u32, pid: u32 },
    /// Whether it has been told to stop, and output lost because the disk was full.
    Status { pid: u32, stopping: bool, dropped_bytes: u64 },
    /// The tree has ended. The last line.
    Exited { exit: Exit },
    /// From a later shim: something this version does not know.
    #[serde(other)]
    Unknown,
}

/// One line.
pub(crate) fn line<T: Serialize>(message: &T) -> Vec<u8> {
    // Numbers and texts with string keys: JSON has a form for all of it.
    let mut line = serde_json::to_vec(message).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_later_version_says_is_passed_over() {
        let later = r#"{"is":"measured","cpu":{"ms":7}}"#;
        assert_eq!(serde_json::from_str::<ShimEvent>(later).unwrap(), ShimEvent::Unknown);
        assert_eq!(serde_json::from_str::<ShimRequest>(later).unwrap(), ShimRequest::Unknown);
        let more = r#"{"is":"stop","grace_ms":5,"why":"deploy"}"#;
        assert_eq!(
            serde_json::from_str::<ShimRequest>(more).unwrap(),
            ShimRequest::Stop { grace_ms: 5 }
        );
    }

    #[test]
    fn these_lines_are_the_protocol() {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        assert_eq!(
            text(line(&ShimRequest::Stop { grace_ms: 5 })),
            "{\"is\":\"stop\",\"grace_ms\":5}\n"
        );
        assert_eq!(text(line(&ShimRequest::Status)), "{\"is\":\"status\"}\n");
        let hello = ShimEvent::Hello { version: 1, pid: 7 };
        assert_eq!(text(line(&hello)), "{\"is\":\"hello\",\"version\":1,\"pid\":7}\n");
        let exited = ShimEvent::Exited { exit: Exit::Code(3) };
        assert_eq!(text(line(&exited)), "{\"is\":\"exited\",\"exit\":{\"code\":3}}\n");
    }

    #[test]
    fn an_order_shows_no_values() {
        let order = StartOrder {
            version: VERSION,
            id: "web-1".parse().unwrap(),
            command: vec!["run".to_owned()],
            folder: "/".into(),
            env: [("KEY".to_owned(), "hunter2".to_owned())].into(),
            user: None,
            group: None,
            open_files: None,
            limits: ResourceLimits::default(),
            timeout_ms: None,
        };
        let shown = format!("{order:?}");
        assert!(shown.contains("KEY") && !shown.contains("hunter2"), "{shown}");
    }
}
