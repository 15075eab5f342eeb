//! The end of an accepted command: follows the rollout, prints its outcome, and returns the exit code.

use model::{Millis, Outcome};
use wire::{
    ApiClient, CommandAccepted, Now, ReceiptWithCause, RolloutReceipt, RolloutStanding, StreamEvent,
};

use crate::args::Following;
use crate::follow::{FollowOutcome, Until, Watcher, follow};
use crate::interrupt::Interrupt;
use crate::io::Reader;
use crate::progress::ProgressLine;
use crate::style::{BOLD, GOOD, WARN};
use crate::text::{grouped, known_ms};
use crate::{CommandError, ExitStatus, Io};

/// The release that the user wants to be live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The new release.
    Forward,
    /// The release that was live before.
    Back,
}

/// The way a command ends on the terminal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    pub(crate) wish: Direction,
    pub(crate) following: Following,
}

/// Follows an accepted command, if there is a rollout to follow.
pub(crate) fn finish(
    client: &ApiClient,
    accepted: &CommandAccepted,
    act: &str,
    ending: Ending,
    io: &mut Io<'_>,
) -> Result<ExitStatus, CommandError> {
    let app = &accepted.app;
    for warning in &accepted.warnings {
        io.say(format!("{WARN}warning:{WARN:#} {warning}"));
    }
    let Some(rollout) = accepted.rollout else {
        let what = accepted.label.as_ref().map_or_else(|| "that".into(), ToString::to_string);
        io.say(format!("{app}: {what} is live already, nothing to do"));
        if ending.following.json {
            already(client, accepted, io);
        }
        return Ok(ExitStatus::Done);
    };
    if ending.following.detach {
        if !accepted.note.is_empty() {
            io.say(format!("{app}: {}", accepted.note));
        }
        io.say(format!("{app}: rollout {rollout} is under way"));
        io.say(format!("{GOOD}hint:{GOOD:#} `segue status {app} --watch` shows it"));
        if ending.following.json {
            io.json(accepted);
        }
        return Ok(ExitStatus::Done);
    }
    // A person at a terminal sees that the rollout waits. A job would hang.
    let until = match io.reader() {
        Reader::Program if !ending.following.wait => Until::Person,
        Reader::Program | Reader::Person => Until::End,
    };
    let interrupt = Interrupt::listen();
    let mut progress = ProgressLine::new(io, format!("{act}: rollout {rollout}"));
    if accepted.already {
        progress.line(io, &format!("{app}: rollout {rollout} was under way, following it"));
    } else if !accepted.note.is_empty() {
        progress.line(io, &format!("{app}: {}", accepted.note));
    }
    let mut shown = Shown { io, progress };
    let followed = follow(client, app, rollout, act, &interrupt, &mut shown, until);
    let Shown { io, progress } = shown;
    progress.end();
    match followed? {
        FollowOutcome::Detached => {
            let cause = format!("left before the end; rollout {rollout} goes on");
            let hint = format!(
                "`segue status {app} --watch` shows it, `segue abort {app}` stops it, the same \
                 command follows it again"
            );
            Err(CommandError::because(act, cause).hint(hint))
        }
        FollowOutcome::Stands(so_far) => stands(&so_far, act, io),
        FollowOutcome::Ended(account) => end(&account, act, ending, io),
    }
}

/// Reports a rollout that waits for a person: its position, and the commands that move it. This runs only for
/// a program, which has to know the state of the rollout. Therefore the receipt so far is its last line even
/// without `--json`.
fn stands(
    so_far: &RolloutReceipt<RolloutStanding>,
    act: &str,
    io: &mut Io<'_>,
) -> Result<ExitStatus, CommandError> {
    let RolloutReceipt { app, to, rollout, .. } = so_far;
    let waiting = so_far.waiting_for.as_deref().unwrap_or("waiting for a person");
    let waits_at_a_gate = match so_far.outcome {
        RolloutStanding::Waiting => true,
        RolloutStanding::Held | RolloutStanding::Running | RolloutStanding::Paused => false,
    };
    if !waits_at_a_gate {
        io.json(so_far);
        let hint = format!(
            "`segue resume {app}` goes on, `segue abort {app}` goes back; rollout {rollout} waits"
        );
        return Err(CommandError::because(act, format!("{to} is held: {waiting}")).hint(hint));
    }
    io.say(format!("{WARN}{app}:{WARN:#} {to} is {waiting}"));
    io.say(format!(
        "{GOOD}hint:{GOOD:#} `segue promote {app}` goes on, `segue abort {app}` goes back; with --wait \
         the command stays"
    ));
    io.json(so_far);
    Ok(ExitStatus::Waiting)
}

