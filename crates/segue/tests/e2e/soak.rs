//! Many deployments of mixed strategies in a row, under load: a tenth of the releases is bad, a tenth
//! of the good ones is rolled back. Checks that no request is lost, that every command ends as it
//! should, and that nothing is left over. `SEGUE_SOAK` sets the number of deployments, in
//! `cargo xtask soak`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::load::Load;
use crate::world::World;

/// Enough to have every strategy, every fault and a rollback once.
const DEPLOYMENTS: usize = 20;
/// Releases that are kept with their files, besides what is on offer.
const KEPT_RELEASES: usize = 12;

const STRATEGIES: [&str; 6] = [
    "kind = \"blue-green\"\n",
    "kind = \"rolling\"\nbatch = 1\nsurge = false\n",
    "kind = \"canary\"\nsteps = [{ share = \"20%\", hold = \"100ms\" }]\n",
    "kind = \"rolling\"\nbatch = \"50%\"\nsurge = true\n",
    "kind = \"recreate\"\n",
    "kind = \"blue-green\"\nstandby = \"none\"\n",
];

/// How a release turns out, and what its deploy ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Good,
    /// The release dies at its start.
    Crashes,
    /// The release never becomes healthy.
    Sick,
}

impl Fate {
    /// One deployment in ten brings a bad release in.
    fn of(turn: usize) -> Self {
        match turn % 20 {
            7 => Self::Crashes,
            17 => Self::Sick,
            _ => Self::Good,
        }
    }

    fn mode(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Crashes => "crash",
            Self::Sick => "sick",
        }
    }
}

/// What may not grow.
#[derive(Debug)]
struct Holdings {
    descriptors: usize,
    blobs: usize,
    runs: usize,
    releases: usize,
    processes: usize,
}

impl Holdings {
    fn of(world: &World) -> Self {
        let data = world.data();
        Self {
            descriptors: entries(&PathBuf::from(format!("/proc/{}/fd", world.server_pid()))),
            blobs: files(&data.join("blobs")),
            runs: entries(&data.join("run")),
            releases: folders(&data.join("apps/web/releases")),
            processes: world.processes().len(),
        }
    }

    fn is_bounded(&self) -> bool {
        let Self { descriptors, blobs, runs, releases, processes } = *self;
        // Two sets of two, each instance with its shim.
        processes <= 8
            && releases <= KEPT_RELEASES
            && runs <= 16
            && blobs <= KEPT_RELEASES
            // The server's own, the load's, their upstream connections, and those that idle.
            && descriptors <= 200
    }
}

#[test]
fn deployments_in_a_row_lose_no_request_and_leave_nothing_over() {
    let count = std::env::var("SEGUE_SOAK").ok().and_then(|text| text.parse().ok());
    let count = count.unwrap_or(DEPLOYMENTS);
    let world = World::with("", &[]);
    let mut live = first(&world);
    let load = Load::start(world.http, 6);
    let mut used = BTreeSet::new();
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    for turn in 0..count {
        let strategy = STRATEGIES[turn % STRATEGIES.len()];
        live = one(&world, turn, strategy, &live, &mut outcomes);
        used.extend(addresses(&world));
        // What has left drains and ends beside the next deployment.
        world.eventually("no more is held than is on offer", || Holdings::of(&world).is_bounded());
        if turn % 50 == 49 {
            let held = Holdings::of(&world);
            println!("{} of {count} deployments: {outcomes:?}, {held:?}", turn + 1);
        }
    }
    let seen = load.stop();
    let answered: usize = seen.iter().map(|one| one.answers.len()).sum();
    let failures: Vec<&String> = seen.iter().flat_map(|one| &one.failures).collect();
    println!("{count} deployments: {outcomes:?}; {answered} requests, {} failed", failures.len());
    assert_eq!(failures, Vec::<&String>::new());
    nothing_is_left(&world, &used);
}

/// The first release, which has nothing before it to go back to.
fn first(world: &World) -> String {
    write(world, STRATEGIES[0]);
    let said = world.deploy("v0", "good");
    assert_eq!(said.code, Some(0), "{said:?}");
    "v0".to_owned()
}

