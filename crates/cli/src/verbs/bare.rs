//! The verbs that need nothing but the app's name: `resume`, `abort` and `restart`, which are followed to the
//! end of the rollout, `pause` and `sync`, which are done at once.

use model::AppName;
use wire::{Accepted, BareRequest, Client, ClientError};

use super::outcome::{Ending, Wish, finish, told};
use crate::args::{AppOptions, Connection, FollowOptions};
use crate::{Exit, Failure, Io};

type Call = fn(&Client, &AppName, &BareRequest) -> Result<Accepted, ClientError>;

/// A verb whose rollout is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Followed {
    Resume,
    Abort,
    Restart,
}

/// A verb that is done once it is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtOnce {
    Pause,
    Sync,
}

pub(crate) fn follow(
    verb: Followed,
    connection: &Connection,
    options: &FollowOptions,
    io: &mut Io<'_>,
) -> Result<Exit, Failure> {
    let FollowOptions { app, following } = options;
    let (act, call, wish): (_, Call, _) = match verb {
        Followed::Resume => ("resume the rollout of", Client::resume, Wish::Forward),
        Followed::Abort => ("abort the rollout of", Client::abort, Wish::Back),
        Followed::Restart => ("restart", Client::restart, Wish::Forward),
    };
    let act = format!("{act} {app}");
    let (client, accepted) = ask(connection, app, &act, call)?;
    finish(&client, &accepted, &act, Ending { wish, following: *following }, io)
}

pub(crate) fn at_once(
    verb: AtOnce,
    connection: &Connection,
    options: &AppOptions,
    io: &mut Io<'_>,
) -> Result<Exit, Failure> {
    let AppOptions { app } = options;
    let (act, call, otherwise): (_, Call, _) = match verb {
        AtOnce::Pause => (
            "pause the rollout of",
            Client::pause,
            "held where it is; `segue resume` lets it go on",
        ),
        AtOnce::Sync => ("sync", Client::sync, "the standby is brought to the live version"),
    };
    let (_, accepted) = ask(connection, app, &format!("{act} {app}"), call)?;
    told(&accepted, otherwise, io);
    Ok(Exit::Done)
}

fn ask(
    connection: &Connection,
    app: &AppName,
    act: &str,
    call: Call,
) -> Result<(Client, Accepted), Failure> {
    let client = connection.client(act)?;
    let accepted = call(&client, app, &BareRequest::default());
    let accepted = accepted.map_err(|error| Failure::client(act, &error))?;
    Ok((client, accepted))
}
