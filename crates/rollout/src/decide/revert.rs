//! Decides whether a rollout is reverted. Before the switch the candidate's instances are judged by how
//! they start. After the switch the candidate must not fall below the floor. A rollback is never
//! reverted: the release it leaves is known to be bad.

use alloc::vec::Vec;

use model::{Exit, Health, OnFailure, ReleaseNo, Share, Stage, StrategyKind};

use super::candidate::failed_candidate;
use super::replicas::lacking;
use super::{Timer, budget, guard, instances};
use crate::closing;
use crate::ladder::{floor, needs_room};
use crate::reach::{away, is_here};
use crate::readiness::ready;
use crate::{
    App, Cause, Fact, Instance, InstanceSeen, Observed, Phase, Process, ProxySeen, Rollout,
    RolloutKind,
};

/// Returns the facts that revert or pause the rollout, together with the deaths that led to it.
pub(super) fn revert(app: &App, seen: &Observed, timer: &mut Timer) -> Vec<Fact> {
    let Some((rollout, cause, way)) = failure(app, seen, timer) else { return Vec::new() };
    if way == Way::Back && closing::in_the_way(app, rollout, seen, timer.now).is_some() {
        return Vec::new();
    }
    let mut facts = instances::ended(app, seen, timer.now);
    let (id, at) = (rollout.id, timer.now);
    if holds_on_failure(app, rollout) && rollout.phase.can_pause() {
        use alloc::string::ToString;
        if rollout.paused.is_some() {
            facts.push(Fact::Resumed { rollout: id, at });
        }
        facts.push(Fact::Paused { rollout: id, because: Some(cause.to_string()), at });
    } else if rollout.keeps_live() {
        facts.push(Fact::Kept { rollout: id, cause, at });
    } else {
        facts.push(match way {
            Way::Back => Fact::Reverting { rollout: id, cause, at },
            Way::None => Fact::Settled { rollout: id, cause: Some(cause), at },
        });
    }
    facts
}

/// Returns a proxy for whose sake a rollout that has failed is not taken back yet.
pub(super) fn waits_for<'a>(
    app: &App,
    seen: &Observed<'a>,
    timer: &mut Timer,
) -> Option<&'a ProxySeen> {
    let (_, user) = closing::in_the_way(app, app.rollout.as_ref()?, seen, timer.now)?;
    failure(app, seen, timer).filter(|(_, _, way)| *way == Way::Back).map(|_| user)
}

/// Returns the rollout if it has failed, with the cause, and where the traffic is to go.
fn failure<'a>(
    app: &'a App,
    seen: &Observed,
    timer: &mut Timer,
) -> Option<(&'a Rollout, Cause, Way)> {
    // A rollback is never reverted: the release it leaves is known to be bad.
    let judged = app.rollout.as_ref().filter(|r| r.kind != RolloutKind::Rollback);
    // After a failure has paused the rollout, a person has to decide.
    let held = |r: &&Rollout| r.paused.as_ref().is_some_and(|pause| pause.because.is_some());
    let rollout = judged.filter(|r| !held(r))?;
    let back = |cause| (cause, Way::Back);
    let failure = budget::overspent(app, rollout, seen).map(back).or_else(|| match rollout.phase {
        Phase::Starting | Phase::Ready => before_the_switch(app, rollout, seen, timer)
            .or_else(|| with_traffic(app, rollout, seen))
            .map(back),
        Phase::Switching | Phase::Holding => with_traffic(app, rollout, seen).map(back),
        Phase::Watching => with_traffic(app, rollout, seen)
            .map(back)
            .or_else(|| never_whole(app, rollout, seen, timer)),
        Phase::Settling | Phase::Reverting { .. } => None,
    });
    failure.map(|(cause, way)| (rollout, cause, way))
}

/// The target of the traffic after a candidate has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// To the old release.
    Back,
    /// Nowhere: the old release is no better than the candidate.
    None,
}

/// Returns whether the strategy wants a pause instead of a revert when an instance fails.
fn holds_on_failure(app: &App, rollout: &Rollout) -> bool {
    let kind = app.releases.get(&rollout.to).map(|release| &release.spec.strategy.kind);
    let hold = OnFailure::Hold;
    rollout.kind == RolloutKind::Deploy
        && rollout.from.is_some()
        && matches!(kind, Some(StrategyKind::Rolling { on_failure, .. }) if *on_failure == hold)
}

fn before_the_switch(
    app: &App,
    rollout: &Rollout,
    seen: &Observed,
    timer: &mut Timer,
) -> Option<Cause> {
    if let Some(user) = closing::user(app, rollout, seen, timer.now) {
        return timer.due(closing::until(app, rollout, seen)).then(|| closing::cause(user));
    }
    if let Some(failed) = failed_candidate(app, rollout, seen, timer) {
        return Some(budget::cause_with(rollout, failed));
    }
    if rollout.phase == Phase::Starting
        && has_no_ports(app, rollout, seen)
        && lacking(app, seen, timer.now, rollout.to) > 0
        && let Some(release) = app.releases.get(&rollout.to)
    {
        let waited = release.spec.health.start_deadline;
        if timer.due(rollout.since.max(seen.recovered).after(waited)) {
            return Some(Cause::NoPorts { waited });
        }
    }
    let deaths = app.deaths.get(&rollout.to);
    let times = rollout.crashes.max(deaths.map_or(0, |deaths| deaths.in_a_row));
    let exit = deaths.and_then(|deaths| deaths.exit);
    let again_and_again = times >= Rollout::CRASHES_WHILE_WAITING;
    again_and_again.then_some(Cause::KeptDying { times, exit, tail: Vec::new() })
}

