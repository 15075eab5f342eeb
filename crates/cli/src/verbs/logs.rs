//! `segue logs`: the output of an app's instances. Each line is printed whole, after its instance's name.

use std::collections::BTreeMap;

use model::InstanceId;
use wire::{Follow, LogLine};

use crate::args::{ConnectionOptions, LogsOptions};
use crate::style::DIM;
use crate::{CommandError, ExitStatus, Io};

/// The length, in bytes, above which a line without an end is printed in parts.
const LINE_BYTES: usize = 16 << 20;

pub(crate) fn run(
    connection: &ConnectionOptions,
    options: &LogsOptions,
    io: &mut Io<'_>,
) -> Result<ExitStatus, CommandError> {
    let LogsOptions { app, follow, lines, instance, raw, json } = options;
    let act = format!("read the output of {app}");
    let client = connection.client(&act)?;
    let follow = if *follow { Follow::Yes } else { Follow::No };
    let stream = client.logs(app, instance.as_ref(), *lines, follow);
    let mut parts = Parts::default();
    for line in stream.map_err(|error| CommandError::client(&*act, &error))? {
        let line = line.map_err(|error| CommandError::client(&*act, &error))?;
        let Some(line) = parts.join(line) else { continue };
        if *raw {
            io.raw([line.bytes(), b"\n"].concat());
        } else if *json {
            io.json(&line);
        } else {
            let text = line.text.strip_suffix('\r').unwrap_or(&line.text);
            io.data(format!("{DIM}{} |{DIM:#} {text}", line.instance));
        }
    }
    if follow == Follow::Yes {
        let cause = "the server ended the stream";
        return Err(CommandError::because(act, cause).exit(ExitStatus::Unreachable));
    }
    Ok(ExitStatus::Done)
}

/// The beginnings of lines whose end has not arrived yet.
#[derive(Debug, Default)]
struct Parts(BTreeMap<InstanceId, Vec<u8>>);

impl Parts {
    /// Adds a part of a line. Returns the whole line once its end has arrived.
    fn join(&mut self, line: LogLine) -> Option<LogLine> {
        let mut whole = self.0.remove(&line.instance).unwrap_or_default();
        whole.extend_from_slice(line.bytes());
        if line.goes_on && whole.len() < LINE_BYTES {
            self.0.insert(line.instance, whole);
            return None;
        }
        Some(LogLine::new(line.instance, whole))
    }
}
