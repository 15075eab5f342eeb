//! The JSON of a receipt: the measured account of one rollout.

use std::collections::BTreeMap;

use model::{AppName, Label, Outcome};
use serde::{Deserialize, Serialize};

/// A receipt, exactly as `receipt --json` prints it. What nobody measured is `null`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The rollout's number within the app.
    pub rollout: u32,
    /// The app.
    pub app: AppName,
    /// The label of the release that was live before.
    pub from: Option<Label>,
    /// The label of the release that came in.
    pub to: Label,
    /// The strategy's name, or `rollback`.
    pub strategy: String,
    /// How it ended.
    pub outcome: Outcome,
    /// `false` when a crash lost counters.
    pub complete: bool,
    /// Requests of the app during the rollout.
    pub requests: Option<u64>,
    /// Answers the proxy had to make itself, and answers broken off.
    pub failed: Option<u64>,
    /// 5xx answers of the app's own, by release label.
    pub app_5xx: BTreeMap<Label, u64>,
    /// Requests whose client went away first.
    pub client_aborted: Option<u64>,
    /// Attempts made again.
    pub retried: Option<u64>,
    /// Requests that had to wait for an instance.
    pub held: Option<u64>,
    /// Requests sent to live because their own arm had no healthy instance.
    pub diverted: Option<u64>,
    /// The longest time with a request waiting and none succeeding.
    pub max_gap_ms: Option<u64>,
    /// From the decision or command to the last worker's acknowledgement.
    pub switch_ms: Option<u64>,
    /// From the first fact of the rollout to its last.
    pub duration_ms: u64,
}

/// A receipt and why the rollout did not complete. The API's answer; the cause is talk and so no
/// part of the receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The receipt.
    pub receipt: Receipt,
    /// Why it did not complete, with the instance's last words.
    pub cause: Option<String>,
}

impl From<&model::Receipt> for Account {
    fn from(receipt: &model::Receipt) -> Self {
        let model::Receipt {
            rollout,
            app,
            from,
            to,
            strategy,
            outcome,
            cause,
            complete,
            requests,
            failed,
            app_5xx,
            client_aborted,
            retried,
            held,
            diverted,
            max_gap_ms,
            switch_ms,
            duration_ms,
        } = receipt.clone();
        let receipt = Receipt {
            rollout: rollout.0,
            app,
            from,
            to,
            strategy,
            outcome,
            complete,
            requests,
            failed,
            app_5xx,
            client_aborted,
            retried,
            held,
            diverted,
            max_gap_ms,
            switch_ms,
            duration_ms,
        };
        Self { receipt, cause }
    }
}
