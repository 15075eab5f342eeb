//! `segue check`: reads an app file and the folder that it ships, and reports what the file means, and which
//! errors and possible errors it has. Asks no server, and does not check what only a server can know.

use super::command_check::{Finding, Grave, findings};
use super::outside_paths::{Outside, resolve};
use crate::args::CheckOptions;
use crate::style::{BAD, BOLD, GOOD, WARN};
use crate::verbs::deploy::{list, read};
use crate::{CommandError, ExitStatus, Io};

pub(crate) fn run(options: &CheckOptions, io: &mut Io<'_>) -> Result<ExitStatus, CommandError> {
    let CheckOptions { file: path, outside } = options;
    let outside = Outside::flag(*outside);
    let file = read(path, outside)?;
    let dir = resolve(path, "dir", &file.dir, outside)?;
    let manifest = list(path, &dir)?.manifest;
    let probe = file.spec.health.command.as_deref().unwrap_or_default();
    let all = [&file.spec.run.command, probe].map(|command| findings(command, &dir, &manifest));
    let all = all.into_iter().flatten();
    let (errors, warnings): (Vec<Finding>, Vec<Finding>) =
        all.partition(|finding| finding.grave == Grave::Error);
    for Finding { text, hint, .. } in warnings {
        io.say(format!("{WARN}warning:{WARN:#} {text}"));
        io.say(format!("{GOOD}hint:{GOOD:#} {hint}"));
    }
    let mut errors = errors.into_iter().rev();
    let last = errors.next();
    for Finding { text, hint, .. } in errors.rev() {
        io.say(format!("{BAD}error:{BAD:#} {text}"));
        io.say(format!("{GOOD}hint:{GOOD:#} {hint}"));
    }
    if let Some(Finding { text, hint, .. }) = last {
        return Err(CommandError::because(format!("check {}", path.display()), text).hint(hint));
    }
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
    Ok(ExitStatus::Done)
}
