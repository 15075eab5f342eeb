//! Follows a rollout to its outcome. The rollout does not depend on being followed. If the server restarts,
//! the command waits for it. Ctrl-C only stops following.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use model::AppName;
use wire::{
    ApiClient, ClientError, Code, Line, Now, ReceiptWithCause, RolloutReceipt, RolloutStanding,
    StreamEvent,
};

use crate::CommandError;
use crate::interrupt::Interrupt;

/// The time after which an unreachable server is given up.
const AWAY: Duration = Duration::from_secs(60);
/// The time between two attempts to reach the server.
const AGAIN: Duration = Duration::from_millis(250);
/// The time between two checks for Ctrl-C.
const LOOK: Duration = Duration::from_millis(50);
/// The time between an outcome and the next request for its receipt.
const SOON: Duration = Duration::from_millis(10);
/// The time after which a rollout that the server does not know is given up.
const UNKNOWN: Duration = Duration::from_secs(10);
/// The number of lines that are read ahead of those shown.
const AHEAD: usize = 64;

/// The result of following.
#[derive(Debug)]
pub(crate) enum FollowOutcome {
    /// The rollout ended.
    Ended(Box<ReceiptWithCause>),
    /// The user stopped following; the rollout goes on.
    Detached,
    /// The rollout waits for a person. This is the receipt so far.
    Stands(Box<RolloutReceipt<RolloutStanding>>),
}

/// The point to which a rollout is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// Its end, even if a person has to act first.
    End,
    /// Its end, or the point where it waits for a person: at a gate, or held by a failure. A paused rollout
    /// is followed further.
    Person,
}

/// Receives news of the rollout.
pub(crate) trait Watcher {
    /// An event happened.
    fn event(&mut self, event: &StreamEvent);
    /// The state of the rollout.
    fn now(&mut self, now: &Now);
    /// A message about the connection.
    fn note(&mut self, text: &str);
}

/// Follows one rollout of `app`. `act` names the command in errors.
///
/// # Errors
/// If the server refuses a request, or stays unreachable.
pub(crate) fn follow(
    client: &ApiClient,
    app: &AppName,
    rollout: u32,
    act: &str,
    interrupt: &Interrupt,
    watcher: &mut dyn Watcher,
    until: Until,
) -> Result<FollowOutcome, CommandError> {
    let mut after = 0;
    let mut patience = Patience::default();
    loop {
        let lines = read(client, app, rollout, after);
        match watch(&lines, rollout, interrupt, watcher, &mut after, &mut patience, until) {
            Watched::Interrupted => return Ok(FollowOutcome::Detached),
            // A person may have opened the gate since then. If so, following goes on.
            Watched::Stands => match client.rollout(app) {
                Ok(so_far) if so_far.rollout == rollout && needs_person(so_far.outcome) => {
                    return Ok(FollowOutcome::Stands(Box::new(so_far)));
                }
                Ok(_) | Err(_) => {}
            },
            Watched::Outcome | Watched::Broke => {}
        }
        // A stream may end for any reason. The receipt shows whether the rollout has ended.
        match client.receipt(app, rollout) {
            Ok(account) => return Ok(FollowOutcome::Ended(Box::new(account))),
            Err(ClientError::Refused(problem)) if problem.code == Code::NotFound => {
                under_way(client, app, rollout, &mut patience)
                    .map_err(|cause| CommandError::because(act, cause))?;
            }
            Err(error) if is_final(&error) => return Err(CommandError::client(act, &error)),
            Err(error) => {
                if patience.away.is_none() {
                    watcher.note("the server is away; the rollout goes on when it is back");
                }
                if patience.away.get_or_insert_with(Instant::now).elapsed() > AWAY {
                    let hint = format!("look with `segue status {app}` when the server is back");
                    return Err(CommandError::client(act, &error).hint(hint));
                }
            }
        }
        thread::sleep(if patience.away.is_some() { AGAIN } else { SOON });
        if interrupt.asked() {
            return Ok(FollowOutcome::Detached);
        }
    }
}

/// Returns whether the rollout waits for a person's decision. A paused rollout does not: a person has already
/// decided to hold it.
fn needs_person(standing: RolloutStanding) -> bool {
    match standing {
        RolloutStanding::Waiting | RolloutStanding::Held => true,
        RolloutStanding::Running | RolloutStanding::Paused => false,
    }
}

