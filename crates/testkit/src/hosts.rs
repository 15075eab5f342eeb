//! All simulated machines: the machine of each instance, and the next events of each machine. Control sees
//! them as one host, or each as a host of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use model::{
    Address, AppName, Digest, Exit, HostAbilities, HostCommand, HostHello, HostId, HostReport,
    InstanceId, NotStarted, ReleaseNo, ToHost,
};

use crate::apps::Behaviour;
use crate::host::{Host, Moment, Next, Nexts, Pace, Process, Program, Told};
use crate::rng::Rng;
use crate::values::Values;

/// The number of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostNo(pub usize);

/// An event that a machine will carry out, unless it dies before.
#[derive(Clone, Debug)]
pub struct Errand {
    /// The machine.
    pub host: HostNo,
    /// The machine's life in which the event was scheduled.
    life: u64,
    /// The event.
    pub next: Next,
}

/// All machines. If they are one host for control, an instance is placed on a machine by the first command
/// about it. Otherwise control names the machine.
#[derive(Clone, Debug)]
pub struct Hosts {
    machines: Vec<Host>,
    /// True if each machine is a host of its own.
    are_apart: bool,
    placed: BTreeMap<InstanceId, HostNo>,
    /// Number of free ports named in one answer.
    pub offers: usize,
    /// Ports held by other programs.
    pub foreign: BTreeSet<u16>,
    /// Behaviour of releases, by their content.
    pub behaviours: BTreeMap<Digest, Behaviour>,
    /// Instances that were started twice, on any machine.
    pub started_twice: Vec<InstanceId>,
    started: BTreeSet<InstanceId>,
    /// The values of variables in the server's store.
    pub values: Values,
    /// Instances that could not be started because a value was missing.
    pub without_values: Vec<InstanceId>,
    /// True if agents include values in their reports: a planted bug.
    pub tells_values: bool,
    /// The releases whose files have to be kept, according to the last command.
    kept: BTreeMap<AppName, Vec<ReleaseNo>>,
    /// The highest term of a command so far.
    term: u64,
    /// The address of the server's own host. Proxies on other machines do not reach a loopback address.
    pub local_address: Ipv4Addr,
}

type Errands = Vec<(u64, Errand)>;

impl Hosts {
    /// Number of free ports that a host names in one answer, unless they are scarce.
    const OFFERS: usize = 48;

    /// Returns one machine for each pace, at least one. Each is a host of its own; the first is `local`.
    pub fn apart(paces: &[Pace]) -> Self {
        Self { are_apart: true, ..Self::new(paces) }
    }

    /// Returns one machine for each pace; at least one. For control they are one host.
    pub fn new(paces: &[Pace]) -> Self {
        let paces = if paces.is_empty() { &[Pace::default()] } else { paces };
        Self {
            machines: paces.iter().map(|pace| Host::new(*pace)).collect(),
            are_apart: false,
            placed: BTreeMap::new(),
            offers: Self::OFFERS,
            foreign: BTreeSet::new(),
            behaviours: BTreeMap::new(),
            started_twice: Vec::new(),
            started: BTreeSet::new(),
            values: Values::default(),
            without_values: Vec::new(),
            tells_values: false,
            kept: BTreeMap::new(),
            term: 0,
            local_address: Ipv4Addr::LOCALHOST,
        }
    }