/// Returns whether no host that the candidate can be placed on has a free port.
fn has_no_ports(app: &App, rollout: &Rollout, seen: &Observed) -> bool {
    let Some(release) = app.releases.get(&rollout.to) else { return false };
    let mut hosts = seen.hosts.iter().filter(|(id, host)| {
        host.takes_instances() && host.is_meant(&release.spec) && !rollout.budget.is_aside(id)
    });
    hosts.all(|(_, host)| host.free_ports.is_empty())
}

/// Judges a candidate that has a share of the traffic. Returns a cause if most of its answers are
/// errors. Also returns a cause if deaths or probes put it below the floor, while the old release can
/// serve better.
fn with_traffic(app: &App, rollout: &Rollout, seen: &Observed) -> Option<Cause> {
    if rollout.share == Share::NONE {
        return None;
    }
    // Going back to instances of which none is heard helps nobody.
    let is_heard = |from: ReleaseNo| ready(app, seen, from) > 0 || away(app, seen, from) == 0;
    let cause = guard::mostly_errors(rollout, seen);
    if let Some(cause) = cause.filter(|_| rollout.from.is_none_or(is_heard)) {
        return Some(cause);
    }
    let to_ready = ready(app, seen, rollout.to);
    let floor = floor_here(app, rollout, seen);
    if to_ready >= floor {
        return None;
    }
    if rollout.keeps_live() {
        return keeps_dying(app, rollout, seen);
    }
    let dead = app.instances_of(rollout.to).find_map(|(number, _)| death(seen.instance(number)));
    let is_down = |(number, i): (u64, &Instance)| {
        let is_down = seen.instance(number).health == Health::Down;
        i.stage == Stage::Serving && is_down && is_here(app, seen, i)
    };
    let at_fault =
        rollout.crashes > 0 || dead.is_some() || app.instances_of(rollout.to).any(is_down);
    if !at_fault || !is_worth_it(app, rollout, seen, to_ready) {
        return None;
    }
    let (exit, tail) = dead.map_or((None, Vec::new()), |(exit, tail)| (Some(exit), tail));
    let exit = exit.or_else(|| app.deaths.get(&rollout.to).and_then(|deaths| deaths.exit));
    Some(Cause::BelowFloor { ready: to_ready, floor, exit, tail })
}

/// Judges a first release whose instances die now and then and are replaced, since there is no release
/// to go back to. The release has failed when its instances die again and again.
fn keeps_dying(app: &App, rollout: &Rollout, seen: &Observed) -> Option<Cause> {
    // Draining instances were given up and counted before they ended.
    let mut there = app.instances_of(rollout.to).filter(|(_, i)| i.stage < Stage::Draining);
    let (exit, tail) = there.find_map(|(number, _)| death(seen.instance(number)))?;
    let times = rollout.crashes + 1;
    let again_and_again = times >= Rollout::CRASHES_WHILE_WAITING;
    again_and_again.then_some(Cause::KeptDying { times, exit: Some(exit), tail })
}

/// Returns a cause if the release still lacks instances one start deadline after the end of its watch.
fn never_whole(
    app: &App,
    rollout: &Rollout,
    seen: &Observed,
    timer: &mut Timer,
) -> Option<(Cause, Way)> {
    let spec = &app.releases.get(&rollout.to)?.spec;
    let watched = rollout.since.max(seen.recovered).after(spec.strategy.watch).after(seen.stood);
    let (ready, floor) = (ready(app, seen, rollout.to), floor_here(app, rollout, seen));
    if ready >= floor || !timer.due(watched.after(spec.health.start_deadline)) {
        return None;
    }
    let exit = app.deaths.get(&rollout.to).and_then(|deaths| deaths.exit);
    let way = if is_worth_it(app, rollout, seen, ready) { Way::Back } else { Way::None };
    Some((Cause::BelowFloor { ready, floor, exit, tail: Vec::new() }, way))
}

/// Returns the number of instances that the candidate needs to carry its share, without those on hosts
/// that are not heard.
fn floor_here(app: &App, rollout: &Rollout, seen: &Observed) -> u16 {
    floor(app, rollout).saturating_sub(away(app, seen, rollout.to))
}

/// Returns how an instance died, if the death was observed.
fn death(seen: &InstanceSeen) -> Option<(Exit, Vec<alloc::string::String>)> {
    match &seen.process {
        Process::Exited { exit: Exit::Unknown, .. } => None,
        Process::Exited { exit, tail, .. } => Some((*exit, tail.clone())),
        Process::Unseen | Process::Running { .. } | Process::AddressInUse | Process::Refused(_) => {
            None
        }
    }
}

/// Returns whether going back is worth it in one of three cases. The old release has more ready
/// instances. Or the candidate dies again and again, and the old release serves or was only stopped. Or
/// a rolling rollout still has instances of both releases.
fn is_worth_it(app: &App, rollout: &Rollout, seen: &Observed, to_ready: u16) -> bool {
    let Some(from) = rollout.from else { return false };
    let kind = app.releases.get(&rollout.to).map(|release| &release.spec.strategy.kind);
    let rolling = matches!(kind, Some(StrategyKind::Rolling { .. }));
    let ready_from = ready(app, seen, from);
    // Except in these strategies, the old release is kept complete. If it has no ready instance, it is
    // as bad.
    let was_stopped = rolling || needs_room(app, rollout);
    let keeps_dying = rollout.crashes >= Rollout::CRASHES_WHILE_WAITING;
    ready_from > to_ready
        || (keeps_dying && (was_stopped || ready_from > 0))
        || (rolling && rollout.phase != Phase::Watching)
}
