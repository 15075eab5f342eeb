//! `segue remove`: removes an app once a person has agreed, and its state only if that was requested. Waits
//! until the app is removed.

use std::time::{Duration, Instant};

use model::AppName;
use wire::{ApiClient, AppInfo, ClientError, Code};

use crate::args::{ConnectionOptions, RemoveOptions};
use crate::interrupt::Interrupt;
use crate::progress::ProgressLine;
use crate::{CommandError, ExitStatus, Io};

/// The time between two checks.
const LOOK: Duration = Duration::from_millis(50);
/// The time limit for a removal. Drains are bounded, so a removal that takes longer has failed.
const LONGEST: Duration = Duration::from_secs(600);

pub(crate) fn run(
    connection: &ConnectionOptions,
    options: &RemoveOptions,
    io: &mut Io<'_>,
) -> Result<ExitStatus, CommandError> {
    let RemoveOptions { app, with_state, yes } = options;
    let act = format!("remove {app}");
    let client = connection.client(&act)?;
    let failed = |error: ClientError| CommandError::client(&*act, &error);
    // If the app does not exist, the command fails before it asks.
    let known = match client.app(app) {
        Ok(known) => Some(known),
        Err(ClientError::Refused(problem)) if *with_state && problem.code == Code::NotFound => None,
        Err(error) => return Err(failed(error)),
    };
    if !yes {
        match io.agrees(&question(app, known.as_ref(), *with_state)) {
            Some(true) => {}
            Some(false) => {
                return Err(CommandError::because(
                    act,
                    "it was not confirmed; nothing was changed",
                ));
            }
            None => return Err(unasked(act, connection, app, *with_state)),
        }
    }
    client.remove(app, *with_state).map_err(failed)?;
    let progress = ProgressLine::new(io, format!("removing {app}: its instances drain and stop"));
    let left = wait(&client, &act, options);
    progress.end();
    match left? {
        Some(path) => {
            io.say(format!("{app} is removed; its state stays in {path}"));
            io.say(format!("hint: `segue remove {app} --with-state --yes` deletes it"));
        }
        None if *with_state => io.say(format!("{app} is removed with its state")),
        None => io.say(format!("{app} is removed")),
    }
    Ok(ExitStatus::Done)
}

fn question(app: &AppName, known: Option<&AppInfo>, with_state: bool) -> String {
    let state = if with_state {
        "Its state, the data that its releases have written, is DELETED for good."
    } else {
        "Its state stays on the host."
    };
    let Some(known) = known else { return format!("{app} is removed already. {state} Go on?") };
    let arms = [&known.status.live, &known.status.standby, &known.status.candidate];
    let count: usize = arms.into_iter().flatten().map(|arm| arm.instances.len()).sum();
    let noun = if count == 1 { "instance" } else { "instances" };
    format!("Remove {app}, with {count} {noun} and every stored release? {state} Go on?")
}

/// Returns the error for a command that cannot ask because there is no terminal.
fn unasked(
    act: String,
    connection: &ConnectionOptions,
    app: &AppName,
    with_state: bool,
) -> CommandError {
    let flag = if with_state { " --with-state" } else { "" };
    let whole = format!("segue remove {app}{flag} --yes{}", connection.repeated());
    let failure =
        CommandError::because(act, "it has to be confirmed, and there is no terminal to ask on");
    failure.exit(ExitStatus::Usage).hint(format!("to confirm, run: {whole}"))
}

/// Waits until the app is removed, and its state if that was requested. Returns the path of the state that
/// stays, if any does.
fn wait(
    client: &ApiClient,
    act: &str,
    options: &RemoveOptions,
) -> Result<Option<String>, CommandError> {
    let RemoveOptions { app, with_state, yes: _ } = options;
    let interrupt = Interrupt::listen();
    let started = Instant::now();
    loop {
        let gone = match client.app(app) {
            Ok(_) => false,
            Err(ClientError::Refused(problem)) if problem.code == Code::NotFound => true,
            Err(error) => return Err(CommandError::client(act, &error)),
        };
        if gone {
            let left = client.left_state().map_err(|error| CommandError::client(act, &error))?;
            let left = left.into_iter().find(|left| left.app == *app);
            if !(left.is_some() && *with_state) {
                return Ok(left.map(|left| left.path.display().to_string()));
            }
        }
        if interrupt.asked() || started.elapsed() > LONGEST {
            let failure =
                CommandError::because(act, "left before the end; it is still being removed");
            return Err(failure.hint(format!("`segue status {app}` shows what is left")));
        }
        std::thread::sleep(LOOK);
    }
}
