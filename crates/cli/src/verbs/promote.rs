//! `segue promote`: the release that waits for a person goes on, by a step or all the way.

use wire::PromoteRequest;

use super::outcome::{Ending, Wish, finish};
use crate::args::{Connection, PromoteOptions};
use crate::{Exit, Failure, Io};

pub(crate) fn run(
    connection: &Connection,
    options: &PromoteOptions,
    io: &mut Io<'_>,
) -> Result<Exit, Failure> {
    let PromoteOptions { app, full, following } = options;
    let act = format!("promote {app}");
    let client = connection.client(&act)?;
    let request = PromoteRequest { full: *full, version: None };
    let accepted = client.promote(app, &request).map_err(|e| Failure::client(&*act, &e))?;
    let ending = Ending { wish: Wish::Forward, following: *following };
    finish(&client, &accepted, &act, ending, io)
}
