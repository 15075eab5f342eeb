//! A server and agents on their machines, and what people say to the server.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::network::{Machine, Network};
use crate::app;
use crate::browser::Browser;
use crate::load::Load;
use crate::world::{PATIENCE, SEGUE, Said};

/// A fleet at work.
pub struct FleetWorld {
    pub network: Network,
    dir: tempfile::TempDir,
    server: Option<Child>,
    agents: BTreeMap<u8, Child>,
    proxies: BTreeMap<u8, Child>,
}

impl FleetWorld {
    /// Starts a server and lets this many hosts join it. The app's file goes on with `more`.
    pub fn start(hosts: u8, more: &str) -> Self {
        Self::start_with_proxies(hosts, 0, more)
    }

    /// Starts a server and lets this many hosts and proxies join it.
    pub fn start_with_proxies(hosts: u8, proxies: u8, more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        app::write(&dir.path().join("app"), more);
        let network = Network::new(hosts, proxies);
        let (agents, of_proxies) = (BTreeMap::new(), BTreeMap::new());
        let mut world = Self { network, dir, server: None, agents, proxies: of_proxies };
        world.serve();
        for number in 1..=hosts {
            let label = format!("number={number}");
            let invite = world.invite(Machine::Host(number), "host", &["--label", &label]);
            world.run_agent(number, &["--join", &invite]);
        }
        for number in 1..=proxies {
            let invite = world.invite(Machine::Proxy(number), "proxy", &[]);
            world.run_proxy(number, &["--join", &invite]);
        }
        world
    }

    /// Invites the member on a machine. Returns the invite's file, as `--join` takes it.
    fn invite(&self, machine: Machine, role: &str, more: &[&str]) -> String {
        let name = machine.name();
        let invite = self.segue(&[&["fleet", "invite", role, &name], more].concat());
        assert_eq!(invite.code, Some(0), "{invite:?}");
        let file = self.dir.path().join(format!("{name}.invite"));
        std::fs::write(&file, invite.stdout).unwrap();
        format!("@{}", file.display())
    }

    /// Starts a proxy, and waits until the server knows that it is here.
    pub fn run_proxy(&mut self, number: u8, more: &[&str]) {
        self.start_proxy(number, more);
        self.proxy_is_here(number);
    }

    /// Starts a proxy.
    pub fn start_proxy(&mut self, number: u8, more: &[&str]) {
        self.start_proxy_in(None, number, more);
    }

    /// Starts a proxy after its machine was booted anew.
    pub fn boot_proxy(&mut self, number: u8, more: &[&str]) {
        self.start_proxy_in(Some("another-boot"), number, more);
    }

    fn start_proxy_in(&mut self, boot: Option<&str>, number: u8, more: &[&str]) {
        let machine = Machine::Proxy(number);
        let mut command = self.network.on(machine, SEGUE);
        command.args(["proxy", "--workers", "1", "--listen", "0.0.0.0:8080"]).args(more);
        command.arg("--data").arg(self.dir.path().join(machine.name()));
        command.stderr(self.log(&machine.name())).stdout(Stdio::null());
        command.envs(boot.map(|boot| ("SEGUE_TEST_BOOT_ID", boot)));
        self.proxies.insert(number, command.spawn().unwrap());
    }

    /// Returns the process of a proxy.
    pub fn proxy_pid(&self, number: u8) -> u32 {
        self.proxies[&number].id()
    }

    /// Kills a proxy.
    pub fn kill_proxy(&mut self, number: u8) {
        kill(self.proxies.remove(&number));
    }

    /// Waits for the end of a proxy, and returns its exit code.
    pub fn proxy_ends(&mut self, number: u8) -> Option<i32> {
        let proxy = self.proxies.remove(&number).unwrap();
        self.ends(proxy)
    }

    /// Waits until the server hears a proxy, which uses the newest table.
    pub fn proxy_is_here(&self, number: u8) {
        let name = Machine::Proxy(number).name();
        self.eventually(&format!("{name} is here"), || self.state(&name) == "here");
    }

    /// Starts the server, and waits until it answers.
    pub fn serve(&mut self) {
        self.serve_with(&[]);
    }

    /// Starts the server with more options.
    pub fn serve_with(&mut self, more: &[&str]) {
        let mut command = self.network.on(Machine::Server, SEGUE);
        let door = format!("{}:7443", Machine::Server.address());
        let http = front_door(Machine::Server);
        command.args(["server", "--workers", "2", "--http", &http, "--fleet", &door]);
        let log = self.log("server");
        command.args(more).arg("--data").arg(self.data()).stderr(log).stdout(Stdio::null());
        self.server = Some(command.spawn().unwrap());
        self.eventually("the server answers", || self.segue(&["fleet"]).code == Some(0));
    }

    /// Kills the server.
    pub fn kill_server(&mut self) {
        kill(self.server.take());
    }

