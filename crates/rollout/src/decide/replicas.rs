//! Keeps every release on offer complete and lets go of all other instances, with or without a rollout.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Reverse;

use model::{Health, Millis, ReleaseNo, Share, Stage, Timestamp};

use super::Timer;
use super::budget::carried_by_lost;
use super::placement::Placement;
use crate::closing;
use crate::ladder::{least, wanted};
use crate::patience::Patience;
use crate::planted::Bug;
use crate::reach::{
    back_since, has_to_leave, heard_from, is_here, is_lost, replaced_from, required, runs_alone,
    unheard_host,
};
use crate::readiness::ready;
use crate::{App, DrainCause, Fact, Instance, InstanceSeen, Observed, Phase, ReleasedBy};

pub(super) fn upkeep(app: &App, seen: &Observed, timer: &mut Timer) -> Vec<Fact> {
    let mut facts = Vec::new();
    facts.extend(retire_standby(app, timer));
    let is_held = closing::is_held(app, seen, timer.now);
    if !is_held {
        facts.extend(let_go(app, seen, timer));
    }
    facts.extend(release(app, seen, timer));
    facts.extend(owe(app, seen, timer));
    facts.extend(free_addresses(app, seen, timer));
    if !facts.is_empty() || is_held {
        return facts;
    }
    for no in app.on_offer() {
        if let Some(leaving) = leave(app, seen, timer, no) {
            facts.push(leaving);
            continue;
        }
        facts.extend(give_up(app, seen, timer, no));
        facts.extend(doom(app, seen, timer, no));
        facts.extend(replace(app, seen, timer, no));
    }
    if facts.is_empty() {
        facts.extend(mint(app, seen, timer, app.on_offer()));
    }
    facts
}

/// Replaces instances of the live release that have ended, and changes nothing else.
pub(super) fn keep_live(app: &App, seen: &Observed, timer: &mut Timer) -> Vec<Fact> {
    mint(app, seen, timer, app.live.into_iter())
}

/// Retires the standby once its time is over. During a rollout it stays: it is part of the way back.
fn retire_standby(app: &App, timer: &mut Timer) -> Option<Fact> {
    let standby = app.standby.filter(|_| app.rollout.is_none())?;
    let due = timer.due(standby.until?);
    due.then_some(Fact::StandbyRetired { release: standby.release, at: timer.now })
}

/// Drains instances that their release does not need: all of a release that is not on offer, and the
/// surplus of other releases. Of the surplus, the unhealthy go first, then the oldest. If a host has
/// returned with an instance, the newest go first instead: they were to take its place. They go once that
/// instance was probed. Doomed instances wait for their successors, and instances that were replaced for
/// their hosts.
fn let_go(app: &App, seen: &Observed, timer: &mut Timer) -> Option<Fact> {
    let wanted: BTreeMap<ReleaseNo, u16> =
        app.on_offer().map(|release| (release, wanted(app, release))).collect();
    let needs = |release: ReleaseNo| wanted.get(&release).copied().unwrap_or(0);
    let mut surplus: Vec<u64> = Vec::new();
    let mut seen_of: BTreeMap<ReleaseNo, Vec<(bool, u64)>> = BTreeMap::new();
    let (mut returned, mut unprobed) = (BTreeSet::new(), BTreeSet::new());
    for (number, instance) in app.instances.iter().filter(|(_, i)| i.stage < Stage::Draining) {
        let well = instance.stage == Stage::Serving && is_up(app, seen, *number);
        if needs(instance.release) == 0 {
            surplus.push(*number);
        } else if !instance.doomed && !is_replaced(app, seen, instance, timer.now) {
            seen_of.entry(instance.release).or_default().push((well, *number));
            if let Some(back) = back_since(seen, instance) {
                returned.insert(instance.release);
                if is_unprobed(app, seen, timer, (*number, instance), back) {
                    unprobed.insert(instance.release);
                }
            }
        }
    }
    seen_of.retain(|release, _| !unprobed.contains(release));
    for (release, mut instances) in seen_of {
        let extra = instances.len().saturating_sub(usize::from(needs(release)));
        instances.sort_unstable();
        if returned.contains(&release) {
            instances.sort_by_key(|(well, number)| (*well, Reverse(*number)));
        }
        surplus.extend(instances.iter().take(extra).map(|(_, number)| *number));
    }
    let mut surplus = spare(app, seen, timer, surplus);
    surplus.sort_unstable();
    draining(surplus, DrainCause::NotNeeded, timer)
}

