//! `promote`, `pause`, `resume`, `scale`, `sync` and `maintenance`: commands that steer a running app
//! or rollout.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use model::{
    HostAside, HostFault, HostId, Maintenance, Page, Reach, Release, ReleaseNo, Service, Stage,
    StrategyKind,
};

use super::batch::FactBatch;
use super::checks;
use super::{Answer, Desk, Promote, Refusal};
use crate::decide::budget;
use crate::ladder::{rung, rungs};
use crate::reach::{required, suspicion, unheard_host};
use crate::readiness::{ready, whole};
use crate::{App, Fact, Instance, Phase, Rollout, Suspicion, reachable};

/// Opens the gate at which the rollout waits.
pub(super) fn promote(desk: &Desk, promote: Promote) -> Answer {
    let Some(rollout) = &desk.app.rollout else {
        let hint = "start one with `segue deploy`";
        return Err(desk.refused("no rollout is under way", hint));
    };
    let to = desk.app.label(rollout.to);
    if rollout.paused.is_some() {
        return Err(desk.refused("the rollout is held", "`segue resume` goes on"));
    }
    if let Some(Suspicion { silent, of, .. }) = suspicion(desk.app, desk.seen) {
        let why = format!("{silent} of {of} members fell silent at once");
        let hint = "if the server's network is in order, `segue resume` takes them for lost";
        return Err(desk.refused(&why, hint));
    }
    match &rollout.phase {
        Phase::Ready => open(desk, rollout),
        Phase::Holding => next(desk, rollout, promote),
        Phase::Starting => {
            let hint = "`segue status` shows what it waits for";
            Err(desk.refused(&format!("{to} is not ready yet"), hint))
        }
        Phase::Switching | Phase::Watching | Phase::Settling => {
            let note = format!("{to} has been promoted already");
            Ok(desk.attached(rollout.id, note))
        }
        Phase::Reverting { cause } => {
            let why = format!("{to} is being taken back: {cause}");
            Err(desk.refused(&why, "deploy it again once that is done"))
        }
    }
}

/// Gives the share to a candidate that is complete and waits for it.
fn open(desk: &Desk, rollout: &Rollout) -> Answer {
    if let Err(why) = whole(desk.app, desk.seen, rollout.to) {
        let hint = "`segue status` shows what it waits for; promote again when it is whole";
        return Err(desk.refused(&why.to_string(), hint));
    }
    check_reach(desk, rollout)?;
    check_hosts(desk, rollout)?;
    checks::check_proxy_here(desk)?;
    let (id, to, at) = (rollout.id, rollout.to, desk.now);
    let share = rung(desk.app, rollout, rollout.rung).share;
    let ready = ready(desk.app, desk.seen, to);
    let mut batch = FactBatch::new(desk.app);
    batch.push(Fact::Shifted { rollout: id, share, ready, at })?;
    let note = format!("switching {share} of the traffic to {}", desk.app.label(to));
    Ok(batch.accepted(Some(id), Some(to), note))
}

/// Moves on to the next rung, or to the last one.
fn next(desk: &Desk, rollout: &Rollout, promote: Promote) -> Answer {
    let here = rung(desk.app, rollout, rollout.rung);
    let number = match promote {
        Promote::Step => rollout.rung + 1,
        // Moving all instances at once would leave too few to serve.
        Promote::Full if rung(desk.app, rollout, u16::MAX).after == 0 => {
            let hint = "without --full it goes on to the next batch at once";
            return Err(desk.refused("it moves batch by batch", hint));
        }
        Promote::Full => rungs(desk.app, rollout),
    };
    let (id, to) = (rollout.id, rollout.to);
    let ready = ready(desk.app, desk.seen, to);
    if ready < required(desk.app, desk.seen, to, here.to) {
        let label = desk.app.label(to);
        let why = format!("only {ready} of {} instances of {label} are healthy", here.to);
        return Err(desk.refused(&why, "`segue status` shows what it waits for"));
    }
    check_hosts(desk, rollout)?;
    checks::check_proxy_here(desk)?;
    let share = rung(desk.app, rollout, number).share;
    let mut batch = FactBatch::new(desk.app);
    batch.push(Fact::Stepped { rollout: id, rung: number, at: desk.now })?;
    let note = format!("on to {share} of the traffic for {}", desk.app.label(to));
    Ok(batch.accepted(Some(id), Some(to), note))
}

