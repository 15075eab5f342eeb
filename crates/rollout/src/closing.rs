//! Rollouts that stop everything of an app before they start anything. The app is closed first. Its instances are
//! stopped, all at once, only when no proxy on another machine may use any of them: until then nothing is lost,
//! and the app can be opened again with what it had.

use model::{Address, Millis, Stage, Timestamp};

use crate::planted::Bug;
use crate::{App, Cause, Instance, Observed, Phase, ProxySeen, Rollout, RolloutKind};

/// Returns a proxy on another machine that may use an instance which has to end before the closed app can be
/// opened again with others. Nothing of the app is stopped while there is one.
pub(crate) fn user<'a>(app: &App, rollout: &Rollout, seen: &Observed<'a>) -> Option<&'a ProxySeen> {
    if !rollout.closed || Bug::StopsUnderProxies.is_planted() {
        return None;
    }
    let has_to_end = app.instances.iter().filter(|(_, i)| has_to_end(rollout, i));
    let users = has_to_end.filter_map(|(number, _)| seen.remote_user(&app.id(*number)));
    // One that is late or lost keeps the app closed for longer than one that is about to answer.
    users.max_by_key(|user| user.absence.is_some())
}

/// Returns whether the app is closed and its instances are not stopped yet.
pub(crate) fn is_held(app: &App, seen: &Observed) -> bool {
    app.rollout.as_ref().is_some_and(|rollout| user(app, rollout, seen).is_some())
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
/// may use it: otherwise it would not have been stopped.
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
    instance.stage == Stage::Draining && instance.since >= closed_since
}

/// Returns the time at which the app is opened again with what it had, if it still has that.
pub(crate) fn until(app: &App, rollout: &Rollout, seen: &Observed) -> Timestamp {
    let release = app.releases.get(&rollout.to);
    let patience = release.map_or(Millis(0), |release| release.spec.health.start_deadline);
    rollout.since.max(seen.recovered).after(patience)
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
