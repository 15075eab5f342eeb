//! What the tests and the bench need on the machine, and how it gets there. Installs only what is missing.

use crate::run::{Done, run, there};

/// Programs the tests run, and the Debian packages they come in.
const PROGRAMS: [(&str, &str); 3] = [("wrk", "wrk"), ("python3", "python3"), ("node", "nodejs")];

/// Programs the bench runs, and their packages. strace is not among them: it is used if there.
const BENCH: [(&str, &str); 6] = [
    ("wrk", "wrk"),
    ("nginx", "nginx-light"),
    ("haproxy", "haproxy"),
    ("slowhttptest", "slowhttptest"),
    ("taskset", "util-linux"),
    ("setpriv", "util-linux"),
];

/// Cargo's subcommands the tests run.
const SUBCOMMANDS: [&str; 2] = ["nextest", "deny"];

/// Installs what is missing.
pub(crate) fn install() -> Done {
    add_missing(PROGRAMS)?;
    for name in SUBCOMMANDS {
        if !there("cargo", &[name, "--version"]) {
            // A debug build of the tool: it is built once and waits for the disk most of the time.
            run("cargo", ["install", "--locked", "--debug", &format!("cargo-{name}")])?;
        }
    }
    Ok(())
}

/// Installs what the bench needs and is missing.
pub(crate) fn install_for_bench() -> Done {
    add_missing(BENCH)
}

/// Installs the packages of those programs that are not there.
fn add_missing(programs: impl IntoIterator<Item = (&'static str, &'static str)>) -> Done {
    // Being found is enough: wrk prints its help with exit code 1.
    let missing: Vec<&str> = programs
        .into_iter()
        .filter(|(program, _)| !there("sh", &["-c", &format!("command -v {program}")]))
        .map(|(_, package)| package)
        .collect();
    if missing.is_empty() { Ok(()) } else { apt(&missing) }
}

fn apt(packages: &[&str]) -> Done {
    let list = packages.join(" ");
    let root = there("sh", &["-c", "test \"$(id -u)\" = 0"]);
    let sudo: &[&str] = if root { &[] } else { &["sudo", "-n"] };
    if !there("apt-get", &["--version"]) || (!root && !there("sudo", &["-n", "true"])) {
        return Err(format!("these Debian packages are missing, please install them: {list}"));
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
