//! `segue promote`: the release that waits for a person is switched to.

use wire::PromoteRequest;

use super::outcome::{Ending, Wish, finish};
use crate::args::{Connection, FollowOptions};
use crate::{Exit, Failure, Io};

pub(crate) fn run(
    connection: &Connection,
    options: &FollowOptions,
    io: &mut Io<'_>,
) -> Result<Exit, Failure> {
    let FollowOptions { app, detach, json } = options;
    let act = format!("promote {app}");
    let client = connection.client(&act)?;
    let request = PromoteRequest::default();
    let accepted = client.promote(app, &request).map_err(|e| Failure::client(&*act, &e))?;
    let ending = Ending { wish: Wish::Forward, detach: *detach, json: *json };
    finish(&client, &accepted, &act, ending, io)
}
