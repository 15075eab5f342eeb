//! One simulated machine: processes that survive control, an agent that dies with it, probes, and a
//! pace of its own. It can die as a whole.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use model::{
    Address, AppName, Exit, Expect, Health, HealthCheck, HostCommand, HostReport, InstanceId, Keep,
    Launch, Listeners, NotStarted, ReleaseNo,
};

use crate::apps::Behaviour;
use crate::rng::Rng;

/// How slow a machine is, in milliseconds; by default it adds nothing to what a release takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Each start or stop takes so long, one after the other.
    pub work: u64,
    /// A process needs so long before its program begins to run.
    pub start: u64,
    /// What a probe has found is known so much later.
    pub probe: u64,
}

/// A machine with processes on it.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// Everything that was ever started here and not forgotten, with its run folder.
    pub processes: BTreeMap<InstanceId, Process>,
    /// The releases whose files are laid out here.
    pub files: BTreeMap<AppName, BTreeSet<ReleaseNo>>,
    /// Instances that were told to stop: a late start is refused.
    tombstones: BTreeSet<InstanceId>,
    /// What the agent has yet to do, in order.
    queue: VecDeque<HostCommand>,
    /// How slow it is.
    pub pace: Pace,
    /// The machine is dead, and answers nothing.
    pub is_dead: bool,
    /// How often it has died: what was to happen in an earlier life does not.
    pub life: u64,
    next_pid: u32,
}

/// One process, alive or dead.
#[derive(Clone, Debug)]
pub struct Process {
    /// What it was started as.
    pub launch: Launch,
    /// Its id.
    pub pid: u32,
    /// When its program began to run, in milliseconds.
    pub born: u64,
    /// How it ended.
    pub exit: Option<Exit>,
    /// The agent of this epoch probes it.
    probed_in: Option<u64>,
    health: Health,
    streak: u32,
    good: bool,
    /// What the agent has last said of its health.
    said: Option<HostReport>,
    /// Probes fail until then.
    pub sick_until: u64,
    /// Somebody else listens at its address until then.
    pub taken_until: u64,
    /// The instance gives no answer to its probes until then.
    pub silent_until: u64,
    unanswered: bool,
}

impl Process {
    /// Lets no probe of it ever succeed again.
    pub fn hang(&mut self) {
        self.sick_until = u64::MAX;
    }

    /// Whether no probe of it will ever succeed again.
    pub fn hangs(&self) -> bool {
        self.sick_until == u64::MAX
    }
}

/// What follows from something a host does: after so many milliseconds.
#[derive(Clone, Debug)]
pub enum Next {
    /// The agent reports.
    Report(HostReport),
    /// The agent has done the first of what it has yet to do.
    Work,
    /// The agent probes.
    Probe(InstanceId),
    /// The process ends by itself.
    Die(InstanceId, Exit),
    /// The process ends because it was told to.
    Stopped(InstanceId),
}

/// What a host does next, each after so many milliseconds.
pub type Nexts = Vec<(u64, Next)>;

/// What a host needs to know of the world around it.
#[derive(Debug)]
pub struct Moment<'a> {
    /// Milliseconds since the world began.
    pub now: u64,
    /// Which agent it is: one dies with the server.
    pub epoch: u64,
    /// The one source of chance.
    pub rng: &'a mut Rng,
}

/// What a host has to start, with what only the world knows of it.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// How it behaves.
    pub behaviour: Behaviour,
    /// Another program holds its port.
    pub is_port_taken: bool,
    /// The value of a variable that it names is not there.
    pub lacks_value: bool,
}

impl Host {
    /// A machine with nothing on it.
    pub fn new(pace: Pace) -> Self {
        Self { pace, ..Self::default() }
    }

    /// The agent is told something. It starts and stops one after the other; the rest it does at once.
    pub fn told(&mut self, command: HostCommand) -> Told {
        if self.is_dead {
            return Told::Nobody;
        }
        let is_work = match &command {
            // What concerns one instance keeps its order.
            HostCommand::Run { launch, expect: Expect::Running } => {
                self.queue.iter().any(|queued| is_about(queued, &launch.id))
            }
            HostCommand::Run { expect: Expect::Fresh, .. } | HostCommand::Stop { .. } => true,
            HostCommand::Keep(_) | HostCommand::OfferPorts { .. } => false,
        };
        if !is_work || self.pace.work == 0 {
            return Told::Now(command);
        }
        // Told again, it is on its way already.
        if self.queue.contains(&command) {
            return Told::Later(Vec::new());
        }
        self.queue.push_back(command);
        // What is under way already goes on to the next by itself.
        let begins = self.queue.len() == 1;
        Told::Later(begins.then_some((self.pace.work, Next::Work)).into_iter().collect())
    }

    /// The agent has done its next piece of work, and begins the one after it.
    pub fn worked(&mut self) -> (Option<HostCommand>, Nexts) {
        let done = self.queue.pop_front();
        let next = (!self.queue.is_empty()).then_some((self.pace.work, Next::Work));
        (done, next.into_iter().collect())
    }

    /// Runs an instance, or takes it over.
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
        self.files.entry(launch.id.app.clone()).or_default().insert(launch.release);
        self.start(launch, program.behaviour, at)
    }

    /// Deletes what an app does not need any more.
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

    /// Stops an instance; one that comes later is not started.
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

    /// One probe by the agent of `epoch`.
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

    /// A process ends.
    pub fn end(&mut self, id: &InstanceId, exit: Exit) -> Nexts {
        let Some(process) = self.processes.get_mut(id) else { return Vec::new() };
        if process.exit.is_none() {
            process.exit = Some(exit);
        }
        let exit = process.exit;
        vec![(1, exited(id, exit))]
    }

    /// The agent dies with the server: what it had yet to do is forgotten.
    pub fn agent_dies(&mut self) {
        self.queue.clear();
    }

    /// The machine dies: nobody sees how anything on it ends.
    pub fn die(&mut self) {
        (self.is_dead, self.life) = (true, self.life + 1);
        self.queue.clear();
        for process in self.processes.values_mut() {
            process.exit.get_or_insert(Exit::Unknown);
        }
    }

    /// The machine is there again; its agent finds what has ended.
    pub fn come_back(&mut self) -> Nexts {
        self.is_dead = false;
        let ended = self.processes.iter().filter(|(_, process)| process.exit.is_some());
        ended.map(|(id, process)| (1, exited(id, process.exit))).collect()
    }
}

/// What becomes of a command.
#[derive(Debug)]
pub enum Told {
    /// The machine is dead: nobody hears it.
    Nobody,
    /// The command is carried out at once.
    Now(HostCommand),
    /// The command waits for its turn.
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
