//! The origin and the contenders in front of it, each with one worker on one core, on loopback.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::behind::{Behind, Size};
use super::capacity::slots;
use super::case::{KIB, SMALL};
use super::child::Child;
use crate::run::Done;

/// The file in which the origin records who has probed it.
pub(super) const PROBES: &str = "probes.log";

/// The contenders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Segue,
    /// An earlier build of ours, given by `--against`.
    Before,
    Nginx,
    Haproxy,
    HaproxyTcp,
}

/// All contenders, ours first.
pub(super) const EVERYONE: [Who; 4] = [Who::Segue, Who::Nginx, Who::Haproxy, Who::HaproxyTcp];

/// Ours and an earlier build of ours.
pub(super) const BUILDS: [Who; 2] = [Who::Segue, Who::Before];

/// The contenders that speak HTTP, ours first.
pub(super) const COMPARED: [Who; 3] = [Who::Segue, Who::Nginx, Who::Haproxy];

/// Returns the running ones among `COMPARED`, in that order.
pub(super) fn compared(contenders: &[Contender]) -> Vec<&Contender> {
    COMPARED.iter().filter_map(|who| contenders.iter().find(|one| one.who == *who)).collect()
}

/// Returns the indices below `count` in the order of this round. The order is rotated by one in each round.
pub(super) fn in_turn(count: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |at| (at + round) % count)
}

/// Creates a folder for a part of the run.
pub(super) fn subfolder(folder: &Path, name: &str) -> Result<PathBuf, String> {
    let own = folder.join(name);
    fs::create_dir(&own).map_err(|error| format!("{}: {error}", own.display()))?;
    Ok(own)
}

impl Who {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Segue => "segue",
            Self::Before => "segue before",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::HaproxyTcp => "HAProxy tcp",
        }
    }

    /// Returns whether it reads the requests that pass through it.
    pub(super) fn speaks_http(self) -> bool {
        self != Self::HaproxyTcp
    }
}

/// A running contender that accepts requests.
#[derive(Debug)]
pub(super) struct Contender {
    pub(super) who: Who,
    pub(super) address: SocketAddr,
    /// The address of our metrics.
    pub(super) admin: Option<SocketAddr>,
    pub(super) child: Child,
}

/// Starts the origin.
pub(super) fn origin(core: usize, folder: &Path) -> Result<(Child, SocketAddr), String> {
    let address = testport::reserve();
    Ok((origin_at(&[address], (core, folder))?, address))
}

/// Starts an origin at the addresses of a table of this size.
pub(super) fn origin_of_many(
    size: Size,
    (core, folder): (usize, &Path),
) -> Result<(Child, u16), String> {
    let port = testport::reserve().port();
    Ok((origin_at(&size.all(port), (core, folder))?, port))
}

fn origin_at(addresses: &[SocketAddr], (core, folder): (usize, &Path)) -> Result<Child, String> {
    let files = folder.join("files");
    let wrong = |error| format!("cannot write what the origin serves: {error}");
    fs::create_dir(&files).map_err(wrong)?;
    fs::write(files.join("post"), "").map_err(wrong)?;
    fs::write(files.join("10k"), "x".repeat(10 * KIB)).map_err(wrong)?;
    fs::write(files.join("1m"), "x".repeat(KIB * KIB)).map_err(wrong)?;
    let listen: String =
        addresses.iter().map(|at| format!("    listen {at} backlog=4096;\n")).collect();
    let http = include_str!("origin.conf")
        .replace("{listen}", listen.trim_end())
        .replace("{small}", &"x".repeat(SMALL))
        .replace("{files}", &files.display().to_string())
        .replace("{probes}", &folder.join(PROBES).display().to_string());
    let mut child = nginx(("origin", core), &http, folder)?;
    // The origin binds all addresses before it accepts the first connection.
    child.listens(addresses[0])?;
    Ok(child)
}

/// Starts one contender in front of `behind`.
pub(super) fn start(
    who: Who,
    behind: &Behind,
    (core, folder): (usize, &Path),
) -> Result<Contender, String> {
    let address = testport::reserve();
    let mut admin = None;
    let mut child = match who {
        Who::Segue | Who::Before => {
            let metrics = testport::reserve();
            admin = Some(metrics);
            let words = format!("{} --listen {address} --admin {metrics}", behind.words);
            let name = if who == Who::Before { "before" } else { "segue" };
            Child::start((name, core), &behind.segue, words.split_whitespace(), folder)?
        }
        Who::Nginx => nginx(("nginx", core), &behind.nginx(address), folder)?,
        Who::Haproxy => haproxy(("haproxy", core), &behind.haproxy(address, folder)?, folder)?,
        Who::HaproxyTcp => haproxy(("haproxy-tcp", core), &behind.haproxy_tcp(address), folder)?,
    };
    child.listens(address)?;
    Ok(Contender { who, address, admin, child })
}

/// Starts an nginx with one worker that writes only into `folder`.
fn nginx((name, core): (&str, usize), http: &str, folder: &Path) -> Result<Child, String> {
    let own = subfolder(folder, name)?;
    let own = own.display();
    // The worker must be able to read the folder, which belongs to this user.
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|what| format!("  {what}_temp_path {own}/{what};\n"))
        .collect();
    let whole = format!(
        "{user}daemon off;\nworker_processes 1;\npid {own}/pid;\nerror_log stderr;\n\
         events {{ worker_connections {}; }}\nhttp {{\n{temporary}{http}}}\n",
        slots()
    );
    let file = format!("{own}/nginx.conf");
    write(&file, &whole)?;
    Child::start((name, core), "nginx", ["-e", "stderr", "-c", file.as_str()], folder)
}

fn haproxy((name, core): (&str, usize), whole: &str, folder: &Path) -> Result<Child, String> {
    let file = folder.join(format!("{name}.cfg")).display().to_string();
    write(&file, whole)?;
    Child::start((name, core), "haproxy", ["-db", "-f", file.as_str()], folder)
}

fn write(file: &str, text: &str) -> Done {
    fs::write(file, text).map_err(|error| format!("{file}: {error}"))
}
