//! `segue logs`: the output of an app's instances, each line after its instance's name.

use wire::Follow;

use crate::args::{Connection, LogsOptions};
use crate::io::DIM;
use crate::{Exit, Failure, Io};

pub(crate) fn run(
    connection: &Connection,
    options: &LogsOptions,
    io: &mut Io<'_>,
) -> Result<Exit, Failure> {
    let LogsOptions { app, follow, lines, instance } = options;
    let act = format!("read the output of {app}");
    let client = connection.client(&act)?;
    let follow = if *follow { Follow::Yes } else { Follow::No };
    let stream = client.logs(app, instance.as_ref(), *lines, follow);
    for line in stream.map_err(|error| Failure::client(&*act, &error))? {
        let line = line.map_err(|error| Failure::client(&*act, &error))?;
        // An app's own escape sequences must not draw on the reader's terminal.
        let text: String = line
            .text
            .chars()
            .map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c })
            .collect();
        io.data(format!("{DIM}{} |{DIM:#} {text}", line.instance));
    }
    if follow == Follow::Yes {
        let cause = "the server ended the stream";
        return Err(Failure::because(act, cause).exit(Exit::Unreachable));
    }
    Ok(Exit::Done)
}
