//! `segue pause`: the rollout stays where it is until somebody resumes or aborts it.

use wire::BareRequest;

use super::outcome::told;
use crate::args::{AppOptions, Connection};
use crate::io::GOOD;
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
    told(&accepted, "the rollout is held where it is", io);
    io.say(format!(
        "{GOOD}hint:{GOOD:#} `segue resume {app}` lets it go on, `segue abort {app}` ends it"
    ));
    Ok(Exit::Done)
}
