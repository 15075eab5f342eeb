//! The simulated host: processes that survive control, an agent that dies with it, probes, ports.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Address, Digest, Exit, Expect, Health, HostCommand, HostReport, InstanceId, Launch, NotStarted,
};

use crate::apps::Behaviour;
use crate::rng::Rng;

/// A machine with processes on it.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// Everything that was ever started and not forgotten, with its run folder.
    pub processes: BTreeMap<InstanceId, Process>,
    /// Instances that were told to stop: a late start is refused.
    tombstones: BTreeSet<InstanceId>,
    /// Ports that other programs hold.
    pub foreign: BTreeSet<u16>,
    /// What releases do, by their content.
    pub behaviours: BTreeMap<Digest, Behaviour>,
    next_pid: u32,
    /// Every instance ever started: none may be started twice.
    started: BTreeSet<InstanceId>,
    /// Instances that were started twice.
    pub started_twice: Vec<InstanceId>,
}

/// One process, alive or dead.
#[derive(Clone, Debug)]
pub struct Process {
    /// What it was started as.
    pub launch: Launch,
    /// Its id.
    pub pid: u32,
    /// When it was started, in milliseconds.
    pub born: u64,
    /// How it ended.
    pub exit: Option<Exit>,
    /// The agent of this epoch probes it.
    probed_in: Option<u64>,
    health: Health,
    streak: u32,
    good: bool,
    /// Probes fail until then.
    pub sick_until: u64,
}

/// What follows from something a host does: after so many milliseconds.
#[derive(Clone, Debug)]
pub enum Next {
    /// The agent reports.
    Report(HostReport),
    /// The agent probes.
    Probe(InstanceId),
    /// The process ends by itself.
    Die(InstanceId),
    /// The process ends because it was told to.
    Stopped(InstanceId),
}

type Nexts = Vec<(u64, Next)>;

impl Host {
    /// The agent of `epoch` is told something.
    pub fn command(&mut self, command: HostCommand, now: u64, epoch: u64, rng: &mut Rng) -> Nexts {
        match command {
            HostCommand::Run { launch, expect } => self.run(*launch, expect, now, epoch, rng),
            HostCommand::Stop { id, grace } => {
                self.tombstones.insert(id.clone());
                match self.processes.get(&id) {
                    Some(process) if process.exit.is_none() => {
                        let takes = rng.between(1, grace.0.clamp(1, 2_000));
                        vec![(takes, Next::Stopped(id))]
                    }
                    Some(process) => vec![(1, self.exited(&id, process.exit))],
                    None => vec![(1, self.exited(&id, None))],
                }
            }
            HostCommand::OfferPorts { except } => {
                let free = (20_000..30_000).filter(|port| !except.contains(port));
                let free = free.take(48).collect();
                vec![(rng.between(1, 20), Next::Report(HostReport::Ports { free }))]
            }
            HostCommand::Keep { app, instances, .. } => {
                self.processes.retain(|id, process| {
                    id.app != app || process.exit.is_none() || instances.contains(id)
                });
                Vec::new()
            }
        }
    }

    fn run(
        &mut self,
        launch: Launch,
        expect: Expect,
        now: u64,
        epoch: u64,
        rng: &mut Rng,
    ) -> Nexts {
        let id = launch.id.clone();
        if let Some(process) = self.processes.get_mut(&id) {
            if process.exit.is_some() {
                let exit = process.exit;
                return vec![(1, self.exited(&id, exit))];
            }
            let running = Next::Report(HostReport::Running { id: id.clone(), pid: process.pid });
            let mut next = vec![(1, running)];
            if process.probed_in != Some(epoch) {
                process.probed_in = Some(epoch);
                (process.health, process.streak) = (Health::Unknown, 0);
                next.push((rng.between(1, 50), Next::Probe(id)));
            }
            return next;
        }
        if expect == Expect::Running || self.tombstones.contains(&id) {
            return vec![(1, self.exited(&id, None))];
        }
        if self.is_taken(&launch.address) {
            let why = NotStarted::AddressInUse;
            return vec![(1, Next::Report(HostReport::NotStarted { id, why }))];
        }
        self.start(launch, now, epoch, rng)
    }

