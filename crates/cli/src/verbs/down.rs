//! `segue down`: stops all instances and the server, or the instances that a server left running.

use std::time::{Duration, Instant};

use wire::ClientError;

use crate::args::ConnectionOptions;
use crate::progress::ProgressLine;
use crate::{CommandError, ExitStatus, Io, Local};

/// The time limit for a stop. Drains are bounded, so a stop that takes longer has failed.
const LONGEST: Duration = Duration::from_secs(600);
/// The time between two checks.
const LOOK: Duration = Duration::from_millis(50);

pub(crate) fn run(
    connection: &ConnectionOptions,
    io: &mut Io<'_>,
    local: &dyn Local,
) -> Result<ExitStatus, CommandError> {
    let act = "stop everything";
    let client = connection.client(act)?;
    let data = connection.data();
    let down = match client.down() {
        Ok(down) => down,
        Err(ClientError::Unreachable { .. }) if data.is_dir() => {
            let stopped = local.down(&data)?;
            io.say(format!("no server was running; {stopped} instances are stopped"));
            return Ok(ExitStatus::Done);
        }
        Err(error) => return Err(CommandError::client(act, &error)),
    };
    let text = format!("stopping {} instances and the server", down.instances);
    let progress = ProgressLine::new(io, text);
    let started = Instant::now();
    while client.alive().is_ok() {
        if started.elapsed() > LONGEST {
            progress.end();
            let cause = format!("the server, process {}, still runs", down.pid);
            return Err(CommandError::because(act, cause));
        }
        std::thread::sleep(LOOK);
    }
    progress.end();
    io.say(format!("{} instances and the server are stopped", down.instances));
    Ok(ExitStatus::Done)
}
