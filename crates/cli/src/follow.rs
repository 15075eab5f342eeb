//! Follows a rollout to its outcome. The rollout goes on whether somebody follows or not, so a
//! server that restarts is waited for, and Ctrl-C only stops looking.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use model::AppName;
use wire::{Account, Client, ClientError, Code, Event, Line, Now};

use crate::Failure;
use crate::interrupt::Interrupt;

/// A server that is away for longer is given up.
const AWAY: Duration = Duration::from_secs(60);
/// Time between two tries to reach it.
const AGAIN: Duration = Duration::from_millis(250);
/// How often Ctrl-C is looked for.
const LOOK: Duration = Duration::from_millis(50);
/// Lines read ahead of what is shown.
const AHEAD: usize = 64;

/// How following ended.
#[derive(Debug)]
pub(crate) enum Followed {
    /// The rollout ended.
    Ended(Box<Account>),
    /// Somebody stopped looking; the rollout goes on.
    Detached,
}

/// What a follower is told on the way.
pub(crate) trait Watcher {
    /// Something happened.
    fn event(&mut self, event: &Event);
    /// How things stand.
    fn now(&mut self, now: &Now);
    /// A word about the connection.
    fn note(&mut self, text: &str);
}

/// Follows one rollout of `app`; `act` names the command in errors.
///
/// # Errors
/// When the server says no, or stays away.
pub(crate) fn follow(
    client: &Client,
    app: &AppName,
    rollout: u32,
    act: &str,
    interrupt: &Interrupt,
    watcher: &mut dyn Watcher,
) -> Result<Followed, Failure> {
    let mut after = 0;
    let mut away: Option<Instant> = None;
    loop {
        let lines = read(client, app, rollout, after);
        let broke = match watch(&lines, rollout, interrupt, watcher, &mut after, &mut away) {
            Watched::Outcome => None,
            Watched::Interrupted => return Ok(Followed::Detached),
            Watched::Broke(error) => error,
        };
        match client.receipt(app, rollout) {
            Ok(account) => return Ok(Followed::Ended(Box::new(account))),
            Err(ClientError::Refused(problem)) if problem.code == Code::NotFound => {
                // Still under way: the outcome was told a moment before its receipt can be read,
                // or the stream was cut while the server goes on.
                if client.app(app).is_err_and(|error| is_final(&error)) {
                    let cause = "the app was removed meanwhile";
                    return Err(Failure::because(act, cause));
                }
            }
            Err(error) if is_final(&error) => return Err(Failure::client(act, &error)),
            Err(error) => {
                let since = *away.get_or_insert_with(|| {
                    watcher.note("the server is away; the rollout goes on when it is back");
                    Instant::now()
                });
                if since.elapsed() > AWAY {
                    let failure = Failure::client(act, broke.as_ref().unwrap_or(&error));
                    let hint = format!(
                        "the rollout goes on when the server is back; look with `segue status {app}`"
                    );
                    return Err(failure.hint(hint));
                }
            }
        }
        let pause = if away.is_some() { AGAIN } else { LOOK / 5 };
        thread::sleep(pause);
        if interrupt.asked() {
            return Ok(Followed::Detached);
        }
    }
}

/// Whether asking again cannot help.
fn is_final(error: &ClientError) -> bool {
    match error {
        ClientError::Url { .. } => true,
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
        ClientError::Unreachable { .. } | ClientError::Lost { .. } | ClientError::Answer { .. } => {
            false
        }
    }
}

type Read = Result<Line, ClientError>;

/// Reads the stream on a thread of its own, which ends when the stream does or nobody listens.
fn read(client: &Client, app: &AppName, rollout: u32, after: u64) -> Receiver<Read> {
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
    client: &Client,
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
    Broke(Option<ClientError>),
}

fn watch(
    lines: &Receiver<Read>,
    rollout: u32,
    interrupt: &Interrupt,
    watcher: &mut dyn Watcher,
    after: &mut u64,
    away: &mut Option<Instant>,
) -> Watched {
    loop {
        if interrupt.asked() {
            return Watched::Interrupted;
        }
        let line = match lines.recv_timeout(LOOK) {
            Ok(Ok(line)) => line,
            Ok(Err(error)) => return Watched::Broke(Some(error)),
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return Watched::Broke(None),
        };
        if away.take().is_some() {
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
            }
            Line::Lost(count) => watcher.note(&format!("{count} events were missed")),
        }
    }
}
