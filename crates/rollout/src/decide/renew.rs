//! Renews the instances of the live release. `segue restart` renews all of them. A deploy of a release
//! that is live but unhealthy renews those that are Down. Traffic never moves to another release.

use alloc::vec::Vec;

use model::{Health, Stage, Timestamp};

use crate::closing;
use crate::ladder::runs_alone;
use crate::reach::is_lost;
use crate::readiness::whole;
use crate::{App, DrainCause, Fact, Instance, Observed, Rollout, RolloutKind};

/// Returns the next fact: another instance is to be replaced, or all have been.
pub(super) fn step(app: &App, rollout: &Rollout, seen: &Observed, at: Timestamp) -> Option<Fact> {
    if closing::user(app, rollout, seen, at).is_some() {
        return None;
    }
    // An instance on a lost host is not waited for. A release that must not run twice waits for it.
    let is_asked = |i: &Instance| runs_alone(app, rollout) || !is_lost(app, seen, i);
    let there = app.instances_of(rollout.to);
    let there = there.filter(|(_, i)| i.stage < Stage::Draining && is_asked(i));
    let stale: Vec<(u64, &Instance)> =
        there.clone().filter(|(n, i)| is_stale(rollout, (*n, i), seen)).collect();
    // A release that never served has no users to lose. A release that must not run twice stops an
    // instance before it starts the next.
    let first = |(_, i): &&(u64, &Instance)| {
        runs_alone(app, rollout) || (i.stage == Stage::Joining && !i.doomed)
    };
    let leaving: Vec<u64> = stale.iter().filter(first).map(|(number, _)| *number).collect();
    if !leaving.is_empty() {
        return Some(Fact::Draining { instances: leaving, cause: DrainCause::Restarted, at });
    }
    if there.clone().any(|(_, i)| i.stage == Stage::Joining || i.doomed) {
        return None;
    }
    if let Some((instance, _)) = stale.first() {
        return Some(Fact::Doomed { instance: *instance, down: model::Millis(0), at });
    }
    let is_whole = whole(app, seen, rollout.to).is_ok();
    is_whole.then_some(Fact::Settled { rollout: rollout.id, cause: None, at })
}

/// Returns whether the instance existed before the rollout began and has to be replaced.
fn is_stale(rollout: &Rollout, (number, instance): (u64, &Instance), seen: &Observed) -> bool {
    let of_before = instance.minted < rollout.started;
    match rollout.kind {
        RolloutKind::Restart => of_before,
        RolloutKind::Start => {
            let down = seen.instance(number).health == Health::Down;
            of_before && down && instance.stage == Stage::Serving
        }
        RolloutKind::Deploy | RolloutKind::Rollback => false,
    }
}
