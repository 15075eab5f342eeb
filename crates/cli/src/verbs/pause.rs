//! `segue pause`: the rollout stays where it is until somebody resumes or aborts it.

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
    let act = format!("pause the rollout of {app}");
    let client = connection.client(&act)?;
    let request = BareRequest::default();
    let accepted = client.pause(app, &request).map_err(|e| Failure::client(&*act, &e))?;
    told(&accepted, "held where it is; `segue resume` lets it go on", io);
    Ok(Exit::Done)
}