    fn start(&mut self, launch: Launch, now: u64, epoch: u64, rng: &mut Rng) -> Nexts {
        let id = launch.id.clone();
        if !self.started.insert(id.clone()) {
            self.started_twice.push(id.clone());
        }
        self.next_pid += 1;
        let pid = 1_000 + self.next_pid;
        let lifetime = self.behaviour(&launch).lifetime();
        let process = Process {
            launch,
            pid,
            born: now,
            exit: None,
            probed_in: Some(epoch),
            health: Health::Unknown,
            streak: 0,
            good: false,
            sick_until: 0,
        };
        self.processes.insert(id.clone(), process);
        let running = HostReport::Running { id: id.clone(), pid };
        let mut next = vec![
            (rng.between(1, 10), Next::Report(running)),
            (rng.between(20, 120), Next::Probe(id.clone())),
        ];
        next.extend(lifetime.map(|after| (after, Next::Die(id))));
        next
    }

    fn is_taken(&self, address: &Address) -> bool {
        let mut alive = self.processes.values().filter(|process| process.exit.is_none());
        let by_foreign = match address {
            Address::Tcp(address) => self.foreign.contains(&address.port()),
            Address::Unix(_) => false,
        };
        by_foreign || alive.any(|process| process.launch.address == *address)
    }

    fn behaviour(&self, launch: &Launch) -> Behaviour {
        let known = launch.content.and_then(|content| self.behaviours.get(&content));
        known.copied().unwrap_or(Behaviour::Good(200))
    }

    /// One probe by the agent of `epoch`.
    pub fn probe(&mut self, id: &InstanceId, now: u64, epoch: u64) -> Nexts {
        let behaviour = self.processes.get(id).map(|process| self.behaviour(&process.launch));
        let (Some(process), Some(behaviour)) = (self.processes.get_mut(id), behaviour) else {
            return Vec::new();
        };
        if process.exit.is_some() || process.probed_in != Some(epoch) {
            return Vec::new();
        }
        let good = behaviour.is_healthy(now - process.born) && now >= process.sick_until;
        process.streak = if good == process.good { process.streak + 1 } else { 1 };
        process.good = good;
        let check = &process.launch.health;
        let before = process.health;
        if good && process.streak >= check.rise {
            process.health = Health::Up;
        } else if !good && process.streak >= check.fall && before == Health::Up {
            process.health = Health::Down;
        }
        let booting = process.health == Health::Unknown;
        let pause = if booting { check.interval.0.min(100) } else { check.interval.0 };
        let mut next = vec![(pause, Next::Probe(id.clone()))];
        if process.health != before || (!good && process.streak == 1) {
            let note = (!good).then(|| format!("GET {} was refused", check.path));
            let (health, streak) = (process.health, process.streak);
            let report = HostReport::Health { id: id.clone(), health, streak, note };
            next.push((0, Next::Report(report)));
        }
        next
    }

    /// The process ends.
    pub fn end(&mut self, id: &InstanceId, exit: Exit) -> Nexts {
        let Some(process) = self.processes.get_mut(id) else { return Vec::new() };
        if process.exit.is_none() {
            process.exit = Some(exit);
        }
        let exit = process.exit;
        vec![(1, self.exited(id, exit))]
    }

    /// The machine goes down and comes up: nobody saw how anything ended.
    pub fn reboot(&mut self) {
        for process in self.processes.values_mut() {
            process.exit.get_or_insert(Exit::Unknown);
        }
    }

    /// The processes that are alive.
    pub fn alive(&self) -> impl Iterator<Item = &InstanceId> {
        self.processes.iter().filter(|(_, process)| process.exit.is_none()).map(|(id, _)| id)
    }

    fn exited(&self, id: &InstanceId, exit: Option<Exit>) -> Next {
        let exit = exit.unwrap_or(Exit::Unknown);
        let tail = match exit {
            Exit::Code(0) | Exit::Signal(_) | Exit::Unknown => Vec::new(),
            Exit::Code(_) => vec!["panicked: no such table".into()],
        };
        Next::Report(HostReport::Exited { id: id.clone(), exit, address_in_use: false, tail })
    }
}
