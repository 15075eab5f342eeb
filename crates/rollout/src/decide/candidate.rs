//! Judges each instance of a candidate by how it starts. Says nothing of what follows from a failure.

use alloc::format;

use model::{Exit, Health, HostId, Reached, Stage};

use super::Timer;
use crate::patience::{Part, Patience};
use crate::reach::is_here;
use crate::reachable::unreached;
use crate::{App, Cause, Instance, InstanceSeen, Observed, Phase, Process, Rollout};

/// An instance of the candidate that failed before the candidate had its share.
pub(super) struct Failed {
    pub instance: u64,
    pub host: HostId,
    /// True if the rollout may go on without the host: what failed there may go well on others.
    pub is_of_host: bool,
    pub cause: Cause,
}

/// Returns the first instance of the candidate that has failed. No word of a host is no bad word about the
/// release.
pub(super) fn failed_candidate(
    app: &App,
    rollout: &Rollout,
    seen: &Observed,
    timer: &mut Timer,
) -> Option<Failed> {
    let candidates = app.instances_of(rollout.to);
    let mut candidates =
        candidates.filter(|(_, i)| i.stage < Stage::Draining && is_here(app, seen, i));
    candidates.find_map(|(number, instance)| {
        let (host, of_it) = (instance.host.clone(), seen.instance(number));
        let it = (number, instance);
        if of_it.health == Health::Up && !of_it.process.has_ended() {
            let (cause, is_of_host) = not_reached(app, rollout, it, seen, timer)?;
            return Some(Failed { instance: number, host, is_of_host, cause });
        }
        let cause = of_instance(app, rollout, it, of_it)
            .or_else(|| never_healthy(app, rollout, it, seen, timer))?;
        Some(Failed { instance: number, host, is_of_host: true, cause })
    })
}

/// Returns the cause of failure that one candidate's process shows.
fn of_instance(
    app: &App,
    rollout: &Rollout,
    (number, instance): (u64, &Instance),
    seen: &InstanceSeen,
) -> Option<Cause> {
    match &seen.process {
        Process::Unseen | Process::Running { .. } => None,
        Process::Refused(why) => {
            Some(Cause::NotStarted { instance: app.id(number), why: why.clone() })
        }
        Process::AddressInUse | Process::Exited { address_in_use: true, .. } => {
            let times = rollout.ports_taken + 1;
            (times >= Rollout::PORT_ATTEMPTS).then_some(Cause::PortsTaken { times })
        }
        // Nobody saw the process end because the machine went down. The release is not to blame.
        Process::Exited { exit: Exit::Unknown, .. } => None,
        Process::Exited { exit, tail, .. } => {
            let exit = *exit;
            let at_start = rollout.phase == Phase::Starting && instance.stage == Stage::Joining;
            if at_start {
                let (instance, tail) = (app.id(number), tail.clone());
                return Some(Cause::DiedAtStart { instance, exit, tail });
            }
            let times = rollout.crashes + 1;
            let exit = Some(exit);
            let tail = tail.clone();
            let again_and_again = times >= Rollout::CRASHES_WHILE_WAITING;
            again_and_again.then_some(Cause::KeptDying { times, exit, tail })
        }
    }
}

fn never_healthy(
    app: &App,
    rollout: &Rollout,
    (number, instance): (u64, &Instance),
    seen: &Observed,
    timer: &mut Timer,
) -> Option<Cause> {
    let first_start = rollout.phase == Phase::Starting && instance.stage == Stage::Joining;
    let patience = Patience::with(app, seen, number, instance);
    let is_up = seen.instance(number).health == Health::Up;
    let overdue = first_start && !is_up && timer.due(patience.until());
    let (instance, waited) = (app.id(number), patience.given);
    overdue.then(|| match patience.of {
        Part::LayingOut => {
            let trouble = seen.instance(number).fetch.trouble.as_ref();
            let mut why = format!("its files were not laid out within {waited}");
            why.extend(trouble.map(|trouble| format!(": {trouble}")));
            Cause::NotStarted { instance, why }
        }
        Part::Starting => {
            let note = seen.instance(number).note.clone();
            Cause::NeverHealthy { instance, waited, note }
        }
    })
}

/// Returns the cause of failure of a healthy instance that some proxy does not reach in time, and whether its host
/// is to blame: the proxy reaches the candidate on another host. A proxy that reaches nothing of the candidate is to
/// blame itself.
fn not_reached(
    app: &App,
    rollout: &Rollout,
    (number, instance): (u64, &Instance),
    seen: &Observed,
    timer: &mut Timer,
) -> Option<(Cause, bool)> {
    let unreached = unreached(app, seen, (number, instance))?;
    let patience = app.releases.get(&rollout.to)?.spec.health.start_deadline;
    let since = match instance.stage {
        Stage::Joining => Patience::with(app, seen, number, instance).since,
        Stage::Serving | Stage::Draining | Stage::Gone => rollout.since.max(seen.recovered),
    };
    // A proxy that has just joined has the same time.
    let until = since.max(unreached.proxy.since).after(patience);
    if rollout.phase != Phase::Starting || !timer.due(until) {
        return None;
    }
    let proxy = &unreached.proxy;
    let others = app.instances_of(rollout.to).filter(|(_, i)| i.stage < Stage::Draining);
    let is_reached =
        |(number, _): &(u64, &Instance)| proxy.reached.get(&app.id(*number)) == Some(&Reached::Yes);
    let mut reached = others.filter(is_reached).peekable();
    let (name, note) = (proxy.name.clone(), unreached.sentence());
    let instance_id = app.id(number);
    if reached.peek().is_none() {
        let cause = Cause::ReachesNone { proxy: name, instance: instance_id, note };
        return Some((cause, false));
    }
    let is_of_host = reached.any(|(_, other)| other.host != instance.host);
    Some((Cause::NotReached { instance: instance_id, note }, is_of_host))
}
