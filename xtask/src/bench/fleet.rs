//! `cargo xtask bench fleet`: what a fleet of many hosts and several proxies costs its server, and how long its
//! switches take. Hosts have real sessions and simulated instances (`examples/hosts.rs`); the server and the
//! proxies are real. All of them run in one network namespace, which the bench makes and removes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::child::Child;
use super::statistics::Spread;
use crate::run::{Done, output, run};
use crate::tools;

/// The largest fleet: two of the four parts of its addresses count hosts.
const MOST: u32 = 1_000;
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(50);
/// The time over which the server at rest is measured.
const REST: Duration = Duration::from_secs(20);
/// The time that the slowest host takes to start its instance.
const SLOWEST: Duration = Duration::from_secs(3);
const SERVER: &str = "10.88.0.1";

/// The size of the fleet, and how often each switch is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FleetSize {
    hosts: u32,
    proxies: u32,
    instances: u32,
    rounds: u32,
}

/// One result, and what it should not exceed.
struct Row {
    what: &'static str,
    measured: f64,
    bound: f64,
    unit: &'static str,
    /// The quartiles, or what else helps to read the result.
    note: String,
}

/// A fleet at work.
struct BenchFleet {
    segue: String,
    folder: PathBuf,
    space: Namespace,
    server: Option<Child>,
    _hosts: Option<Child>,
    _proxies: Vec<Child>,
}

/// A network namespace in which all of 10.88.0.0/16 is this machine.
struct Namespace(String);

/// Runs the bench with `--hosts`, `--proxies`, `--instances` and `--rounds`.
pub(super) fn fleet(words: &[String]) -> Done {
    let size = FleetSize::parse(words)?;
    tools::install_for_bench()?;
    let build = ["--release", "--locked", "-p", "segue", "--bin", "segue", "--example", "hosts"];
    run("cargo", [&["build"], &build[..]].concat())?;
    let (segue, example) = super::built("hosts")?;
    let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    let mut fleet = BenchFleet::start(segue, folder.path())?;
    fleet.let_in(&example, size)?;
    let mut rows = fleet.switches(size)?;
    rows.extend(fleet.at_rest(size)?);
    rows.extend(fleet.comes_back(size)?);
    rows.push(fleet.one_on_each_host(size)?);
    println!("\n{}", page(size, &rows));
    let missed: Vec<&str> = rows.iter().filter(|row| !row.is_met()).map(|row| row.what).collect();
    if missed.is_empty() { Ok(()) } else { Err(format!("over its bound: {}", missed.join("; "))) }
}

impl FleetSize {
    fn parse(words: &[String]) -> Result<Self, String> {
        let mut size = Self { hosts: 200, proxies: 8, instances: 1_000, rounds: 9 };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let number = words.next().and_then(|value| value.parse().ok());
            let number = number.filter(|number| (1..=MOST).contains(number));
            let number = number.ok_or_else(|| format!("{word} takes a number, 1 to {MOST}"))?;
            match word.as_str() {
                "--hosts" => size.hosts = number,
                "--proxies" => size.proxies = number,
                "--instances" => size.instances = number,
                "--rounds" => size.rounds = number,
                other => return Err(format!("unknown option {other:?}")),
            }
        }
        Ok(size)
    }
}

impl BenchFleet {
    /// Starts a server without members.
    fn start(segue: String, folder: &Path) -> Result<Self, String> {
        let space = Namespace::new()?;
        for part in ["app", "invites"] {
            fs::create_dir(folder.join(part)).map_err(|error| format!("{part}: {error}"))?;
        }
        let (_hosts, _proxies) = (None, Vec::new());
        let folder = folder.to_owned();
        let mut fleet = Self { segue, folder, space, server: None, _hosts, _proxies };
        fleet.serve()?;
        Ok(fleet)
    }

    fn serve(&mut self) -> Done {
        let (data, http, door) = (self.data(), format!("{SERVER}:80"), format!("{SERVER}:7443"));
        let words =
            ["server", "--workers", "1", "--data", &data, "--http", &http, "--fleet", &door];
        self.server = Some(self.space.start("server", &self.segue, &words, &self.folder)?);
        self.until("the server answers", |fleet| Ok(fleet.segue(&["fleet"]).is_ok()))
    }

    /// Lets all members join.
    fn let_in(&mut self, example: &str, size: FleetSize) -> Done {
        for number in 1..=size.hosts {
            let address = format!("10.88.{}.{}", 10 + number / 250, 1 + number % 250);
            self.invite("host", &format!("h{number:04}"), &["--address", &address])?;
        }
        let invites = self.folder.join("invites").display().to_string();
        let (start, slowest) = ("1000", SLOWEST.as_millis().to_string());
        let words = ["--invites", &invites, "--start-ms", start, "--slowest-ms", &slowest];
        self._hosts = Some(self.space.start("hosts", example, &words, &self.folder)?);
        for number in 1..=size.proxies {
            let name = format!("lb-{number}");
            let invite = format!("@{}", self.invite("proxy", &name, &[])?);
            let (data, listen) =
                (self.folder.join(&name).display().to_string(), format!("10.88.1.{number}:80"));
            let words = ["proxy", "--workers", "1", "--data", &data, "--join", &invite];
            let words = [&words[..], &["--listen", &listen]].concat();
            self._proxies.push(self.space.start(&name, &self.segue, &words, &self.folder)?);
        }
        self.until("all members are here", |fleet| fleet.are_here(size))
    }

