//! One simulated machine: processes that survive control, an agent that dies with it, probes, and delays of
//! its own. The whole machine can die.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use model::{
    Address, AppName, Exit, Expect, Health, HealthCheck, HostCommand, HostReport, InstanceId, Keep,
    Launch, Listeners, NotStarted, ReleaseNo,
};

use crate::apps::Behaviour;
use crate::rng::Rng;

/// The delays of a machine, in milliseconds. The default adds none to those of a release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Duration of each start or stop. The agent does one after the other.
    pub work: u64,
    /// Time before a new process runs its program.
    pub start: u64,
    /// Delay of the result of a probe.
    pub probe: u64,
}

/// A machine with processes.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// Everything that was ever started here and not forgotten, with its run folder.
    pub processes: BTreeMap<InstanceId, Process>,
    /// The releases whose files are stored here.
    pub files: BTreeMap<AppName, BTreeSet<ReleaseNo>>,
    /// Instances that were told to stop. A late start of them is refused.
    tombstones: BTreeSet<InstanceId>,
    /// Commands that the agent has yet to carry out, in order.
    queue: VecDeque<HostCommand>,
    /// The machine's delays.
    pub pace: Pace,
    /// True if the machine is dead and answers nothing.
    pub is_dead: bool,
    /// True if the agent's folder is read-only, so that nothing can be started.
    pub is_read_only: bool,
    /// Number of deaths so far. Events scheduled in an earlier life do not happen.
    pub life: u64,
    next_pid: u32,
}

/// One process, alive or dead.
#[derive(Clone, Debug)]
pub struct Process {
    /// The launch it was started with.
    pub launch: Launch,
    /// The process id.
    pub pid: u32,
    /// Time at which its program began to run, in milliseconds.
    pub born: u64,
    /// The exit.
    pub exit: Option<Exit>,
    /// The epoch of the agent that probes it.
    probed_in: Option<u64>,
    health: Health,
    streak: u32,
    good: bool,
    /// The agent's last report of its health.
    said: Option<HostReport>,
    /// Time until which probes fail.
    pub sick_until: u64,
    /// Time until which another program listens at its address.
    pub taken_until: u64,
    /// Time until which the instance does not answer probes.
    pub silent_until: u64,
    unanswered: bool,
}

impl Process {
    /// Makes all later probes fail.
    pub fn hang(&mut self) {
        self.sick_until = u64::MAX;
    }

    /// Returns whether all later probes fail.
    pub fn hangs(&self) -> bool {
        self.sick_until == u64::MAX
    }
}

/// An event that follows from an action of a host, after a delay.
#[derive(Clone, Debug)]
pub enum Next {
    /// The agent sends a report.
    Report(HostReport),
    /// The agent has carried out the first command of its queue.
    Work,
    /// The agent probes an instance.
    Probe(InstanceId),
    /// The process ends by itself.
    Die(InstanceId, Exit),
    /// The process ends because it was told to.
    Stopped(InstanceId),
}

/// The next events of a host, each with its delay in milliseconds.
pub type Nexts = Vec<(u64, Next)>;

/// The state of the world that a host needs to know.
#[derive(Debug)]
pub struct Moment<'a> {
    /// Milliseconds since the world began.
    pub now: u64,
    /// The epoch of the agent. It dies with the server.
    pub epoch: u64,
    /// The one source of chance.
    pub rng: &'a mut Rng,
}

/// The program that a host has to start, with data that only the world knows.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// The behaviour of the program.
    pub behaviour: Behaviour,
    /// True if another program holds its port.
    pub is_port_taken: bool,
    /// True if the value of a variable that it names is missing.
    pub lacks_value: bool,
}

impl Host {
    /// Returns a machine without processes.
    pub fn new(pace: Pace) -> Self {
        Self { pace, ..Self::default() }
    }

    /// Gives the agent a command. The agent starts and stops one after the other, and does everything else
    /// at once.
    pub fn told(&mut self, command: HostCommand) -> Told {
        if self.is_dead {
            return Told::Nobody;
        }
        let is_work = match &command {
            // Commands about one instance keep their order.
            HostCommand::Run { launch, expect: Expect::Running } => {
                self.queue.iter().any(|queued| is_about(queued, &launch.id))
            }
            HostCommand::Run { expect: Expect::Fresh, .. } | HostCommand::Stop { .. } => true,
            HostCommand::Keep(_) | HostCommand::OfferPorts { .. } => false,
        };
        if !is_work || self.pace.work == 0 {
            return Told::Now(command);
        }
        // A repeated command is already in the queue.
        if self.queue.contains(&command) {
            return Told::Later(Vec::new());
        }
        self.queue.push_back(command);
        // A command in progress schedules the next one by itself.
        let begins = self.queue.len() == 1;
        Told::Later(begins.then_some((self.pace.work, Next::Work)).into_iter().collect())
    }

