//! `segue scale`: changes the number of instances, until the app file itself sets another one.

use wire::ScaleRequest;

use super::outcome::told;
use crate::args::{ConnectionOptions, ScaleOptions};
use crate::{CommandError, ExitStatus, Io};

pub(crate) fn run(
    connection: &ConnectionOptions,
    options: &ScaleOptions,
    io: &mut Io<'_>,
) -> Result<ExitStatus, CommandError> {
    let ScaleOptions { app, replicas } = options;
    let act = format!("scale {app} to {replicas}");
    let client = connection.client(&act)?;
    let request = ScaleRequest { replicas: *replicas, version: None };
    let accepted = client.scale(app, &request).map_err(|e| CommandError::client(&*act, &e))?;
    told(&accepted, &format!("{replicas} instances are wanted from now on"), io);
    Ok(ExitStatus::Done)
}