    /// Lets the server start from a backup that is older than all of its members, and has its keys alone.
    pub fn restore_without_members(&mut self) {
        self.kill_server();
        for entry in std::fs::read_dir(self.data()).unwrap().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true if entry.file_name() == "keys" => {}
                true => std::fs::remove_dir_all(entry.path()).unwrap(),
                false => std::fs::remove_file(entry.path()).unwrap(),
            }
        }
        self.serve();
    }

    /// Returns whether somebody on a machine can connect to an address.
    pub fn reaches(&self, from: Machine, address: &str) -> bool {
        let (door, address) = (self.network.door(from), address.parse().unwrap());
        std::thread::scope(|scope| {
            let connected = scope.spawn(|| {
                super::enter(&door);
                TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_ok()
            });
            connected.join().unwrap()
        })
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
        let agent = self.agents.remove(&number).unwrap();
        self.ends(agent)
    }

    fn ends(&self, mut member: Child) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = member.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < until, "the member goes on; {}", self.logs());
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

    /// Returns the state of a member.
    pub fn state(&self, name: &str) -> String {
        let fleet = self.segue(&["fleet", "--json"]);
        let fleet: Value = serde_json::from_str(&fleet.stdout).unwrap_or_default();
        let members = ["hosts", "proxies"].map(|role| fleet[role].as_array().cloned());
        let mut members = members.into_iter().flatten().flatten();
        let member = members.find(|member| member["name"] == name);
        member.map(|it| it["state"].as_str().unwrap_or_default().to_owned()).unwrap_or_default()
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
        self.users_at_once_of(Machine::Server, connections)
    }

    /// Users who come through the proxy on this machine, once it serves the app.
    pub fn users_of(&self, proxy: Machine, connections: usize) -> Load {
        let name = proxy.name();
        self.eventually(&format!("{name} serves"), || self.answer_of(proxy).is_ok());
        self.users_at_once_of(proxy, connections)
    }

    fn users_at_once_of(&self, proxy: Machine, connections: usize) -> Load {
        let address = front_door(proxy).parse().unwrap();
        Load::start_on(Some(self.network.door(Machine::Client)), address, connections)
    }

    /// Returns what one user gets from the proxy on this machine.
    pub fn answer_of(&self, proxy: Machine) -> Result<String, String> {
        let address = front_door(proxy).parse().unwrap();
        Load::one_from(self.network.door(Machine::Client), address)
    }

    /// Returns the answer to a request for a path from a machine to an address, or what went wrong.
    pub fn asks(&self, from: Machine, address: &str, path: &str) -> Result<String, String> {
        let (door, address) = (self.network.door(from), address.parse().unwrap());
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| {
                super::enter(&door);
                crate::load::ask(&mut None, address, path)
            });
            asked.join().unwrap()
        })
    }

    /// Opens a connection of a user to the proxy on a machine, and asks nothing yet.
    pub fn idle_user(&self, proxy: Machine) -> TcpStream {
        let (door, address) = (self.network.door(Machine::Client), front_door(proxy));
        std::thread::scope(|scope| {
            let connected = scope.spawn(|| {
                super::enter(&door);
                TcpStream::connect(address).unwrap()
            });
            connected.join().unwrap()
        })
    }

    /// Lets each of these users visit the app once through a proxy. Returns the versions that answered.
    pub fn visits(&self, proxy: Machine, users: &mut [Browser]) -> Vec<String> {
        let address = front_door(proxy).parse().unwrap();
        let door = self.network.door(Machine::Client);
        std::thread::scope(|scope| {
            let visit = scope.spawn(|| {
                super::enter(&door);
                users.iter_mut().map(|user| user.ask(address)).collect()
            });
            visit.join().unwrap()
        })
    }

    /// Waits until each of these proxies serves a version. One that is slow to follow is not waited for by a
    /// rollout.
    pub fn all_serve(&self, proxies: &[Machine], version: &str) {
        for proxy in proxies {
            let what = format!("{} serves {version}", proxy.name());
            self.eventually(&what, || self.answer_of(*proxy).is_ok_and(|it| it == version));
        }
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

    /// Returns a file of the world's own.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
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

    pub fn log(&self, part: &str) -> std::fs::File {
        let path = self.dir.path().join(format!("{part}.log"));
        std::fs::File::options().append(true).create(true).open(path).unwrap()
    }

    /// The ends of the logs of all parts.
    pub fn logs(&self) -> String {
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
        let proxies = std::mem::take(&mut self.proxies);
        for (_, member) in std::mem::take(&mut self.agents).into_iter().chain(proxies) {
            kill(Some(member));
        }
    }
}

/// Returns where the proxy on a machine listens for users.
fn front_door(proxy: Machine) -> String {
    format!("{}:8080", proxy.address())
}

fn kill(child: Option<Child>) {
    if let Some(mut child) = child {
        let _ = child.kill();
        let _ = child.wait();
    }
}