/// The times since which nothing could be learned about the rollout.
#[derive(Default)]
struct Patience {
    /// The server has not answered since then.
    away: Option<Instant>,
    /// The server has answered since then, but does not know the rollout.
    unknown: Option<Instant>,
}

/// Checks whether a missing receipt is to be expected. This is so while the rollout is under way, and for a
/// moment after its end, because the end is announced before the receipt can be read. Otherwise returns why
/// there will be no receipt.
fn under_way(
    client: &ApiClient,
    app: &AppName,
    rollout: u32,
    patience: &mut Patience,
) -> Result<(), String> {
    let ours = match client.app(app) {
        Ok(app) => app.status.rollout.is_some_and(|r| r.id == rollout),
        Err(ClientError::Refused(problem)) if problem.code == Code::NotFound => {
            return Err("the app was removed meanwhile".into());
        }
        Err(_) => true, // away again; the next round sees to it
    };
    if ours {
        patience.unknown = None;
    } else if patience.unknown.get_or_insert_with(Instant::now).elapsed() > UNKNOWN {
        return Err(format!("the server knows nothing of rollout {rollout} any more"));
    }
    Ok(())
}

/// Returns whether repeating the request cannot help.
fn is_final(error: &ClientError) -> bool {
    match error {
        ClientError::Url { .. } | ClientError::Changed | ClientError::Unreadable(_) => true,
        ClientError::Refused(problem) => match problem.code {
            Code::Unavailable | Code::ReadOnly | Code::Timeout => false,
            Code::Refused
            | Code::Conflict
            | Code::NotFound
            | Code::Invalid
            | Code::Unauthorized
            | Code::ForbiddenHost
            | Code::TooLarge
            | Code::Internal => true,
        },
        // A port that another process has taken may become the server's again.
        ClientError::Unreachable { .. }
        | ClientError::Distrusted(_)
        | ClientError::Lost { .. }
        | ClientError::Answer { .. } => false,
    }
}

type Read = Result<Line, ClientError>;

/// Reads the stream on a thread of its own. The thread ends when the stream ends or the receiver is dropped.
fn read(client: &ApiClient, app: &AppName, rollout: u32, after: u64) -> Receiver<Read> {
    let (told, lines) = sync_channel(AHEAD);
    let (client, app) = (client.clone(), app.clone());
    thread::spawn(move || {
        if let Err(error) = hand_on(&client, &app, rollout, after, &told) {
            let _ = told.send(Err(error));
        }
    });
    lines
}

fn hand_on(
    client: &ApiClient,
    app: &AppName,
    rollout: u32,
    after: u64,
    told: &SyncSender<Read>,
) -> Result<(), ClientError> {
    for line in client.events(app, after, Some(rollout))? {
        if told.send(Ok(line?)).is_err() {
            break;
        }
    }
    Ok(())
}

/// The reason why one stream is no longer watched.
enum Watched {
    Outcome,
    Interrupted,
    Stands,
    Broke,
}

fn watch(
    lines: &Receiver<Read>,
    rollout: u32,
    interrupt: &Interrupt,
    watcher: &mut dyn Watcher,
    after: &mut u64,
    patience: &mut Patience,
    until: Until,
) -> Watched {
    loop {
        if interrupt.asked() {
            return Watched::Interrupted;
        }
        let line = match lines.recv_timeout(LOOK) {
            Ok(Ok(line)) => line,
            Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => return Watched::Broke,
            Err(RecvTimeoutError::Timeout) => continue,
        };
        if patience.away.take().is_some() {
            watcher.note("the server is back");
        }
        match line {
            Line::Event(event) => {
                *after = event.seq;
                watcher.event(&event);
                if event.outcome.is_some() {
                    return Watched::Outcome;
                }
            }
            Line::Now(now) => {
                // Another rollout or none is under way: this rollout has ended, but the stream did not report
                // that.
                if now.rollout != Some(rollout) {
                    return Watched::Outcome;
                }
                watcher.now(&now);
                if until == Until::Person && now.standing.is_some_and(needs_person) {
                    return Watched::Stands;
                }
            }
            Line::Lost(count) => watcher.note(&format!("{count} events were missed")),
        }
    }
}
