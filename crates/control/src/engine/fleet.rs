//! Commands about the fleet, and what observers are shown of it. The core answers each command, and its facts
//! become part of the append in progress.

use std::sync::Arc;

use model::{FleetView, Timestamp};
use rollout::{FleetAccepted, FleetAsk, Refusal, RefusalCode, fleet_ask};

use super::{Append, Engine};
use crate::message::{Answer, Command, Ticket};
use crate::record::Record;

/// Queues a command, unless too many are waiting already.
pub(super) fn queue(
    engine: &mut Engine,
    (ticket, ask): (Ticket, FleetAsk),
    commands: &mut Vec<Command>,
) {
    if engine.fleet_questions.len() >= Engine::QUESTIONS_OF_ONE {
        commands.push(Command::Answer(ticket, Err(unavailable("too many commands wait"))));
        return;
    }
    engine.fleet_questions.push_back((ticket, ask));
}

/// Answers the commands that wait. Each is judged by the fleet as the commands before it leave it.
pub(super) fn answer(
    engine: &mut Engine,
    now: Timestamp,
    append: &mut Append,
    commands: &mut Vec<Command>,
) {
    if engine.fleet_questions.is_empty() {
        return;
    }
    let mut fleet = engine.hosts.fleet().clone();
    for (ticket, ask) in std::mem::take(&mut engine.fleet_questions) {
        match fleet_ask(&fleet, &ask, now) {
            Ok(FleetAccepted { facts, note }) => {
                let already = facts.is_empty();
                let (rollout, release, ends, begins) = (None, None, None, None);
                let answer = Answer { rollout, release, note, already, ends, begins };
                if already {
                    commands.push(Command::Answer(ticket, Ok(answer)));
                    continue;
                }
                facts.iter().for_each(|fact| fleet.apply(fact));
                append.records.push(Record::Fleet(facts));
                append.answers.push((ticket, answer));
            }
            Err(refusal) => commands.push(Command::Answer(ticket, Err(refusal))),
        }
    }
}

/// Refuses the commands that wait, because the engine steps down.
pub(super) fn refuse_waiting(engine: &mut Engine, commands: &mut Vec<Command>) {
    for (ticket, _) in engine.fleet_questions.drain(..) {
        let refusal = unavailable("the journal is being reopened");
        commands.push(Command::Answer(ticket, Err(refusal)));
    }
}

/// Shows the fleet if it has changed.
pub(super) fn show(engine: &mut Engine, now: Timestamp, commands: &mut Vec<Command>) {
    if !engine.hosts.take_changed() {
        return;
    }
    let (hosts, proxies) = (engine.hosts.views(), engine.routing.proxies.views(now));
    let view = FleetView { hosts, proxies, ..engine.hosts.fleet().view() };
    if engine.shown.fleet.as_deref() != Some(&view) {
        let view = Arc::new(view);
        engine.shown.fleet = Some(view.clone());
        commands.push(Command::ShowFleet(view));
    }
}

fn unavailable(why: &str) -> Refusal {
    let message = format!("cannot change the fleet: {why}");
    let hint = Some("try again later".into());
    Refusal { code: RefusalCode::Unavailable, message, hint }
}
