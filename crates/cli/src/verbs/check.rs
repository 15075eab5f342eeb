//! `segue check`: reads an app file, and says what it means or what is wrong with it.

use crate::args::CheckOptions;
use crate::io::{BOLD, GOOD};
use crate::verbs::deploy::read;
use crate::{Exit, Failure, Io};

pub(crate) fn run(options: &CheckOptions, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let file = read(&options.file)?;
    let spec = &file.spec;
    let hosts =
        if spec.route.hosts.is_empty() { "every host".into() } else { spec.route.hosts.join(", ") };
    io.say(format!(
        "{GOOD}fine:{GOOD:#} {BOLD}{}{BOLD:#} runs {} × `{}`, serves {hosts} at {}, comes in by {}",
        spec.app,
        spec.run.replicas,
        spec.run.command.join(" "),
        spec.route.path,
        spec.strategy.kind.name(),
    ));
    Ok(Exit::Done)
}
