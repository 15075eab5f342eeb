//! `segue resume`: a rollout that is held goes on, and is followed to its end.

use wire::BareRequest;

use super::outcome::{Ending, Wish, finish};
use crate::args::{Connection, FollowOptions};
use crate::{Exit, Failure, Io};

pub(crate) fn run(
    connection: &Connection,
    options: &FollowOptions,
    io: &mut Io<'_>,
) -> Result<Exit, Failure> {
    let FollowOptions { app, following } = options;
    let act = format!("resume the rollout of {app}");
    let client = connection.client(&act)?;
    let request = BareRequest::default();
    let accepted = client.resume(app, &request).map_err(|e| Failure::client(&*act, &e))?;
    let ending = Ending { wish: Wish::Forward, following: *following };
    finish(&client, &accepted, &act, ending, io)
}