/// Refuses to give a share to a candidate that some proxy does not reach: one that has joined since, for example.
fn check_reach(desk: &Desk, rollout: &Rollout) -> Result<(), Refusal> {
    let (app, seen) = (desk.app, desk.seen);
    let serves = |(_, i): &(u64, &Instance)| i.stage == Stage::Serving;
    let mut serving = app.instances_of(rollout.to).filter(serves);
    let Some((number, note)) = serving.find_map(|it| Some((it.0, reachable::note(app, seen, it)?)))
    else {
        return Ok(());
    };
    let why = format!("{}: {note}", app.id(number));
    let hint =
        "promote again when every proxy reaches it; `segue fleet drain NAME` leaves a proxy out";
    Err(desk.refused(&why, hint))
}

/// Refuses to go on while a host with the candidate is not heard: the failure budget may not allow that.
fn check_hosts(desk: &Desk, rollout: &Rollout) -> Result<(), Refusal> {
    let Some(host) = unheard_host(desk.app, desk.seen, rollout) else { return Ok(()) };
    let why = format!("{host} has {} and is not heard", desk.app.label(rollout.to));
    let hint = "promote again when the host is heard; after 10 s it counts as lost";
    Err(desk.refused(&why, hint))
}

/// Pauses the rollout.
pub(super) fn pause(desk: &Desk) -> Answer {
    let Some(rollout) = &desk.app.rollout else {
        return Err(desk.refused("no rollout is under way", "there is nothing to hold"));
    };
    let id = rollout.id;
    if rollout.paused.is_some() {
        return Ok(desk.attached(id, "it is held already".into()));
    }
    if !rollout.phase.can_pause() {
        let why = format!("it is {}", rollout.phase.name());
        return Err(desk.refused(&why, "to go back, use `segue rollback`"));
    }
    let mut batch = FactBatch::new(desk.app);
    batch.push(Fact::Paused { rollout: id, because: None, at: desk.now })?;
    Ok(batch.accepted(Some(id), Some(rollout.to), "held: `segue resume` goes on".into()))
}

/// Resumes a rollout that is paused, and what waits because the server suspects its own network.
pub(super) fn resume(desk: &Desk) -> Answer {
    let rollout = desk.app.rollout.as_ref();
    let paused = rollout.filter(|rollout| rollout.paused.is_some());
    let mut batch = FactBatch::new(desk.app);
    let mut note = String::from("going on");
    if let Some(Suspicion { silent, .. }) = suspicion(desk.app, desk.seen) {
        batch.push(Fact::LossConfirmed { at: desk.now })?;
        // Whoever says so goes on without these hosts, whatever the budget.
        for aside in said_to_be_lost(desk) {
            batch.push(aside)?;
        }
        note = format!("going on: {silent} silent hosts count as lost");
    } else if paused.is_none() {
        let hint = "`segue status` shows what it waits for";
        return Err(desk.refused("no rollout is held", hint));
    }
    if let Some(rollout) = paused {
        batch.push(Fact::Resumed { rollout: rollout.id, at: desk.now })?;
    }
    let (id, to) = (rollout.map(|r| r.id), rollout.map(|r| r.to));
    Ok(batch.accepted(id, to, note))
}

/// Returns facts that put the hosts aside that are not heard and have a part in the rollout.
fn said_to_be_lost(desk: &Desk) -> Vec<Fact> {
    let Some(rollout) = desk.app.rollout.as_ref().filter(|r| budget::is_in_force(r)) else {
        return Vec::new();
    };
    let silent = desk.seen.hosts.iter().filter(|(_, host)| host.reach != Reach::Here);
    let hosts = silent.map(|(host, _)| host).filter(|host| !rollout.budget.is_aside(host));
    let hosts = hosts.filter(|host| rollout.budget.hosts.contains(host));
    let fact = |host: &HostId| {
        let aside = HostAside { host: host.clone(), why: HostFault::SaidToBeLost };
        Fact::HostAside { rollout: rollout.id, aside, at: desk.now }
    };
    hosts.map(fact).collect()
}

