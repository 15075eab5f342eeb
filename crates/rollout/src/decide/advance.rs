//! The next step of a rollout that goes well, or of one that is being reverted.

use alloc::boxed::Box;
use alloc::vec::Vec;

use model::{Exit, Gate, ReleaseNo, Share, Stage, Switch, Timestamp};

use super::{Timer, renew, revert};
use crate::closing;
use crate::ladder::rung;
use crate::planted::Bug;
use crate::reach::{away, is_left_behind, required, unheard_host};
use crate::readiness::{at_ease, can_take_over, in_reach, ready};
use crate::receipt::receipt;
use crate::{App, Cause, Fact, Instance, Observed, Phase, Rollout, RolloutKind};

pub(super) fn step(app: &App, seen: &Observed, timer: &mut Timer) -> Vec<Fact> {
    let Some(rollout) = &app.rollout else { return Vec::new() };
    let (id, now) = (rollout.id, timer.now);
    // Nobody could move the users.
    let is_stuck = seen.proxies.here == 0 && !Bug::ForgetsNoProxy.is_planted();
    let fact = match &rollout.phase {
        Phase::Starting | Phase::Ready | Phase::Holding if rollout.paused.is_some() => None,
        Phase::Starting if rollout.kind.renews() => renew::step(app, rollout, seen, now),
        Phase::Starting | Phase::Holding if is_stuck => None,
        Phase::Starting => climb(app, rollout, seen, now),
        Phase::Ready => None,
        Phase::Switching => acknowledged(rollout, seen),
        Phase::Holding => next_rung(app, rollout, seen, timer),
        // It has failed, and goes back as soon as that proxy allows it.
        Phase::Watching if revert::waits_for(app, seen, timer).is_some() => None,
        Phase::Watching => {
            let settled = Fact::Settled { rollout: id, cause: None, at: now };
            watched(app, rollout, seen, timer).then_some(settled)
        }
        Phase::Settling => is_tidy(app, seen).then(|| ended(app, rollout, seen, now)),
        Phase::Reverting { .. } => acknowledged(rollout, seen)
            .or_else(|| give_back(app, rollout, seen, timer))
            .or_else(|| is_back(app, rollout, seen).then(|| ended(app, rollout, seen, now))),
    };
    fact.into_iter().collect()
}

/// Gives the candidate its share once it is complete for its rung, unless a person has to promote it.
fn climb(app: &App, rollout: &Rollout, seen: &Observed, at: Timestamp) -> Option<Fact> {
    let rung = rung(app, rollout, rollout.rung);
    // A busy instance may be healthy, but gets no larger share before it answers. A proxy that has joined
    // meanwhile has to reach all that will carry the share, too.
    let ready = in_reach(app, seen, rollout.to);
    let needed = required(app, seen, rollout.to, rung.to);
    let needed = if Bug::SwitchesShort.is_planted() { 1 } else { needed };
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
    let whole = at_ease(app, seen, rollout.to) >= required(app, seen, rollout.to, here.to);
    // The batch before may have ended its host.
    let is_heard = unheard_host(app, seen, rollout).is_none();
    let next = rollout.rung + 1;
    (over && whole && is_heard).then_some(Fact::Stepped {
        rollout: rollout.id,
        rung: next,
        at: timer.now,
    })
}

