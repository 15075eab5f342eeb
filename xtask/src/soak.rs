//! `cargo xtask soak`: many deployments in a row with the release build. The scenario, and its short form,
//! is the test `soak` of the program.

use std::process::Command;

use crate::run::{Done, root, status};

/// The environment variable from which the test reads the number of deployments.
const COUNT: &str = "SEGUE_SOAK";
const MOST: u32 = 100_000;

/// Runs `--deployments N`; by default a thousand.
pub(crate) fn soak(words: &[String]) -> Done {
    let usage = "usage: cargo xtask soak [--deployments N]";
    match words {
        [] => deployments(1_000),
        [word, count] if word == "--deployments" => {
            let count = count.parse().ok().filter(|count| (1..=MOST).contains(count));
            deployments(count.ok_or(usage)?)
        }
        _ => Err(usage.to_owned()),
    }
}

/// Runs this many deployments in one world.
pub(crate) fn deployments(count: u32) -> Done {
    let mut command = Command::new("cargo");
    command.args(["test", "--release", "--locked", "--quiet", "-p", "segue", "--test", "e2e"]);
    command.args(["soak::", "--", "--nocapture"]).env(COUNT, count.to_string());
    status(command.current_dir(root()))
}
