//! Returns what an app waits for: the answer to "why is nothing happening?".

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use model::{Gate, Health, ProxyId, Reach, Reason, ReleaseNo, Share, Stage, Timestamp, Waiting};

use super::replicas::lacking;
use super::{Timer, revert};
use crate::ladder::{rung, wanted};
use crate::patience::{Part, Patience};
use crate::reach::{replaced_from, suspicion};
use crate::readiness::ready;
use crate::{
    Absence, App, FetchProgress, Instance, Observed, Phase, ProxySeen, Rollout, Suspicion,
};
use crate::{closing, reachable};

/// The reasons why one app waits.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Reasons {
    /// The reason why the rollout waits.
    pub rollout: Option<Reason>,
    /// All other deviations from the desired state.
    pub app: Vec<Reason>,
}

pub(super) fn reasons(app: &App, seen: &Observed, now: Timestamp) -> Reasons {
    let rollout = app.rollout.as_ref();
    let mut reasons = Reasons { rollout: None, app: Vec::new() };
    if let Some(Suspicion { since, silent, of }) = suspicion(app, seen) {
        let waiting = Waiting::SuspectsItself { silent, of };
        let reason = Reason { waiting, since, until: None };
        match rollout {
            Some(_) => reasons.rollout = Some(reason),
            None => reasons.app.push(reason),
        }
    } else {
        reasons.rollout = rollout.map(|rollout| of_rollout(app, rollout, seen, now));
        reasons.app.extend(of_hosts(app, seen));
    }
    let aside = rollout.into_iter().flat_map(|rollout| &rollout.budget.aside);
    let aside = aside.chain(&app.avoided);
    reasons.app.extend(aside.map(|aside| {
        let (waiting, since) = (Waiting::HostAside(aside.clone()), now);
        Reason { waiting, since, until: None }
    }));
    for no in app.on_offer() {
        reasons.app.extend(of_release(app, seen, now, no));
    }
    let told = reasons.rollout.as_ref().map(|reason| &reason.waiting);
    reasons.app.retain(|reason| Some(&reason.waiting) != told);
    let drains = |i: &Instance| i.stage == Stage::Draining && !i.owed;
    if app.rollout.is_none() && app.instances.values().any(drains) {
        let since = app.removing.unwrap_or(now);
        reasons.app.push(drain_or_stop(app, seen, since));
    }
    reasons
}

/// Returns the hosts with instances that should serve and are not heard.
fn of_hosts(app: &App, seen: &Observed) -> Vec<Reason> {
    let mut reasons = Vec::new();
    for (host, of_host) in seen.hosts {
        let since = match of_host.reach {
            Reach::Here => continue,
            Reach::Silent { since } | Reach::Lost { since } => since,
        };
        let there = app.instances.values().filter(|i| i.host == *host);
        let there: Vec<&Instance> = there.filter(|i| i.stage < Stage::Draining).collect();
        if there.is_empty() {
            continue;
        }
        let instances = u16::try_from(there.len()).unwrap_or(u16::MAX);
        let until = there.iter().filter_map(|i| replaced_from(app, seen, i)).min();
        let waiting = Waiting::Host { host: host.clone(), instances };
        reasons.push(Reason { waiting, since, until });
    }
    reasons
}

