//! The values of variables that releases name, as kept in the server's store: by digest, until a command
//! about what to keep omits them. Only the store and the instances may ever see a value.

use std::collections::BTreeMap;

use control::{Answer, Command, Engine, Ticket};
use model::{AppName, Digest, Keep, RolloutId};
use rollout::{App, Ask, Refusal, RefusalCode};

use crate::violation::Wrong;

/// The prefix of every value, which occurs nowhere else in a world.
const MARK: &str = "hunter2-";

/// The variable that releases of the simulation name.
const VARIABLE: &str = "DATABASE_PASSWORD";

/// The store of a world.
#[derive(Clone, Debug, Default)]
pub struct Values {
    kept: BTreeMap<(AppName, Digest), Value>,
    /// The values of deploys without an answer so far.
    asked: BTreeMap<Ticket, Vec<(AppName, Digest)>>,
}

/// A value, and its protection until control knows of all deploys that bring it.
#[derive(Clone, Debug)]
struct Value {
    text: String,
    /// Number of deploys with it that have no answer yet.
    asked: u32,
    /// True if no deploy with it was accepted.
    is_new: bool,
    /// The last accepted rollout with it.
    accepted: Option<RolloutId>,
    /// True if a command about what to keep may have spared it for a deploy that was not accepted. The store
    /// deletes such a value by its age.
    is_spared: bool,
}

impl Values {
    /// Stores the value of release `serial` of the app. Every second release shares its value with the one
    /// before. Returns the variables for the release.
    pub fn put(&mut self, app: &AppName, serial: u64) -> BTreeMap<String, Digest> {
        let number = serial / 2;
        let mut bytes = [0x5e; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        let digest = Digest::from_bytes(bytes);
        let text = format!("{MARK}{app}-{number}");
        let (asked, accepted, is_spared) = (0, None, false);
        let value = Value { text, asked, is_new: true, accepted, is_spared };
        self.kept.entry((app.clone(), digest)).or_insert(value);
        [(VARIABLE.to_owned(), digest)].into()
    }

    /// Records a request to deploy values.
    pub fn asked(&mut self, ticket: Ticket, app: &AppName, ask: &Ask) {
        let Ask::Deploy { release, .. } = ask else { return };
        let brings = release.spec.run.env.values().map(|digest| (app.clone(), *digest));
        let brings: Vec<_> = brings.filter(|key| self.kept.contains_key(key)).collect();
        for key in &brings {
            self.kept.entry(key.clone()).and_modify(|value| value.asked += 1);
        }
        self.asked.insert(ticket, brings);
    }

    /// Records the answer to a deploy.
    pub fn answered(&mut self, ticket: Ticket, answer: &Result<Answer, Refusal>) {
        for key in self.asked.remove(&ticket).unwrap_or_default() {
            let Some(value) = self.kept.get_mut(&key) else { continue };
            if matches!(answer, Err(refusal) if refusal.code == RefusalCode::Unavailable) {
                // The deploy may have been accepted or not.
                value.is_spared = true;
                continue;
            }
            value.asked = value.asked.saturating_sub(1);
            match answer {
                Ok(answer) => {
                    value.is_new = false;
                    value.accepted = value.accepted.max(answer.rollout);
                }
                Err(_) if value.asked == 0 && value.is_new => {
                    self.kept.remove(&key);
                }
                Err(_) => value.is_spared = true,
            }
        }
    }

    /// The server dies and forgets the deploys in progress.
    pub fn server_dies(&mut self) {
        self.asked.clear();
        for value in self.kept.values_mut() {
            value.is_spared |= value.asked > 0;
            (value.asked, value.accepted, value.is_new) = (0, None, false);
        }
    }

    /// Deletes values that the app no longer needs. Values of a deploy unknown to the command stay.
    pub fn keep_only(&mut self, keep: &Keep) {
        self.kept.retain(|(app, digest), value| {
            let is_known = value.accepted.is_none_or(|accepted| accepted <= keep.last_rollout);
            *app != keep.app || keep.env.contains(digest) || value.asked > 0 || !is_known
        });
    }

    /// Returns whether all of these values are stored.
    pub fn has_all(&self, app: &AppName, env: &BTreeMap<String, Digest>) -> bool {
        env.values().all(|digest| self.kept.contains_key(&(app.clone(), *digest)))
    }

    /// Returns the values of these digests.
    pub fn texts<'a>(
        &'a self,
        app: &'a AppName,
        env: &'a BTreeMap<String, Digest>,
    ) -> impl Iterator<Item = &'a str> {
        env.values().filter_map(|digest| Some(&*self.kept.get(&(app.clone(), *digest))?.text))
    }

    /// Returns the stored values, except those that will be deleted by their age.
    pub fn settled(&self) -> impl Iterator<Item = (&AppName, Digest)> {
        let settled = self.kept.iter().filter(|(_, value)| !value.is_spared);
        settled.map(|((app, digest), _)| (app, *digest))
    }

    /// Returns whether no values are stored.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

/// Checks that control includes no value in a fact, a table, a receipt, an answer, or any other command.
pub fn check_told(commands: &[Command]) -> Option<Wrong> {
    let tells = |command: &&Command| format!("{command:?}").contains(MARK);
    let told = commands.iter().find(tells)?;
    Some(("secret", format!("the value of a variable is in {told:?}")))
}

/// Checks, at rest, that a stored release names every remaining value.
pub fn check_quiet(engine: &Engine, values: &Values) -> Option<Wrong> {
    let names = |app: &App, digest: Digest| {
        app.releases.values().any(|release| release.spec.run.env.values().any(|it| *it == digest))
    };
    let left = values.settled().find(|(name, digest)| {
        let app = engine.apps().find(|app| app.name == **name);
        !app.is_some_and(|app| names(app, *digest))
    });
    left.map(|(app, digest)| ("I9", format!("the value {digest} of {app} is left on the server")))
}
