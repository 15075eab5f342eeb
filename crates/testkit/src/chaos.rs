//! Chaos from one seed: impatient users and every fault, then quiet, then a check that everything has come
//! to rest.

use model::{
    AppName, FailureBudget, HostDuty, InstanceId, Listen, Maintenance, Millis, Page, Standby,
    Waiting,
};
use rollout::{Ask, FleetAsk, Promote};

use crate::ambush::Ambush;
use crate::apps::{Behaviour, random_strategy, release, spec, task};
use crate::beginnings::{self, Joins};
use crate::coverage::Coverage;
use crate::happening::Faults;
use crate::hosts::HostNo;
use crate::invariants::Checker;
use crate::rng::Rng;
use crate::sabotage::Sabotage;
use crate::violation::Violation;
use crate::world::World;

/// The result of one seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Number of steps of the engine.
    pub steps: u64,
    /// The coverage of the run.
    pub coverage: Coverage,
    /// The first violation of an invariant.
    pub violation: Option<Violation>,
    /// The announced events.
    pub transcript: Vec<String>,
    /// The records journaled since the last checkpoint.
    pub records: Vec<control::Record>,
}

/// Salt of the generator that decides whether a world has a second proxy. It leaves all other draws
/// unchanged.
const PROXIES: u64 = 0x70_72_6f_78_79;

/// Salt of the generator that decides whether control learns the result of each append.
const LOG: u64 = 0x6c_6f_67;

/// Salt of the generator that decides whether reports of hosts are lost and whether ports are scarce.
const HOSTS: u64 = 0x68_6f_73_74_73;

/// Salt of the generator for tasks: when they are run, and which.
const WORK: u64 = 0x77_6f_72_6b;

/// Salt of the generator that decides whether releases name variables and whether the proxies are scraped.
const WATCHED: u64 = 0x77_61_74_63_68;

/// Salt of the generator that decides whether the number of apps is limited, and which apps come and go.
const NAMES: u64 = 0x6e_61_6d_65;

/// One world under chaos.
#[derive(Debug)]
pub struct Chaos {
    world: World,
    apps: Vec<AppName>,
    deployed: u64,
    /// The generator for tasks, separate from all others.
    tasks: Rng,
    /// True if releases name variables.
    has_values: bool,
    /// The generator for apps with new names, in worlds with a limited number of apps.
    names: Option<Rng>,
    /// Number of such names used.
    named: u64,
}

/// Runs one seed for at least `steps` steps of the engine, then until everything has come to rest.
pub fn run_seed(seed: u64, steps: u64, sabotage: Option<Sabotage>) -> Outcome {
    rollout::plant(sabotage.and_then(Sabotage::bug));
    let mut chaos = Chaos::new(seed, sabotage);
    chaos.run(steps);
    chaos.calm();
    let World { steps, coverage, transcript, .. } = &chaos.world;
    Outcome {
        steps: *steps,
        coverage: coverage.clone(),
        violation: chaos.world.violation().cloned(),
        transcript: transcript.clone(),
        records: chaos.world.disk.records(),
    }
}

impl Chaos {
    /// Time for everything to come to rest, in virtual milliseconds.
    const REST: u64 = 15 * 60 * 1_000;

