//! `segue restart`: the live release stays, and its instances are replaced one after the other.

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
    let act = format!("restart {app}");
    let client = connection.client(&act)?;
    let request = BareRequest::default();
    let accepted = client.restart(app, &request).map_err(|e| Failure::client(&*act, &e))?;
    let ending = Ending { wish: Wish::Forward, following: *following };
    finish(&client, &accepted, &act, ending, io)
}
