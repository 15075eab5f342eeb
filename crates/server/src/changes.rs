//! Lists the differences between a stored release and a requested one. The lists contain names only, never
//! values of variables or contents of files.

use std::collections::{BTreeMap, BTreeSet};

use model::{AppSpec, Digest, ReleaseView};
use serde_json::Value;
use wire::{Kind, Manifest};

/// Returns the names of the settings that differ, as an app file writes them, and `files` if the files
/// differ.
pub(crate) fn changes(
    stored: &ReleaseView,
    wanted: &AppSpec,
    content: Option<Digest>,
) -> Vec<String> {
    let before = &stored.spec;
    let mut names = BTreeSet::new();
    if stored.content != content {
        names.insert("files".to_owned());
    }
    let pairs = [
        ("run", json(&before.run), json(&wanted.run)),
        ("health", json(&before.health), json(&wanted.health)),
        ("route", json(&before.route), json(&wanted.route)),
        ("drain", json(&before.drain), json(&wanted.drain)),
    ];
    for (name, before, wanted) in &pairs {
        differ(name, before, wanted, &mut names);
    }
    if before.on != wanted.on {
        names.insert("placement".to_owned());
    }
    if before.strategy != wanted.strategy {
        names.insert("strategy".to_owned());
    }
    names.into_iter().collect()
}

/// The largest number of names of files in a text.
const TOLD: usize = 5;

/// Returns the names of the files that differ, as a few words: `files (app.py, new.js; and 3 more)`.
pub(crate) fn files(stored: &Manifest, wanted: &Manifest) -> String {
    let by_path = |manifest: &Manifest| -> BTreeMap<String, Kind> {
        let entries = manifest.entries.iter();
        entries.map(|entry| (entry.path.clone(), entry.kind.clone())).collect()
    };
    let (before, after) = (by_path(stored), by_path(wanted));
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let word = |path: &&String| match (before.get(*path), after.get(*path)) {
        (Some(before), Some(after)) if before == after => None,
        (Some(_), Some(_)) => Some((*path).clone()),
        (Some(_), None) => Some(format!("{path} is gone")),
        (None, _) => Some(format!("{path} is new")),
    };
    let all: Vec<String> = paths.iter().filter_map(word).collect();
    let more = all.len().saturating_sub(TOLD);
    let told = all[..all.len() - more].join(", ");
    if more == 0 { format!("files ({told})") } else { format!("files ({told}; and {more} more)") }
}

/// Converts a value to JSON. These shapes have only texts as keys, so this cannot fail.
fn json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// Collects the names of the values that differ. Tables are compared key by key; every other value is
/// compared as a whole.
fn differ(path: &str, before: &Value, wanted: &Value, names: &mut BTreeSet<String>) {
    if let (Value::Object(left), Value::Object(right)) = (before, wanted) {
        let keys: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
        for key in keys {
            let side = |map: &serde_json::Map<String, Value>| map.get(key).cloned();
            let (left, right) = (side(left).unwrap_or_default(), side(right).unwrap_or_default());
            differ(&format!("{path}.{key}"), &left, &right, names);
        }
    } else if before != wanted {
        names.insert(path.to_owned());
    }
}