/// Sets the number of instances of the live release and the standby.
pub(super) fn scale(desk: &Desk, replicas: u16) -> Answer {
    if replicas == 0 || replicas > App::REPLICAS {
        let why = format!("{replicas} is not between 1 and {}", App::REPLICAS);
        return Err(desk.refused(&why, "to serve no requests, use `segue maintenance on`"));
    }
    let Some(live) = desk.app.live else {
        return Err(desk.refused("no release is live", "deploy one first"));
    };
    if desk.app.rollout.is_some() {
        let hint = "wait for its end, or abort it";
        return Err(desk.refused("a rollout is under way", hint));
    }
    if desk.app.replicas(live) == replicas {
        let note = format!("it has {replicas} instances already");
        return Ok(desk.nothing(Some(live), note));
    }
    if replicas > desk.app.replicas(live) {
        checks::can_start(desk, live)?;
    }
    let mut batch = FactBatch::new(desk.app);
    batch.push(Fact::Scaled { replicas: Some(replicas), at: desk.now })?;
    let s = if replicas == 1 { "" } else { "s" };
    let note = format!("scaling to {replicas} instance{s}");
    Ok(batch.accepted(None, Some(live), note))
}

/// Brings the standby to the live version, as a second set of instances. A later rollback then changes
/// the set of instances and not the version.
pub(super) fn sync(desk: &Desk) -> Answer {
    let live = desk.app.live.and_then(|live| desk.app.releases.get(&live));
    let Some(live) = live else {
        return Err(desk.refused("no release is live", "deploy one first"));
    };
    if desk.app.rollout.is_some() {
        return Err(desk.refused("a rollout is under way", "wait for its end, or abort it"));
    }
    if matches!(live.spec.strategy.kind, StrategyKind::Recreate { .. }) {
        let hint = "its strategy is recreate; another strategy may run two sets";
        return Err(desk.refused("it cannot run twice", hint));
    }
    let standby = desk.app.standby.and_then(|s| desk.app.releases.get(&s.release));
    if let Some(same) = standby.filter(|standby| standby.digest == live.digest) {
        let note = format!("{} runs what is live already", same.label);
        return Ok(desk.nothing(Some(same.no), note));
    }
    checks::can_run(desk, &live.spec)?;
    let fit = |r: &Release| r.bad.is_none() && r.service.keeps_files();
    let twin = |r: &&Release| r.digest == live.digest && r.no != live.no && fit(r);
    let stored = desk.app.releases.values().find(twin);
    let to = stored.map_or(ReleaseNo(desk.app.last_release + 1), |twin| twin.no);
    let label = format!("sync-{}-{}", to.0, live.digest.short());
    let release = stored.is_none().then(|| {
        let label = label.parse().unwrap_or_else(|_| live.label.clone());
        let (created, bad, service) = (desk.now, None, Service::Unknown);
        Box::new(Release { no: to, label, created, bad, service, ..live.clone() })
    });
    let mut batch = FactBatch::new(desk.app);
    let keep = Some(desk.seen.keep_releases);
    batch.push(Fact::Synced { to, release, keep, at: desk.now })?;
    let note = format!("the standby becomes a second set of {}", live.label);
    Ok(batch.accepted(None, Some(to), note))
}

/// Closes the app for its users, or opens it again.
pub(super) fn maintain(desk: &Desk, on: Option<Maintenance>) -> Answer {
    let long = |on: &Maintenance| on.page.html.as_ref().map_or(0, |html| html.len());
    if on.as_ref().is_some_and(|on| long(on) > Page::MOST_BYTES) {
        let why = format!("its page is longer than {} bytes", Page::MOST_BYTES);
        return Err(desk.refused(&why, "link to pictures instead of embedding them"));
    }
    let live = desk.app.live;
    if desk.app.maintenance == on {
        let note = if on.is_some() { "it is closed already" } else { "it is open already" };
        return Ok(desk.nothing(live, note.into()));
    }
    let name = &desk.app.name;
    let note = match on {
        Some(_) => format!("{name} is closed for its users"),
        None => format!("{name} is open again"),
    };
    let mut batch = FactBatch::new(desk.app);
    batch.push(Fact::Maintained { on, at: desk.now })?;
    Ok(batch.accepted(None, live, note))
}