    fn new(seed: u64, sabotage: Option<Sabotage>) -> Self {
        // Each seed begins with another crossing, and continues at random.
        let all = Coverage::crossings();
        let turn = usize::try_from(seed % all.len() as u64).unwrap_or(0);
        let (place, what) = all[turn];
        let mut more_proxies = Rng::new(seed ^ PROXIES);
        let joins = Joins::draw(&mut more_proxies, what);
        let hosts = beginnings::hosts(seed, what, joins);
        let mut world = match joins {
            Joins::Instead => World::without_own_proxy(seed, hosts, sabotage),
            Joins::First | Joins::Later | Joins::ForAmbush | Joins::Never => {
                World::of(seed, hosts, sabotage)
            }
        };
        if matches!(joins, Joins::First | Joins::Instead) {
            world.add_proxy();
        }
        let app: AppName = "web".parse().expect("it is valid");
        let deployed = Ambush { place, what }.play(&mut world, &app, 0);
        if joins == Joins::Later {
            // From one machine to a fleet. What runs has loopback addresses.
            world.restart_with_address();
            world.add_proxy();
        }
        if matches!(joins, Joins::First | Joins::Instead | Joins::Later) {
            // This proxy is a balancer that does not count.
            world.proxies[1].counts = !more_proxies.once_in(4);
        }
        let odds = [0, 50, 200];
        let mut draw = || world.rng.pick(&odds).copied().unwrap_or(0);
        let (lose, repeat, late, slow_swap) = (draw(), draw(), draw(), draw());
        let lose_append = if Rng::new(seed ^ LOG).once_in(4) { 50 } else { 0 };
        let mut of_hosts = Rng::new(seed ^ HOSTS);
        let lose_report = if of_hosts.once_in(4) { 8 } else { 0 };
        if of_hosts.once_in(6) {
            world.hosts.offers = usize::try_from(of_hosts.between(1, 6)).unwrap_or(1);
        }
        let lose_keep = if of_hosts.once_in(4) { 2 } else { 0 };
        world.faults =
            Faults { lose, lose_keep, lose_report, repeat, late, slow_swap, lose_append };
        let many = match world.rng.between(0, 5) {
            0 => 12,
            1..=2 => 2,
            _ => 1,
        };
        let more = (1..many).map(|n| format!("app-{n}").parse().expect("these are valid"));
        let apps: Vec<AppName> = std::iter::once(app).chain(more).collect();
        let mut watched = Rng::new(seed ^ WATCHED);
        let has_values = watched.once_in(4);
        if watched.once_in(2) {
            (0..world.proxies.len()).for_each(|number| world.scrape_from_now(number));
        }
        let mut names = Rng::new(seed ^ NAMES);
        let names = names.once_in(6).then_some(names);
        if names.is_some() {
            world.limit_apps(apps.len() + 2);
        }
        let tasks = Rng::new(seed ^ WORK);
        Self { world, apps, deployed, tasks, has_values, names, named: 0 }
    }

    fn run(&mut self, steps: u64) {
        while self.world.steps < steps && self.world.violation().is_none() {
            let app = self.world.rng.pick(&self.apps).cloned();
            let Some(app) = app else { return };
            match self.world.rng.between(0, 99) {
                0..=14 => self.user(&app),
                15..=19 => self.fault(),
                _ => self.traffic(&app),
            }
            if self.tasks.once_in(25) {
                self.work(&app);
            }
            self.come_and_go();
            let pause = match self.world.rng.between(0, 9) {
                0 => self.world.rng.between(1_000, 12_000),
                1..=4 => self.world.rng.between(20, 500),
                _ => self.world.rng.between(0, 20),
            };
            self.world.run_for(pause);
        }
    }

    fn traffic(&mut self, app: &AppName) {
        for _ in 0..self.world.rng.between(1, 4) {
            let lasts = match self.world.rng.between(0, 49) {
                0 => self.world.rng.between(2_000, 20_000),
                _ => self.world.rng.between(2, 300),
            };
            self.world.request(app, lasts);
        }
    }

    fn user(&mut self, app: &AppName) {
        let version = if self.world.rng.once_in(4) {
            self.world.views.get(app).map(|view| view.version)
        } else {
            None
        };
        let ask = match self.world.rng.between(0, 20) {
            0..=6 => self.deploy(app),
            7..=8 => Ask::Rollback { to: None },
            9 => self.rollback_to(app),
            10..=12 => Ask::Promote(Promote::Step),
            13 => Ask::Promote(Promote::Full),
            14 => Ask::Abort,
            15 => Ask::Pause,
            16 => Ask::Resume,
            17 => self.maintain(),
            18 => self.scale_or_sync(),
            19 => Ask::Restart,
            _ => Ask::Remove { with_state: false },
        };
        let again = matches!(ask, Ask::Remove { .. }) && self.world.rng.once_in(2);
        self.world.ask(app, ask, version);
        if again {
            // The app is deployed again before its removal is complete, or right after.
            let pause = self.world.rng.between(0, 4_000);
            self.world.run_for(pause);
            let ask = self.deploy(app);
            self.world.ask(app, ask, None);
        }
    }