fn of_rollout(app: &App, rollout: &Rollout, seen: &Observed, now: Timestamp) -> Reason {
    let since = rollout.since;
    let spec = app.releases.get(&rollout.to).map(|release| &release.spec);
    let is_stuck = seen.proxies.here == 0;
    let acknowledgement = |switched: crate::Switched| {
        let generation = seen.generation;
        let waiting =
            if is_stuck { Waiting::NoProxy } else { Waiting::Acknowledgement { generation } };
        Reason { waiting, since: switched.at, until: None }
    };
    if let Some(pause) = &rollout.paused {
        let first = |why: &String| why.lines().next().unwrap_or_default().into();
        let waiting = Waiting::Resume { because: pause.because.as_ref().map(first) };
        return Reason { waiting, since: pause.since, until: None };
    }
    if let Some(user) = revert::waits_for(app, seen, &mut Timer { now, wake: None }) {
        return of_user(app, rollout, user);
    }
    match rollout.phase {
        Phase::Starting => starting(app, rollout, seen, now),
        Phase::Holding => holding(app, rollout, seen, now),
        Phase::Ready => Reason { waiting: Waiting::Promote, since, until: None },
        Phase::Switching | Phase::Reverting { .. } => {
            match rollout.switched.filter(|s| s.took.is_none()) {
                Some(switched) => acknowledgement(switched),
                None => way_back(app, rollout, seen, now),
            }
        }
        Phase::Watching => {
            let watch = spec.map(|spec| spec.strategy.watch).unwrap_or_default();
            let until = since.max(seen.recovered).after(watch).after(seen.stood);
            if until > now {
                Reason { waiting: Waiting::Watch, since, until: Some(until) }
            } else {
                Reason { waiting: instances(app, seen, rollout.to), since, until: None }
            }
        }
        Phase::Settling => drain_or_stop(app, seen, since),
    }
}

fn holding(app: &App, rollout: &Rollout, seen: &Observed, now: Timestamp) -> Reason {
    let since = rollout.since;
    match rung(app, rollout, rollout.rung).gate {
        Some(Gate::Manual) => Reason { waiting: Waiting::Promote, since, until: None },
        Some(Gate::After(time)) => {
            let until = since.max(seen.recovered).after(time).after(seen.stood);
            if until > now {
                let waiting = Waiting::Step { share: rollout.share };
                return Reason { waiting, since, until: Some(until) };
            }
            let short = [rollout.from, Some(rollout.to)].into_iter().flatten();
            let mut short = short.filter(|no| ready(app, seen, *no) < wanted(app, *no)).peekable();
            if seen.proxies.here == 0 && short.peek().is_none() {
                return Reason { waiting: Waiting::NoProxy, since, until: None };
            }
            let waiting = instances(app, seen, short.next().unwrap_or(rollout.to));
            Reason { waiting, since, until: None }
        }
        None => Reason { waiting: Waiting::Watch, since, until: None },
    }
}

/// Returns the reason during a revert. First the old release has to be complete again, then the
/// candidate has to end.
fn way_back(app: &App, rollout: &Rollout, seen: &Observed, now: Timestamp) -> Reason {
    let since = rollout.since;
    if let Some(reason) = before_the_stop(app, rollout, seen, now) {
        return reason;
    }
    let open = rollout.share > Share::NONE || rollout.closed;
    let from = rollout
        .from
        .filter(|from| open && (lacking(app, seen, now, *from) > 0 || joins(app, *from)));
    match from.filter(|from| wanted(app, *from) == app.replicas(*from)) {
        Some(from) => Reason { waiting: instances(app, seen, from), since, until: None },
        None => drain_or_stop(app, seen, since),
    }
}

/// Returns the reason while the app is closed and nothing of it is stopped yet.
fn before_the_stop(
    app: &App,
    rollout: &Rollout,
    seen: &Observed,
    now: Timestamp,
) -> Option<Reason> {
    let user = closing::user(app, rollout, seen, now)?;
    if user.absence.is_none() {
        let waiting = Waiting::Acknowledgement { generation: seen.generation };
        return Some(Reason { waiting, since: rollout.since, until: None });
    }
    let until = Some(closing::until(app, rollout, seen));
    Some(Reason { until, ..of_user(app, rollout, user) })
}

/// Returns the wait for a proxy that may use instances of the app which are to be stopped.
fn of_user(app: &App, rollout: &Rollout, user: &ProxySeen) -> Reason {
    let uses = |(number, _): &(&u64, &Instance)| user.tables.may_use(&app.id(**number));
    let instances = u16::try_from(app.instances.iter().filter(uses).count()).unwrap_or(u16::MAX);
    let waiting = Waiting::LostProxy { proxy: user.name.clone(), instances };
    let since = user.absence.map_or(rollout.since, |absence| absence.since);
    Reason { waiting, since, until: None }
}

