//! The next step of a rollout that goes well, or of one that is being reverted.

use alloc::boxed::Box;
use alloc::vec::Vec;

use model::{Gate, Share, Stage, Switch, Timestamp};

use super::{Timer, renew};
use crate::ladder::rung;
use crate::planted::Bug;
use crate::readiness::{at_ease, ready};
use crate::receipt::receipt;
use crate::{App, Fact, Observed, Phase, Rollout, RolloutKind};

pub(super) fn step(app: &App, seen: &Observed, timer: &mut Timer) -> Vec<Fact> {
    let Some(rollout) = &app.rollout else { return Vec::new() };
    let (id, now) = (rollout.id, timer.now);
    let fact = match &rollout.phase {
        Phase::Starting | Phase::Ready | Phase::Holding if rollout.paused.is_some() => None,
        Phase::Starting if rollout.kind.renews() => renew::step(app, rollout, seen, now),
        Phase::Starting => climb(app, rollout, seen, now),
        Phase::Ready => None,
        Phase::Switching => acknowledged(rollout, seen),
        Phase::Holding => next_rung(app, rollout, seen, timer),
        Phase::Watching => {
            let settled = Fact::Settled { rollout: id, cause: None, at: now };
            watched(app, rollout, seen, timer).then_some(settled)
        }
        Phase::Settling => is_tidy(app).then(|| ended(app, rollout, seen, now)),
        Phase::Reverting { .. } => acknowledged(rollout, seen)
            .or_else(|| give_back(app, rollout, seen, timer))
            .or_else(|| is_back(app, rollout).then(|| ended(app, rollout, seen, now))),
    };
    fact.into_iter().collect()
}

/// Gives the candidate its share once it is complete for its rung, unless a person has to promote it.
fn climb(app: &App, rollout: &Rollout, seen: &Observed, at: Timestamp) -> Option<Fact> {
    let rung = rung(app, rollout, rollout.rung);
    // A busy instance may be healthy, but gets no larger share before it answers.
    let ready = at_ease(app, seen, rollout.to);
    let needed = if Bug::SwitchesShort.is_planted() { 1 } else { rung.to };
    if ready < needed {
        return None;
    }
    let rollout = rollout.id;
    Some(match rung.switch {
        Switch::Auto => Fact::Shifted { rollout, share: rung.share, ready, at },
        Switch::Manual => Fact::Ready { rollout, ready, at },
    })
}

/// Moves on once the gate's time is over and the candidate is complete. The old release need not be
/// complete: moving traffic away from it only helps.
fn next_rung(app: &App, rollout: &Rollout, seen: &Observed, timer: &mut Timer) -> Option<Fact> {
    let here = rung(app, rollout, rollout.rung);
    let Gate::After(time) = here.gate? else { return None };
    let over = timer.due(rollout.since.max(seen.recovered).after(time).after(seen.stood));
    let whole = at_ease(app, seen, rollout.to) >= here.to;
    let next = rollout.rung + 1;
    (over && whole).then_some(Fact::Stepped { rollout: rollout.id, rung: next, at: timer.now })
}

/// Gives the traffic back to the old release during a revert, once the old release is complete. If the
/// candidate is dead, the old release gets the traffic with whatever it has. This also applies if the
/// app is closed and the old instances have had the time of a start.
fn give_back(app: &App, rollout: &Rollout, seen: &Observed, timer: &mut Timer) -> Option<Fact> {
    let from = rollout.from.filter(|_| rollout.share > Share::NONE || rollout.closed)?;
    let ready_from = ready(app, seen, from);
    let in_need = if rollout.closed {
        let start = app.releases.get(&from)?.spec.health.start_deadline;
        let there = app.instances_of(from).filter(|(_, i)| i.stage < Stage::Draining);
        let began = there.map(|(_, i)| i.minted).min()?;
        timer.due(began.max(rollout.since).max(seen.recovered).after(start))
    } else {
        ready(app, seen, rollout.to) == 0
    };
    let enough = ready_from >= app.replicas(from) || (in_need && ready_from > 0);
    enough.then_some(Fact::Shifted {
        rollout: rollout.id,
        share: Share::NONE,
        ready: ready_from,
        at: timer.now,
    })
}

/// Records that every worker has acknowledged the last switch, unless that is recorded already.
fn acknowledged(rollout: &Rollout, seen: &Observed) -> Option<Fact> {
    let switched =
        rollout.switched.filter(|s| s.took.is_none() && seen.acknowledged >= s.version)?;
    let at = seen.acknowledged_at.max(switched.at);
    let took = at.since(switched.at);
    Some(Fact::Acknowledged { rollout: rollout.id, generation: seen.generation, took, at })
}

/// Ends the watch once its time is over and the release is complete; a rollback needs no watch. After
/// one more start deadline, a release stays if it has all its instances and some are only busy. A
/// release that lacks instances has failed by then.
fn watched(app: &App, rollout: &Rollout, seen: &Observed, timer: &mut Timer) -> bool {
    if Bug::WatchesForever.is_planted() {
        return false;
    }
    let spec = app.releases.get(&rollout.to).map(|release| &release.spec);
    match (rollout.kind, spec) {
        (RolloutKind::Rollback | RolloutKind::Restart | RolloutKind::Start, _)
        | (RolloutKind::Deploy, None) => true,
        (RolloutKind::Deploy, Some(spec)) => {
            let began = rollout.since.max(seen.recovered);
            let end = began.after(spec.strategy.watch).after(seen.stood);
            let wanted = app.replicas(rollout.to).max(1);
            timer.due(end)
                && (at_ease(app, seen, rollout.to) >= wanted
                    || timer.due(end.after(spec.health.start_deadline)))
        }
    }
}

/// Returns whether no instances are left of releases that are not on offer.
fn is_tidy(app: &App) -> bool {
    app.instances.values().all(|i| app.on_offer().any(|release| release == i.release))
}

/// Returns whether the revert is acknowledged and nothing is left of the candidate unless it is needed.
fn is_back(app: &App, rollout: &Rollout) -> bool {
    let acknowledged = rollout.switched.is_none_or(|switched| switched.took.is_some());
    if rollout.keeps_live() {
        return acknowledged;
    }
    let settled = rollout.share == Share::NONE && !rollout.closed && acknowledged;
    let needed = app.on_offer().any(|release| release == rollout.to);
    settled && (needed || app.instances_of(rollout.to).next().is_none())
}

/// Returns the end of `rollout`, with its receipt.
pub(crate) fn ended(app: &App, rollout: &Rollout, seen: &Observed, now: Timestamp) -> Fact {
    let receipt = Box::new(receipt(app, rollout, seen, now));
    Fact::Ended { receipt, keep: Some(seen.keep_releases), at: now }
}