/// Prints the result of a command that is done at once, in the server's words or in `otherwise`.
pub(super) fn told(accepted: &CommandAccepted, otherwise: &str, io: &mut Io<'_>) {
    let CommandAccepted { app, note, .. } = accepted;
    let note = if note.is_empty() { otherwise } else { note };
    let bare = note.strip_prefix(app.as_str()).and_then(|rest| rest.strip_prefix(' '));
    let note = bare.unwrap_or(note);
    io.say(format!("{GOOD}{app}:{GOOD:#} {note}"));
}

/// Prints the receipt of the rollout that brought the release in, for a repeated deploy.
fn already(client: &ApiClient, accepted: &CommandAccepted, io: &mut Io<'_>) {
    let accounts = client.receipts(&accepted.app).unwrap_or_default();
    let brought_in = accounts.iter().rev().find(|account| {
        Some(&account.receipt.to) == accepted.label.as_ref()
            && account.receipt.from.as_ref() != Some(&account.receipt.to)
            && account.receipt.outcome == Outcome::Completed
    });
    match brought_in {
        Some(account) => io.json(&account.receipt),
        None => io.json(accepted),
    }
}

fn end(
    account: &ReceiptWithCause,
    act: &str,
    ending: Ending,
    io: &mut Io<'_>,
) -> Result<ExitStatus, CommandError> {
    let ReceiptWithCause { receipt, cause } = account;
    if ending.following.json {
        io.json(receipt);
    }
    let back = matches!(receipt.outcome, Outcome::Reverted | Outcome::Aborted);
    let wished = match ending.wish {
        Direction::Forward => receipt.outcome == Outcome::Completed,
        Direction::Back => back || receipt.outcome == Outcome::Completed,
    };
    if wished {
        io.say(summary(receipt));
        for sentence in &receipt.elsewhere {
            io.say(format!("{WARN}{sentence}{WARN:#}"));
        }
        return Ok(ExitStatus::Done);
    }
    let exit = match receipt.outcome {
        Outcome::Reverted => ExitStatus::RolledBack,
        Outcome::Completed | Outcome::Aborted | Outcome::Failed => ExitStatus::Failed,
    };
    let cause =
        cause.clone().unwrap_or_else(|| format!("rollout {} {}", receipt.rollout, receipt.outcome));
    let failure = CommandError::because(act, cause).exit(exit);
    let app = &receipt.app;
    let to = &receipt.to;
    let stays = receipt.live.as_ref() == Some(to);
    let live = match (&receipt.from, receipt.outcome) {
        // A restart moves no traffic.
        (Some(from), _) if from == to => format!("{from} stays live with what runs of it"),
        (Some(from), _) if stays => {
            format!("{to} stays live, since {from} is no better, and is started again with pauses")
        }
        (Some(from), Outcome::Reverted) => format!("{from} is live again"),
        (Some(from), _) if receipt.strategy == "recreate" => format!("{from} is live again"),
        (Some(from), Outcome::Completed | Outcome::Aborted | Outcome::Failed) => {
            format!("{from} is live and was not touched")
        }
        (None, _) if stays => {
            format!("{to} stays live, with nothing to go back to, and is started again with pauses")
        }
        (None, _) => "nothing is live".into(),
    };
    let rollout = receipt.rollout;
    Err(failure.hint(format!("{live}; `segue receipt {app} {rollout}` shows this again")))
}

/// Returns one line about a rollout that succeeded.
pub(crate) fn summary(receipt: &RolloutReceipt) -> String {
    let live = match (receipt.outcome, &receipt.from) {
        (Outcome::Completed, _) | (_, None) => &receipt.to,
        (Outcome::Reverted | Outcome::Aborted | Outcome::Failed, Some(from)) => from,
    };
    let mut text = format!("{GOOD}{}: {BOLD}{live}{BOLD:#}{GOOD} is live{GOOD:#}", receipt.app);
    if let (Some(requests), Some(failed)) = (receipt.requests, receipt.failed) {
        text += &format!(", {} requests", grouped(requests));
        let errors: u64 = receipt.app_5xx.values().sum();
        if failed > 0 || errors == 0 {
            text += &format!(", {} failed", grouped(failed));
        }
        if errors > 0 {
            let answers = receipt.answers.unwrap_or(requests.saturating_sub(failed)).max(errors);
            let (errors, answers) = (grouped(errors), grouped(answers));
            text += &format!(", {WARN}{errors} of {answers} answers were 5xx{WARN:#}");
        }
    }
    if receipt.switch_ms.is_some() {
        text += &format!(", switched in {}", known_ms(receipt.switch_ms));
    }
    text + &format!(", {} in all", Millis(receipt.duration_ms))
}

/// Prints the progress of a rollout.
struct Shown<'a, 'b> {
    io: &'a mut Io<'b>,
    progress: ProgressLine,
}

impl Watcher for Shown<'_, '_> {
    fn event(&mut self, event: &StreamEvent) {
        self.progress.event(self.io, event);
    }

    fn now(&mut self, now: &Now) {
        self.progress.now(self.io, now);
    }

    fn note(&mut self, text: &str) {
        self.progress.line(self.io, text);
    }
}
