//! Keeps every release on offer whole and lets go of everything else, rollout or not.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use model::{Health, ReleaseNo, Share, Stage};

use super::Timer;
use super::placement::Placement;
use crate::ladder::{least, wanted};
use crate::patience::Patience;
use crate::planted::Bug;
use crate::readiness::ready;
use crate::{App, DrainCause, Fact, Instance, InstanceSeen, Observed, ReleasedBy};

pub(super) fn upkeep(app: &App, seen: &Observed, timer: &mut Timer) -> Vec<Fact> {
    let mut facts = Vec::new();
    facts.extend(retire_standby(app, timer));
    facts.extend(let_go(app, seen, timer));
    facts.extend(release(app, seen, timer));
    if !facts.is_empty() {
        return facts;
    }
    for no in app.on_offer() {
        facts.extend(give_up(app, seen, timer, no));
        facts.extend(doom(app, seen, timer, no));
        facts.extend(replace(app, seen, timer, no));
    }
    if facts.is_empty() {
        facts.extend(mint(app, seen, timer));
    }
    facts
}

/// The standby's time is up; during a rollout it is part of the way back and stays.
fn retire_standby(app: &App, timer: &mut Timer) -> Option<Fact> {
    let standby = app.standby.filter(|_| app.rollout.is_none())?;
    let due = timer.due(standby.until?);
    due.then_some(Fact::StandbyRetired { release: standby.release, at: timer.now })
}

/// Instances that their release does not need drain: all of one that is not on offer, and of others
/// what is too many, the unhealthy first, then the oldest. What is doomed waits for its successor.
fn let_go(app: &App, seen: &Observed, timer: &mut Timer) -> Option<Fact> {
    let wanted: BTreeMap<ReleaseNo, u16> =
        app.on_offer().map(|release| (release, wanted(app, release))).collect();
    let needs = |release: ReleaseNo| wanted.get(&release).copied().unwrap_or(0);
    let mut surplus: Vec<u64> = Vec::new();
    let mut seen_of: BTreeMap<ReleaseNo, Vec<(bool, u64)>> = BTreeMap::new();
    for (number, instance) in app.instances.iter().filter(|(_, i)| i.stage < Stage::Draining) {
        let well = instance.stage == Stage::Serving && is_up(seen, *number);
        if needs(instance.release) == 0 {
            surplus.push(*number);
        } else if !instance.doomed {
            seen_of.entry(instance.release).or_default().push((well, *number));
        }
    }
    for (release, mut instances) in seen_of {
        let extra = instances.len().saturating_sub(usize::from(needs(release)));
        instances.sort_unstable();
        surplus.extend(instances.iter().take(extra).map(|(_, number)| *number));
    }
    let mut surplus = spare(app, seen, timer, surplus);
    surplus.sort_unstable();
    draining(surplus, DrainCause::NotNeeded, timer)
}

/// Instances of `leaving` that can be spared: without them enough healthy instances carry the app (I3). After
/// a restart of control an instance that was not probed yet is taken for a healthy one, until it has had the
/// time of a start.
fn spare(app: &App, seen: &Observed, timer: &mut Timer, mut leaving: Vec<u64>) -> Vec<u64> {
    if Bug::ForgetsFloor.is_planted() {
        return leaving;
    }
    let least = usize::from(least(app));
    let carrying = |number: u64| {
        let instance = app.instances.get(&number)?;
        let carries = instance.stage == Stage::Serving && app.share(instance.release) > Share::NONE;
        carries.then_some(instance.release)
    };
    let healthy = app.instances.keys().filter(|n| carrying(**n).is_some() && is_up(seen, **n));
    let mut left = healthy.count();
    leaving.retain(|number| {
        let Some(release) = carrying(*number) else { return true };
        if is_up(seen, *number) {
            let spared = left > least;
            left -= usize::from(spared);
            return spared;
        }
        let of_it = seen.instance(*number);
        let patience = app.releases.get(&release).map(|r| r.spec.health.start_deadline);
        let known = of_it.health == Health::Down || of_it.process.has_ended();
        known || left >= least || timer.due(seen.recovered.after(patience.unwrap_or_default()))
    });
    leaving
}

fn is_up(seen: &Observed, number: u64) -> bool {
    let seen = seen.instance(number);
    seen.health == Health::Up && !seen.process.has_ended()
}

/// Draining instances that are idle everywhere, or whose time is up, may be stopped (I2).
fn release(app: &App, seen: &Observed, timer: &mut Timer) -> Vec<Fact> {
    let mut facts = Vec::new();
    for (number, instance) in &app.instances {
        if instance.stage != Stage::Draining || instance.released {
            continue;
        }
        let InstanceSeen { in_flight, uncounted, .. } = *seen.instance(*number);
        let absent = instance.left.is_some_and(|left| seen.acknowledged >= left);
        let drain = app.releases.get(&instance.release).map(|r| r.spec.drain.deadline);
        let until = instance.since.max(seen.recovered).after(drain.unwrap_or_default());
        let uncounted = uncounted && !Bug::TakesUnknownForIdle.is_planted();
        let is_idle = (in_flight == 0 && !uncounted) || Bug::IgnoresInFlight.is_planted();
        let by = if absent && is_idle {
            ReleasedBy::Idle
        } else if timer.due(until) {
            ReleasedBy::Deadline { in_flight }
        } else {
            continue;
        };
        facts.push(Fact::Released { instance: *number, by, at: timer.now });
    }
    facts
}