    fn work(&mut self, app: &AppName) {
        let rng = &mut self.tasks;
        let takes = (!rng.once_in(4)).then(|| rng.between(0, 10_000));
        let name = rng.pick(&["report", "queue"]).copied().unwrap_or("report");
        let mut task = task(name, takes, rng.once_in(2));
        if rng.once_in(2) {
            task.time_limit = Some(Millis(rng.between(0, 5_000)));
        }
        self.world.ask(app, Ask::Work(Box::new(task)), None);
    }

    /// Deploys several new apps at once or removes one of them, now and then, in worlds with a limited
    /// number of apps.
    fn come_and_go(&mut self) {
        let Some(rng) = &mut self.names else { return };
        if !rng.once_in(20) {
            return;
        }
        let name = |number| -> AppName { format!("new-{number}").parse().expect("it is valid") };
        if self.named > 0 && rng.once_in(2) {
            let app = name(rng.between(1, self.named));
            self.world.ask(&app, Ask::Remove { with_state: false }, None);
            return;
        }
        for _ in 0..rng.between(1, 3) {
            self.named += 1;
            let app = name(self.named);
            let release = Box::new(release(spec(&app), "v1", u64::MAX - self.named));
            self.world.ask(&app, Ask::Deploy { release, replace: false }, None);
        }
    }

    fn deploy(&mut self, app: &AppName) -> Ask {
        let rng = &mut self.world.rng;
        let behaviour = match rng.between(0, 11) {
            0 => Behaviour::Exits(rng.between(5, 3_000)),
            1 => Behaviour::NeverHealthy,
            2 => Behaviour::DiesLater(rng.between(300, 30_000)),
            3 => Behaviour::Flaps,
            _ => Behaviour::Good(rng.between(0, 5_000)),
        };
        let mut spec = spec(app);
        spec.run.replicas = u16::try_from(rng.between(1, 4)).unwrap_or(1);
        // No random draw is used here, so that existing seeds replay unchanged.
        spec.run.listen = if self.deployed % 4 == 1 { Listen::Unix } else { Listen::Port };
        spec.strategy.kind = random_strategy(rng);
        spec.strategy.standby = match rng.between(0, 3) {
            0 => Standby::None,
            1 => Standby::For(Millis(rng.between(1_000, 60_000))),
            _ => Standby::Keep,
        };
        spec.strategy.failure_budget = match self.deployed % 4 {
            1 => FailureBudget::Count(1),
            3 => FailureBudget::Percent(70),
            _ => FailureBudget::default(),
        };
        if self.deployed % 3 == 2 {
            // The second app with this host is refused.
            spec.route.hosts = vec!["shared.example".into()];
        }
        let errs = rng.once_in(8);
        let again = rng.once_in(5) && self.deployed > 0;
        let replace = rng.once_in(3);
        self.deployed += u64::from(!again);
        if self.has_values {
            spec.run.env = self.world.hosts.values.put(app, self.deployed);
        }
        let release = release(spec, &format!("v{}", self.deployed), self.deployed);
        if errs && let Some(view) = self.world.views.get(app) {
            // The next new release of this app mostly answers with errors.
            let last = view.releases.last().map_or(0, |release| release.no.0);
            for proxy in &mut self.world.proxies {
                proxy.errors.once_in.insert(model::ReleaseNo(last + 1), 1);
            }
        }
        if let Some(content) = release.content.filter(|_| !again) {
            self.world.hosts.behaviours.insert(content, behaviour);
        }
        Ask::Deploy { release: Box::new(release), replace }
    }

    fn scale_or_sync(&mut self) -> Ask {
        let rng = &mut self.world.rng;
        if rng.once_in(2) {
            return Ask::Sync;
        }
        Ask::Scale { replicas: u16::try_from(rng.between(0, 4)).unwrap_or(1) }
    }

