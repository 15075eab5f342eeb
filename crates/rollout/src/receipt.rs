//! Writes the receipt of a rollout that ends.

use alloc::string::ToString;
use alloc::vec::Vec;

use model::{Outcome, Receipt, ReleaseNo, Timestamp};

use crate::planted::Bug;
use crate::reach::owed;
use crate::{App, Cause, Observed, Phase, Rollout, RolloutKind};

/// Returns the outcome of the rollout if it ends in its present state.
pub(crate) fn outcome(rollout: &Rollout) -> Outcome {
    match &rollout.phase {
        Phase::Reverting { .. } if rollout.went_live && !rollout.keeps_live() => Outcome::Reverted,
        Phase::Reverting { cause } if cause.is_asked_for() => Outcome::Aborted,
        Phase::Reverting { .. } => Outcome::Failed,
        Phase::Settling if rollout.failed.is_some() => Outcome::Failed,
        Phase::Starting
        | Phase::Ready
        | Phase::Switching
        | Phase::Holding
        | Phase::Watching
        | Phase::Settling => Outcome::Completed,
    }
}

/// Returns the receipt of the rollout in progress so far, as if it ended `now`.
pub fn account(app: &App, seen: &Observed, now: Timestamp) -> Option<Receipt> {
    app.rollout.as_ref().map(|rollout| receipt(app, rollout, seen, now))
}

/// Returns the receipt of `rollout`, ending `now`.
pub(crate) fn receipt(app: &App, rollout: &Rollout, seen: &Observed, now: Timestamp) -> Receipt {
    let label = |no: ReleaseNo| app.releases.get(&no).map(|release| release.label.clone());
    let counted = seen.counted;
    let app_5xx = counted.into_iter().flat_map(|c| &c.app_5xx);
    let cause = rollout.cause().map(Cause::to_string);
    let spread = rollout.switched.and_then(|switched| switched.spread);
    let lost = seen.proxies.remote.iter().filter(|proxy| proxy.absence.is_some());
    let lost =
        lost.map(|proxy| (proxy.name.clone(), proxy.tables.serves(&app.name).and_then(label)));
    Receipt {
        rollout: rollout.id,
        app: app.name.clone(),
        from: rollout.from.and_then(label),
        to: app.label(rollout.to),
        strategy: strategy(app, rollout),
        outcome: outcome(rollout),
        live: app.live.and_then(label),
        cause,
        complete: counted.is_some(),
        requests: counted.map(|c| c.requests),
        failed: counted.map(|c| c.failed),
        answers: counted.map(|c| c.answers.values().sum()),
        app_5xx: app_5xx.filter_map(|(no, n)| Some((label(*no)?, *n))).collect(),
        client_aborted: counted.map(|c| c.client_aborted),
        retried: counted.map(|c| c.retried),
        held: counted.map(|c| c.held),
        diverted: counted.map(|c| c.diverted),
        max_gap_ms: counted.and_then(|c| c.max_gap_ms),
        switch_ms: rollout.switched.and_then(|s| s.took).map(|took| took.0),
        duration_ms: now.since(rollout.started).0,
        owed: if Bug::ForgetsOwed.is_planted() { Vec::new() } else { owed(app) },
        budget: (rollout.budget.hosts.len() > 1).then(|| rollout.budget.account()),
        aside: rollout.budget.aside.clone(),
        proxies: spread.map(|spread| spread.proxies),
        skew_ms: spread.map(|spread| spread.skew.0),
        prepare_ms: spread.map(|spread| spread.prepare.0),
        lost: lost.collect(),
    }
}

/// Returns the strategy's name, or `rollback`, `restart`, `start`.
pub(crate) fn strategy(app: &App, rollout: &Rollout) -> alloc::string::String {
    match (rollout.kind, app.releases.get(&rollout.to)) {
        (RolloutKind::Rollback, _) => "rollback".into(),
        (RolloutKind::Restart, _) => "restart".into(),
        (RolloutKind::Start, _) => "start".into(),
        (RolloutKind::Deploy, Some(release)) => release.spec.strategy.kind.name().into(),
        (RolloutKind::Deploy, None) => "unknown".into(),
    }
}
