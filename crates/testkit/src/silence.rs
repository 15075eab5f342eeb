//! Invariants of hosts that are not heard, checked from outside: nothing is placed on them, nobody takes their
//! instances for gone, and receipts name what is still to be stopped there.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "each check looks at the few facts that it is about"
)]

use std::collections::BTreeSet;

use control::Engine;
use model::{HostId, InstanceId, Reach, Stage};
use rollout::{App, Fact, Instance};

use crate::violation::Wrong;

/// Checks a fact of `app`, which is as it was before. `heard` are the hosts that control was told to be connected,
/// and `alive` the instances whose processes run.
pub fn check(
    engine: &Engine,
    (app, fact): (&App, &Fact),
    alive: &BTreeSet<&InstanceId>,
    heard: &BTreeSet<HostId>,
) -> Option<Wrong> {
    let is_member = |host: Option<&HostId>| host.is_some_and(|it| engine.hosts().contains_key(it));
    let name = &app.name;
    match fact {
        Fact::Minted { instances, .. } => {
            let is_active = |host| engine.hosts().get(host).is_none_or(|it| it.duty.is_active());
            if let Some(minted) = instances.iter().find(|minted| !is_active(&minted.host)) {
                let (id, host) = (app.id(minted.number), &minted.host);
                return Some(("duty", format!("{id} is placed on {host}, which takes nothing")));
            }
            if let Some(minted) = instances.iter().find(|minted| !heard.contains(&minted.host)) {
                let (id, host) = (app.id(minted.number), &minted.host);
                return Some(("reach", format!("{id} is placed on {host}, which is not heard")));
            }
        }
        Fact::WorkBegun(begun) if !heard.contains(&begun.host) => {
            let (id, host) = (app.id(begun.work), &begun.host);
            return Some(("reach", format!("{id} is begun on {host}, which is not heard")));
        }
        // Whoever removes a host says that it will not be heard again.
        Fact::Gone { instance, .. } if is_member(app.host_of(*instance)) => {
            let id = app.id(*instance);
            if alive.contains(&id) {
                return Some(("gone", format!("{id} counts as gone and runs")));
            }
        }
        Fact::Ended { receipt, .. } => {
            let mut owed = app.instances.values().filter(|instance| instance.owed);
            if let Some(owed) = owed.find(|owed| !receipt.owed.contains(&owed.host)) {
                let (rollout, host) = (receipt.rollout, &owed.host);
                let what = format!("the receipt of {name} {rollout} does not name {host}");
                return Some(("owed", what));
            }
        }
        _ => {}
    }
    acts_blindly(engine, app, fact)
}

/// Checks that nothing is done that nobody asked for while the server suspects its own network.
fn acts_blindly(engine: &Engine, app: &App, fact: &Fact) -> Option<Wrong> {
    let suspicion = engine.suspicion()?;
    let is_act = match fact {
        Fact::Stepped { .. } | Fact::Doomed { .. } | Fact::Draining { .. } => true,
        Fact::Reverting { cause, .. } => !cause.is_asked_for(),
        Fact::HostAside { aside, .. } => aside.why.counts(),
        Fact::Minted { release, .. } => app.live != Some(*release),
        _ => false,
    };
    let stands = app.loss_confirmed.is_none_or(|at| at < suspicion.since);
    let what = || format!("{}: {} while the server suspects itself", app.name, fact.name());
    (is_act && stands).then(|| ("blind", what()))
}

/// Counts the joining instances that a new share is given without, because their hosts are not heard. Returns
/// `None` if the facts set no share.
pub fn excused(before: &App, facts: &[Fact], engine: &Engine) -> Option<usize> {
    if !facts.iter().any(|fact| matches!(fact, Fact::Shifted { .. })) {
        return None;
    }
    let (mut app, mut excused) = (before.clone(), None);
    for fact in facts {
        // An illegal fact is found elsewhere.
        let _ = rollout::apply(&mut app, fact);
        let to = app.rollout.as_ref().map(|rollout| rollout.to);
        if let (Fact::Shifted { .. }, Some(to)) = (fact, to) {
            let joining = app.instances_of(to).filter(|(_, i)| i.stage == Stage::Joining);
            excused = Some(joining.filter(|(_, i)| !is_heard(engine, i)).count());
        }
    }
    excused
}

/// Returns whether the instance's host is heard.
pub fn is_heard(engine: &Engine, instance: &Instance) -> bool {
    engine.hosts().get(&instance.host).is_none_or(|host| host.reach == Reach::Here)
}
