//! The error of a command: the act, its object, the cause, and a hint. Also defines the exit codes.

use std::error::Error;
use std::process::ExitCode;

use wire::{ClientError, Distrust, user_name};

/// The hint for a file that changes while it is read.
pub(crate) const STEADY: &str = "if the app does not need the file, name it in `.segueignore`; else deploy while nothing writes to it";

/// The exit code of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// The command has succeeded.
    Done,
    /// The command was refused or has failed. This is also the code of a command that was left before its
    /// outcome was known: a script must not take such a command for a success.
    Failed,
    /// The command line is wrong.
    Usage,
    /// The release had been live and was reverted.
    RolledBack,
    /// No answer from the server.
    Unreachable,
    /// The rollout waits at a gate that a person opens.
    Waiting,
}

impl From<ExitStatus> for ExitCode {
    fn from(exit: ExitStatus) -> Self {
        Self::from(match exit {
            ExitStatus::Done => 0,
            ExitStatus::Failed => 1,
            ExitStatus::Usage => 2,
            ExitStatus::RolledBack => 3,
            ExitStatus::Unreachable => 4,
            ExitStatus::Waiting => 5,
        })
    }
}

/// The error of a command. Printed as `error: ACT: CAUSE`, then an instance's last words, then `hint: HINT`.
#[derive(Debug)]
pub struct CommandError {
    /// The exit code.
    pub exit: ExitStatus,
    /// The act and its object: `deploy web`.
    pub act: String,
    /// The cause: the chain of causes in one line. Further lines are an instance's last words.
    pub cause: String,
    /// What the user can do now.
    pub hint: Option<String>,
}

impl CommandError {
    /// Creates an error with the whole chain of causes of `error`.
    pub fn new(act: impl Into<String>, error: &dyn Error) -> Self {
        Self::because(act, model::in_full(error))
    }

    /// Creates an error with this cause.
    pub fn because(act: impl Into<String>, cause: impl Into<String>) -> Self {
        Self { exit: ExitStatus::Failed, act: act.into(), cause: cause.into(), hint: None }
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Sets the exit code.
    #[must_use]
    pub fn exit(mut self, exit: ExitStatus) -> Self {
        self.exit = exit;
        self
    }

    /// Creates the error of a failed call to the API.
    pub(crate) fn client(act: impl Into<String>, error: &ClientError) -> Self {
        let failure = Self::new(act, error);
        match error {
            ClientError::Unreachable { .. } | ClientError::Lost { .. } => failure
                .exit(ExitStatus::Unreachable)
                .hint("is it running? `segue server` starts one, --server names another"),
            ClientError::Answer { .. } => {
                failure.hint("--server has to name the API's address, not that of the apps")
            }
            ClientError::Changed | ClientError::Unreadable(_) => failure.hint(STEADY),
            ClientError::Distrusted(Distrust::Foreign { address: _, holder }) => {
                let user = user_name(holder.uid);
                failure.hint(format!("if your server runs as {user}, set SEGUE_SERVER_USER={user}"))
            }
            ClientError::Distrusted(Distrust::Unseen { address }) => failure.hint(format!(
                "name it with --server http://{address} if you know what it leads to"
            )),
            ClientError::Url { .. } => failure.exit(ExitStatus::Usage),
            ClientError::Refused(problem) => Self { hint: problem.hint.clone(), ..failure },
        }
    }
}
