//! Invariants of the number of apps: never above the limit, and no refusal below it.

use std::collections::BTreeSet;

use control::{Command, Engine, Record};
use model::AppName;
use rollout::Fact;

use crate::violation::Wrong;

/// Checks the apps, and the refusals among these commands.
pub fn check(engine: &Engine, commands: &[Command], most: usize) -> Option<Wrong> {
    let there: BTreeSet<&AppName> =
        engine.apps().filter(|app| !app.is_removed()).map(|app| &app.name).collect();
    if there.len() > most {
        return Some(("names", format!("there are {} apps, and {most} is the limit", there.len())));
    }
    let records = commands.iter().filter_map(|command| match command {
        Command::Append(records) => Some(records),
        Command::Checkpoint(_)
        | Command::Host(_)
        | Command::Proxy(_)
        | Command::Answer(..)
        | Command::Announce(_)
        | Command::Show(_)
        | Command::Hide(_)
        | Command::ShowFleet(_) => None,
    });
    let begins =
        |record: &&Record| record.facts().iter().any(|fact| matches!(fact, Fact::Started(_)));
    let begun = records.flatten().filter(begins).filter_map(Record::app);
    let to_be: BTreeSet<&AppName> = there.iter().copied().chain(begun).collect();
    let is_full = |command: &Command| matches!(command, Command::Answer(_, Err(refusal)) if refusal.message.ends_with("apps already"));
    (to_be.len() < most && commands.iter().any(is_full)).then(|| {
        (
            "names",
            format!("an app is refused beside {} others, and {most} is the limit", to_be.len()),
        )
    })
}
