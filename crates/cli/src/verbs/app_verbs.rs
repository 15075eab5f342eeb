//! The verbs that need only the app's name. `resume`, `abort` and `restart` follow the rollout to its end.
//! `pause` and `sync` are done at once.

use model::AppName;
use wire::{ApiClient, BareRequest, ClientError, CommandAccepted};

use super::outcome::{Direction, Ending, finish, told};
use crate::args::{AppOptions, ConnectionOptions, FollowOptions};
use crate::{CommandError, ExitStatus, Io};

type Call = fn(&ApiClient, &AppName, &BareRequest) -> Result<CommandAccepted, ClientError>;

/// A verb whose rollout is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FollowedVerb {
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
    verb: FollowedVerb,
    connection: &ConnectionOptions,
    options: &FollowOptions,
    io: &mut Io<'_>,
) -> Result<ExitStatus, CommandError> {
    let FollowOptions { app, following } = options;
    let (act, call, wish): (_, Call, _) = match verb {
        FollowedVerb::Resume => ("resume the rollout of", ApiClient::resume, Direction::Forward),
        FollowedVerb::Abort => ("abort the rollout of", ApiClient::abort, Direction::Back),
        FollowedVerb::Restart => ("restart", ApiClient::restart, Direction::Forward),
    };
    let act = format!("{act} {app}");
    let (client, accepted) = ask(connection, app, &act, call)?;
    finish(&client, &accepted, &act, Ending { wish, following: *following }, io)
}

pub(crate) fn at_once(
    verb: AtOnce,
    connection: &ConnectionOptions,
    options: &AppOptions,
    io: &mut Io<'_>,
) -> Result<ExitStatus, CommandError> {
    let AppOptions { app } = options;
    let (act, call, otherwise): (_, Call, _) = match verb {
        AtOnce::Pause => (
            "pause the rollout of",
            ApiClient::pause,
            "held where it is; `segue resume` lets it go on",
        ),
        AtOnce::Sync => ("sync", ApiClient::sync, "the standby is brought to the live version"),
    };
    let (_, accepted) = ask(connection, app, &format!("{act} {app}"), call)?;
    told(&accepted, otherwise, io);
    Ok(ExitStatus::Done)
}

fn ask(
    connection: &ConnectionOptions,
    app: &AppName,
    act: &str,
    call: Call,
) -> Result<(ApiClient, CommandAccepted), CommandError> {
    let client = connection.client(act)?;
    let accepted = call(&client, app, &BareRequest::default());
    let accepted = accepted.map_err(|error| CommandError::client(act, &error))?;
    Ok((client, accepted))
}