    /// Finishes the agent's current piece of work, and begins the next one.
    pub fn worked(&mut self) -> (Option<HostCommand>, Nexts) {
        let done = self.queue.pop_front();
        let next = (!self.queue.is_empty()).then_some((self.pace.work, Next::Work));
        (done, next.into_iter().collect())
    }

    /// Runs an instance, or adopts it.
    pub fn run(
        &mut self,
        launch: Launch,
        expect: Expect,
        program: Program,
        at: &mut Moment,
    ) -> Nexts {
        let id = launch.id.clone();
        if let Some(process) = self.processes.get_mut(&id) {
            if process.exit.is_some() {
                let exit = process.exit;
                return vec![(1, exited(&id, exit))];
            }
            let running = Next::Report(HostReport::Running { id: id.clone(), pid: process.pid });
            let mut next = vec![(1, running)];
            if process.probed_in != Some(at.epoch) {
                process.probed_in = Some(at.epoch);
                (process.health, process.streak, process.said) = (Health::Unknown, 0, None);
                if process.launch.serving.is_some() {
                    next.push((at.rng.between(1, 50), Next::Probe(id)));
                }
            }
            next.extend(process.said.clone().map(|said| (1, Next::Report(said))));
            return next;
        }
        if expect == Expect::Running || self.tombstones.contains(&id) {
            return vec![(1, exited(&id, None))];
        }
        let mut alive = self.processes.values().filter(|process| process.exit.is_none());
        let address = address(&launch);
        let is_taken = address.is_some() && alive.any(|p| self::address(&p.launch) == address);
        if program.is_port_taken || is_taken {
            let why = NotStarted::AddressInUse;
            return vec![(1, Next::Report(HostReport::NotStarted { id, why }))];
        }
        if program.lacks_value {
            let why = NotStarted::Refused("the value of a variable is missing".into());
            return vec![(1, Next::Report(HostReport::NotStarted { id, why }))];
        }
        if self.is_read_only {
            let why = NotStarted::Refused("read-only file system".into());
            return vec![(1, Next::Report(HostReport::NotStarted { id, why }))];
        }
        self.files.entry(launch.id.app.clone()).or_default().insert(launch.release);
        self.start(launch, program.behaviour, at)
    }

    /// Deletes the data that an app no longer needs.
    pub fn keep(&mut self, keep: &Keep) {
        let Keep { app, releases, env: _, instances, forget_state: _, last_rollout: _ } = keep;
        self.processes.retain(|id, process| {
            id.app != *app || process.exit.is_none() || instances.contains(id)
        });
        if let Some(files) = self.files.get_mut(app) {
            files.retain(|no| releases.iter().any(|(kept, _)| kept == no));
        }
    }

    fn start(&mut self, launch: Launch, behaviour: Behaviour, at: &mut Moment) -> Nexts {
        let id = launch.id.clone();
        self.next_pid += 1;
        let pid = 1_000 + self.next_pid;
        let process = Process {
            launch,
            pid,
            born: at.now + self.pace.start,
            exit: None,
            probed_in: Some(at.epoch),
            health: Health::Unknown,
            streak: 0,
            good: false,
            said: None,
            sick_until: 0,
            taken_until: 0,
            silent_until: 0,
            unanswered: false,
        };
        self.processes.insert(id.clone(), process);
        let running = HostReport::Running { id: id.clone(), pid };
        let serves = self.processes.get(&id).is_some_and(|p| p.launch.serving.is_some());
        let mut next = vec![(at.rng.between(1, 10), Next::Report(running))];
        if serves {
            next.push((at.rng.between(20, 120), Next::Probe(id.clone())));
        }
        let end = behaviour.end();
        next.extend(end.map(|(after, exit)| (self.pace.start + after, Next::Die(id, exit))));
        next
    }

    /// Stops an instance. A later start of it is refused.
    pub fn stop(&mut self, id: InstanceId, grace: u64, at: &mut Moment) -> Nexts {
        self.tombstones.insert(id.clone());
        match self.processes.get(&id) {
            Some(process) if process.exit.is_none() => {
                let takes = at.rng.between(1, grace.clamp(1, 2_000));
                vec![(takes, Next::Stopped(id))]
            }
            Some(process) => vec![(1, exited(&id, process.exit))],
            None => vec![(1, exited(&id, None))],
        }
    }

