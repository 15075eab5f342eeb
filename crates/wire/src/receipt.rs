//! The JSON of a receipt: the measurements of one rollout.

use std::collections::BTreeMap;

use model::{
    AppName, BudgetSpent, HostAside, HostId, Label, Outcome, ProxyId, RolloutView, Waiting,
};
use serde::{Deserialize, Serialize};

/// A receipt, exactly as `receipt --json` prints it. A number that was not measured is `null`. The receipt of
/// a rollout under way is the receipt so far, and has the rollout's standing instead of its outcome.
/// Many fields: it is the contract of `receipt --json`, one flat object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutReceipt<O = Outcome> {
    /// The rollout's number within the app.
    pub rollout: u32,
    /// The app.
    pub app: AppName,
    /// The label of the release that was live before.
    pub from: Option<Label>,
    /// The label of the release that the rollout brings in.
    pub to: Label,
    /// The strategy's name, or `rollback`.
    pub strategy: String,
    /// The outcome of the rollout, or its standing.
    pub outcome: O,
    /// The sentence that says what the rollout waits for, while it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// The label of the release that is live at the rollout's end, or so far; `None` if there is none, and
    /// from an older server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Label>,
    /// False if a crash has lost counters.
    pub complete: bool,
    /// The number of requests of the app during the rollout.
    pub requests: Option<u64>,
    /// The number of responses that the proxy had to make itself, and of responses that were cut off.
    pub failed: Option<u64>,
    /// The number of the app's own responses, over all releases; `None` from an older server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<u64>,
    /// The number of the app's own 5xx responses, by release label.
    pub app_5xx: BTreeMap<Label, u64>,
    /// The number of requests whose client disconnected first.
    pub client_aborted: Option<u64>,
    /// The number of attempts that were retried.
    pub retried: Option<u64>,
    /// The number of requests that had to wait for an instance.
    pub held: Option<u64>,
    /// The number of requests sent to the live release because their own arm had no healthy instance.
    pub diverted: Option<u64>,
    /// The longest time during which a request was waiting and none succeeded, in milliseconds.
    pub max_gap_ms: Option<u64>,
    /// The time from the decision or command to the last worker's acknowledgement, in milliseconds.
    pub switch_ms: Option<u64>,
    /// The time from the rollout's first fact to its last, in milliseconds.
    pub duration_ms: u64,
    /// The lost hosts on which instances were still to be stopped at the rollout's end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owed: Vec<HostId>,
    /// What the rollout spent of its failure budget; `None` if it had a single host to place instances on, or
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetSpent>,
    /// The hosts that the rollout went on without.
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
    /// The proxies that were late or lost at the rollout's end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<ProxyId>,
    /// A sentence for each of them whose users get another release than the live one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<String>,
}

/// A receipt, and the reason why the rollout did not complete. This is the API's answer. The cause is text
/// for people and therefore not a part of the receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptWithCause {
    /// The receipt.
    pub receipt: RolloutReceipt,
    /// The reason why the rollout did not complete, with the instance's last words.
    pub cause: Option<String>,
}

/// The standing of a rollout under way: whether it continues by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutStanding {
    /// The rollout continues by itself.
    Running,
    /// The rollout is at a gate that a person opens with `segue promote`.
    Waiting,
    /// A failure holds the rollout until a person resumes or aborts it.
    Held,
    /// A person has paused the rollout.
    Paused,
}

impl RolloutStanding {
    /// Returns the standing of `rollout`, judged by the reason it waits for and by its phase. The reason may
    /// be older by one fact.
    pub fn of(rollout: &RolloutView) -> Self {
        let at_a_gate = matches!(rollout.phase, "ready" | "holding");
        match rollout.waiting.as_ref().map(|reason| &reason.waiting) {
            Some(Waiting::Promote) if at_a_gate && !rollout.paused => Self::Waiting,
            Some(Waiting::Resume { because: Some(_) }) if rollout.paused => Self::Held,
            Some(Waiting::Resume { because: None }) if rollout.paused => Self::Paused,
            Some(_) | None => Self::Running,
        }
    }
}

impl From<&model::Receipt> for ReceiptWithCause {
    fn from(receipt: &model::Receipt) -> Self {
        let outcome = receipt.outcome;
        Self { receipt: RolloutReceipt::new(receipt, outcome, None), cause: receipt.cause.clone() }
    }
}

impl RolloutReceipt<RolloutStanding> {
    /// Creates the receipt of a rollout that is under way.
    pub fn so_far(
        receipt: &model::Receipt,
        standing: RolloutStanding,
        waiting_for: Option<String>,
    ) -> Self {
        Self::new(receipt, standing, waiting_for)
    }
}

impl<O> RolloutReceipt<O> {
    fn new(receipt: &model::Receipt, outcome: O, waiting_for: Option<String>) -> Self {
        let model::Receipt {
            rollout,
            app,
            from,
            to,
            strategy,
            outcome: _, // given by the caller, who knows whether it has ended
            live,
            cause: _, // in `ReceiptWithCause`
            complete,
            requests,
            failed,
            answers,
            app_5xx,
            client_aborted,
            retried,
            held,
            diverted,
            max_gap_ms,
            switch_ms,
            duration_ms,
            owed,
            budget,
            aside,
            proxies,
            skew_ms,
            prepare_ms,
            lost,
        } = receipt.clone();
        Self {
            rollout: rollout.0,
            app,
            from,
            to,
            strategy,
            outcome,
            waiting_for,
            live,
            complete,
            requests,
            failed,
            answers,
            app_5xx,
            client_aborted,
            retried,
            held,
            diverted,
            max_gap_ms,
            switch_ms,
            duration_ms,
            owed,
            budget,
            aside,
            proxies,
            skew_ms,
            prepare_ms,
            lost: lost.into_keys().collect(),
            elsewhere: receipt.elsewhere().collect(),
        }
    }
}
