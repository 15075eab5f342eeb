//! The receipt of one rollout: its measured cost.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::{AppName, BudgetSpent, HostAside, HostId, Label, ProxyId, RolloutId};

/// The outcome of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The new release is live.
    Completed,
    /// The new release had been live and was reverted.
    Reverted,
    /// A person stopped it before the switch, or when it moved no traffic. The live release stays live.
    Aborted,
    /// The new release failed by its own fault before the switch. Or it was unhealthy and stays live because
    /// there is nothing to go back to: the first release of an app, or one that was restarted.
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

/// The measured cost of one rollout. Numbers that were not measured are `None`, never invented.
///
/// Many fields: the type is the contract of `receipt --json`, one flat object.
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
    /// The outcome.
    pub outcome: Outcome,
    /// The release that was live at its end; `None` if there was none, and in receipts of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Label>,
    /// Why it did not complete, if so.
    pub cause: Option<String>,
    /// False if a crash lost counters.
    pub complete: bool,
    /// Requests of the app from the start of the rollout to its end.
    pub requests: Option<u64>,
    /// Answers that the proxy had to generate (502, 503, 504) and answers broken off.
    pub failed: Option<u64>,
    /// Answers from the app itself, over all releases; `None` in receipts of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<u64>,
    /// 5xx answers from the app itself, by release label.
    pub app_5xx: BTreeMap<Label, u64>,
    /// Requests whose client disconnected first.
    pub client_aborted: Option<u64>,
    /// Attempts that were retried.
    pub retried: Option<u64>,
    /// Requests that had to wait for an instance.
    pub held: Option<u64>,
    /// Requests sent to the live release because their own arm had no healthy instance.
    pub diverted: Option<u64>,
    /// The longest time with a request waiting and none succeeding, in milliseconds.
    pub max_gap_ms: Option<u64>,
    /// Time from the decision (or the command) to the last worker's acknowledgement, in milliseconds.
    pub switch_ms: Option<u64>,
    /// Time from the first fact of the rollout to its last, in milliseconds.
    pub duration_ms: u64,
    /// The lost hosts on which instances were still to be stopped at its end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owed: Vec<HostId>,
    /// What it spent of its failure budget; `None` if it had a single host to place instances on, or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetSpent>,
    /// The hosts that it went on without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aside: Vec<HostAside>,
    /// The number of proxies that acknowledged the switch, if there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxies: Option<u16>,
    /// The time between the first and the last of these acknowledgements, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skew_ms: Option<u64>,
    /// The time that these proxies were given to prepare before any of them switched, in milliseconds. A part of
    /// `switch_ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepare_ms: Option<u64>,
    /// The proxies that were late or lost at its end, with the release that their users got when they were last
    /// heard, if that is known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lost: BTreeMap<ProxyId, Option<Label>>,
}

impl Receipt {
    /// Returns a sentence for each proxy whose users get another release than the live one.
    pub fn elsewhere(&self) -> impl Iterator<Item = String> {
        let other =
            |(_, label): &(&ProxyId, &Option<Label>)| label.is_none() || **label != self.live;
        self.lost.iter().filter(other).map(|(proxy, label)| {
            let what =
                label.as_ref().map_or_else(|| "what they got before".into(), Label::to_string);
            format!("{proxy} is not heard: users who come through it still get {what}")
        })
    }
}