    /// Probes an instance once, for the agent of `epoch`.
    pub fn probe(&mut self, id: &InstanceId, behaviour: Behaviour, now: u64, epoch: u64) -> Nexts {
        let Some(process) = self.processes.get_mut(id) else { return Vec::new() };
        if process.exit.is_some() || process.probed_in != Some(epoch) {
            return Vec::new();
        }
        let Some(check) = health_check(&process.launch) else { return Vec::new() };
        let age = now.checked_sub(process.born);
        let (taken, silent) = (now < process.taken_until, now < process.silent_until);
        let well = now >= process.sick_until && !taken && !silent;
        let good = age.is_some_and(|age| behaviour.is_healthy(age)) && well;
        process.streak = if good == process.good { process.streak + 1 } else { 1 };
        process.good = good;
        let before = (process.health, process.unanswered);
        let is_bad = !good && process.streak >= check.fall && process.health == Health::Up;
        if good && process.streak >= check.rise {
            process.health = Health::Up;
        } else if taken || (is_bad && !silent) {
            process.health = Health::Down;
        }
        process.unanswered = is_bad && silent;
        let booting = process.health == Health::Unknown;
        let pause = if booting { check.interval.0.min(100) } else { check.interval.0 };
        let mut next = vec![(pause, Next::Probe(id.clone()))];
        if (process.health, process.unanswered) != before || (!good && process.streak == 1) {
            let report = HostReport::Health {
                id: id.clone(),
                health: process.health,
                streak: process.streak,
                note: (!good).then(|| match silent {
                    true => format!("GET {} got no answer", check.path),
                    false => format!("GET {} was refused", check.path),
                }),
                unanswered: process.unanswered,
                listeners: match taken {
                    true => Listeners::Foreign,
                    false => Listeners::Own(vec![process.pid.into()]),
                },
            };
            process.said = Some(report.clone());
            next.push((self.pace.probe, Next::Report(report)));
        }
        next
    }

    /// Ends a process.
    pub fn end(&mut self, id: &InstanceId, exit: Exit) -> Nexts {
        let Some(process) = self.processes.get_mut(id) else { return Vec::new() };
        if process.exit.is_none() {
            process.exit = Some(exit);
        }
        let exit = process.exit;
        vec![(1, exited(id, exit))]
    }

    /// Ends the agent together with the server. Its queue is lost.
    pub fn agent_dies(&mut self) {
        self.queue.clear();
    }

    /// Kills the machine. The ends of its processes are not observed.
    pub fn die(&mut self) {
        (self.is_dead, self.life) = (true, self.life + 1);
        self.queue.clear();
        for process in self.processes.values_mut() {
            process.exit.get_or_insert(Exit::Unknown);
        }
    }

    /// Brings the machine back. Its agent finds the processes that have ended.
    pub fn come_back(&mut self) -> Nexts {
        self.is_dead = false;
        let ended = self.processes.iter().filter(|(_, process)| process.exit.is_some());
        ended.map(|(id, process)| (1, exited(id, process.exit))).collect()
    }
}

/// The result of sending a command.
#[derive(Debug)]
pub enum Told {
    /// The machine is dead and does not receive the command.
    Nobody,
    /// The command is carried out at once.
    Now(HostCommand),
    /// The command waits in the queue.
    Later(Nexts),
}

fn address(launch: &Launch) -> Option<&Address> {
    launch.serving.as_ref().map(|serving| &serving.address)
}

fn health_check(launch: &Launch) -> Option<HealthCheck> {
    launch.serving.as_ref().map(|serving| serving.health.clone())
}

fn is_about(command: &HostCommand, instance: &InstanceId) -> bool {
    match command {
        HostCommand::Run { launch, .. } => launch.id == *instance,
        HostCommand::Stop { id, .. } => id == instance,
        HostCommand::Keep(_) | HostCommand::OfferPorts { .. } => false,
    }
}

fn exited(id: &InstanceId, exit: Option<Exit>) -> Next {
    let exit = exit.unwrap_or(Exit::Unknown);
    let tail = match exit {
        Exit::Code(0) | Exit::Signal(_) | Exit::Unknown => Vec::new(),
        Exit::Code(_) => vec!["panicked: no such table".into()],
    };
    Next::Report(HostReport::Exited { id: id.clone(), exit, address_in_use: false, tail })
}