    fn maintain(&mut self) -> Ask {
        let (page, hold, allow) = (Page::default(), Millis(0), Vec::new());
        let on = Maintenance { page, hold, allow };
        Ask::Maintenance { on: self.world.rng.once_in(2).then_some(on) }
    }

    fn rollback_to(&mut self, app: &AppName) -> Ask {
        let stored =
            self.world.views.get(app).map(|view| view.releases.clone()).unwrap_or_default();
        let to = self.world.rng.pick(&stored).map(|release| release.no);
        Ask::Rollback { to }
    }

    fn fault(&mut self) {
        let is_fleet = !self.world.hosts.remote().is_empty() || self.world.proxies.len() > 1;
        if is_fleet && self.world.rng.once_in(8) {
            // A firewall between a proxy and a host, or no longer one.
            let all: Vec<_> = self.world.hosts.machines().map(|(no, _)| no).collect();
            let host = self.world.rng.pick(&all).copied().unwrap_or(HostNo(0));
            let proxy = self.world.rng.between(0, self.world.proxies.len() as u64 - 1) as usize;
            return self.world.block(proxy, host);
        }
        if !self.world.hosts.remote().is_empty() && self.world.rng.once_in(3) {
            return self.cut();
        }
        let last = if self.world.proxies.len() > 1 { 14 } else { 12 };
        match self.world.rng.between(0, last) {
            0..=3 => {
                let durable = self.world.rng.once_in(2);
                if self.world.rng.once_in(4) {
                    // The wall clock jumps while control is down: by an hour, back or ahead.
                    let ahead = self.world.rng.between(0, 2) * 3_600_000;
                    self.world.set_wall_clock(1_700_000_000_000 + ahead);
                }
                let down = self.world.rng.between(1, 5_000);
                self.world.crash(durable, down);
            }
            4 => self.world.reboot(),
            5..=8 => {
                let alive: Vec<_> = self.world.hosts.alive().cloned().collect();
                if let Some(id) = self.world.rng.pick(&alive).cloned() {
                    self.world.kill(&id);
                }
            }
            9 => {
                let alive: Vec<_> = self.world.hosts.alive().cloned().collect();
                if let Some(id) = self.world.rng.pick(&alive).cloned() {
                    self.sicken(&id);
                }
            }
            10 => self.world.disk.full = !self.world.disk.full,
            11 => {
                let all: Vec<_> = self.world.hosts.machines().map(|(no, _)| no).collect();
                let back_in = self.world.rng.between(500, 30_000);
                if let Some(host) = self.world.rng.pick(&all).copied() {
                    self.world.kill_host(host, back_in);
                }
            }
            13..=14 => {
                let lasts = match self.world.rng.between(0, 2) {
                    0 => self.world.rng.between(500, 9_000),
                    1 => self.world.rng.between(9_000, 40_000),
                    _ => self.world.rng.between(40_000, 200_000),
                };
                if self.world.rng.once_in(2) {
                    self.world.kill_proxy(1, lasts);
                } else {
                    self.world.cut_proxy(1, lasts);
                }
            }
            _ => {
                let taken = 20_000 + u16::try_from(self.world.rng.between(0, 60)).unwrap_or(0);
                if !self.world.hosts.foreign.insert(taken) {
                    self.world.hosts.foreign.clear();
                }
            }
        }
    }

    /// Says what a machine is used for.
    fn set_duty(&mut self) {
        let all: Vec<_> = self.world.hosts.machines().map(|(no, _)| no).collect();
        let duties = [HostDuty::Active, HostDuty::Cordoned, HostDuty::Draining];
        let duty = self.world.rng.pick(&duties).copied().unwrap_or_default();
        if let Some(host) = self.world.rng.pick(&all).copied() {
            let host = self.world.hosts.name(host);
            self.world.ask_fleet(FleetAsk::SetDuty { host, duty });
        }
    }

