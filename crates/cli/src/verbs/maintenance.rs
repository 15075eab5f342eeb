//! `segue maintenance`: closes an app for its users, or opens it again.

use wire::MaintenanceRequest;

use super::outcome::told;
use super::page;
use crate::args::{ConnectionOptions, MaintenanceOptions, OnOff};
use crate::style::GOOD;
use crate::{CommandError, ExitStatus, Io};

pub(crate) fn run(
    connection: &ConnectionOptions,
    options: &MaintenanceOptions,
    io: &mut Io<'_>,
) -> Result<ExitStatus, CommandError> {
    let MaintenanceOptions { state, app, page, message, retry_after, hold, allow } = options;
    let (act, fallback) = match state {
        OnOff::On => (format!("close {app}"), "it is closed for its users"),
        OnOff::Off => (format!("open {app}"), "it is open again"),
    };
    let request = MaintenanceRequest {
        on: *state == OnOff::On,
        page: page.as_deref().map(page::read).transpose()?,
        message: message.clone(),
        retry_after: retry_after.clone(),
        allow: allow.clone(),
        hold: hold.clone(),
        version: None, // whoever closes an app means it as it is now
    };
    // A request that the server would refuse is refused here, without a server.
    if let Err(problem) = request.clone().read() {
        let failure = CommandError::because(act, problem.message).exit(ExitStatus::Usage);
        return Err(match state {
            OnOff::On => failure,
            OnOff::Off => failure.hint(format!("write `segue maintenance off {app}` alone")),
        });
    }
    let client = connection.client(&act)?;
    let accepted =
        client.maintenance(app, &request).map_err(|e| CommandError::client(&*act, &e))?;
    told(&accepted, fallback, io);
    if *state == OnOff::On {
        io.say(format!("{GOOD}hint:{GOOD:#} `segue maintenance off {app}` opens it again"));
    }
    Ok(ExitStatus::Done)
}