fn write(world: &World, strategy: &str) {
    let text = format!(
        "app = \"web\"\n\n[run]\ncommand = [\"python3\", \"app.py\"]\nreplicas = 2\n\n\
         [health]\npath = \"/up\"\ninterval = \"50ms\"\nstart_deadline = \"4s\"\n\n\
         [drain]\ndeadline = \"5s\"\n\n[strategy]\n{strategy}watch = \"100ms\"\n"
    );
    fs::write(world.app_dir().join("segue.toml"), text).unwrap();
}

/// One deployment, and its rollback if it is its turn; returns what is live then.
fn one(
    world: &World,
    turn: usize,
    strategy: &str,
    live: &str,
    outcomes: &mut BTreeMap<String, usize>,
) -> String {
    write(world, strategy);
    let (version, fate) = (format!("v{}", turn + 1), Fate::of(turn));
    let said = world.deploy(&version, fate.mode());
    let code = if fate == Fate::Good { 0 } else { 1 };
    assert_eq!(said.code, Some(code), "{turn}, {strategy}: {said:?}");
    let receipt = said.receipt();
    let told = &receipt["outcome"];
    *outcomes.entry(told.as_str().unwrap_or_default().to_owned()).or_default() += 1;
    assert_eq!(receipt["failed"], 0, "{turn}, {strategy}: {receipt:#}");
    let now = if fate == Fate::Good { version.as_str() } else { live };
    assert_eq!(world.status()["live"]["label"], now, "{turn}, {strategy}");
    if turn % 10 != 2 {
        return now.to_owned();
    }
    let warm = world.status()["standby"].is_object();
    let to: &[&str] = if warm { &[] } else { &["--to", live] };
    let said = world.segue(&[&["rollback", "web", "--json"], to].concat());
    assert_eq!(said.code, Some(0), "{turn}, {strategy}: {said:?}");
    assert_eq!(said.receipt()["failed"], 0, "{turn}, {strategy}: {said:?}");
    *outcomes.entry("rolled back".to_owned()).or_default() += 1;
    assert_eq!(world.status()["live"]["label"], live, "{turn}, {strategy}");
    live.to_owned()
}

/// After its removal an app has no process, file, port or value any more.
fn nothing_is_left(world: &World, used: &BTreeSet<SocketAddr>) {
    let said = world.segue(&["remove", "web", "--yes"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let data = world.data();
    world.eventually("all processes have ended", || world.processes().is_empty());
    for folder in ["run", "apps", "blobs", "env"] {
        world.eventually(folder, || files(&data.join(folder)) == 0);
    }
    // All processes of instances have ended. Instances of other tests may have drawn these ports since.
    let held = sockets_of(world.server_pid());
    let sockets = wire::tcp_sockets().unwrap();
    let is_held = |socket: &&wire::TcpSocket| socket.listens && held.contains(&socket.inode);
    let addresses: BTreeSet<SocketAddr> =
        sockets.iter().filter(is_held).map(|socket| socket.local).collect();
    assert!(addresses.contains(&world.http), "the apps' own port is found in this way");
    let left: Vec<&SocketAddr> = addresses.intersection(used).collect();
    assert!(left.is_empty(), "the server still listens on {left:?}");
}

/// The inodes of a process's sockets.
fn sockets_of(pid: u32) -> BTreeSet<u64> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let links = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let inode =
        |link: PathBuf| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
    links.filter_map(inode).collect()
}

/// Where the instances listen at this moment.
fn addresses(world: &World) -> Vec<SocketAddr> {
    let status = world.status();
    let arms = ["live", "standby"].map(|arm| status[arm]["instances"].as_array().cloned());
    let instances = arms.into_iter().flatten().flatten();
    instances.map(|instance| instance["address"].as_str().unwrap().parse().unwrap()).collect()
}

fn entries(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

fn folders(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries.filter_map(Result::ok).filter(|entry| entry.path().is_dir()).count()
}

/// The regular files below a folder.
fn files(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .filter_map(Result::ok)
        .map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { 1 })
        .sum()
}