    /// Cuts the connection to one machine or to all of them, for a moment or for minutes.
    fn cut(&mut self) {
        if self.world.rng.once_in(3) {
            return self.set_duty();
        }
        if self.world.rng.once_in(4) {
            let remote = self.world.hosts.remote();
            let host = self.world.rng.pick(&remote).copied().unwrap_or(HostNo(1));
            let is_read_only = !self.world.rng.once_in(3);
            return self.world.hosts.set_read_only(host, is_read_only);
        }
        let lasts = match self.world.rng.between(0, 2) {
            0 => self.world.rng.between(500, 9_000),
            1 => self.world.rng.between(9_000, 40_000),
            _ => self.world.rng.between(40_000, 200_000),
        };
        if self.world.rng.once_in(4) {
            return self.world.cut_all_links(lasts);
        }
        if let Some(host) = self.world.rng.pick(&self.world.hosts.remote()).copied() {
            self.world.cut_link(host, lasts);
        }
    }

    /// Makes an instance fail its probes for some time or hang for ever, alone or with all others of its
    /// app.
    fn sicken(&mut self, id: &InstanceId) {
        let (hangs, all) = (self.world.rng.once_in(4), self.world.rng.once_in(2));
        let lasts = self.world.rng.between(500, 20_000);
        let until = if hangs { u64::MAX } else { self.world.now + lasts };
        let is_meant = |other: &InstanceId| other == id || (all && other.app == id.app);
        let meant = self.world.hosts.processes_mut().filter(|(other, _)| is_meant(other));
        meant.for_each(|(_, process)| process.sick_until = until);
    }

    /// Stops all faults and opens all gates, so that everything has to come to rest.
    fn calm(&mut self) {
        if self.world.faults.lose_keep > 0
            && let Some(app) = self.apps.last().cloned()
        {
            // The last command about a removed app must not be lost.
            self.world.ask(&app, Ask::Remove { with_state: false }, None);
            self.world.run_for(60_000);
        }
        self.world.faults = Faults::default();
        self.world.heal_links();
        self.world.disk.full = false;
        self.world.disk.next = None;
        self.world.hosts.foreign.clear();
        for host in self.world.hosts.remote() {
            self.world.hosts.set_read_only(host, false);
        }
        // Flapping probes are a fault too.
        for behaviour in self.world.hosts.behaviours.values_mut() {
            if *behaviour == Behaviour::Flaps {
                *behaviour = Behaviour::Good(200);
            }
        }
        for (_, process) in self.world.hosts.processes_mut().filter(|(_, it)| !it.hangs()) {
            process.sick_until = 0;
        }
        // A hanging instance has to be replaced. This fault does not stop by itself.
        let alive: Vec<_> = self.world.hosts.alive().cloned().collect();
        if self.world.rng.once_in(4)
            && let Some(id) = self.world.rng.pick(&alive).cloned()
        {
            let of_app = self.world.hosts.processes_mut().filter(|(other, _)| other.app == id.app);
            of_app.for_each(|(_, process)| process.hang());
        }
        let until = self.world.now + Self::REST;
        let before = self.world.steps;
        let is_spinning = |world: &World| world.steps - before > Checker::QUIET_STEPS;
        while self.world.now < until
            && self.world.violation().is_none()
            && !is_spinning(&self.world)
        {
            for app in self.apps.clone() {
                let view = self.world.views.get(&app);
                let Some(rollout) = view.and_then(|v| v.rollout.clone()) else { continue };
                let gate = rollout.waiting.map(|reason| reason.waiting);
                if let Some(Waiting::Resume { because }) = &gate {
                    let answer = if because.is_some() { Ask::Abort } else { Ask::Resume };
                    self.world.ask(&app, answer, None);
                } else if gate == Some(Waiting::Promote) {
                    self.world.ask(&app, Ask::Promote(Promote::Step), None);
                }
            }
            let hosts = self.world.engine().into_iter().flat_map(|engine| engine.hosts());
            let idle = hosts.filter(|(_, host)| !host.duty.is_active());
            for host in idle.map(|(host, _)| host.clone()).collect::<Vec<_>>() {
                self.world.ask_fleet(FleetAsk::SetDuty { host, duty: HostDuty::Active });
            }
            self.world.run_for(20_000);
        }
        self.world.check_quiet(self.world.steps - before);
    }
}
