//! `segue promote`: continues a rollout that waits for a person, by one step or to its end.

use wire::PromoteRequest;

use super::outcome::{Direction, Ending, finish};
use crate::args::{ConnectionOptions, PromoteOptions};
use crate::{CommandError, ExitStatus, Io};

pub(crate) fn run(
    connection: &ConnectionOptions,
    options: &PromoteOptions,
    io: &mut Io<'_>,
) -> Result<ExitStatus, CommandError> {
    let PromoteOptions { app, full, following } = options;
    let act = format!("promote {app}");
    let client = connection.client(&act)?;
    let request = PromoteRequest { full: *full, version: None };
    let accepted = client.promote(app, &request).map_err(|e| CommandError::client(&*act, &e))?;
    let ending = Ending { wish: Direction::Forward, following: *following };
    finish(&client, &accepted, &act, ending, io)
}
