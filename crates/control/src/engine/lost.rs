//! What follows from an append that was not acknowledged. Says "nothing was changed" only where the log
//! has said so.

use journal::Lost;
use model::Timestamp;
use rollout::{Bug, Refusal, RefusalCode};

use super::Engine;
use super::questions::refuse;
use crate::message::Command;
use crate::record::Record;

pub(super) fn not_appended(
    engine: &mut Engine,
    lost: Lost,
    now: Timestamp,
    commands: &mut Vec<Command>,
) {
    match lost {
        Lost::Unknown(why) if Bug::TrustsLostAppend.is_planted() => {
            refused(engine, why, now, commands);
        }
        Lost::Refused(why) => refused(engine, why, now, commands),
        Lost::Unknown(_) | Lost::Fenced { .. } => step_down(engine, lost, commands),
    }
}

/// Nothing of the append under way is in the log: it is as if it had never been.
fn refused(engine: &mut Engine, why: String, now: Timestamp, commands: &mut Vec<Command>) {
    let append = engine.writing.append.take().unwrap_or_default();
    for (ticket, _) in append.answers {
        let refusal = Refusal {
            code: RefusalCode::Unavailable,
            message: format!("cannot record the command: the journal cannot be written: {why}"),
            hint: Some("nothing was changed and traffic goes on; free disk space".into()),
        };
        commands.push(Command::Answer(ticket, Err(refusal)));
    }
    for app in append.records.iter().filter_map(Record::app) {
        engine.apps.change(app, |managed| managed.dirty = true);
    }
    engine.writing.fault = Some(why);
    engine.writing.retry_at = Some(now.after(Engine::RETRY));
}

/// Nobody knows whether the append under way is in the log. Whoever waits for it is told so, and
/// nothing follows from it here.
pub(super) fn step_down(engine: &mut Engine, lost: Lost, commands: &mut Vec<Command>) {
    let append = engine.writing.append.take().unwrap_or_default();
    for (ticket, _) in append.answers {
        let refusal = Refusal {
            code: RefusalCode::Unavailable,
            message: format!("cannot say whether the command was recorded: {lost}"),
            hint: Some("look with `segue status`; traffic goes on".into()),
        };
        commands.push(Command::Answer(ticket, Err(refusal)));
    }
    for question in engine.questions.drain(..) {
        let refusal = refuse(&question.app, "the journal is opened anew");
        commands.push(Command::Answer(question.ticket, Err(refusal)));
    }
    engine.lost = Some(lost);
}
