//! Folds events of instances: minted, draining, gone, and how they died. Moves no traffic.

use model::{Listeners, ReleaseNo, Stage, Timestamp};

use super::Folded;
use super::stored::forget_if_removed;
use crate::planted::Bug;
use crate::{Abandoned, App, Deaths, DrainCause, Fact, Instance, Minted, Rollout};

pub(super) fn mint(app: &mut App, release: ReleaseNo, minted: &[Minted], at: Timestamp) -> Folded {
    if !app.releases.contains_key(&release) {
        return Err("the release is not stored");
    }
    let mut expected = app.last_instance;
    for Minted { number, .. } in minted {
        expected += 1;
        if *number != expected {
            return Err("an instance's number does not follow the last one");
        }
    }
    app.last_instance = expected;
    let new = minted.iter().map(|it| (it.number, Instance::joining(release, it, at)));
    app.instances.extend(new);
    Ok(())
}

/// Lets an instance serve. Its host can run the app.
pub(super) fn serve(app: &mut App, number: u64, listeners: &Listeners, at: Timestamp) -> Folded {
    let instance = stage(app, number, Stage::Joining)?;
    (instance.stage, instance.since) = (Stage::Serving, at);
    instance.listeners.clone_from(listeners);
    let (took, host) = (at.since(instance.minted), instance.host.clone());
    app.pace.start = Some(took);
    app.avoided.retain(|avoided| avoided.host != host);
    Ok(())
}

pub(super) fn drain(
    app: &mut App,
    numbers: &[u64],
    cause: DrainCause,
    at: Timestamp,
    version: u64,
) -> Folded {
    let movable = |n: &u64| app.instances.get(n).is_some_and(|i| i.stage < Stage::Draining);
    if !numbers.iter().all(movable) {
        return Err("an instance is draining already, or gone");
    }
    for number in numbers {
        let Some(instance) = app.instances.get_mut(number) else { continue };
        instance.stage = Stage::Draining;
        instance.since = at;
        instance.left = Some(if Bug::LeavesAtOnce.is_planted() { 0 } else { version });
        let (release, served) = (instance.release, Timestamp(0));
        if cause == DrainCause::NeverHealthy {
            died(app, release, served, None, at);
        }
    }
    Ok(())
}

/// Records that instances that may be stopped are on lost hosts.
pub(super) fn owe(app: &mut App, numbers: &[u64]) -> Folded {
    let can_be = |number: &u64| app.instances.get(number).is_some_and(|i| i.released && !i.owed);
    if !numbers.iter().all(can_be) {
        return Err("an instance may not be stopped yet, or is owed already");
    }
    for number in numbers {
        app.instances.entry(*number).and_modify(|instance| instance.owed = true);
    }
    Ok(())
}

pub(super) fn gone(app: &mut App, fact: &Fact) -> Folded {
    let Fact::Gone { instance: number, exit, address_in_use, in_use, at, .. } = fact else {
        return Err("it is another fact");
    };
    let instance = app.instances.remove(number).ok_or("there is no such instance")?;
    if Bug::RepeatsNumbers.is_planted() {
        app.last_instance = app.instances.keys().last().copied().unwrap_or(0);
    }
    if *in_use {
        let (host, addresses) = (instance.host.clone(), instance.addresses().cloned().collect());
        app.abandoned.insert(*number, Abandoned { host, addresses });
    }
    app.remembered.push_back(*number);
    while app.remembered.len() > App::REMEMBERED {
        app.remembered.pop_front();
    }
    forget_if_removed(app);
    if instance.stage == Stage::Draining {
        app.pace.drain = Some(at.since(instance.since));
        return Ok(());
    }
    if *address_in_use {
        if let Some(rollout) = candidate_of(app, instance.release) {
            rollout.ports_taken += 1;
        }
        return Ok(());
    }
    let served = match instance.stage {
        Stage::Serving => instance.since,
        Stage::Joining | Stage::Draining | Stage::Gone => *at,
    };
    died(app, instance.release, served, *exit, *at);
    Ok(())
}

/// Records that no proxy can send requests to the addresses of these instances any more.
pub(super) fn free_addresses(app: &mut App, numbers: &[u64]) -> Folded {
    let were_abandoned = numbers.iter().all(|number| app.abandoned.remove(number).is_some());
    if were_abandoned { Ok(()) } else { Err("its addresses are free already") }
}

/// Counts a death that nobody asked for.
fn died(
    app: &mut App,
    release: ReleaseNo,
    served: Timestamp,
    exit: Option<model::Exit>,
    at: Timestamp,
) {
    let stable = served != Timestamp(0) && at.since(served) >= Deaths::STABLE;
    let deaths = app.deaths.get(&release);
    let before = deaths.map_or(0, |deaths| deaths.in_a_row);
    // A machine that goes down ends many instances unobserved. They count as one death.
    let unseen = Some(model::Exit::Unknown);
    let together = exit == unseen
        && deaths.is_some_and(|d| d.exit == unseen && at.since(d.last) < Deaths::TOGETHER);
    let so_far = if stable { 0 } else { before };
    let in_a_row = if together { before } else { so_far.saturating_add(1) };
    app.deaths.insert(release, Deaths { in_a_row, last: at, exit });
    // A death that nobody observed, because the machine went down, does not count against the rollout.
    if exit != Some(model::Exit::Unknown)
        && let Some(rollout) = candidate_of(app, release)
    {
        rollout.crashes += 1;
    }
}

/// Returns the instance with this number if it is at this stage.
pub(super) fn stage(
    app: &mut App,
    number: u64,
    stage: Stage,
) -> Result<&mut Instance, &'static str> {
    match app.instances.get_mut(&number) {
        Some(instance) if instance.stage == stage => Ok(instance),
        Some(_) => Err("the instance is at another stage"),
        None => Err("there is no such instance"),
    }
}

/// Returns the rollout that brings this release in, if there is one.
fn candidate_of(app: &mut App, release: ReleaseNo) -> Option<&mut Rollout> {
    app.rollout.as_mut().filter(|rollout| rollout.to == release)
}
