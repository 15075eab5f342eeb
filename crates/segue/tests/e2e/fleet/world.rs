//! A server and agents on their machines, and what people say to the server.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::network::{Machine, Network};
use crate::app;
use crate::load::Load;
use crate::world::{PATIENCE, SEGUE, Said};

/// A fleet at work.
pub struct FleetWorld {
    pub network: Network,
    dir: tempfile::TempDir,
    server: Option<Child>,
    agents: BTreeMap<u8, Child>,
}

impl FleetWorld {
    /// Starts a server and lets this many hosts join it. The app's file goes on with `more`.
    pub fn start(hosts: u8, more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        app::write(&dir.path().join("app"), more);
        let network = Network::new(hosts);
        let mut world = Self { network, dir, server: None, agents: BTreeMap::new() };
        world.serve();
        for number in 1..=hosts {
            let name = format!("h{number}");
            let label = format!("number={number}");
            let invite = world.segue(&["fleet", "invite", "host", &name, "--label", &label]);
            assert_eq!(invite.code, Some(0), "{invite:?}");
            let file = world.dir.path().join(format!("{name}.invite"));
            std::fs::write(&file, invite.stdout).unwrap();
            world.run_agent(number, &["--join", &format!("@{}", file.display())]);
        }
        world
    }

    /// Starts the server, and waits until it answers.
    pub fn serve(&mut self) {
        let mut command = self.network.on(Machine::Server, SEGUE);
        let at = |port| format!("{}:{port}", Machine::Server.address());
        command.args(["server", "--workers", "2", "--http", &at(8080), "--fleet", &at(7443)]);
        let log = self.log("server");
        command.arg("--data").arg(self.data()).stderr(log).stdout(Stdio::null());
        self.server = Some(command.spawn().unwrap());
        self.eventually("the server answers", || self.segue(&["fleet"]).code == Some(0));
    }

    /// Kills the server.
    pub fn kill_server(&mut self) {
        kill(self.server.take());
    }

    /// Starts the server again, and the agent of a host that was killed with it.
    pub fn run_server_then_agent(&mut self, number: u8) {
        self.serve();
        self.run_agent(number, &[]);
    }

    /// Starts the agent of a host, and waits until the server knows that it is here.
    pub fn run_agent(&mut self, number: u8, more: &[&str]) {
        self.start_agent(number, more);
        self.is_here(number);
    }

    /// Starts the agent of a host.
    pub fn start_agent(&mut self, number: u8, more: &[&str]) {
        let mut command = self.network.on(Machine::Host(number), SEGUE);
        let log = self.log(&format!("h{number}"));
        command.arg("agent").args(more).arg("--data").arg(self.host_data(number));
        command.stderr(log).stdout(Stdio::null());
        self.agents.insert(number, command.spawn().unwrap());
    }

    /// Waits for the end of an agent, and returns its exit code.
    pub fn agent_ends(&mut self, number: u8) -> Option<i32> {
        let mut agent = self.agents.remove(&number).unwrap();
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = agent.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < until, "the agent goes on; {}", self.logs());
            // it waits: for a real process to end
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Kills the agent of a host, if it still runs.
    pub fn kill_agent(&mut self, number: u8) {
        kill(self.agents.remove(&number));
    }

    /// Waits until the server hears a host.
    pub fn is_here(&self, number: u8) {
        let name = format!("h{number}");
        self.eventually(&format!("{name} is here"), || self.state(&name) == "here");
    }

    /// Returns the state of a host.
    pub fn state(&self, name: &str) -> String {
        let fleet = self.segue(&["fleet", "--json"]);
        let fleet: Value = serde_json::from_str(&fleet.stdout).unwrap_or_default();
        let hosts = fleet["hosts"].as_array().cloned().unwrap_or_default();
        let host = hosts.into_iter().find(|host| host["name"] == name);
        host.map(|host| host["state"].as_str().unwrap_or_default().to_owned()).unwrap_or_default()
    }

    /// Says something to the server.
    pub fn segue(&self, args: &[&str]) -> Said {
        let Output { status, stdout, stderr } = self.command(args).output().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr): (String, String) = (text(&stdout), text(&stderr));
        Said { code: status.code(), stdout, stderr }
    }

    /// A command that says something to the server.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.network.on(Machine::Server, SEGUE);
        command.args(args).arg("--data").arg(self.data()).current_dir(self.app_dir());
        command.env("NO_COLOR", "1");
        command
    }

    /// Deploys a version of the app, and returns its receipt.
    pub fn deploy(&self, version: &str) -> Value {
        let said = self.segue(&[
            "deploy",
            "--json",
            "--release",
            version,
            "--env",
            &format!("VERSION={version}"),
        ]);
        assert_eq!(said.code, Some(0), "{said:?}");
        said.receipt()
    }

    pub fn status(&self) -> Value {
        let said = self.segue(&["status", "web", "--json"]);
        serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"))
    }

    /// Looks at the status until it is as wanted.
    pub fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            last = self.status();
            if wanted(&last) {
                return last;
            }
            // it waits: for real machines to come that far
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("never {what}: {last:#}; {}", self.logs());
    }

    /// Users on a machine of their own, who ask the app all the time.
    pub fn users(&self, connections: usize) -> Load {
        let address = format!("{}:8080", Machine::Server.address()).parse().unwrap();
        Load::start_on(Some(self.network.door(Machine::Client)), address, connections)
    }

    pub fn eventually(&self, what: &str, so: impl Fn() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !so() {
            assert!(Instant::now() < until, "never: {what}; {}", self.logs());
            // it waits: for real machines to come that far
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Lets the next releases have this many instances.
    pub fn replicas(&self, count: u16) {
        let path = self.app_dir().join("segue.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, text.replace("replicas = 2", &format!("replicas = {count}"))).unwrap();
    }

    pub fn app_dir(&self) -> PathBuf {
        self.dir.path().join("app")
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("srv")
    }

    pub fn host_data(&self, number: u8) -> PathBuf {
        self.dir.path().join(format!("h{number}"))
    }

    fn log(&self, part: &str) -> std::fs::File {
        let path = self.dir.path().join(format!("{part}.log"));
        std::fs::File::options().append(true).create(true).open(path).unwrap()
    }

    /// The ends of the logs of all parts.
    fn logs(&self) -> String {
        let mut all = String::new();
        for entry in std::fs::read_dir(self.dir.path()).unwrap().flatten() {
            if entry.path().extension().is_some_and(|it| it == "log") {
                let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                let end = lines[lines.len().saturating_sub(12)..].join("\n");
                all += &format!("\n== {}\n{end}", entry.path().display());
            }
        }
        all
    }
}

impl Drop for FleetWorld {
    fn drop(&mut self) {
        kill(self.server.take());
        for (_, agent) in std::mem::take(&mut self.agents) {
            kill(Some(agent));
        }
    }
}

fn kill(child: Option<Child>) {
    if let Some(mut child) = child {
        let _ = child.kill();
        let _ = child.wait();
    }
}
