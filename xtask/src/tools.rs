//! What the tests need on the machine, and how it gets there. Installs only what is missing.

use crate::run::{Done, run, there};

/// Programs the tests run, and the Debian packages they come in.
const PROGRAMS: [(&str, &[&str], &str); 3] = [
    ("wrk", &["--help"], "wrk"),
    ("python3", &["--version"], "python3"),
    ("node", &["--version"], "nodejs"),
];

/// Cargo's subcommands the tests run.
const SUBCOMMANDS: [&str; 2] = ["nextest", "deny"];

/// Installs what is missing.
pub(crate) fn install() -> Done {
    // wrk prints its help with exit code 1, so being found is enough.
    let missing: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _, _)| !there("sh", &["-c", &format!("command -v {program}")]))
        .map(|(_, _, package)| *package)
        .collect();
    if !missing.is_empty() {
        apt(&missing)?;
    }
    for name in SUBCOMMANDS {
        if !there("cargo", &[name, "--version"]) {
            // A debug build of the tool: it is built once and waits for the disk most of the time.
            run("cargo", ["install", "--locked", "--debug", &format!("cargo-{name}")])?;
        }
    }
    Ok(())
}

fn apt(packages: &[&str]) -> Done {
    let list = packages.join(" ");
    let root = there("sh", &["-c", "test \"$(id -u)\" = 0"]);
    let sudo: &[&str] = if root { &[] } else { &["sudo", "-n"] };
    if !there("apt-get", &["--version"]) || (!root && !there("sudo", &["-n", "true"])) {
        return Err(format!("the tests need these Debian packages, please install them: {list}"));
    }
    let env = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"];
    let ask = |args: &[&str]| {
        let words = [sudo, &env, args].concat();
        run(words[0], &words[1..])
    };
    ask(&["update", "-q"])?;
    let install = ["install", "-q", "-y", "--no-install-recommends"];
    ask(&[&install[..], packages].concat())
}
