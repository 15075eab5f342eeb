//! What is different between a stored release and one that is asked for: names only, no values.

use std::collections::BTreeSet;

use model::{AppSpec, Digest, ReleaseView};
use serde_json::Value;

/// The names of the settings that differ, as an app file writes them, and `files`.
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
    if before.strategy != wanted.strategy {
        names.insert("strategy".to_owned());
    }
    names.into_iter().collect()
}

/// These shapes have only texts as keys, so this cannot fail.
fn json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// Goes into tables; everything else differs as a whole.
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
