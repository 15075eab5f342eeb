//! Rollouts that stop everything of an app before they start anything. The app is closed first. Its instances are
//! stopped, all at once, only when no proxy on another machine may use any of them: until then nothing is lost,
//! and the app can be opened again with what it had.

use model::{Address, Health, InstanceId, Millis, Share, Stage, Timestamp};

use crate::ladder::needs_room;
use crate::planted::Bug;
use crate::reach::{heard_from, is_here};
use crate::{App, Cause, Instance, Observed, Phase, ProxySeen, Rollout, RolloutKind};

/// Returns a proxy on another machine that may use an instance which has to end before the closed app can be
/// opened again with others. Nothing of the app is stopped while there is one, except what is given up.
pub(crate) fn user<'a>(
    app: &App,
    rollout: &Rollout,
    seen: &Observed<'a>,
    now: Timestamp,
) -> Option<&'a ProxySeen> {
    if !rollout.closed || Bug::StopsUnderProxies.is_planted() {
        return None;
    }
    let has_to_end = app.instances.iter().filter(|(_, i)| has_to_end(rollout, i));
    let is_kept = |(_, i): &(&u64, &Instance)| !is_given_up(app, seen, i, now);
    let users =
        has_to_end.filter(is_kept).filter_map(|(number, _)| seen.remote_user(&app.id(*number)));
    // One that is late or lost keeps the app closed for longer than one that is about to answer.
    users.max_by_key(|user| user.absence.is_some())
}

/// Returns whether the app is closed and its instances are not stopped yet.
pub(crate) fn is_held(app: &App, seen: &Observed, now: Timestamp) -> bool {
    app.rollout.as_ref().is_some_and(|rollout| user(app, rollout, seen, now).is_some())
}

/// Returns whether the instance is stopped even if a proxy on another machine may use it. It is one of a candidate
/// that is taken back, the app has been closed for the time of a start, and nothing of the candidate is healthy:
/// nobody gets a good answer from it, and there is nothing to open the app with.
pub(crate) fn is_given_up(app: &App, seen: &Observed, instance: &Instance, now: Timestamp) -> bool {
    let is_back = |r: &&Rollout| r.closed && matches!(r.phase, Phase::Reverting { .. });
    let rollout = app.rollout.as_ref().filter(is_back).filter(|r| r.to == instance.release);
    rollout.is_some_and(|r| serves_nobody(app, r, seen, now) && now >= until(app, r, seen))
}

/// Returns a proxy that is late, lost or not heard just now, with an instance of the candidate that it may use, if
/// that instance would have to stop before the old release can be started again. Closing the app for that would be
/// in vain.
pub(crate) fn in_the_way<'a>(
    app: &App,
    rollout: &Rollout,
    seen: &Observed<'a>,
    now: Timestamp,
) -> Option<(InstanceId, &'a ProxySeen)> {
    let has_users = rollout.share > Share::NONE && rollout.from.is_some();
    if !has_users || !needs_room(app, rollout) || serves_nobody(app, rollout, seen, now) {
        return None;
    }
    let mut candidate = app.instances_of(rollout.to).map(|(number, _)| app.id(number));
    candidate.find_map(|id| seen.unheard_user(&id).map(|user| (id, user)))
}

/// Returns whether every instance of the candidate that should serve is heard and Down, or has ended. One that is
/// still Unknown one start deadline after control or its host has returned counts as Down.
fn serves_nobody(app: &App, rollout: &Rollout, seen: &Observed, now: Timestamp) -> bool {
    let mut serving = app.instances_of(rollout.to).filter(|(_, i)| i.stage == Stage::Serving);
    serving.all(|(number, instance)| {
        let of_it = seen.instance(number);
        let is_down = match of_it.health {
            Health::Up => of_it.process.has_ended(),
            Health::Unknown => now >= known_from(app, rollout, seen, instance),
            Health::Down => true,
        };
        is_down && is_here(app, seen, instance)
    })
}

/// Returns the numbers of the instances, also of ended ones, that a proxy on another machine may use as far as the
/// journal tells.
pub fn assumed_in_use(app: &App) -> impl Iterator<Item = u64> {
    let is_in_reach = |address: &Address| address.beyond_its_machine().is_some();
    let running = app.instances.iter().filter(move |(_, instance)| {
        is_in_reach(&instance.address) && !is_out_of_use(app, instance)
    });
    let abandoned =
        app.abandoned.iter().filter(move |(_, it)| it.addresses.iter().any(is_in_reach));
    running.map(|(number, _)| *number).chain(abandoned.map(|(number, _)| *number))
}

/// Returns the numbers of the instances that no proxy on another machine uses any more, as the journal tells, and on
/// which it may have requests in flight.
pub fn out_of_use(app: &App) -> impl Iterator<Item = u64> {
    let out_of_use = app.instances.iter().filter(move |(_, instance)| is_out_of_use(app, instance));
    out_of_use.map(|(number, _)| *number)
}

/// Returns whether the instance was stopped by a rollout that has closed the app. No proxy on another machine
/// may use it: otherwise it would not have been stopped. One that may have been given up is not meant.
fn is_out_of_use(app: &App, instance: &Instance) -> bool {
    let Some(rollout) = app.rollout.as_ref().filter(|rollout| rollout.closed) else { return false };
    let closed_since = match rollout.phase {
        Phase::Reverting { .. } => rollout.since,
        Phase::Starting
        | Phase::Ready
        | Phase::Switching
        | Phase::Holding
        | Phase::Watching
        | Phase::Settling => rollout.started,
    };
    let may_be_given_up = matches!(rollout.phase, Phase::Reverting { .. })
        && instance.release == rollout.to
        && instance.since >= rollout.since.after(patience(app, rollout));
    instance.stage == Stage::Draining && instance.since >= closed_since && !may_be_given_up
}

/// Returns the time from which the wait for the candidate's instances to be probed is over.
pub(crate) fn all_known_from(app: &App, rollout: &Rollout, seen: &Observed) -> Timestamp {
    let there = app.instances_of(rollout.to).map(|(_, i)| known_from(app, rollout, seen, i));
    there.max().unwrap_or_default()
}

fn known_from(app: &App, rollout: &Rollout, seen: &Observed, instance: &Instance) -> Timestamp {
    heard_from(seen, instance).after(patience(app, rollout))
}

/// Returns the time at which the app is opened again with what it had, if it still has that. Otherwise what it has
/// is given up.
pub(crate) fn until(app: &App, rollout: &Rollout, seen: &Observed) -> Timestamp {
    rollout.since.max(seen.recovered).after(patience(app, rollout))
}

fn patience(app: &App, rollout: &Rollout) -> Millis {
    let release = app.releases.get(&rollout.to);
    release.map_or(Millis(0), |release| release.spec.health.start_deadline)
}

/// Returns why the app is opened again: it has been closed for too long for the sake of this proxy.
pub(crate) fn cause(user: &ProxySeen) -> Cause {
    Cause::LostProxy { proxy: user.name.clone() }
}

/// Returns whether an instance has to end before the rollout starts others.
fn has_to_end(rollout: &Rollout, instance: &Instance) -> bool {
    let stays = match (&rollout.phase, rollout.kind) {
        (Phase::Reverting { .. }, _) => Some(instance.release) == rollout.from,
        (_, RolloutKind::Restart | RolloutKind::Start) => instance.minted >= rollout.started,
        (_, RolloutKind::Deploy | RolloutKind::Rollback) => instance.release == rollout.to,
    };
    !stays || instance.stage == Stage::Draining
}
