//! The protocol between the agent and a shim: one JSON object per line. The two may be of different versions
//! of segue, because a shim runs as long as its instance. A field or a kind may be added, but none may change
//! its meaning.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use model::{Exit, InstanceId, ResourceLimits};
use serde::{Deserialize, Serialize};

/// The version of this protocol.
pub(crate) const VERSION: u32 = 1;

/// The order to start an instance. It holds secrets, so it goes through a pipe and never through a file.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct StartOrder {
    pub version: u32,
    pub id: InstanceId,
    pub command: Vec<String>,
    /// The working folder. A command with a `/` is resolved relative to it.
    pub folder: PathBuf,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    pub user: Option<String>,
    pub group: Option<String>,
    pub open_files: Option<OpenFiles>,
    /// The limits of the instance's control group.
    #[serde(default, skip_serializing_if = "ResourceLimits::is_none")]
    pub limits: ResourceLimits,
    /// The time limit if the command is a probe; an instance has no limit.
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
    /// The least limit that suits a web service. It applies even if segue was started from a shell with a
    /// lower limit.
    const LEAST: u64 = 65_536;

    /// Returns the limit for instances: the current limit of this process, but at least 65 536 where the hard
    /// limit allows that. Must be called before raising this process's limit.
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
    /// Another shim has this instance, or the instance was started or stopped before.
    Taken,
    /// The command cannot be run. The text names the act, the object and the cause.
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

/// A request to the shim's socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub(crate) enum ShimRequest {
    /// Asks for the greeting, [`ShimEvent::Hello`].
    Hello { version: u32 },
    /// Asks for the state, [`ShimEvent::Status`].
    Status,
    /// Sends SIGTERM to the whole process tree, and SIGKILL after the grace period. A later request may
    /// shorten the period.
    Stop { grace_ms: u64 },
    /// A request of a later agent that this version does not know.
    #[serde(other)]
    Unknown,
}

/// An event from the shim's socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub(crate) enum ShimEvent {
    /// The greeting, the first line on every connection.
    Hello { version: u32, pid: u32 },
    /// The state: whether the instance was told to stop, and how much output was lost because the disk was
    /// full.
    Status { pid: u32, stopping: bool, dropped_bytes: u64 },
    /// The process tree has ended. This is the last line.
    Exited { exit: Exit },
    /// An event of a later shim that this version does not know.
    #[serde(other)]
    Unknown,
}

/// Encodes one line.
pub(crate) fn line<T: Serialize>(message: &T) -> Vec<u8> {
    // The messages contain only numbers and texts, with texts as keys, so this cannot fail.
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