fn starting(app: &App, rollout: &Rollout, seen: &Observed, now: Timestamp) -> Reason {
    let since = rollout.since;
    if let Some(reason) = before_the_stop(app, rollout, seen, now) {
        return reason;
    }
    let short = ready(app, seen, rollout.to) < rung(app, rollout, rollout.rung).to;
    if !short && seen.proxies.here == 0 && !rollout.kind.renews() {
        return Reason { waiting: Waiting::NoProxy, since, until: None };
    }
    if short && lacking(app, seen, now, rollout.to) == 0 && !joins(app, rollout.to) {
        return drain_or_stop(app, seen, since);
    }
    if lacking(app, seen, now, rollout.to) > 0 {
        let pause = app.deaths.get(&rollout.to).map(|deaths| deaths.next_start());
        return match pause.filter(|until| *until > now) {
            Some(until) => back_off(app, rollout.to, since, until),
            None => {
                let deadline = app.releases.get(&rollout.to).map(|r| r.spec.health.start_deadline);
                let until = deadline.map(|deadline| since.max(seen.recovered).after(deadline));
                Reason { waiting: Waiting::Ports, since, until }
            }
        };
    }
    let patience = Patience::first(app, seen, rollout.to);
    let waiting = match patience {
        Some(Patience { of: Part::LayingOut, .. }) => {
            Waiting::Files { release: app.label(rollout.to), note: fetch(app, seen, rollout.to) }
        }
        Some(_) | None => instances(app, seen, rollout.to),
    };
    Reason { waiting, since, until: patience.map(Patience::until) }
}

/// Returns what keeps a release on offer from being complete.
fn of_release(app: &App, seen: &Observed, now: Timestamp, no: ReleaseNo) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let bringing_in = app.rollout.as_ref().is_some_and(|rollout| rollout.to == no);
    let pause = app.deaths.get(&no).map(|deaths| deaths.next_start());
    if let Some(until) = pause.filter(|until| *until > now && lacking(app, seen, now, no) > 0) {
        reasons.push(back_off(app, no, now, until));
    } else if !bringing_in && app.instances_of(no).any(|(_, i)| i.stage == Stage::Joining) {
        let since = app.instances_of(no).map(|(_, i)| i.minted).max().unwrap_or(now);
        reasons.push(Reason { waiting: instances(app, seen, no), since, until: None });
    }
    for (number, instance) in app.instances_of(no) {
        let seen = seen.instance(number);
        if instance.stage == Stage::Serving && seen.health == Health::Down {
            let patience = app.releases.get(&no).map(|r| r.spec.health.start_deadline);
            let waiting = Waiting::Recovery { instance: app.id(number), note: seen.note.clone() };
            let since = seen.health_since;
            let until = patience.map(|patience| since.after(patience));
            reasons.push(Reason { waiting, since, until });
        }
        if let Some(busy) = seen.busy {
            let (in_flight, note) = (seen.in_flight, seen.note.clone());
            let waiting = Waiting::Busy { instance: app.id(number), in_flight, note };
            reasons.push(Reason { waiting, since: busy.since, until: Some(busy.until) });
        }
    }
    reasons
}

fn joins(app: &App, no: ReleaseNo) -> bool {
    app.instances_of(no).any(|(_, i)| i.stage == Stage::Joining)
}

fn instances(app: &App, seen: &Observed, no: ReleaseNo) -> Waiting {
    let note = app.instances_of(no).find_map(|(number, instance)| {
        let of_probes = seen.instance(number).note.clone();
        of_probes.or_else(|| reachable::note(app, seen, (number, instance)))
    });
    let release = app.label(no);
    Waiting::Instances { release, ready: ready(app, seen, no), wanted: wanted(app, no), note }
}

