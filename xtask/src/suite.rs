//! Everything continuous integration runs, quickest first. The test runner comes last, so that its
//! closing lines are the last ones printed.

use crate::run::{Done, root, run, there};
use crate::{deps, purity, tidy, tools};

/// Runs everything; stops at the first thing that fails.
pub(crate) fn test() -> Done {
    tools::install()?;
    run("cargo", ["fmt", "--all", "--check"])?;
    println!("→ tidy, deps");
    tidy::check(&root())?;
    deps::check(&root())?;
    purity::check(&root())?;
    run("cargo", ["deny", "--all-features", "check", "bans", "licenses", "sources"])?;
    advisories()?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    run("cargo", clippy)?;
    run("cargo", ["test", "--workspace", "--doc", "--locked", "--quiet"])?;
    run("cargo", ["nextest", "run", "--workspace", "--locked"])
}

/// Known holes in libraries, as far as the list of them can be had: some machines reach only the
/// package registry.
fn advisories() -> Done {
    if there("timeout", &["60", "cargo", "deny", "fetch", "db"]) {
        return run("cargo", ["deny", "check", "--disable-fetch", "advisories"]);
    }
    println!("skipped: the list of known holes in libraries cannot be reached from here");
    Ok(())
}
