//! Invariants of hosts that are not heard, checked from outside: nothing is placed on them, nobody takes their
//! instances for gone, and receipts name what is still to be stopped there.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "each check looks at the few commands and facts that it is about"
)]

use std::collections::BTreeSet;

use control::{Command, Engine, Record};
use model::{HostId, InstanceId, Reach, Stage};
use rollout::{App, Fact, Instance};

use crate::hosts::Hosts;
use crate::violation::Wrong;

/// Checks the records of a step. `heard` are the hosts that control was told to be connected.
pub fn check(
    engine: &Engine,
    commands: &[Command],
    hosts: &Hosts,
    heard: &BTreeSet<HostId>,
) -> Option<Wrong> {
    let alive: BTreeSet<&InstanceId> = hosts.alive().collect();
    let records = commands.iter().filter_map(|command| match command {
        Command::Append(records) => Some(records),
        _ => None,
    });
    records.flatten().find_map(|record| {
        let name = record.app()?;
        let app = engine.apps().find(|app| app.name == *name).cloned();
        let app = app.unwrap_or_else(|| App::new(name.clone()));
        check_facts(engine, record, &app, &alive, heard)
            .or_else(|| acts_blindly(engine, record, &app))
    })
}

fn check_facts(
    engine: &Engine,
    record: &Record,
    before: &App,
    alive: &BTreeSet<&InstanceId>,
    heard: &BTreeSet<HostId>,
) -> Option<Wrong> {
    let is_member = |host: Option<&HostId>| host.is_some_and(|it| engine.hosts().contains_key(it));
    let mut app = before.clone();
    for fact in record.facts() {
        let name = &app.name;
        match fact {
            Fact::Minted { instances, .. } => {
                let is_active =
                    |host| engine.hosts().get(host).is_none_or(|it| it.duty.is_active());
                if let Some(minted) = instances.iter().find(|minted| !is_active(&minted.host)) {
                    let (id, host) = (app.id(minted.number), &minted.host);
                    return Some((
                        "duty",
                        format!("{id} is placed on {host}, which takes nothing"),
                    ));
                }
                if let Some(minted) = instances.iter().find(|minted| !heard.contains(&minted.host))
                {
                    let (id, host) = (app.id(minted.number), &minted.host);
                    return Some((
                        "reach",
                        format!("{id} is placed on {host}, which is not heard"),
                    ));
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
        // An illegal fact is found elsewhere.
        let _ = rollout::apply(&mut app, fact);
    }
    None
}

/// Returns the first act that is taken although the server suspects its own network, and that nobody asked
/// for.
fn acts_blindly(engine: &Engine, record: &Record, app: &App) -> Option<Wrong> {
    let suspicion = engine.suspicion()?;
    let mut app = app.clone();
    for fact in record.facts() {
        let is_act = match fact {
            Fact::Stepped { .. } | Fact::Doomed { .. } | Fact::Draining { .. } => true,
            Fact::Reverting { cause, .. } => !cause.is_asked_for(),
            Fact::HostAside { aside, .. } => aside.why.counts(),
            Fact::Minted { release, .. } => app.live != Some(*release),
            _ => false,
        };
        let _ = rollout::apply(&mut app, fact);
        let stands = app.loss_confirmed.is_none_or(|at| at < suspicion.since);
        if is_act && stands {
            let (name, fact) = (&app.name, fact.name());
            return Some(("blind", format!("{name}: {fact} while the server suspects itself")));
        }
    }
    None
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
