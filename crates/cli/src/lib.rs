//! The command line: one file per verb, and modules for progress, tables and JSON.
//!
//! Data goes to stdout, messages for people go to stderr. The command line knows the API only through `wire`.
//! The verbs that run in this process (server, proxy, shim) are implemented by the program, which passes them
//! as [`Local`].

mod args;
mod connect;
mod demo;
mod failure;
mod follow;
mod interrupt;
mod io;
mod limit;
mod local;
mod progress;
mod sample_app;
mod style;
mod text;
mod verbs;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};

pub use args::{
    AccessLogTarget, AgentOptions, BalanceOption, Cli, ConfirmPort, DoorOptions, FloatingOptions,
    LoneProxyOptions, ProxyMemberOptions, ProxyOptions, ServerOptions,
};
pub use failure::{CommandError, ExitStatus};
pub use io::Io;
pub use limit::Limit;
pub use local::Local;

use args::Verb;
use verbs::app_verbs::{AtOnce, FollowedVerb};

/// Runs the whole program: parses the command line and runs the verb.
pub fn main(local: &dyn Local) -> ExitCode {
    run(std::env::args_os(), &mut Io::terminal(), local)
}

/// Runs the program like [`main`], but takes everything that it touches as arguments.
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    io: &mut Io<'_>,
    local: &dyn Local,
) -> ExitCode {
    let mut words = Cli::command();
    if let Some(width) = io.width() {
        words = words.term_width(width);
    }
    let read = words.try_get_matches_from(args).and_then(|found| Cli::from_arg_matches(&found));
    let cli = match read {
        Ok(cli) => cli,
        Err(error) => return io.usage(&error),
    };
    match dispatch(cli, io, local) {
        Ok(code) => code,
        Err(failure) => {
            io.fail(&failure);
            failure.exit.into()
        }
    }
}

fn dispatch(cli: Cli, io: &mut Io<'_>, local: &dyn Local) -> Result<ExitCode, CommandError> {
    let Cli { connection, verb } = cli;
    let exit = match verb {
        Verb::Server(options) => return local.server(options).map(|()| ExitStatus::Done.into()),
        Verb::Proxy(options) => return local.proxy(options).map(|()| ExitStatus::Done.into()),
        Verb::Agent(options) => return local.agent(options).map(|()| ExitStatus::Done.into()),
        Verb::Shim { args } => return Ok(local.shim(args)),
        Verb::Watch { args } => return Ok(local.watch(args)),
        Verb::Exec { args } => return Ok(local.exec(args)),
        Verb::Sample(options) => return Ok(sample_app::run(&options)),
        Verb::Deploy(options) => verbs::deploy::run(&connection, &options, io)?,
        Verb::Plan(options) => verbs::plan::run(&connection, &options, io)?,
        Verb::Status(options) => verbs::status::run(&connection, &options, io)?,
        Verb::Releases(options) => verbs::releases::run(&connection, &options, io)?,
        Verb::Rollback(options) => verbs::rollback::run(&connection, &options, io)?,
        Verb::Promote(options) => verbs::promote::run(&connection, &options, io)?,
        Verb::Pause(options) => {
            verbs::app_verbs::at_once(AtOnce::Pause, &connection, &options, io)?
        }
        Verb::Sync(options) => verbs::app_verbs::at_once(AtOnce::Sync, &connection, &options, io)?,
        Verb::Resume(options) => {
            verbs::app_verbs::follow(FollowedVerb::Resume, &connection, &options, io)?
        }
        Verb::Abort(options) => {
            verbs::app_verbs::follow(FollowedVerb::Abort, &connection, &options, io)?
        }
        Verb::Restart(options) => {
            verbs::app_verbs::follow(FollowedVerb::Restart, &connection, &options, io)?
        }
        Verb::Scale(options) => verbs::scale::run(&connection, &options, io)?,
        Verb::Maintenance(options) => verbs::maintenance::run(&connection, &options, io)?,
        Verb::Logs(options) => verbs::logs::run(&connection, &options, io)?,
        Verb::Receipt(options) => verbs::receipt::run(&connection, &options, io)?,
        Verb::Remove(options) => verbs::remove::run(&connection, &options, io)?,
        Verb::Down => verbs::down::run(&connection, io, local)?,
        Verb::Fleet(options) => verbs::fleet::run(&connection, &options, io)?,
        Verb::Check(options) => verbs::check::run(&options, io)?,
        Verb::Demo(options) => demo::run(&options, io)?,
        Verb::Completions(options) => verbs::completions::run(&options, io)?,
    };
    Ok(exit.into())
}
