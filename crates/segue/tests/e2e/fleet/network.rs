//! Machines as network namespaces on one switch, with cables that can be pulled. Made by a test, and removed
//! when it ends.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

static NETWORKS: AtomicU32 = AtomicU32::new(0);

/// The machines of a network: the server, hosts, proxies, and one for clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    Server,
    Host(u8),
    Proxy(u8),
    Client,
}

impl Machine {
    /// Returns the machine's name, which is also the one of the member on it.
    pub fn name(self) -> String {
        match self {
            Self::Server => "srv".to_owned(),
            Self::Host(number) => format!("h{number}"),
            Self::Proxy(number) => format!("lb{number}"),
            Self::Client => "cl".to_owned(),
        }
    }

    /// Returns the machine's address.
    pub fn address(self) -> String {
        let last = match self {
            Self::Server => 1,
            Self::Host(number) => 10 + number,
            Self::Proxy(number) => 20 + number,
            Self::Client => 31,
        };
        format!("10.77.0.{last}")
    }
}

/// Machines on one switch.
pub struct Network {
    prefix: String,
    machines: Vec<Machine>,
}

impl Network {
    /// Makes a network with this many hosts and proxies. Needs the rights of root.
    pub fn new(hosts: u8, proxies: u8) -> Self {
        let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("sg{}n{number}", std::process::id());
        let mut machines = vec![Machine::Server, Machine::Client];
        machines.extend((1..=hosts).map(Machine::Host));
        machines.extend((1..=proxies).map(Machine::Proxy));
        let network = Self { prefix, machines };
        let switch = network.switch();
        ip(&format!("netns add {switch}"));
        ip(&format!("-n {switch} link add br0 type bridge"));
        ip(&format!("-n {switch} link set br0 up"));
        for machine in &network.machines {
            let (space, port) = (network.space(*machine), machine.name());
            ip(&format!("netns add {space}"));
            ip(&format!("-n {switch} link add {port} type veth peer name eth0 netns {space}"));
            ip(&format!("-n {switch} link set {port} master br0 up"));
            ip(&format!("-n {space} addr add {}/24 dev eth0", machine.address()));
            ip(&format!("-n {space} link set eth0 up"));
            ip(&format!("-n {space} link set lo up"));
        }
        network
    }

    /// Returns a command that runs a program on a machine.
    pub fn on(&self, machine: Machine, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.space(machine), program]);
        command
    }

    /// Returns the file by which a thread gets to a machine.
    pub fn door(&self, machine: Machine) -> PathBuf {
        PathBuf::from("/var/run/netns").join(self.space(machine))
    }

    /// Pulls a machine's cable.
    pub fn cut(&self, machine: Machine) {
        ip(&format!("-n {} link set {} down", self.switch(), machine.name()));
    }

    /// Puts a machine's cable back.
    pub fn heal(&self, machine: Machine) {
        ip(&format!("-n {} link set {} up", self.switch(), machine.name()));
    }

    /// Lets a machine drop what comes from another one to the ports of instances.
    pub fn firewall(&self, machine: Machine, from: Machine) {
        let rule = format!("ip saddr {} tcp dport 20000-29999 drop", from.address());
        self.filter(machine, &rule);
    }

    /// Lets a machine drop whatever comes from another one.
    pub fn refuse(&self, machine: Machine, from: Machine) {
        self.filter(machine, &format!("ip saddr {} drop", from.address()));
    }

    /// Takes away what a machine drops.
    pub fn accept(&self, machine: Machine) {
        self.nft(machine, "delete table inet segue");
    }

    fn filter(&self, machine: Machine, rule: &str) {
        let rules = format!(
            "add table inet segue; \
             add chain inet segue input {{ type filter hook input priority 0; }}; \
             add rule inet segue input {rule}"
        );
        self.nft(machine, &rules);
    }

    fn nft(&self, machine: Machine, rules: &str) {
        let ran = self.on(machine, "nft").arg(rules).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }

    /// Returns the processes on a machine.
    pub fn processes(&self, machine: Machine) -> Vec<u32> {
        let Output { stdout, .. } =
            Command::new("ip").args(["netns", "pids", &self.space(machine)]).output().unwrap();
        let pids = String::from_utf8_lossy(&stdout).into_owned();
        pids.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// Switches a machine off: all of its processes are killed, and its cable is pulled.
    pub fn switch_off(&self, machine: Machine) {
        self.cut(machine);
        for pid in self.processes(machine) {
            crate::world::signal(pid, rustix::process::Signal::KILL);
        }
    }

    fn space(&self, machine: Machine) -> String {
        format!("{}-{}", self.prefix, machine.name())
    }

    fn switch(&self) -> String {
        format!("{}-sw", self.prefix)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for machine in &self.machines {
            for pid in self.processes(*machine) {
                crate::world::signal(pid, rustix::process::Signal::KILL);
            }
        }
        let spaces = self.machines.iter().map(|machine| self.space(*machine));
        for space in spaces.chain([self.switch()]) {
            let _ = Command::new("ip").args(["netns", "del", &space]).output();
        }
    }
}

/// Lets the calling thread be on the machine behind this file.
pub fn enter(door: &std::path::Path) {
    let door = File::open(door).unwrap();
    let network = Some(LinkNameSpaceType::Network);
    move_into_link_name_space(std::os::fd::AsFd::as_fd(&door), network).unwrap();
}

/// Runs `ip`, which has to succeed. Machines cannot be made without the rights of root.
fn ip(words: &str) {
    let ran = Command::new("ip").args(words.split_whitespace()).output().unwrap();
    let why = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "`ip {words}` failed; these tests need root: {why}");
}
