//! Follows a rollout to its outcome. The rollout does not depend on being followed: a server that restarts is
//! waited for, and Ctrl-C only stops following.

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

/// A server that is away for longer is given up.
const AWAY: Duration = Duration::from_secs(60);
/// Time between two tries to reach it.
const AGAIN: Duration = Duration::from_millis(250);
/// How often Ctrl-C is looked for.
const LOOK: Duration = Duration::from_millis(50);
/// Time between an outcome and the next look for its receipt.
const SOON: Duration = Duration::from_millis(10);
/// Time after which a rollout that the server does not know is given up.
const UNKNOWN: Duration = Duration::from_secs(10);
/// Lines read ahead of what is shown.
const AHEAD: usize = 64;

/// How following ended.
#[derive(Debug)]
pub(crate) enum FollowOutcome {
    /// The rollout ended.
    Ended(Box<ReceiptWithCause>),
    /// The user stopped following; the rollout goes on.
    Detached,
    /// The rollout waits for a person; the receipt so far.
    Stands(Box<RolloutReceipt<RolloutStanding>>),
}

/// How long a rollout is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// To its end, even if a person has to act before.
    End,
    /// To its end, or until it waits for a person: at a gate, or held by a failure. A paused rollout is waited for.
    Person,
}

/// Gets news of the rollout on the way.
pub(crate) trait Watcher {
    /// An event happened.
    fn event(&mut self, event: &StreamEvent);
    /// The state of the rollout.
    fn now(&mut self, now: &Now);
    /// A message about the connection.
    fn note(&mut self, text: &str);
}

/// Follows one rollout of `app`; `act` names the command in errors.
///
/// # Errors
/// When the server says no, or stays away.
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
            // Somebody may have opened the gate since: then it is followed on.
            Watched::Stands => match client.rollout(app) {
                Ok(so_far) if so_far.rollout == rollout && needs_person(so_far.outcome) => {
                    return Ok(FollowOutcome::Stands(Box::new(so_far)));
                }
                Ok(_) | Err(_) => {}
            },
            Watched::Outcome | Watched::Broke => {}
        }
        // A stream that ended may mean anything; the receipt tells whether the rollout has.
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

/// Whether the rollout goes on only if a person acts who has not said so yet.
fn needs_person(standing: RolloutStanding) -> bool {
    match standing {
        RolloutStanding::Waiting | RolloutStanding::Held => true,
        RolloutStanding::Running | RolloutStanding::Paused => false,
    }
}

/// How long it has gone on that nothing can be learned.
#[derive(Default)]
struct Patience {
    /// The server does not answer.
    away: Option<Instant>,
    /// The server answers and knows nothing of the rollout.
    unknown: Option<Instant>,
}

/// There is no receipt yet: fine while the rollout is under way, and for a moment after its end,
/// which is told before the receipt can be read. Otherwise says why there will be none.
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

/// Whether asking again cannot help.
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
        // A port that somebody else has taken may be the server's again.
        ClientError::Unreachable { .. }
        | ClientError::Distrusted(_)
        | ClientError::Lost { .. }
        | ClientError::Answer { .. } => false,
    }
}

type Read = Result<Line, ClientError>;

/// Reads the stream on a thread of its own, which ends when the stream does or nobody listens.
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

/// Why one stream is not watched any more.
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
                // Another rollout, or none: ours has ended without our hearing of it.
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