/// Returns whether the instance served before its host returned at `back`, and was not probed since.
fn is_unprobed(
    app: &App,
    seen: &Observed,
    timer: &mut Timer,
    (number, instance): (u64, &Instance),
    back: Timestamp,
) -> bool {
    let of_it = seen.instance(number);
    let is_known = of_it.health != Health::Unknown || of_it.process.has_ended();
    let patience = app.releases.get(&instance.release).map(|r| r.spec.health.start_deadline);
    let waits = instance.stage == Stage::Serving && !is_known;
    waits && !timer.due(back.after(patience.unwrap_or_default()))
}

/// Returns the instances of `leaving` that can go while enough healthy instances carry the app (I3).
/// After a restart of control an instance that was not probed yet counts as healthy until it has had
/// the time of a start.
fn spare(app: &App, seen: &Observed, timer: &mut Timer, mut leaving: Vec<u64>) -> Vec<u64> {
    if leaving.is_empty() || Bug::ForgetsFloor.is_planted() {
        return leaving;
    }
    let least = usize::from(least(app)).saturating_sub(carried_by_lost(app, seen));
    let carrying = |number: u64| {
        let instance = app.instances.get(&number)?;
        let carries = instance.stage == Stage::Serving && app.share(instance.release) > Share::NONE;
        carries.then_some(instance.release)
    };
    let healthy = app.instances.keys().filter(|n| carrying(**n).is_some() && is_up(app, seen, **n));
    let mut left = healthy.count();
    leaving.retain(|number| {
        let Some(release) = carrying(*number) else { return true };
        if is_up(app, seen, *number) {
            let spared = left > least;
            left -= usize::from(spared);
            return spared;
        }
        let of_it = seen.instance(*number);
        let patience = app.releases.get(&release).map(|r| r.spec.health.start_deadline);
        let instance = app.instances.get(number);
        let known = of_it.health == Health::Down
            || of_it.process.has_ended()
            || instance.is_some_and(|instance| !is_here(app, seen, instance));
        let heard_from = instance.map_or(seen.recovered, |instance| heard_from(seen, instance));
        known || left >= least || timer.due(heard_from.after(patience.unwrap_or_default()))
    });
    leaving
}

fn is_up(app: &App, seen: &Observed, number: u64) -> bool {
    let is_here = app.instances.get(&number).is_some_and(|i| is_here(app, seen, i));
    let seen = seen.instance(number);
    is_here && seen.health == Health::Up && !seen.process.has_ended()
}

