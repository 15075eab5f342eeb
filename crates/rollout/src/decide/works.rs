//! Decides what works have done, and which of them have to end. Begins none: that takes a command.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use model::Exit;

use super::Timer;
use crate::planted::Bug;
use crate::reach::is_host_removed;
use crate::{App, EndCause, Fact, Observed, Process, Work, WorkEnded, WorkStage};

/// Returns the next fact of every work.
pub(super) fn follow(app: &App, seen: &Observed, timer: &mut Timer) -> Vec<Fact> {
    let mut facts = Vec::new();
    for (number, work) in &app.works {
        let process = &seen.instance(*number).process;
        let removed = is_host_removed(seen, &work.host).then(|| (Some(Exit::Unknown), Vec::new()));
        facts.extend(match removed.or_else(|| ending(work, process)) {
            Some((exit, tail)) => {
                let ended = WorkEnded { work: *number, exit, tail, at: timer.now };
                Some(Fact::WorkEnded(Box::new(ended)))
            }
            None => going_on(app, *number, work, process, timer),
        });
    }
    facts
}

/// Returns how a work has ended, if it has.
fn ending(work: &Work, process: &Process) -> Option<(Option<Exit>, Vec<String>)> {
    match process {
        Process::Unseen | Process::Running { .. } => {
            let is_told = work.stage == WorkStage::Ending && Bug::EndsWorkEarly.is_planted();
            is_told.then(|| (None, Vec::new()))
        }
        Process::AddressInUse => Some((None, Vec::new())),
        Process::Refused(why) => Some((None, alloc::vec![why.clone()])),
        Process::Exited { exit, address_in_use: _, tail } => Some((Some(*exit), tail.clone())),
    }
}

fn going_on(
    app: &App,
    number: u64,
    work: &Work,
    process: &Process,
    timer: &mut Timer,
) -> Option<Fact> {
    let is_told = work.stage == WorkStage::Ending;
    let cause = if app.removing.is_some() && !Bug::ForgetsWork.is_planted() {
        Some(EndCause::AppRemoved)
    } else {
        work.time_is_up_at().filter(|up_at| timer.due(*up_at)).map(|_| EndCause::TimeUp)
    };
    if let Some(cause) = cause.filter(|_| !is_told) {
        return Some(Fact::WorkStopped { work: number, cause, at: timer.now });
    }
    let is_seen = matches!(process, Process::Running { .. });
    let starts = work.stage == WorkStage::Starting && is_seen;
    starts.then_some(Fact::WorkRuns { work: number, at: timer.now })
}
