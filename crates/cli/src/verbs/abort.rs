//! `segue abort`: the rollout ends, and what was live before it stays or comes back.

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
    let act = format!("abort the rollout of {app}");
    let client = connection.client(&act)?;
    let request = BareRequest::default();
    let accepted = client.abort(app, &request).map_err(|e| Failure::client(&*act, &e))?;
    let ending = Ending { wish: Wish::Back, following: *following };
    finish(&client, &accepted, &act, ending, io)
}
