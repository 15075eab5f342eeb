//! What the tests and the bench need on the machine, and how it gets there. Installs only what is missing.

use crate::run::{Done, run, there};

/// Programs the tests run, and the Debian packages they come in: the servers are the origins of the
/// proxy's differential test.
const PROGRAMS: [(&str, &str); 12] = [
    ("wrk", "wrk"),
    ("ip", "iproute2"),
    ("python3", "python3"),
    ("node", "nodejs"),
    ("nginx", "nginx-light"),
    ("apache2", "apache2-bin"),
    ("lighttpd", "lighttpd"),
    ("haproxy", "haproxy"),
    ("gunicorn", "gunicorn"),
    ("waitress-serve", "python3-waitress"),
    ("uvicorn", "uvicorn"),
    ("hypercorn", "python3-hypercorn"),
];

/// A parser that uvicorn uses if it is there.
const HTTPTOOLS: &str = "python3-httptools";

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
    let mut missing = missing(PROGRAMS);
    if !there("/usr/bin/python3", &["-c", "import httptools"]) {
        missing.push(HTTPTOOLS);
    }
    apt(&missing)?;
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
    apt(&missing(BENCH))
}

/// The packages of those programs that are not there.
fn missing(programs: impl IntoIterator<Item = (&'static str, &'static str)>) -> Vec<&'static str> {
    // Being found is enough: wrk prints its help with exit code 1. Servers are not on everybody's path.
    let found = |program: &str| format!("PATH=$PATH:/usr/sbin; command -v {program}");
    programs
        .into_iter()
        .filter(|(program, _)| !there("sh", &["-c", &found(program)]))
        .map(|(_, package)| package)
        .collect()
}

fn apt(packages: &[&str]) -> Done {
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    let root = there("sh", &["-c", "test \"$(id -u)\" = 0"]);
    let sudo: &[&str] = if root { &[] } else { &["sudo", "-n"] };
    if !there("apt-get", &["--version"]) || (!root && !there("sudo", &["-n", "true"])) {
        return Err(format!("these Debian packages are missing, please install them: {list}"));
    }
    // No server is started as a service of the machine because it was installed: for systemd, and for
    // what was before it.
    let quietly = ["DEBIAN_FRONTEND=noninteractive", "SYSTEMD_OFFLINE=1", "RUNLEVEL=1"];
    let env = [&["env"], &quietly[..], &["apt-get"]].concat();
    let ask = |args: &[&str]| {
        let words = [sudo, &env, args].concat();
        run(words[0], &words[1..])
    };
    ask(&["update", "-q"])?;
    let install = ["install", "-q", "-y", "--no-install-recommends"];
    ask(&[&install[..], packages].concat())
}