    /// Writes the invite of a member, and returns its file.
    fn invite(&self, role: &str, name: &str, more: &[&str]) -> Result<String, String> {
        let text = self.segue(&[&["fleet", "invite", role, name], more].concat())?;
        // Those of hosts are for the example.
        let file = match role {
            "host" => self.folder.join("invites").join(format!("{name}.invite")),
            _ => self.folder.join(format!("{name}.invite")),
        };
        fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(file.display().to_string())
    }

    fn are_here(&self, size: FleetSize) -> Result<bool, String> {
        let fleet = json(&self.segue(&["fleet", "--json"])?)?;
        let here = |kind: &str| {
            let members = fleet[kind].as_array().into_iter().flatten();
            members.filter(|member| member["state"] == "here").count()
        };
        // The server's own are listed, too.
        Ok(here("hosts") > size.hosts as usize && here("proxies") > size.proxies as usize)
    }

    /// Deploys and rolls back with all instances.
    fn switches(&self, size: FleetSize) -> Result<Vec<Row>, String> {
        self.app("wide", size.instances)?;
        self.deploy("wide", "v0")?;
        let [mut switch, mut prepare, mut skew, mut back] = [const { Vec::new() }; 4];
        for round in 1..=size.rounds {
            let receipt = self.deploy("wide", &format!("v{round}"))?;
            let started = Instant::now();
            let rollback = self.segue(&["rollback", "wide", "--json"])?;
            let took = started.elapsed();
            let rolled = receipt_of(&rollback)?;
            for receipt in [&receipt, &rolled] {
                prepare.push(number(receipt, "prepare_ms")?);
                switch.push(number(receipt, "switch_ms")? - number(receipt, "prepare_ms")?);
                skew.push(number(receipt, "skew_ms")?);
            }
            back.push(millis(took));
            let of = |field: &str| format!("{} and {}", receipt[field], rolled[field]);
            println!(
                "round {round}: switched in {} ms, {} of them to prepare, {} apart; rollback {:.0} ms",
                of("switch_ms"),
                of("prepare_ms"),
                of("skew_ms"),
                millis(took)
            );
        }
        Ok(vec![
            Row::median("switch, with its append", &switch, 50.0),
            Row::median("before it, to prepare the tables", &prepare, 200.0),
            Row::median("between the first proxy and the last", &skew, 10.0),
            Row::median("the whole command `segue rollback`", &back, 250.0),
        ])
    }

    /// Measures the server while nothing happens.
    fn at_rest(&self, size: FleetSize) -> Result<Vec<Row>, String> {
        let server = self.server.as_ref().ok_or("there is no server")?;
        let (ticks, started) = (server.ticks(), Instant::now());
        std::thread::sleep(REST);
        #[expect(clippy::cast_precision_loss, reason = "a minute of ticks")]
        let cpu = (server.ticks() - ticks) as f64 / rustix::param::clock_ticks_per_second() as f64;
        #[expect(clippy::cast_precision_loss, reason = "less than a gigabyte")]
        let memory = server.pss()? as f64 / f64::from(1 << 20);
        let note = format!("{} hosts, {} proxies", size.hosts, size.proxies);
        let busy = cpu / started.elapsed().as_secs_f64() * 100.0;
        Ok(vec![
            Row {
                what: "a core, at rest",
                measured: busy,
                bound: 5.0,
                unit: "%",
                note: note.clone(),
            },
            Row { what: "memory", measured: memory, bound: 200.0, unit: "MiB", note },
        ])
    }

