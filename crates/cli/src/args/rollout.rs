//! The options of the verbs that start or control a rollout, and how long they wait for it. Contains no
//! logic.

use std::path::PathBuf;

use clap::Args;
use model::{AppName, Label};

/// The release a deploy brings in, and how.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ReleaseOptions {
    /// The app file [default: segue.toml here or above].
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// The label of the release [default: the first digits of its digest].
    #[arg(long, value_name = "LABEL")]
    pub(crate) release: Option<Label>,
    /// Set an environment variable; without `=V` to the value it has here.
    #[arg(long, value_name = "K[=V]")]
    pub(crate) env: Vec<String>,
    /// Set the environment variables of a file, read as Docker Compose reads it, without expansion.
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Option<PathBuf>,
    /// Another strategy than the app file's, with its defaults: blue-green, rolling, canary,
    /// recreate.
    #[arg(long, value_name = "KIND")]
    pub(crate) strategy: Option<String>,
    /// Let the app file name what lies outside its folder and outside the git work tree around it.
    #[arg(long)]
    pub(crate) outside: bool,
}

/// How long a command waits for the rollout, and what it prints at the end.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct Following {
    /// Wait for a person, too. Without this option, a command whose output is not a terminal returns with
    /// exit code 5 when the rollout waits for `segue promote`, and prints the receipt so far as the last
    /// line of stdout.
    #[arg(long, conflicts_with = "detach")]
    pub(crate) wait: bool,
    /// Do not wait for the outcome.
    #[arg(long)]
    pub(crate) detach: bool,
    /// Print the receipt as the last line of stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct DeployOptions {
    #[command(flatten)]
    pub(crate) what: ReleaseOptions,
    /// Abort a rollout that is under way and start this one.
    #[arg(long)]
    pub(crate) replace: bool,
    #[command(flatten)]
    pub(crate) following: Following,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RollbackOptions {
    /// The app.
    pub(crate) app: AppName,
    /// A release by label or number [default: the standby].
    #[arg(long, value_name = "RELEASE")]
    pub(crate) to: Option<String>,
    #[command(flatten)]
    pub(crate) following: Following,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct PromoteOptions {
    /// The app.
    pub(crate) app: AppName,
    /// Go to all of the traffic, and skip the remaining steps.
    #[arg(long)]
    pub(crate) full: bool,
    #[command(flatten)]
    pub(crate) following: Following,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct FollowOptions {
    /// The app.
    pub(crate) app: AppName,
    #[command(flatten)]
    pub(crate) following: Following,
}
