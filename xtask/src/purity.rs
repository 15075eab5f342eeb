//! Checks that the pure crates use no system functions: they and all their dependencies are `no_std`.

use std::fs;
use std::path::Path;

use crate::run::{Done, output};

/// Crates without IO, clock, randomness and async.
const PURE: [&str; 4] = ["model", "rollout", "balance", "http1"];

/// The only dependencies allowed besides each other, and never with the feature `std`.
const BUILT_FROM: [&str; 2] = ["serde", "serde_core"];

/// Fails if a pure crate could use the system.
pub(crate) fn check(root: &Path) -> Done {
    let mut wrong = Vec::new();
    for name in PURE {
        let source = root.join("crates").join(name).join("src/lib.rs");
        let Ok(text) = fs::read_to_string(&source) else { continue }; // not written yet
        if !no_std(&text) {
            wrong.push(format!("`{name}` does not begin with #![no_std], or brings std back"));
        }
        let args = ["tree", "-p", name, "-e", "normal,no-proc-macro", "--prefix", "none"];
        let tree = output("cargo", &[&args[..], &["--no-dedupe", "-f", "{p}|{f}"]].concat())?;
        for line in tree.lines().skip(1) {
            wrong.extend(unfit(line).map(|why| format!("`{name}` is built from {why}")));
        }
    }
    wrong.dedup();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// Returns whether a crate does without the standard library, except in tests.
fn no_std(source: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let before = |at: usize| at.checked_sub(1).map_or("", |before| lines[before]);
    let brought_back = lines
        .iter()
        .enumerate()
        .any(|(at, line)| *line == "extern crate std;" && before(at) != "#[cfg(test)]");
    lines.contains(&"#![no_std]") && !brought_back
}

/// Returns what is wrong with one line of the tree, `NAME VERSION …|FEATURES`.
fn unfit(line: &str) -> Option<String> {
    let (package, features) = line.split_once('|').unwrap_or((line, ""));
    let name = package.split_whitespace().next()?;
    if PURE.contains(&name) {
        return None;
    }
    if !BUILT_FROM.contains(&name) {
        return Some(format!("`{name}`, which is not known to be pure"));
    }
    features.split(',').any(|feature| feature == "std").then(|| format!("`{name}` with `std`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pure_crates_touch_no_system() {
        if let Err(why) = check(&crate::run::root()) {
            panic!("{why}");
        }
    }

    #[test]
    fn std_is_seen_wherever_it_comes_in() {
        assert!(no_std("//! x\n#![no_std]\n#[cfg(test)]\nextern crate std;\n"));
        assert!(!no_std("#![no_std]\nextern crate std;\n"));
        assert!(!no_std("#![cfg_attr(not(test), no_std)]\n"));
        assert!(unfit("serde v1.0.0|alloc,derive,rc").is_none());
        assert!(unfit("serde v1.0.0|default,std").is_some());
        assert!(unfit("tokio v1.0.0|").is_some());
        assert!(unfit("model v0.1.0 (/x)|").is_none());
    }
}
