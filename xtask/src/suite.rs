//! All checks of continuous integration, the quickest first. The test runner comes last, so that its closing
//! lines are followed by the time of each part alone.

use std::time::{Duration, Instant};

use crate::run::{Done, root, run, there};
use crate::{deps, purity, tidy, tools};

/// Maximum time of all parts together, on two cores.
const MOST: Duration = Duration::from_secs(40 * 60);

/// One part: its name and its function.
type Part = (&'static str, fn() -> Done);

const PARTS: [Part; 8] = [
    ("tools", tools::install),
    ("format", || run("cargo", ["fmt", "--all", "--check"])),
    ("borders", borders),
    ("libraries", libraries),
    ("clippy", clippy),
    ("fuzz targets", fuzz),
    ("doc tests", || run("cargo", ["test", "--workspace", "--doc", "--locked", "--quiet"])),
    ("tests", || run("cargo", ["nextest", "run", "--workspace", "--locked"])),
];

/// Runs everything, and stops at the first failure. Also fails if the run takes too long, since slow checks
/// are run less often.
pub(crate) fn test() -> Done {
    let start = Instant::now();
    let mut took = Vec::new();
    for (name, part) in PARTS {
        let start = Instant::now();
        part()?;
        took.push(format!("{name} {}", minutes(start.elapsed())));
    }
    let all = start.elapsed();
    println!("minutes: {}; in all {}", took.join(", "), minutes(all));
    if all > MOST {
        return Err(format!("it takes {} minutes, more than {}", minutes(all), minutes(MOST)));
    }
    Ok(())
}

fn minutes(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() / 60.0)
}

fn borders() -> Done {
    println!("→ tidy, deps");
    tidy::check(&root())?;
    deps::check(&root())?;
    purity::check(&root())
}

fn libraries() -> Done {
    run("cargo", ["deny", "--all-features", "check", "bans", "licenses", "sources"])?;
    advisories()
}

fn clippy() -> Done {
    let words = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    run("cargo", words)
}

/// Checks that the fuzz targets compile. They are a workspace with its own lock file. The fuzzer itself
/// needs a C++ compiler and is left out.
fn fuzz() -> Done {
    let manifest = ["--manifest-path", "fuzz/Cargo.toml", "--target-dir", "target/fuzz"];
    let what = ["--bins", "--no-default-features", "--locked"];
    run("cargo", ["check"].into_iter().chain(manifest).chain(what))
}

/// Checks libraries for known vulnerabilities, if the list can be downloaded. Some machines reach only the
/// package registry.
fn advisories() -> Done {
    if there("timeout", &["60", "cargo", "deny", "fetch", "db"]) {
        return run("cargo", ["deny", "check", "--disable-fetch", "advisories"]);
    }
    println!("skipped: the list of known holes in libraries cannot be reached from here");
    Ok(())
}
