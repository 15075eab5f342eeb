//! Handles an append that was not acknowledged. The message "nothing was changed" is used only if the
//! log has confirmed this.

use journal::Lost;
use model::Timestamp;
use rollout::{Bug, Refusal, RefusalCode};

use super::questions::refuse;
use super::{Append, Engine, fleet};
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

/// Handles an append that the log refused: it has no effect at all.
fn refused(engine: &mut Engine, why: String, now: Timestamp, commands: &mut Vec<Command>) {
    let message = format!("cannot record the command: the journal cannot be written: {why}");
    let hint = "nothing was changed and traffic goes on; free disk space";
    let append = give_up(engine, &message, hint, commands);
    for app in append.records.iter().filter_map(Record::app) {
        engine.apps.change(app, |managed| managed.dirty = true);
    }
    engine.writing.fault = Some(why);
    engine.writing.retry_at = Some(now.after(Engine::RETRY));
}

/// Steps down, because it is unknown whether the append in progress is in the log. Clients that wait
/// for it are told so, and nothing else follows from it.
pub(super) fn step_down(engine: &mut Engine, lost: Lost, commands: &mut Vec<Command>) {
    let message = format!("cannot say whether the command was recorded: {lost}");
    give_up(engine, &message, "look with `segue status`; traffic goes on", commands);
    for question in engine.questions.drain(..) {
        let refusal = refuse(&question.app, "the journal is being reopened");
        commands.push(Command::Answer(question.ticket, Err(refusal)));
    }
    fleet::refuse_waiting(engine, commands);
    engine.lost = Some(lost);
}

/// Takes the append in progress, and refuses the commands that wait for it.
fn give_up(engine: &mut Engine, message: &str, hint: &str, commands: &mut Vec<Command>) -> Append {
    let mut append = engine.writing.append.take().unwrap_or_default();
    for (ticket, _) in append.answers.drain(..) {
        let code = RefusalCode::Unavailable;
        let (message, hint) = (message.to_owned(), Some(hint.to_owned()));
        commands.push(Command::Answer(ticket, Err(Refusal { code, message, hint })));
    }
    append
}
