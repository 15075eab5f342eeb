//! Records what instances have done: ended, or become healthy.

use alloc::format;
use alloc::vec::Vec;

use model::{Exit, Health, Stage, Timestamp};

use super::Timer;
use crate::patience::Patience;
use crate::planted::Bug;
use crate::reach::{is_host_removed, is_lost};
use crate::reachable::{is_judged, unreached};
use crate::{App, Fact, Instance, Observed, Process};

/// Records every instance whose process has ended as Gone. So is one whose host was removed from the fleet:
/// the host will not be heard again.
pub(super) fn ended(app: &App, seen: &Observed, now: Timestamp) -> Vec<Fact> {
    let is_used = |number: u64| seen.remote_user(&app.id(number)).is_some();
    let gone = |number: &u64| {
        let removed = app.instances.get(number).filter(|i| is_host_removed(seen, &i.host));
        if let Some(Instance { host, .. }) = removed {
            let tail = alloc::vec![format!("its host {host} was removed")];
            let (instance, exit, at) = (*number, Some(Exit::Unknown), now);
            let (address_in_use, in_use) = (false, is_used(instance));
            return Some(Fact::Gone { instance, exit, address_in_use, tail, in_use, at });
        }
        let (exit, address_in_use, tail) = match &seen.instance(*number).process {
            Process::Unseen | Process::Running { .. } => {
                let instance = app.instances.get(number)?;
                let is_taken_for_gone = (instance.released && Bug::LeavesProcesses.is_planted())
                    || (is_lost(app, seen, instance) && Bug::TakesLostForGone.is_planted());
                if !is_taken_for_gone {
                    return None;
                }
                (None, false, Vec::new())
            }
            Process::AddressInUse => (None, true, Vec::new()),
            Process::Refused(why) => (None, false, alloc::vec![why.clone()]),
            Process::Exited { exit, address_in_use, tail } => {
                (Some(*exit), *address_in_use, tail.clone())
            }
        };
        let (instance, in_use) = (*number, is_used(*number));
        Some(Fact::Gone { instance, exit, address_in_use, tail, in_use, at: now })
    };
    app.instances.keys().filter_map(gone).collect()
}

/// Lets every joining instance serve that is Up according to its probes and that all proxies reach. One that no
/// rollout is judged by serves after the time of a start, also if some proxy does not reach it.
pub(super) fn serving(app: &App, seen: &Observed, timer: &mut Timer) -> Vec<Fact> {
    let now = timer.now;
    let joining = app.instances.iter().filter(|(_, i)| i.stage == Stage::Joining);
    let up = joining.filter(|(number, _)| seen.instance(**number).health == Health::Up);
    let mut is_in_reach = |number: u64, instance: &Instance| {
        unreached(app, seen, (number, instance)).is_none()
            || (!is_judged(app, instance)
                && timer.due(Patience::with(app, seen, number, instance).until()))
    };
    up.filter(|(number, instance)| is_in_reach(**number, instance))
        .map(|(number, _)| Fact::Serving {
            instance: *number,
            probes: seen.instance(*number).streak,
            listeners: seen.instance(*number).listeners.clone(),
            at: now,
        })
        .collect()
}
