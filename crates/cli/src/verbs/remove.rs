//! `segue remove`: the app goes, with everything it left behind; waits until it is gone.

use std::time::{Duration, Instant};

use wire::{ClientError, Code};

use crate::args::{Connection, RemoveOptions};
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::{Exit, Failure, Io};

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// Drains have an end; something is wrong when it takes longer.
const LONGEST: Duration = Duration::from_secs(600);

pub(crate) fn run(
    connection: &Connection,
    options: &RemoveOptions,
    io: &mut Io<'_>,
) -> Result<Exit, Failure> {
    let RemoveOptions { app } = options;
    let act = format!("remove {app}");
    let client = connection.client(&act)?;
    client.remove(app).map_err(|error| Failure::client(&*act, &error))?;
    let interrupt = Interrupt::listen();
    let progress = Progress::new(io, format!("removing {app}: its instances drain and stop"));
    let started = Instant::now();
    loop {
        match client.app(app) {
            Ok(_) => {}
            Err(ClientError::Refused(problem)) if problem.code == Code::NotFound => break,
            Err(error) => return Err(Failure::client(&*act, &error)),
        }
        if interrupt.asked() || started.elapsed() > LONGEST {
            progress.end();
            let failure = Failure::because(act, "left before the end; it is still being removed");
            return Err(failure.hint(format!("`segue status {app}` shows what is left")));
        }
        std::thread::sleep(LOOK);
    }
    progress.end();
    io.say(format!("{app} is removed"));
    Ok(Exit::Done)
}