/// Gives the traffic back to the old release during a revert, once the old release is complete on the hosts
/// that are here. It gets the traffic with whatever it has if the candidate is dead. It also does once the
/// old instances have had the time of a start, if the app is closed or some hosts are not heard.
///
/// An old release that keeps dying is never complete. The candidate then stays if it is live and has
/// healthy instances, or if the old release has none. It also stays if the app is closed and the candidate, which
/// has healthy instances, cannot be stopped because a proxy on another machine may use it.
fn give_back(app: &App, rollout: &Rollout, seen: &Observed, timer: &mut Timer) -> Option<Fact> {
    let from = rollout.from.filter(|_| rollout.share > Share::NONE || rollout.closed)?;
    let (id, at) = (rollout.id, timer.now);
    let (ready_from, ready_to) = (ready(app, seen, from), ready(app, seen, rollout.to));
    let back = Fact::Shifted { rollout: id, share: Share::NONE, ready: ready_from, at };
    if can_take_over(app, seen, rollout.to, from).is_ok() {
        return Some(back);
    }
    if let Some(user) = closing::user(app, rollout, seen, at) {
        let stays = Fact::Settled { rollout: id, cause: Some(closing::cause(user)), at };
        let is_over = timer.due(closing::until(app, rollout, seen));
        // A candidate of which nothing is healthy by then is given up.
        timer.due(closing::all_known_from(app, rollout, seen));
        return (is_over && ready_to > 0).then_some(stays);
    }
    let hopeless = keeps_dying(app, rollout, from, seen, timer);
    if let Some(cause) = hopeless.clone().filter(|_| ready_to > 0) {
        let errs = matches!(rollout.phase, Phase::Reverting { cause: Cause::MostlyErrors { .. } });
        let better = ready_from > 0 && (errs || rollout.share < Share::ALL);
        let stays = Fact::Settled { rollout: id, cause: Some(cause), at };
        return Some(if better { back } else { stays });
    }
    let in_need = if rollout.closed || away(app, seen, from) > 0 {
        let start = app.releases.get(&from)?.spec.health.start_deadline;
        let there = app.instances_of(from).filter(|(_, i)| i.stage < Stage::Draining);
        let began = there.map(|(_, i)| i.minted).min()?;
        hopeless.is_some()
            || (ready_to == 0 && !rollout.closed)
            || timer.due(began.max(rollout.since).max(seen.recovered).after(start))
    } else {
        ready_to == 0
    };
    (in_need && ready_from > 0).then_some(back)
}

/// Returns a cause if the instances of the old release have died again and again on the way back, for at
/// least the time of a start.
fn keeps_dying(
    app: &App,
    rollout: &Rollout,
    from: ReleaseNo,
    seen: &Observed,
    timer: &mut Timer,
) -> Option<Cause> {
    let start = app.releases.get(&from)?.spec.health.start_deadline;
    let deaths = app.deaths.get(&from)?;
    // A machine that goes down is no fault of the release.
    let own = deaths.last >= rollout.since && deaths.exit != Some(Exit::Unknown);
    let again_and_again = own && deaths.in_a_row >= Rollout::CRASHES_WHILE_WAITING;
    (again_and_again && timer.due(rollout.since.max(seen.recovered).after(start)))
        .then_some(Cause::OldKeptDying { times: deaths.in_a_row, exit: deaths.exit })
}

/// Records that every worker has acknowledged the last switch, unless that is recorded already.
fn acknowledged(rollout: &Rollout, seen: &Observed) -> Option<Fact> {
    let switched =
        rollout.switched.filter(|s| s.took.is_none() && seen.acknowledged >= s.version)?;
    let at = seen.acknowledged_at.max(switched.at);
    let took = at.since(switched.at);
    let (generation, spread) = (seen.generation, seen.spread);
    Some(Fact::Acknowledged { rollout: rollout.id, generation, took, spread, at })
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
            let wanted = required(app, seen, rollout.to, app.replicas(rollout.to)).max(1);
            timer.due(end)
                && (at_ease(app, seen, rollout.to) >= wanted
                    || timer.due(end.after(spec.health.start_deadline)))
        }
    }
}

/// Returns whether no instances are left of releases that are not on offer, except those that rollouts do not
/// wait for.
fn is_tidy(app: &App, seen: &Observed) -> bool {
    let is_on_offer = |i: &Instance| app.on_offer().any(|release| release == i.release);
    app.instances
        .iter()
        .all(|(number, i)| is_left_behind(app, seen, (*number, i)) || is_on_offer(i))
}

/// Returns whether the revert is acknowledged and nothing is left of the candidate that the rollout waits for,
/// unless it is needed.
fn is_back(app: &App, rollout: &Rollout, seen: &Observed) -> bool {
    let acknowledged = rollout.switched.is_none_or(|switched| switched.took.is_some());
    if rollout.keeps_live() {
        return acknowledged;
    }
    let settled = rollout.share == Share::NONE && !rollout.closed && acknowledged;
    let needed = app.on_offer().any(|release| release == rollout.to);
    settled && (needed || app.instances_of(rollout.to).all(|it| is_left_behind(app, seen, it)))
}

/// Returns the end of `rollout`, with its receipt.
pub(crate) fn ended(app: &App, rollout: &Rollout, seen: &Observed, now: Timestamp) -> Fact {
    let receipt = Box::new(receipt(app, rollout, seen, now));
    Fact::Ended { receipt, keep: Some(seen.keep_releases), at: now }
}
