//! `segue sync`: the standby becomes a second set of what is live.

use wire::BareRequest;

use super::outcome::told;
use crate::args::{AppOptions, Connection};
use crate::{Exit, Failure, Io};

pub(crate) fn run(
    connection: &Connection,
    options: &AppOptions,
    io: &mut Io<'_>,
) -> Result<Exit, Failure> {
    let AppOptions { app } = options;
    let act = format!("sync {app}");
    let client = connection.client(&act)?;
    let accepted =
        client.sync(app, &BareRequest::default()).map_err(|e| Failure::client(&*act, &e))?;
    told(&accepted, "the standby is brought to the live version", io);
    Ok(Exit::Done)
}
