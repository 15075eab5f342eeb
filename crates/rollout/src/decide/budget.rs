//! Decides which hosts a rollout goes on without: those that were lost meanwhile, and those on which the
//! candidate cannot be started. Never on a way back, which takes what there is.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use model::{HostAside, HostFault, HostId, Share, Stage};

use super::Timer;
use super::candidate::{Failed, failed_candidate};
use crate::planted::Bug;
use crate::reach::{away, host_reach, is_here};
use crate::readiness::ready;
use crate::{App, Cause, DrainCause, Fact, Instance, Observed, Phase, Rollout, RolloutKind};

/// Returns the facts that put hosts aside, and that drain what does not become healthy on such hosts.
pub(super) fn put_aside(app: &App, seen: &Observed, timer: &mut Timer) -> Vec<Fact> {
    let Some(rollout) = app.rollout.as_ref().filter(|rollout| is_in_force(rollout)) else {
        return Vec::new();
    };
    let lost = lost(app, rollout, seen);
    if !lost.is_empty() {
        let aside = |host| (host, HostFault::Lost);
        return lost.into_iter().map(|host| fact(rollout, aside(host), timer)).collect();
    }
    cannot_run(app, rollout, seen, timer)
}

/// Returns a cause if the rollout has lost more hosts than its budget allows, unless no instance of the old
/// release is heard: going back would help nobody.
pub(super) fn overspent(app: &App, rollout: &Rollout, seen: &Observed) -> Option<Cause> {
    if !is_in_force(rollout) || !rollout.budget.is_overspent() {
        return None;
    }
    let is_heard = |from| ready(app, seen, from) > 0 || away(app, seen, from) == 0;
    let helps = rollout.share == Share::NONE || rollout.from.is_none_or(is_heard);
    helps.then(|| spent(rollout, None))
}

/// Returns the cause of a failure. Once other hosts have failed, it is that the budget is spent.
pub(super) fn cause_with(rollout: &Rollout, failed: Failed) -> Cause {
    let Failed { host, cause, is_of_host, instance: _ } = failed;
    if !is_of_host || rollout.budget.account().spent == 0 || rollout.budget.is_aside(&host) {
        return cause;
    }
    spent(rollout, Some(HostAside { host, why: fault(&cause) }))
}

fn spent(rollout: &Rollout, last: Option<HostAside>) -> Cause {
    let counting = rollout.budget.aside.iter().filter(|aside| aside.why.counts()).cloned();
    Cause::BudgetSpent { of: rollout.budget.of, hosts: counting.chain(last).collect() }
}

/// Returns whether hosts may be put aside now.
pub(crate) fn is_in_force(rollout: &Rollout) -> bool {
    let is_forward = match rollout.phase {
        Phase::Starting | Phase::Ready | Phase::Switching | Phase::Holding | Phase::Watching => {
            true
        }
        Phase::Settling => false,
        Phase::Reverting { .. } => Bug::SpendsOnTheWayBack.is_planted(),
    };
    let is_deploy = rollout.kind == RolloutKind::Deploy;
    is_deploy && is_forward && !rollout.budget.is_absent() && !rollout.keeps_live()
}

/// Returns the hosts that were lost and have a part in the rollout. A host that was lost before it began has
/// none, unless it has returned and got the candidate.
fn lost(app: &App, rollout: &Rollout, seen: &Observed) -> Vec<HostId> {
    let is_meant = |host: &HostId| {
        rollout.budget.hosts.contains(host) || Bug::SpendsForLostBefore.is_planted()
    };
    let takes_part = |host: &HostId| {
        // A host that is drained has none, once nothing but what ends is left there.
        let is_active = seen.hosts.get(host).is_some_and(|host| host.duty.is_active());
        app.instances.values().filter(|i| i.host == *host).any(|i| {
            let stays = i.stage < Stage::Draining;
            // What still ends of an earlier rollout of the release is no candidate.
            let is_candidate = i.release == rollout.to && stays;
            let is_old = Some(i.release) == rollout.from && (stays || is_active);
            is_candidate || (is_old && is_meant(host))
        })
    };
    let is_lost = |host: &&HostId| host_reach(app, seen, host).lost_since().is_some();
    if Bug::ForgetsLostHosts.is_planted() {
        return Vec::new();
    }
    let is_new =
        |host: &HostId| !rollout.budget.is_aside(host) || Bug::CountsHostTwice.is_planted();
    let new = seen.hosts.keys().filter(|host| is_new(host));
    new.filter(is_lost).filter(|host| takes_part(host)).cloned().collect()
}

/// Puts the host aside on which the candidate cannot be started, if the budget allows that. Otherwise the
/// failure is one of the release.
fn cannot_run(app: &App, rollout: &Rollout, seen: &Observed, timer: &mut Timer) -> Vec<Fact> {
    if !matches!(rollout.phase, Phase::Starting | Phase::Ready) {
        return Vec::new();
    }
    let failed = failed_candidate(app, rollout, seen, timer).filter(|failed| failed.is_of_host);
    let Some(failed) = failed else { return Vec::new() };
    let host = &failed.host;
    let joins = |(_, i): &(u64, &Instance)| i.stage == Stage::Joining && i.host == *host;
    let there = app.instances_of(rollout.to).filter(joins);
    let instances: Vec<u64> = there.map(|(number, _)| number).collect();
    if !instances.contains(&failed.instance) {
        return Vec::new();
    }
    let (cause, at) = (DrainCause::HostAside, timer.now);
    if rollout.budget.is_aside(host) {
        let instances = vec![failed.instance];
        return vec![Fact::Draining { instances, cause, at }];
    }
    if !rollout.budget.can_spare(host) {
        return Vec::new();
    }
    let aside = (host.clone(), fault(&failed.cause));
    vec![fact(rollout, aside, timer), Fact::Draining { instances, cause, at }]
}

fn fault(cause: &Cause) -> HostFault {
    let text = cause.to_string();
    let first = text.lines().next().unwrap_or_default().trim_end_matches(':').into();
    if matches!(cause, Cause::NotReached { .. }) {
        return HostFault::NotReached(first);
    }
    HostFault::CannotRun(first)
}

fn fact(rollout: &Rollout, (host, why): (HostId, HostFault), timer: &Timer) -> Fact {
    Fact::HostAside { rollout: rollout.id, aside: HostAside { host, why }, at: timer.now }
}

/// Counts the old release's instances on lost hosts that were put aside, as far as they were to carry the app:
/// the floor is lower by so many (I3). The candidate's are started on other hosts at once.
pub(super) fn carried_by_lost(app: &App, seen: &Observed) -> usize {
    let Some(rollout) = app.rollout.as_ref().filter(|rollout| is_in_force(rollout)) else {
        return 0;
    };
    let Some(from) = rollout.from.filter(|from| app.share(*from) > Share::NONE) else { return 0 };
    let carries = |i: &Instance| {
        let is_aside = rollout.budget.is_aside(&i.host) && !is_here(app, seen, i);
        i.stage == Stage::Serving && is_aside
    };
    app.instances_of(from).filter(|(_, i)| carries(i)).count()
}
