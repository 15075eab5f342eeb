//! `segue rollback`: goes back to the previous release, or to the release that is named.

use wire::RollbackRequest;

use super::outcome::{Direction, Ending, finish};
use crate::args::{ConnectionOptions, RollbackOptions};
use crate::{CommandError, ExitStatus, Io};

pub(crate) fn run(
    connection: &ConnectionOptions,
    options: &RollbackOptions,
    io: &mut Io<'_>,
) -> Result<ExitStatus, CommandError> {
    let RollbackOptions { app, to, following } = options;
    let act = match to {
        Some(to) => format!("roll back {app} to {to}"),
        None => format!("roll back {app}"),
    };
    let client = connection.client(&act)?;
    // No version is sent: a rollback is meant for whatever is live now, and must not be delayed by a
    // conflict.
    let request = RollbackRequest { to: to.clone(), version: None };
    let accepted = client.rollback(app, &request).map_err(|e| CommandError::client(&*act, &e))?;
    let ending = Ending { wish: Direction::Back, following: *following };
    finish(&client, &accepted, &act, ending, io)
}
