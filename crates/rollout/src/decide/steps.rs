//! The next step of a rollout that goes well, or of one that is on its way back.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use model::{Share, StrategyKind, Switch, Timestamp};

use super::Timer;
use crate::readiness::{ready, whole};
use crate::receipt::receipt;
use crate::{App, Fact, Observed, Phase, Rollout, RolloutKind};

pub(super) fn step(app: &App, seen: &Observed, timer: &mut Timer) -> Vec<Fact> {
    let Some(rollout) = &app.rollout else { return Vec::new() };
    let id = rollout.id;
    let now = timer.now;
    match &rollout.phase {
        Phase::Starting if whole(app, seen, rollout.to).is_ok() => {
            let ready = ready(app, seen, rollout.to);
            match gate(app, rollout) {
                Switch::Auto => {
                    vec![Fact::Shifted { rollout: id, share: Share::ALL, ready, at: now }]
                }
                Switch::Manual => vec![Fact::Ready { rollout: id, ready, at: now }],
            }
        }
        Phase::Starting | Phase::Ready => Vec::new(),
        Phase::Switching => acknowledged(rollout, seen).into_iter().collect(),
        Phase::Watching if watched(app, rollout, seen, timer) => {
            vec![Fact::Settled { rollout: id, at: now }]
        }
        Phase::Watching => Vec::new(),
        Phase::Settling if is_tidy(app) => vec![ended(app, rollout, seen, now)],
        Phase::Settling => Vec::new(),
        Phase::Reverting { .. } => match acknowledged(rollout, seen) {
            Some(fact) => vec![fact],
            None if is_back(app, rollout) => vec![ended(app, rollout, seen, now)],
            None => Vec::new(),
        },
    }
}

/// What the switch waits for once the candidate is whole.
fn gate(app: &App, rollout: &Rollout) -> Switch {
    match (rollout.kind, app.releases.get(&rollout.to)) {
        (RolloutKind::Rollback, _) | (RolloutKind::Deploy, None) => Switch::Auto,
        (RolloutKind::Deploy, Some(release)) => match release.spec.strategy.kind {
            StrategyKind::BlueGreen { switch } => switch,
            _ => Switch::Auto,
        },
    }
}

/// The last switch has been acknowledged by every worker, and that is not recorded yet.
fn acknowledged(rollout: &Rollout, seen: &Observed) -> Option<Fact> {
    let switched =
        rollout.switched.filter(|s| s.took.is_none() && seen.acknowledged >= s.version)?;
    let at = seen.acknowledged_at.max(switched.at);
    let took = at.since(switched.at);
    Some(Fact::Acknowledged { rollout: rollout.id, generation: seen.generation, took, at })
}

/// The watch is over, and the release is whole; a rollback needs none. What is not whole and has no
/// better place to go back to stays when its instances have had the time of a start once more.
fn watched(app: &App, rollout: &Rollout, seen: &Observed, timer: &mut Timer) -> bool {
    let spec = app.releases.get(&rollout.to).map(|release| &release.spec);
    match (rollout.kind, spec) {
        (RolloutKind::Rollback, _) | (RolloutKind::Deploy, None) => true,
        (RolloutKind::Deploy, Some(spec)) => {
            let end = rollout.since.max(seen.recovered).after(spec.strategy.watch);
            timer.due(end)
                && (whole(app, seen, rollout.to).is_ok()
                    || timer.due(end.after(spec.health.start_deadline)))
        }
    }
}

/// Nothing is left of releases that are not on offer.
fn is_tidy(app: &App) -> bool {
    app.instances.values().all(|i| app.on_offer().any(|release| release == i.release))
}

/// The way back is acknowledged, and nothing is left of the candidate unless it is needed.
fn is_back(app: &App, rollout: &Rollout) -> bool {
    let settled = rollout.switched.is_none_or(|switched| switched.took.is_some());
    let needed = app.on_offer().any(|release| release == rollout.to);
    settled && (needed || app.instances_of(rollout.to).next().is_none())
}

/// The end of `rollout`, with its receipt.
pub(crate) fn ended(app: &App, rollout: &Rollout, seen: &Observed, now: Timestamp) -> Fact {
    Fact::Ended { receipt: Box::new(receipt(app, rollout, seen, now)), at: now }
}
