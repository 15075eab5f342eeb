//! Walks over the records that control journals, with the state of the app before each fact.

use control::{Command, Engine, Record};
use rollout::{App, Fact};

use crate::violation::Wrong;

/// Returns the first thing that `check` finds wrong with a fact of these commands. It is given the app as it was
/// before the fact.
pub fn find_wrong(
    engine: &Engine,
    commands: &[Command],
    mut check: impl FnMut(&App, &Fact) -> Option<Wrong>,
) -> Option<Wrong> {
    records(commands).find_map(|record| {
        let name = record.app()?;
        let app = engine.apps().find(|app| app.name == *name).cloned();
        let mut app = app.unwrap_or_else(|| App::new(name.clone()));
        record.facts().iter().find_map(|fact| {
            let wrong = check(&app, fact);
            // An illegal fact is found elsewhere.
            let _ = rollout::apply(&mut app, fact);
            wrong
        })
    })
}

fn records(commands: &[Command]) -> impl Iterator<Item = &Record> {
    let appended = commands.iter().filter_map(|command| {
        if let Command::Append(records) = command { Some(records) } else { None }
    });
    appended.flatten()
}