/// A joining instance that is not healthy in time is given up; its successor is minted after a pause.
fn give_up(app: &App, seen: &Observed, timer: &mut Timer, no: ReleaseNo) -> Option<Fact> {
    let overdue: Vec<u64> = app
        .instances_of(no)
        .filter(|(_, i)| i.stage == Stage::Joining)
        .filter(|(number, i)| timer.due(Patience::with(app, seen, *number, i).until()))
        .map(|(number, _)| number)
        .collect();
    draining(overdue, DrainCause::NeverHealthy, timer)
}

/// An instance that stays Down, or whose probes say nothing after a restart of control, is doomed. One
/// follows the other, each once the successor of the one before serves: a fault that all of them share
/// does not end them all. There are at most as many doomed ones as wanted ones, and one more.
fn doom(app: &App, seen: &Observed, timer: &mut Timer, no: ReleaseNo) -> Option<Fact> {
    let patience = app.releases.get(&no)?.spec.health.start_deadline;
    let most = match Bug::ReplacesOnlyOne.is_planted() {
        true => 1,
        false => usize::from(wanted(app, no)) + 1,
    };
    if !is_succeeded(app, no) || doomed(app, no).count() >= most {
        return None;
    }
    let since = |number: u64| seen.instance(number).health_since.max(seen.recovered);
    let (instance, _) = app.instances_of(no).find(|(number, i)| {
        let serves = i.stage == Stage::Serving && !i.doomed;
        let down = serves && seen.instance(*number).health != Health::Up;
        down && timer.due(since(*number).after(patience))
    })?;
    let down = timer.now.since(since(instance));
    Some(Fact::Doomed { instance, down, at: timer.now })
}

/// A doomed instance leaves once there are enough others: healthy ones if it is healthy itself. If it is
/// not, its successor is enough, whatever has become of the others meanwhile.
fn replace(app: &App, seen: &Observed, timer: &mut Timer, no: ReleaseNo) -> Option<Fact> {
    let doomed = doomed(app, no);
    let recovered = doomed.clone().filter(|n| seen.instance(*n).health == Health::Up).count();
    let others = usize::from(ready(app, seen, no)).saturating_sub(recovered);
    let enough = others >= usize::from(wanted(app, no));
    let is_succeeded = is_succeeded(app, no) && !Bug::ReplacesOnlyOne.is_planted();
    let may_leave = |n: &u64| enough || (is_succeeded && seen.instance(*n).health != Health::Up);
    let leaving = spare(app, seen, timer, doomed.filter(may_leave).collect());
    draining(leaving, DrainCause::Replaced, timer)
}

/// Instances of the release that serve until others have taken their place.
fn doomed(app: &App, no: ReleaseNo) -> impl Iterator<Item = u64> + Clone {
    let serving = app.instances_of(no).filter(|(_, i)| i.stage == Stage::Serving);
    serving.filter(|(_, i)| i.doomed).map(|(number, _)| number)
}

/// Whether the successors of all doomed instances serve.
fn is_succeeded(app: &App, no: ReleaseNo) -> bool {
    lacking(app, no) == 0 && app.instances_of(no).all(|(_, i)| i.stage != Stage::Joining)
}

/// Every release on offer gets the instances it lacks, after the pause its deaths ask for.
fn mint(app: &App, seen: &Observed, timer: &mut Timer) -> Vec<Fact> {
    let mut placement = Placement::new(app, seen);
    let mut facts = Vec::new();
    for no in app.on_offer() {
        let Some(release) = app.releases.get(&no) else { continue };
        let lacking = lacking(app, no);
        let pause = app.deaths.get(&no).map(|deaths| deaths.next_start());
        if lacking == 0 || !pause.is_none_or(|until| timer.due(until)) {
            continue;
        }
        let instances = placement.place(release, lacking);
        if !instances.is_empty() {
            facts.push(Fact::Minted { release: no, instances, at: timer.now });
        }
    }
    facts
}

/// How many instances the release lacks; those that drain or are doomed do not count.
pub(super) fn lacking(app: &App, release: ReleaseNo) -> usize {
    let counts = |(_, i): &(u64, &Instance)| i.stage < Stage::Draining && !i.doomed;
    let have = app.instances_of(release).filter(counts).count();
    usize::from(wanted(app, release)).saturating_sub(have)
}

fn draining(
    numbers: impl IntoIterator<Item = u64>,
    cause: DrainCause,
    timer: &Timer,
) -> Option<Fact> {
    let instances: Vec<u64> = numbers.into_iter().collect();
    (!instances.is_empty()).then_some(Fact::Draining { instances, cause, at: timer.now })
}
