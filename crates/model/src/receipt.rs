//! The measured account of one rollout.

use alloc::collections::BTreeMap;
use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::{AppName, Label, RolloutId};

/// How a rollout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The new release is live.
    Completed,
    /// The new release had been live and was taken back.
    Reverted,
    /// Somebody stopped it before the switch, or where it moved nothing: what was live stays live.
    Aborted,
    /// The new release never got to the switch, through its own fault; or it did not do well and stays
    /// live, since there is nothing to go back to: the first release of an app, or one that was restarted.
    Failed,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Completed => "completed",
            Self::Reverted => "reverted",
            Self::Aborted => "aborted",
            Self::Failed => "failed",
        })
    }
}

/// What one rollout cost. Numbers that nobody measured are `None`, never invented.
/// Many fields: it is the contract of `receipt --json`, one flat object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The rollout.
    pub rollout: RolloutId,
    /// Its app.
    pub app: AppName,
    /// The release that was live before; `None` for the first.
    pub from: Option<Label>,
    /// The release that came in.
    pub to: Label,
    /// The strategy's name, or `rollback`.
    pub strategy: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The release that was live at its end; `None` for none, and in receipts of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Label>,
    /// Why, if it did not complete.
    pub cause: Option<String>,
    /// `false` when a crash lost counters.
    pub complete: bool,
    /// Requests of the app from the start of the rollout to its end.
    pub requests: Option<u64>,
    /// Answers the proxy had to make itself (502, 503, 504) and answers broken off.
    pub failed: Option<u64>,
    /// Answers of the app's own, over all releases; `None` in receipts of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<u64>,
    /// 5xx answers of the app's own, by release label.
    pub app_5xx: BTreeMap<Label, u64>,
    /// Requests whose client went away first.
    pub client_aborted: Option<u64>,
    /// Attempts that were made again.
    pub retried: Option<u64>,
    /// Requests that had to wait for an instance.
    pub held: Option<u64>,
    /// Requests sent to live because their own arm had no healthy instance.
    pub diverted: Option<u64>,
    /// The longest time with a request waiting and none succeeding.
    pub max_gap_ms: Option<u64>,
    /// From the decision (or the command) to the last worker's acknowledgement.
    pub switch_ms: Option<u64>,
    /// From the first fact of the rollout to its last.
    pub duration_ms: u64,
}
