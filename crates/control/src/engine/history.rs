//! Applies journaled facts, then publishes everything that follows from them.

use std::collections::BTreeSet;

use journal::Lost;
use model::{AppName, Timestamp};
use rollout::{App, Fact, FleetFact};

use super::{Append, Engine, lost};
use crate::message::Command;
use crate::record::{CheckpointBody, Record};

/// Takes the result of the append. Its facts are applied, or nothing has happened.
pub(super) fn appended(
    engine: &mut Engine,
    result: Result<(), Lost>,
    now: Timestamp,
    commands: &mut Vec<Command>,
) {
    if let Err(lost) = result {
        return lost::not_appended(engine, lost, now, commands);
    }
    let Some(Append { records, answers }) = engine.writing.append.take() else { return };
    engine.writing.fault = None;
    let mut changed = BTreeSet::new();
    let mut events = Vec::new();
    for record in &records {
        match record {
            Record::App { app, facts } => {
                changed.insert(app.clone());
                fold(engine, app, facts, &mut events);
            }
            Record::Fleet(facts) => {
                facts.iter().for_each(|fact| fold_fleet(engine, fact, now));
                changed.extend(engine.apps.iter().map(|(name, _)| name.clone()));
            }
        }
    }
    engine.writing.records += u32::try_from(records.len()).unwrap_or(u32::MAX);
    make_so(engine, &changed, now, commands);
    let answered = answers.into_iter().map(|(ticket, answer)| Command::Answer(ticket, Ok(answer)));
    commands.extend(answered);
    commands.extend(events.into_iter().map(Command::Announce));
    if engine.writing.records >= Engine::CHECKPOINT {
        engine.writing.records = 0;
        forget_removed(engine);
        let apps = engine.apps().cloned().collect();
        let fleet = engine.hosts.fleet().clone();
        let body = CheckpointBody { apps, fleet, at: engine.last_fact };
        commands.push(Command::Checkpoint(body));
    }
}

/// Forgets removed apps except the last few. Only those keep their numbers, in checkpoints too.
fn forget_removed(engine: &mut Engine) {
    let removed = engine.apps.states().filter(|app| app.is_removed());
    let mut removed: Vec<(Option<Timestamp>, AppName)> =
        removed.map(|app| (app.removing, app.name.clone())).collect();
    removed.sort();
    let surplus = removed.len().saturating_sub(Engine::APPS);
    for (_, name) in &removed[..surplus] {
        engine.apps.remove(name);
    }
}

/// Applies the facts of one record. Each event is made with the state that its fact led to.
fn fold(
    engine: &mut Engine,
    name: &AppName,
    facts: &[Fact],
    events: &mut Vec<model::RolloutEvent>,
) {
    if engine.apps.get(name).is_none() {
        engine.apps.insert(App::new(name.clone()));
    }
    for fact in facts {
        engine.last_fact = engine.last_fact.max(fact.at());
        if matches!(fact, Fact::Started(_)) {
            engine.routing.proxies.forget_gap(name);
            engine.hosts.look_at_numbers();
        }
        engine.hosts.used(fact.minted());
        let (hosts, routing) = (&mut engine.hosts, &engine.routing);
        let applied = engine.apps.change(name, |managed| {
            let gone = if let Fact::Gone { instance, .. } = fact {
                managed.app.instances.get(instance).cloned()
            } else {
                None
            };
            let applied = managed.apply(std::slice::from_ref(fact), routing);
            if let Some(instance) = gone {
                hosts.rest(&instance, name, managed.app.version, fact.at());
            }
            events.push(rollout::event(&managed.app, fact));
            applied
        });
        // Decided facts were applied to a draft before. Only a defect makes one illegal now.
        if let Some(Err(illegal)) = applied {
            engine.defect.get_or_insert_with(|| format!("{name}: {illegal}"));
        }
    }
}

/// Folds a fact of the fleet. A host that has joined can get instances of every app.
fn fold_fleet(engine: &mut Engine, fact: &FleetFact, now: Timestamp) {
    engine.last_fact = engine.last_fact.max(fact.at());
    engine.hosts.apply(fact, now);
    let proxies = engine.hosts.fleet().proxies().collect();
    engine.routing.proxies.set_members(&proxies, now);
    engine.apps.dirty_all();
}

/// Publishes the plans of the changed apps, and sends the hosts the commands that are new to them.
pub(super) fn make_so(
    engine: &mut Engine,
    changed: &BTreeSet<AppName>,
    now: Timestamp,
    commands: &mut Vec<Command>,
) {
    let mut sections = Vec::new();
    let mut effects = Vec::new();
    let mut takes_back = false;
    for name in changed {
        let hosts = &engine.hosts;
        engine.apps.change(name, |managed| {
            let plan = rollout::plan(&managed.app);
            takes_back |= managed.app.is_switching_back();
            sections.push((name.clone(), plan.section, managed.app.version));
            effects.extend(managed.news_for_hosts(plan.effects, plan.keep, hosts));
        });
    }
    if let Some(snapshot) = engine.routing.update(sections) {
        engine.routing.publish(snapshot, takes_back, now, commands);
    }
    commands.extend(effects.into_iter().map(|effect| engine.to_host(effect)));
    changed.iter().for_each(|name| engine.health.changed(name.clone()));
}