    /// The address that the server's own host has in a fleet.
    pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);

    /// Gives the server's own host an address that other machines reach.
    #[must_use]
    pub fn addressed(self) -> Self {
        Self { local_address: Self::ADDRESS, ..self }
    }

    /// Returns the releases of that app whose files are kept.
    pub fn kept(&self, app: &AppName) -> &[ReleaseNo] {
        self.kept.get(app).map_or(&[], Vec::as_slice)
    }

    /// Returns the name of a machine's host.
    pub fn name(&self, host: HostNo) -> HostId {
        match host {
            HostNo(number) if self.is_remote(host) => {
                format!("h{number}").parse().expect("it is a name")
            }
            HostNo(_) => HostId::local(),
        }
    }

    /// Returns the first machine of that host.
    pub fn number(&self, host: &HostId) -> Option<HostNo> {
        (0..self.machines.len()).map(HostNo).find(|no| self.name(*no) == *host)
    }

    /// Returns the machine's first message when it connects.
    pub fn hello(&self, host: HostNo) -> HostHello {
        let number = u8::try_from(host.0).unwrap_or(u8::MAX);
        let address = match self.is_remote(host) {
            true => Ipv4Addr::new(10, 0, 0, number),
            false => self.local_address,
        };
        let machine = self.machines.get(host.0);
        let life = machine.map_or(0, |machine| machine.life);
        let ids = machine.into_iter().flat_map(|machine| machine.processes.keys());
        // They are in order, so the highest of an app comes last.
        let numbers = ids.map(|id| (id.app.clone(), id.number)).collect();
        let (abilities, boot) = (HostAbilities::default(), format!("boot-{life}"));
        HostHello { address: address.into(), abilities, numbers, boot }
    }

    /// Returns whether each machine is a host of its own.
    pub fn are_apart(&self) -> bool {
        self.are_apart
    }

    /// Returns whether the machine is a host of its own, and not the server's.
    pub fn is_remote(&self, host: HostNo) -> bool {
        self.are_apart && host.0 > 0
    }

    /// Returns the machines that are hosts of their own, without the server's.
    pub fn remote(&self) -> Vec<HostNo> {
        (0..self.machines.len()).map(HostNo).filter(|host| self.is_remote(*host)).collect()
    }

    /// Returns whether the machine is alive.
    pub fn is_alive(&self, host: HostNo) -> bool {
        self.machines.get(host.0).is_some_and(|machine| !machine.is_dead)
    }

    /// Returns the machines, in order of their numbers.
    pub fn machines(&self) -> impl Iterator<Item = (HostNo, &Host)> {
        self.machines.iter().enumerate().map(|(no, host)| (HostNo(no), host))
    }

    /// Returns everything that was ever started and not forgotten, alive or dead.
    pub fn processes(&self) -> impl Iterator<Item = (&InstanceId, &Process)> {
        self.machines.iter().flat_map(|host| &host.processes)
    }

    /// Returns the processes of [`Hosts::processes`] for changes.
    pub fn processes_mut(&mut self) -> impl Iterator<Item = (&InstanceId, &mut Process)> {
        self.machines.iter_mut().flat_map(|host| &mut host.processes)
    }

    /// Returns the processes that are alive.
    pub fn alive(&self) -> impl Iterator<Item = &InstanceId> {
        self.processes().filter(|(_, process)| process.exit.is_none()).map(|(id, _)| id)
    }

    /// Returns whether the process is alive and all its later probes fail.
    pub fn hangs(&self, id: &InstanceId) -> bool {
        self.processes().any(|(other, process)| other == id && process.hangs())
    }

    /// Gives the agents a command. A command of a control that has been replaced is refused (I11).
    pub fn command(
        &mut self,
        ToHost { host, term, command }: ToHost,
        now: u64,
        epoch: u64,
        rng: &mut Rng,
    ) -> Errands {
        if term < self.term {
            return Vec::new();
        }
        self.term = term;
        let at = &mut Moment { now, epoch, rng };
        let named = self.number(&host).filter(|_| self.are_apart);
        match &command {
            HostCommand::Run { launch, .. } => match self.place(&launch.id, named, at.rng) {
                Some(host) => self.tell(host, command, at),
                None => Vec::new(),
            },
            HostCommand::Stop { id, .. } => match self.place(id, named, at.rng) {
                Some(host) => self.tell(host, command, at),
                None => Vec::new(),
            },
            HostCommand::Keep(keep) => {
                let report = Next::Report(HostReport::Kept(keep.clone()));
                let files = keep.releases.iter().map(|(no, _)| *no).collect();
                self.kept.insert(keep.app.clone(), files);
                self.values.keep_only(keep);
                let meant: Vec<HostNo> = match named {
                    Some(host) => vec![host],
                    None => (0..self.machines.len()).map(HostNo).collect(),
                };
                let each = meant.iter().map(|host| self.tell(*host, command.clone(), at));
                let mut errands = each.collect::<Vec<_>>().concat();
                // A dead machine may hold remains, so completion is not reported.
                if meant.iter().all(|host| self.is_alive(*host)) {
                    let reporter = meant.first().copied().unwrap_or(HostNo(0));
                    errands.extend(self.errands(reporter, vec![(1, report)]));
                }
                errands
            }
            HostCommand::OfferPorts { except } => {
                let living = self.machines().find(|(_, h)| !h.is_dead).map(|(no, _)| no);
                let Some(host) = named.or(living).filter(|host| self.is_alive(*host)) else {
                    return Vec::new();
                };
                let free = (20_000..30_000).filter(|port| !except.contains(port));
                let ports = HostReport::Ports { free: free.take(self.offers).collect() };
                self.errands(host, vec![(at.rng.between(1, 20), Next::Report(ports))])
            }
        }
    }

    /// Carries out an event of a machine. Returns what concerns the world.
    pub fn go_on(&mut self, errand: Errand, now: u64, epoch: u64, rng: &mut Rng) -> GoneOn {
        let Errand { host, life, next } = errand;
        if self.machine(host).life != life || self.machine(host).is_dead {
            return GoneOn { report: None, errands: Vec::new() };
        }
        let nexts = match next {
            Next::Report(report) => {
                return GoneOn { report: Some(report), errands: Vec::new() };
            }
            Next::Work => {
                let (done, nexts) = self.machine(host).worked();
                let mut errands = self.errands(host, nexts);
                let at = &mut Moment { now, epoch, rng };
                errands.extend(done.into_iter().flat_map(|done| self.perform(host, done, at)));
                return GoneOn { report: None, errands };
            }
            Next::Probe(id) => {
                let launch = self.machine(host).processes.get(&id).map(|p| p.launch.content);
                let behaviour = self.behaviour(launch.flatten());
                let nexts = self.machine(host).probe(&id, behaviour, now, epoch);
                if self.tells_values { self.with_values(host, nexts) } else { nexts }
            }
            Next::Die(id, exit) => self.machine(host).end(&id, exit),
            Next::Stopped(id) => self.machine(host).end(&id, Exit::Code(0)),
        };
        GoneOn { report: None, errands: self.errands(host, nexts) }
    }

    /// Kills a process from outside.
    pub fn kill(&mut self, id: &InstanceId) -> Errands {
        let Some(host) = self.placed.get(id).copied() else { return Vec::new() };
        let nexts = self.machine(host).end(id, Exit::Signal(9));
        self.errands(host, nexts)
    }

    /// Ends the agents together with the server.
    pub fn agents_die(&mut self) {
        self.machines.iter_mut().for_each(Host::agent_dies);
        self.values.server_dies();
    }

    /// Kills a machine with everything on it. Returns whether it was alive.
    pub fn die(&mut self, host: HostNo) -> bool {
        let lived = self.machines.get(host.0).is_some_and(|machine| !machine.is_dead);
        if lived {
            self.machine(host).die();
        }
        lived
    }

    /// Brings a dead machine back, which then reports what it finds.
    pub fn come_back(&mut self, host: HostNo) -> Errands {
        let nexts = self.machine(host).come_back();
        self.errands(host, nexts)
    }

    /// Makes the folder of a machine's agent read-only, or writable again. Nothing can be started while it is.
    pub fn set_read_only(&mut self, host: HostNo, is_read_only: bool) {
        self.machine(host).is_read_only = is_read_only;
    }

    /// Returns the machine of an instance: the named one, or a random one among those alive when it is new.
    fn place(&mut self, id: &InstanceId, named: Option<HostNo>, rng: &mut Rng) -> Option<HostNo> {
        if let Some(host) = named {
            self.placed.insert(id.clone(), host);
            return named;
        }
        if let Some(host) = self.placed.get(id) {
            return Some(*host);
        }
        let living: Vec<HostNo> =
            self.machines().filter(|(_, host)| !host.is_dead).map(|(no, _)| no).collect();
        // With one machine there is no choice, so no random number is drawn.
        let host = if living.len() > 1 { rng.pick(&living) } else { living.first() }.copied()?;
        self.placed.insert(id.clone(), host);
        Some(host)
    }

    fn tell(&mut self, host: HostNo, command: HostCommand, at: &mut Moment) -> Errands {
        match self.machine(host).told(command) {
            Told::Nobody => Vec::new(),
            Told::Now(command) => self.perform(host, command, at),
            Told::Later(nexts) => self.errands(host, nexts),
        }
    }

    fn perform(&mut self, host: HostNo, command: HostCommand, at: &mut Moment) -> Errands {
        let nexts = match command {
            HostCommand::Run { launch, expect } => {
                let behaviour = match &launch.serving {
                    Some(_) => self.behaviour(launch.content),
                    None => Behaviour::of_task(&launch.run.command),
                };
                let is_port_taken = match launch.serving.as_ref().map(|it| &it.address) {
                    Some(Address::Tcp(address)) => self.foreign.contains(&address.port()),
                    Some(Address::Unix(_)) | None => false,
                };
                let id = launch.id.clone();
                let before = self.machine(host).processes.contains_key(&id);
                let lacks_value = !self.values.has_all(&id.app, &launch.run.env);
                let program = Program { behaviour, is_port_taken, lacks_value };
                let nexts = self.machine(host).run(*launch, expect, program, at);
                let is_refused = |(_, next): &(u64, Next)| match next {
                    Next::Report(HostReport::NotStarted { why, .. }) => {
                        matches!(why, NotStarted::Refused(_))
                    }
                    Next::Report(_)
                    | Next::Work
                    | Next::Probe(_)
                    | Next::Die(..)
                    | Next::Stopped(_) => false,
                };
                if lacks_value && nexts.iter().any(is_refused) {
                    self.without_values.push(id.clone());
                }
                let after = self.machine(host).processes.contains_key(&id);
                if after && !before && !self.started.insert(id.clone()) {
                    self.started_twice.push(id);
                }
                nexts
            }
            HostCommand::Stop { id, grace } => self.machine(host).stop(id, grace.0, at),
            HostCommand::Keep(keep) => {
                self.machine(host).keep(&keep);
                Vec::new()
            }
            HostCommand::OfferPorts { .. } => Vec::new(),
        };
        self.errands(host, nexts)
    }

    /// Adds the instance's values to reports of bad probes.
    fn with_values(&mut self, host: HostNo, mut nexts: Nexts) -> Nexts {
        for (_, next) in &mut nexts {
            let Next::Report(HostReport::Health { id, note: Some(note), .. }) = next else {
                continue;
            };
            let Some(process) = self.machines[host.0].processes.get(id) else { continue };
            for value in self.values.texts(&id.app, &process.launch.run.env) {
                note.push_str(value);
            }
        }
        nexts
    }

    fn behaviour(&self, content: Option<Digest>) -> Behaviour {
        let known = content.and_then(|content| self.behaviours.get(&content));
        known.copied().unwrap_or(Behaviour::Good(200))
    }

    fn errands(&self, host: HostNo, nexts: Nexts) -> Errands {
        let life = self.machines.get(host.0).map_or(0, |machine| machine.life);
        nexts.into_iter().map(|(after, next)| (after, Errand { host, life, next })).collect()
    }

    fn machine(&mut self, host: HostNo) -> &mut Host {
        self.machines.get_mut(host.0).expect("numbers are given to machines that there are")
    }
}

/// The result of an event.
#[derive(Debug)]
pub struct GoneOn {
    /// A report for control.
    pub report: Option<HostReport>,
    /// The events that follow.
    pub errands: Errands,
}