/// Returns why the files of a release cannot be fetched on some host, or else how far the slowest host has
/// come. Returns `None` if nothing is fetched.
fn fetch(app: &App, seen: &Observed, no: ReleaseNo) -> Option<String> {
    let joining = app.instances_of(no).filter(|(_, i)| i.stage == Stage::Joining);
    let waits = |number| seen.instance(number).running_since.is_none();
    let fetches = joining.map(|(number, _)| number).filter(|number| waits(*number));
    let fetches = fetches.map(|number| &seen.instance(number).fetch);
    if let Some(trouble) = fetches.clone().find_map(|fetch| fetch.trouble.clone()) {
        return Some(trouble);
    }
    let progress = fetches.filter_map(|fetch| fetch.progress);
    let rest = |progress: &FetchProgress| progress.of.saturating_sub(progress.bytes);
    let FetchProgress { bytes, of } = progress.max_by_key(rest)?;
    Some(format!("{} of {} MiB fetched", bytes >> 20, of.div_ceil(1 << 20)))
}

fn back_off(app: &App, no: ReleaseNo, since: Timestamp, until: Timestamp) -> Reason {
    let deaths = app.deaths.get(&no);
    let crashes = deaths.map_or(0, |deaths| deaths.in_a_row);
    let since = deaths.map_or(since, |deaths| deaths.last);
    Reason {
        waiting: Waiting::BackOff { release: app.label(no), crashes },
        since,
        until: Some(until),
    }
}

/// Returns the drain as the reason while requests are in flight, otherwise the end of processes.
fn drain_or_stop(app: &App, seen: &Observed, since: Timestamp) -> Reason {
    if let Some((proxy, absence, instances)) = kept_for(app, seen) {
        let (since, waiting) = (absence.since, Waiting::LostProxy { proxy, instances });
        return Reason { waiting, since, until: None };
    }
    let draining = app.instances.iter().filter(|(_, i)| i.stage == Stage::Draining && !i.owed);
    let (stopping, waiting): (Vec<_>, Vec<_>) = draining.partition(|(_, i)| i.released);
    let count = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
    let owed: Vec<(&u64, &Instance)> = app.instances.iter().filter(|(_, i)| i.owed).collect();
    if let (true, true, [(_, first), ..]) = (waiting.is_empty(), stopping.is_empty(), &owed[..]) {
        let there = owed.iter().filter(|(_, i)| i.host == first.host).count();
        let waiting = Waiting::Host { host: first.host.clone(), instances: count(there) };
        return Reason { waiting, since, until: None };
    }
    if waiting.is_empty() {
        // An instance is told to stop at the end of its drain at the latest. It then has the drain time
        // once more to end.
        let killed = |(_, i): &(&u64, &crate::Instance)| {
            let grace = app.releases.get(&i.release).map(|r| r.spec.drain.deadline)?;
            Some(i.since.max(seen.recovered).after(grace).after(grace))
        };
        let until = stopping.iter().filter_map(killed).max();
        let waiting = Waiting::Stop { instances: count(stopping.len()) };
        return Reason { waiting, since, until };
    }
    let in_flight = waiting.iter().map(|(number, _)| seen.instance(**number).in_flight).sum();
    let deadline = |(_, i): &(&u64, &crate::Instance)| {
        let drain = app.releases.get(&i.release).map(|r| r.spec.drain.deadline)?;
        Some(i.since.max(seen.recovered).after(drain))
    };
    let until = waiting.iter().filter_map(deadline).max();
    Reason { waiting: Waiting::Drain { instances: count(waiting.len()), in_flight }, since, until }
}

/// Returns a proxy that is late or lost, and the number of draining instances that are kept for it.
fn kept_for(app: &App, seen: &Observed) -> Option<(ProxyId, Absence, u16)> {
    let draining = app.instances.iter().filter(|(_, i)| i.stage == Stage::Draining && !i.released);
    let user = |(number, _): (&u64, &Instance)| seen.absent_user(&app.id(*number));
    let mut users = draining.filter_map(user);
    let first = users.next()?;
    let more = users.filter(|user| user.name == first.name).count();
    let instances = u16::try_from(more + 1).unwrap_or(u16::MAX);
    Some((first.name.clone(), first.absence?, instances))
}