/// Releases draining instances to be stopped, once they are idle on all proxies or their time is over
/// (I2).
fn release(app: &App, seen: &Observed, timer: &mut Timer) -> Vec<Fact> {
    let mut facts = Vec::new();
    // A proxy that was absent may have users on it whose requests nobody could let finish until now.
    let followed_at = seen.proxies.remote.iter().map(|proxy| proxy.followed_at).max();
    for (number, instance) in &app.instances {
        if instance.stage != Stage::Draining || instance.released {
            continue;
        }
        let is_given_up = closing::is_given_up(app, seen, instance, timer.now);
        let is_used = seen.remote_user(&app.id(*number)).is_some();
        if is_used && !is_given_up {
            // It is not known what this proxy has in flight, or will have.
            continue;
        }
        let InstanceSeen { in_flight, uncounted, .. } = *seen.instance(*number);
        let absent = instance.left.is_some_and(|left| seen.acknowledged >= left);
        let drain = app.releases.get(&instance.release).map(|r| r.spec.drain.deadline);
        let since = instance.since.max(seen.recovered).max(followed_at.unwrap_or_default());
        let until = since.after(drain.unwrap_or_default());
        let uncounted = uncounted && !Bug::TakesUnknownForIdle.is_planted();
        let is_idle = (in_flight == 0 && !uncounted) || Bug::IgnoresInFlight.is_planted();
        let by = if absent && is_idle && !is_used {
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

/// Records which instances may be stopped and are on lost hosts.
fn owe(app: &App, seen: &Observed, timer: &Timer) -> Option<Fact> {
    let is_owed = |i: &Instance| i.released && !i.owed && is_lost(app, seen, i);
    let owed = app.instances.iter().filter(|(_, i)| is_owed(i));
    let instances: Vec<u64> = owed.map(|(number, _)| *number).collect();
    (!instances.is_empty()).then_some(Fact::Owed { instances, at: timer.now })
}

/// Records which addresses of ended instances no proxy can send requests to any more.
fn free_addresses(app: &App, seen: &Observed, timer: &Timer) -> Option<Fact> {
    let is_free = |number: &&u64| seen.remote_user(&app.id(**number)).is_none();
    let instances: Vec<u64> = app.abandoned.keys().filter(is_free).copied().collect();
    (!instances.is_empty()).then_some(Fact::AddressesFreed { instances, at: timer.now })
}

/// Gives up a joining instance that is not healthy in time. Its successor is minted after a pause.
fn give_up(app: &App, seen: &Observed, timer: &mut Timer, no: ReleaseNo) -> Option<Fact> {
    let overdue: Vec<u64> = app
        .instances_of(no)
        .filter(|(_, i)| i.stage == Stage::Joining && is_here(app, seen, i))
        .filter(|(number, _)| seen.instance(*number).health != Health::Up)
        .filter(|(number, i)| timer.due(Patience::with(app, seen, *number, i).until()))
        .map(|(number, _)| number)
        .collect();
    draining(overdue, DrainCause::NeverHealthy, timer)
}

/// Drains the instances that have to leave their host and must not run beside their successors. Outside
/// of a rollout only: a rollout of such a release stops what runs by itself.
fn leave(app: &App, seen: &Observed, timer: &mut Timer, no: ReleaseNo) -> Option<Fact> {
    let is_moved = app.rollout.is_none() && runs_alone(app, no);
    let there = app.instances_of(no).filter(|(_, i)| i.stage < Stage::Draining);
    let leaving = there.filter(|(_, i)| is_moved && has_to_leave(app, seen, i));
    draining(leaving.map(|(number, _)| number), DrainCause::HostDrained, timer)
}

/// Dooms an instance that has to leave its host, or that stays Down, or whose probes report nothing after a restart of control. Each
/// further instance is doomed only after the successor of the one before serves. A fault that all
/// instances share thus does not end them all. At most `wanted + 1` instances are doomed.
fn doom(app: &App, seen: &Observed, timer: &mut Timer, no: ReleaseNo) -> Option<Fact> {
    let patience = app.releases.get(&no)?.spec.health.start_deadline;
    let most = match Bug::ReplacesOnlyOne.is_planted() {
        true => 1,
        false => usize::from(wanted(app, no)) + 1,
    };
    if !is_succeeded(app, seen, timer, no) || doomed(app, no).count() >= most {
        return None;
    }
    let since =
        |number: u64, i: &Instance| seen.instance(number).health_since.max(heard_from(seen, i));
    let (instance, of_it) = app.instances_of(no).find(|(number, i)| {
        let serves = i.stage == Stage::Serving && !i.doomed && is_here(app, seen, i);
        let leaves = has_to_leave(app, seen, i) && !runs_alone(app, no);
        let down = seen.instance(*number).health != Health::Up;
        serves && (leaves || (down && timer.due(since(*number, i).after(patience))))
    })?;
    let leaves = has_to_leave(app, seen, of_it);
    let down = if leaves { Millis(0) } else { timer.now.since(since(instance, of_it)) };
    Some(Fact::Doomed { instance, down, at: timer.now })
}

/// Drains doomed instances once there are enough others. A healthy one leaves only if enough healthy
/// ones remain. An unhealthy one leaves as soon as its successor serves, even if others have failed
/// meanwhile.
fn replace(app: &App, seen: &Observed, timer: &mut Timer, no: ReleaseNo) -> Option<Fact> {
    let doomed = doomed(app, no);
    let recovered = doomed.clone().filter(|n| seen.instance(*n).health == Health::Up).count();
    let others = usize::from(ready(app, seen, no)).saturating_sub(recovered);
    let enough = others >= usize::from(required(app, seen, no, wanted(app, no)));
    let is_succeeded = is_succeeded(app, seen, timer, no) && !Bug::ReplacesOnlyOne.is_planted();
    let may_leave = |n: &u64| enough || (is_succeeded && seen.instance(*n).health != Health::Up);
    let leaving = spare(app, seen, timer, doomed.filter(may_leave).collect());
    draining(leaving, DrainCause::Replaced, timer)
}

/// Returns the release's doomed instances that still serve until others have taken their place.
fn doomed(app: &App, no: ReleaseNo) -> impl Iterator<Item = u64> + Clone {
    let serving = app.instances_of(no).filter(|(_, i)| i.stage == Stage::Serving);
    serving.filter(|(_, i)| i.doomed).map(|(number, _)| number)
}

/// Returns whether the successors of all doomed instances serve.
fn is_succeeded(app: &App, seen: &Observed, timer: &Timer, no: ReleaseNo) -> bool {
    let joins = |i: &Instance| i.stage == Stage::Joining && !is_lost(app, seen, i);
    lacking(app, seen, timer.now, no) == 0 && !app.instances_of(no).any(|(_, i)| joins(i))
}

/// Mints the instances that releases on offer lack, after the pause that their deaths require.
fn mint(
    app: &App,
    seen: &Observed,
    timer: &mut Timer,
    releases: impl Iterator<Item = ReleaseNo>,
) -> Vec<Fact> {
    let mut placement = Placement::new(app, seen);
    let mut facts = Vec::new();
    for no in releases {
        let Some(release) = app.releases.get(&no) else { continue };
        for (_, instance) in app.instances_of(no) {
            // Wakes up when it is to be replaced.
            replaced_from(app, seen, instance).map(|at| timer.due(at));
        }
        let lacking = lacking(app, seen, timer.now, no);
        let pause = app.deaths.get(&no).map(|deaths| deaths.next_start());
        if app.rollout.is_none() && runs_alone(app, no) && is_leaving(app, seen, no) {
            continue;
        }
        if is_too_early(app, seen, no) {
            continue;
        }
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

/// Returns whether instances of the release that start now would begin the next batch too early: a host of the
/// batch before is not heard.
fn is_too_early(app: &App, seen: &Observed, no: ReleaseNo) -> bool {
    let rollout = app.rollout.as_ref().filter(|rollout| rollout.to == no);
    let between = rollout.filter(|rollout| rollout.phase == Phase::Holding);
    between.is_some_and(|rollout| unheard_host(app, seen, rollout).is_some())
}

/// Returns the number of instances that the release lacks. Draining and doomed ones do not count as
/// present, nor do those whose hosts have been lost for too long.
pub(super) fn lacking(app: &App, seen: &Observed, now: Timestamp, release: ReleaseNo) -> usize {
    let counts = |(_, i): &(u64, &Instance)| {
        i.stage < Stage::Draining && !i.doomed && !is_replaced(app, seen, i, now)
    };
    let have = app.instances_of(release).filter(counts).count();
    usize::from(wanted(app, release)).saturating_sub(have)
}

/// Returns whether an instance of the release is still ending on a host that is drained.
fn is_leaving(app: &App, seen: &Observed, no: ReleaseNo) -> bool {
    let leaves = |i: &Instance| i.stage == Stage::Draining && has_to_leave(app, seen, i);
    app.instances_of(no).any(|(_, i)| leaves(i))
}

fn is_replaced(app: &App, seen: &Observed, instance: &Instance, now: Timestamp) -> bool {
    replaced_from(app, seen, instance).is_some_and(|at| now >= at)
}

fn draining(
    numbers: impl IntoIterator<Item = u64>,
    cause: DrainCause,
    timer: &Timer,
) -> Option<Fact> {
    let instances: Vec<u64> = numbers.into_iter().collect();
    (!instances.is_empty()).then_some(Fact::Draining { instances, cause, at: timer.now })
}
