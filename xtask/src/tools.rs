//! The programs that the tests and the bench need on the machine, and their installation. Installs only
//! missing ones.

use crate::run::{Done, run, there};

/// Programs used by the tests, and their Debian packages. The servers are the origins of the proxy's
/// differential test.
const PROGRAMS: [(&str, &str); 14] = [
    ("wrk", "wrk"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("keepalived", "keepalived"),
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

/// A parser that uvicorn uses if it is installed.
const HTTPTOOLS: &str = "python3-httptools";

/// Programs used by the bench, and their packages. strace is not among them: it is used only if it is
/// installed.
const BENCH: [(&str, &str); 7] = [
    ("wrk", "wrk"),
    ("nginx", "nginx-light"),
    ("haproxy", "haproxy"),
    ("slowhttptest", "slowhttptest"),
    ("taskset", "util-linux"),
    ("setpriv", "util-linux"),
    ("ip", "iproute2"),
];

/// Cargo's subcommands used by the tests.
const SUBCOMMANDS: [&str; 2] = ["nextest", "deny"];

/// Installs missing tools.
pub(crate) fn install() -> Done {
    let mut missing = missing(PROGRAMS);
    if !there("/usr/bin/python3", &["-c", "import httptools"]) {
        missing.push(HTTPTOOLS);
    }
    apt(&missing)?;
    for name in SUBCOMMANDS {
        if !there("cargo", &[name, "--version"]) {
            // A debug build is enough: the tool is built once and waits for the disk most of the time.
            run("cargo", ["install", "--locked", "--debug", &format!("cargo-{name}")])?;
        }
    }
    Ok(())
}

/// Installs missing tools of the bench.
pub(crate) fn install_for_bench() -> Done {
    apt(&missing(BENCH))
}

/// Returns the packages of the missing programs.
fn missing(programs: impl IntoIterator<Item = (&'static str, &'static str)>) -> Vec<&'static str> {
    // Only the presence of a program is checked: wrk prints its help with exit code 1. Servers are not in
    // every user's path.
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
    // The installation must not start a server as a service of the machine. One setting is for systemd, the
    // other for older init systems.
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