    /// Kills the server and starts it again. All members come back at once.
    fn comes_back(&mut self, size: FleetSize) -> Result<Vec<Row>, String> {
        if let Some(mut server) = self.server.take() {
            server.signal(Signal::KILL);
            let _status = server.wait(PATIENCE)?;
        }
        let started = Instant::now();
        self.serve()?;
        let serving = started.elapsed();
        let mut slowest = Duration::ZERO;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let asked = Instant::now();
            let are_here = self.are_here(size)?;
            slowest = slowest.max(asked.elapsed());
            if are_here {
                break;
            }
            if Instant::now() > deadline {
                return Err("not all members are here again".to_owned());
            }
            std::thread::sleep(LOOK);
        }
        let note = format!("the API answered after {:.0} ms", millis(serving));
        let back = (started.elapsed() - serving).as_secs_f64();
        Ok(vec![
            Row {
                what: "all are here after a kill -9",
                measured: back,
                bound: 5.0,
                unit: "s",
                note,
            },
            Row {
                what: "the slowest command meanwhile",
                measured: slowest.as_secs_f64(),
                bound: 1.0,
                unit: "s",
                note: "segue fleet --json".to_owned(),
            },
        ])
    }

    /// Deploys with one instance on each host, of which one takes longer than the others.
    fn one_on_each_host(&self, size: FleetSize) -> Result<Row, String> {
        self.app("each", size.hosts)?;
        self.deploy("each", "v1")?;
        let started = Instant::now();
        self.deploy("each", "v2")?;
        Ok(Row {
            what: "blue/green over all hosts",
            measured: started.elapsed().as_secs_f64(),
            bound: SLOWEST.as_secs_f64() + 1.0,
            unit: "s",
            note: format!("the slowest host takes {} s", SLOWEST.as_secs()),
        })
    }

    fn app(&self, name: &str, replicas: u32) -> Done {
        let folder = self.folder.join("app").join(name);
        let text = format!(
            "app = \"{name}\"\n\n[run]\ncommand = [\"simulated\"]\nreplicas = {replicas}\n\n\
             [route]\nhosts = [\"{name}.test\"]\n\n\
             [strategy]\nkind = \"blue-green\"\nwatch = \"0s\"\n"
        );
        fs::create_dir(&folder)
            .and_then(|()| fs::write(folder.join("segue.toml"), text))
            .map_err(|error| format!("{}: {error}", folder.display()))
    }

    fn deploy(&self, app: &str, label: &str) -> Result<Value, String> {
        let file = self.folder.join("app").join(app).join("segue.toml").display().to_string();
        receipt_of(&self.segue(&["deploy", "--json", "--release", label, "--file", &file])?)
    }

    fn segue(&self, words: &[&str]) -> Result<String, String> {
        output(&self.segue, &[words, &["--data", &self.data()]].concat())
    }

    fn data(&self) -> String {
        self.folder.join("data").display().to_string()
    }

    fn until(&self, what: &str, so: impl Fn(&Self) -> Result<bool, String>) -> Done {
        let deadline = Instant::now() + PATIENCE;
        while !so(self)? {
            if Instant::now() > deadline {
                let said = self.server.as_ref().map(Child::said).unwrap_or_default();
                return Err(format!("not within {} s: {what}\n{said}", PATIENCE.as_secs()));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}

impl Row {
    fn median(what: &'static str, millis: &[f64], bound: f64) -> Self {
        let spread = Spread::of(millis);
        let note = spread.map(|it| format!("quartiles {:.0} and {:.0}", it.lower, it.upper));
        let measured = spread.map_or(f64::INFINITY, |spread| spread.median);
        Self { what, measured, bound, unit: "ms", note: note.unwrap_or_default() }
    }

    fn is_met(&self) -> bool {
        self.measured <= self.bound
    }
}

fn page(size: FleetSize, rows: &[Row]) -> String {
    let FleetSize { hosts, proxies, instances, .. } = size;
    let mut out = format!(
        "A fleet of {hosts} hosts and {proxies} proxies, {instances} instances of each release\n\n\
         | what | measured | at most | |\n|---|---|---|---|\n"
    );
    for Row { what, measured, bound, unit, note } in rows {
        out += &format!("| {what} | {measured:.1} {unit} | {bound:.0} {unit} | {note} |\n");
    }
    out
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("{error}: {text}"))
}

/// Returns the receipt in the last line of what a command wrote.
fn receipt_of(said: &str) -> Result<Value, String> {
    json(said.trim_end().lines().last().unwrap_or_default())
}

fn number(receipt: &Value, field: &str) -> Result<f64, String> {
    receipt[field].as_f64().ok_or_else(|| format!("no {field} in {receipt}"))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

impl Namespace {
    fn new() -> Result<Self, String> {
        let space = Self(format!("segue-bench-{}", std::process::id()));
        let name = space.0.clone();
        ip(&["netns", "add", &name])?;
        ip(&["-n", &name, "link", "set", "lo", "up"])?;
        ip(&["-n", &name, "route", "add", "local", "10.88.0.0/16", "dev", "lo"])?;
        Ok(space)
    }

    fn start(
        &self,
        name: &str,
        program: &str,
        words: &[&str],
        folder: &Path,
    ) -> Result<Child, String> {
        let words = [&["netns", "exec", &self.0, program], words].concat();
        Child::start_anywhere(name, "ip", words, folder)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Whatever runs there has ended; if not, the namespace goes with the last of it.
        let _gone = ip(&["netns", "del", &self.0]);
    }
}

fn ip(words: &[&str]) -> Done {
    let done = Command::new("ip").args(words).output().map_err(|error| format!("ip: {error}"))?;
    let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    match done.status.success() {
        true => Ok(()),
        false => Err(format!("ip {}: {said}; network namespaces need root", words.join(" "))),
    }
}
