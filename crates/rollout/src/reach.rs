//! Whether hosts are heard, and what that means for their instances. An instance on a host that is not
//! heard may run and serve all the same. It counts neither as Up nor as missing.

use alloc::vec::Vec;

use model::{HostDuty, HostId, Millis, Reach, ReleaseNo, Stage, StrategyKind, Timestamp};

use crate::ladder::needs_room;
use crate::planted::Bug;
use crate::{App, Instance, Observed, Rollout, Suspicion};

/// Returns the suspicion of the server against itself, unless a person has said for this app that the
/// hosts are lost. While it lasts, every host counts as last heard, and nothing moves.
pub(crate) fn suspicion(app: &App, seen: &Observed) -> Option<Suspicion> {
    let stands = |suspicion: &Suspicion| app.loss_confirmed.is_none_or(|at| at < suspicion.since);
    seen.suspicion.filter(stands).filter(|_| !Bug::TrustsOwnNetwork.is_planted())
}

/// Returns whether the instance counts as heard.
pub(crate) fn is_here(app: &App, seen: &Observed, instance: &Instance) -> bool {
    host_reach(app, seen, &instance.host) == Reach::Here
}

/// Returns whether the instance's host is lost.
pub(crate) fn is_lost(app: &App, seen: &Observed, instance: &Instance) -> bool {
    host_reach(app, seen, &instance.host).lost_since().is_some()
}

/// Returns whether the host counts as heard, for this app.
pub(crate) fn host_reach(app: &App, seen: &Observed, host: &HostId) -> Reach {
    let reach = seen.hosts.get(host).map_or(Reach::Here, |host| host.reach);
    if suspicion(app, seen).is_some() { Reach::Here } else { reach }
}

/// Returns whether a host does not belong to the fleet any more. The server's own host always does.
pub(crate) fn is_host_removed(seen: &Observed, host: &HostId) -> bool {
    !seen.hosts.contains_key(host) && *host != HostId::local()
}

/// Returns whether the instance has to leave its host, which is heard.
pub(crate) fn has_to_leave(app: &App, seen: &Observed, instance: &Instance) -> bool {
    let duty = seen.hosts.get(&instance.host).map(|host| host.duty);
    duty == Some(HostDuty::Draining) && is_here(app, seen, instance)
}

/// Returns whether no two instances of the release may run at a time.
pub(crate) fn runs_alone(app: &App, release: ReleaseNo) -> bool {
    let kind = app.releases.get(&release).map(|release| &release.spec.strategy.kind);
    matches!(kind, Some(StrategyKind::Recreate { .. }))
}

/// Returns the time from which the deadlines of this instance count at the earliest: the start of control, or
/// the time at which its host was heard again.
pub(crate) fn heard_from(seen: &Observed, instance: &Instance) -> Timestamp {
    seen.recovered.max(back_since(seen, instance).unwrap_or_default())
}

/// Returns the time at which the instance's host was last heard again, if the instance existed before.
pub(crate) fn back_since(seen: &Observed, instance: &Instance) -> Option<Timestamp> {
    let back = seen.hosts.get(&instance.host).and_then(|host| host.back_since);
    back.filter(|back| *back > instance.minted)
}

/// Counts the instances of the release that should serve and are on lost hosts.
pub(crate) fn lost(app: &App, seen: &Observed, release: ReleaseNo) -> u16 {
    count(app, release, |instance| is_lost(app, seen, instance))
}

/// Counts the instances of the release that should serve and are on hosts that are silent or lost.
pub(crate) fn away(app: &App, seen: &Observed, release: ReleaseNo) -> u16 {
    count(app, release, |instance| !is_here(app, seen, instance))
}

/// Returns a host that has an instance of the candidate and is not heard, unless the rollout goes on without it.
pub(crate) fn unheard_host<'a>(
    app: &'a App,
    seen: &Observed,
    rollout: &Rollout,
) -> Option<&'a HostId> {
    let budget = &rollout.budget;
    let there = app.instances_of(rollout.to).filter(|(_, i)| i.stage < Stage::Draining);
    let mut hosts = there.map(|(_, instance)| &instance.host);
    hosts.find(|host| match host_reach(app, seen, host) {
        Reach::Here => false,
        Reach::Silent { .. } => !budget.is_aside(host),
        // A rollout without a budget goes on without whatever is lost.
        Reach::Lost { .. } => !budget.is_absent() && !budget.is_aside(host),
    })
}

fn count(app: &App, release: ReleaseNo, is_meant: impl Fn(&Instance) -> bool) -> u16 {
    let stays = |i: &Instance| i.stage < Stage::Draining && !i.doomed;
    let meant = app.instances_of(release).filter(|(_, i)| stays(i) && is_meant(i));
    u16::try_from(meant.count()).unwrap_or(u16::MAX)
}

/// Returns the number of instances required in place of `count`: those on lost hosts are not waited for. At
/// least one is required.
pub(crate) fn required(app: &App, seen: &Observed, release: ReleaseNo, count: u16) -> u16 {
    count.saturating_sub(lost(app, seen, release)).max(count.min(1))
}

/// Returns the time from which the instance is started elsewhere because its host is lost. A release that
/// must not run twice is started nowhere else, and neither is another one during its rollout: the instance
/// may still run.
pub(crate) fn replaced_from(app: &App, seen: &Observed, instance: &Instance) -> Option<Timestamp> {
    let lost = host_reach(app, seen, &instance.host).lost_since()?;
    let is_alone = runs_alone(app, instance.release);
    let waits = app.rollout.as_ref().is_some_and(|rollout| needs_room(app, rollout));
    // A rollout that goes on without the host starts on others what the host was to run.
    let candidate = app.rollout.as_ref().filter(|rollout| rollout.to == instance.release);
    let is_aside = candidate.is_some_and(|rollout| rollout.budget.is_aside(&instance.host));
    let after = if is_aside { Millis(0) } else { Reach::REPLACED_AFTER };
    (!is_alone && !waits).then(|| lost.after(after))
}

/// Returns the hosts that are silent or lost and have instances of the release.
pub(crate) fn missing_hosts(app: &App, seen: &Observed, release: ReleaseNo) -> Vec<HostId> {
    hosts(app.instances_of(release).map(|(_, i)| i).filter(|i| !is_here(app, seen, i)))
}

/// Returns the hosts on which instances are to be stopped as soon as the hosts are heard again.
pub(crate) fn owed(app: &App) -> Vec<HostId> {
    hosts(app.instances.values().filter(|i| i.owed))
}

/// Returns whether no rollout waits for the end of the instance: it is owed, or it is kept for a proxy that is
/// late or lost.
pub(crate) fn is_left_behind(app: &App, seen: &Observed, (number, i): (u64, &Instance)) -> bool {
    let drains = i.stage == Stage::Draining && !i.released;
    i.owed || (drains && seen.absent_user(&app.id(number)).is_some())
}

/// Returns the hosts of these instances, each once.
pub(crate) fn hosts<'a>(instances: impl Iterator<Item = &'a Instance>) -> Vec<HostId> {
    let mut hosts: Vec<HostId> = instances.map(|instance| instance.host.clone()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts
}
