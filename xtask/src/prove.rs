//! The long forms of the tests: the parts of an issue, each of ten minutes at most on two cores. A part that
//! has passed on this commit is not run again, so a run may be interrupted.

use std::fs;
use std::time::Instant;

use crate::run::{Done, output, root, run};
use crate::soak;

/// One part: its name and its function.
type Part = (&'static str, fn() -> Done);

/// A thousand deployments, and ten thousand simulated worlds.
const G0: [Part; 9] = [
    ("soak-1", quarter),
    ("soak-2", quarter),
    ("soak-3", quarter),
    ("soak-4", quarter),
    ("sim-1", || sim(0)),
    ("sim-2", || sim(2_000)),
    ("sim-3", || sim(4_000)),
    ("sim-4", || sim(6_000)),
    ("sim-5", || sim(8_000)),
];

fn quarter() -> Done {
    soak::deployments(250)
}

fn sim(from: u32) -> Done {
    let from = from.to_string();
    let words =
        ["run", "--release", "-q", "-p", "testkit", "--bin", "sim", "--", "--seeds", "2000"];
    run("cargo", words.into_iter().chain(["--from", &from]))
}

/// Runs the parts of an issue that have not passed on this commit.
pub(crate) fn prove(words: &[String]) -> Done {
    let parts = match words {
        [issue] if issue.eq_ignore_ascii_case("g0") => &G0,
        _ => return Err("usage: cargo xtask prove g0".to_owned()),
    };
    let commit = output("git", &["rev-parse", "HEAD"])?;
    let folder = root().join("target/prove").join(commit.trim());
    let failed = |error| format!("cannot use {}: {error}", folder.display());
    fs::create_dir_all(&folder).map_err(failed)?;
    for (name, part) in parts {
        let passed = folder.join(name);
        if passed.exists() {
            println!("{name}: passed before");
            continue;
        }
        let start = Instant::now();
        part().map_err(|why| format!("{name}: {why}"))?;
        println!("{name}: passed in {} s", start.elapsed().as_secs());
        fs::write(&passed, "").map_err(failed)?;
    }
    println!("{} parts passed on {}", parts.len(), commit.trim());
    Ok(())
}
