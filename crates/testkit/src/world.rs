//! The world: one queue of events in virtual time, around the real engine.

mod connections;
mod proxies;
mod reach;
mod start;
mod traffic;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use control::{Answer, Command, Engine, Event, Mode, Record, SteadyClock, Ticket};
use journal::Lost;
use model::{AppName, AppView, FromHost, HostCommand, InstanceId, Millis, ProxyId, Timestamp};
use rollout::{Ask, FleetAsk, Refusal};

use crate::coverage::{self, Coverage};
use crate::disk::{Disk, Loss};
use crate::happening::{At, Faults, Happening};
use crate::host::Pace;
use crate::hosts::{Errand, HostNo, Hosts};
use crate::invariants::Checker;
use crate::proxy::Proxy;
use crate::rng::Rng;
use crate::sabotage::Sabotage;
use crate::violation::Violation;
use connections::Connections;

/// Number of workers of each proxy.
const WORKERS: usize = 3;
/// Maximum delay of a late message, in milliseconds.
const LATEST: u64 = 3_000;

/// The simulated world.
///
/// Many fields: each part of the world exists once, and all parts draw from one source of chance.
#[derive(Clone, Debug)]
pub struct World {
    /// Milliseconds since the world began. This is also the machine's boot time.
    pub now: u64,
    /// The one source of chance.
    pub rng: Rng,
    /// The journal.
    pub disk: Disk,
    /// The machines. The server runs on the first one.
    pub hosts: Hosts,
    /// The connections to the agents of the other machines, if each is a host of its own.
    connections: Connections,
    /// The proxies. The first one is part of the server and dies with it; the others survive.
    pub proxies: Vec<Proxy>,
    /// The rates of faults.
    pub faults: Faults,
    /// Answers to commands.
    pub answers: BTreeMap<Ticket, Result<Answer, Refusal>>,
    /// The views of apps.
    pub views: BTreeMap<AppName, Arc<AppView>>,
    /// Announced events, as lines of a transcript.
    pub transcript: Vec<String>,
    /// The coverage of the run.
    pub coverage: Coverage,
    /// Number of steps of the engine.
    pub steps: u64,
    /// Maximum number of apps.
    most_apps: usize,
    checker: Checker,
    engine: Option<Engine>,
    /// Instances at whose address control has found another program.
    foreign: BTreeSet<InstanceId>,
    /// True if the server is down, not only control.
    is_down: bool,
    clock: SteadyClock,
    /// The distance of the wall clock from `now`.
    wall: u64,
    epoch: u64,
    queue: BTreeMap<(u64, u64), (u64, Happening)>,
    order: u64,
    tickets: u64,
    /// Questions without an answer so far.
    asked: BTreeMap<Ticket, (AppName, &'static str)>,
    /// Time at which the last command reached the host.
    arrived: u64,
}

impl World {
    /// Returns a new world of one machine, with control running and no app deployed.
    pub fn new(seed: u64, sabotage: Option<Sabotage>) -> Self {
        Self::of(seed, Hosts::new(&[Pace::default()]), sabotage)
    }

    /// Returns a new world of these machines.
    pub fn of(seed: u64, hosts: Hosts, sabotage: Option<Sabotage>) -> Self {
        let mut world = Self::begin(seed, hosts, sabotage);
        if world.hosts.are_apart() {
            world.run_for(200); // All hosts join, and name their ports.
        }
        world
    }

    /// Returns a new world of these machines, in which the server has no proxy of its own.
    pub fn without_own_proxy(seed: u64, hosts: Hosts, sabotage: Option<Sabotage>) -> Self {
        let mut world = Self::of(seed, hosts, sabotage);
        world.proxies[0].is_dead = true;
        world.crash(true, 1);
        world.run_for(200);
        world
    }

    fn begin(seed: u64, hosts: Hosts, sabotage: Option<Sabotage>) -> Self {
        let wall = 1_700_000_000_000;
        let mut world = Self {
            now: 0,
            rng: Rng::new(seed),
            disk: Disk::default(),
            hosts,
            connections: Connections::default(),
            proxies: vec![Proxy::new(ProxyId::local(), WORKERS)],
            faults: Faults::default(),
            answers: BTreeMap::new(),
            views: BTreeMap::new(),
            transcript: Vec::new(),
            coverage: Coverage::default(),
            steps: 0,
            most_apps: Engine::APPS,
            checker: Checker::new(sabotage),
            engine: None,
            foreign: BTreeSet::new(),
            is_down: true,
            clock: SteadyClock::new(Timestamp(wall), Timestamp(0), Millis(0)),
            wall,
            epoch: 0,
            queue: BTreeMap::new(),
            order: 0,
            tickets: 0,
            asked: BTreeMap::new(),
            arrived: 0,
        };
        world.hosts.tells_values = sabotage == Some(Sabotage::TellsValues);
        world.proxies[0].scrape_takes_counts = sabotage == Some(Sabotage::ScrapeTakesCounts);
        start::start(&mut world);
        world
    }

    /// Sets the maximum number of apps.
    pub fn limit_apps(&mut self, most_apps: usize) {
        self.most_apps = most_apps;
        self.engine = self.engine.take().map(|engine| engine.limited_to(most_apps));
    }

    /// Returns the first violation, if there was one.
    pub fn violation(&self) -> Option<&Violation> {
        self.checker.violation.as_ref()
    }

    /// Returns the engine, while control lives.
    pub fn engine(&self) -> Option<&Engine> {
        self.engine.as_ref()
    }

    /// Sends a command. The answer appears under the ticket.
    pub fn ask(&mut self, app: &AppName, ask: Ask, version: Option<u64>) -> Ticket {
        self.coverage.asked(&ask, self.views.get(app).map(|view| &**view));
        let ticket = self.ticket();
        self.asked.insert(ticket, (app.clone(), coverage::command(&ask)));
        watch::asked(self, ticket, app, &ask);
        let mode = Mode::Commit;
        self.deliver(0, Event::Ask { ticket, app: app.clone(), ask, version, mode });
        ticket
    }

    /// Sends a command about the fleet.
    pub fn ask_fleet(&mut self, ask: FleetAsk) -> Ticket {
        let ticket = self.ticket();
        self.deliver(0, Event::Fleet { ticket, ask });
        ticket
    }

    /// Sends a dry run of a command.
    pub fn dry_run(&mut self, app: &AppName, ask: Ask, version: Option<u64>) -> Ticket {
        let (ticket, mode) = (self.ticket(), Mode::DryRun);
        self.deliver(0, Event::Ask { ticket, app: app.clone(), ask, version, mode });
        ticket
    }

    /// Begins to scrape that proxy regularly.
    pub fn scrape_from_now(&mut self, number: usize) {
        self.at(2_000, Happening::Scrape(number));
    }

    /// Sends a request for `app` that lasts `lasts` milliseconds.
    pub fn request(&mut self, app: &AppName, lasts: u64) {
        let is_down = |number: usize| number == 0 && self.is_down;
        let up = self.proxies.iter().enumerate();
        let up = up.filter(|(number, proxy)| !is_down(*number) && !proxy.is_dead);
        let up: Vec<usize> = up.map(|(number, _)| number).collect();
        // With a single choice, no random number is drawn.
        let proxy = match up[..] {
            [] => return,
            [one] => one,
            [_, ..] => self.rng.pick(&up).copied().unwrap_or(0),
        };
        let worker = self.rng.between(0, WORKERS as u64 - 1) as usize;
        let at = At { proxy, epoch: self.proxies[proxy].epoch, worker };
        let before = self.proxies[proxy].requests(app);
        let picked = self.proxies[proxy].request(app, worker, &mut self.rng);
        if self.proxies[proxy].requests(app) > before {
            self.checker.counts.passed((proxy, at.epoch), app);
        }
        if let Some(id) = picked {
            let now = self.clock.now(Millis(self.now));
            self.checker.picked(&id, self.engine.as_ref(), now, self.now);
            self.at(lasts, Happening::Done(at, id));
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    /// Kills the whole server at once: control, agent and its proxy. Processes of instances survive.
    pub fn crash(&mut self, append_is_durable: bool, restart_in: u64) {
        if self.is_down {
            return;
        }
        (self.engine, self.is_down) = (None, true);
        self.coverage.fault("crash", self.views.values().map(|view| &**view));
        self.disk.crash(append_is_durable);
        self.proxies[0].crash();
        self.hosts.agents_die();
        self.connections.break_all();
        self.proxies.iter_mut().for_each(|proxy| proxy.connection.is_up = false);
        self.views.clear();
        self.asked.clear();
        self.queue.retain(|_, (_, happening)| !happening.is_mortal());
        self.at(restart_in, Happening::Restart);
    }

    /// Reboots the server's machine.
    pub fn reboot(&mut self) {
        self.coverage.fault("reboot", self.views.values().map(|view| &**view));
        self.crash(false, 2_000);
        // The server is back before the agent receives a request, and nothing was reported to it.
        if self.hosts.die(HostNo(0)) {
            self.hosts.come_back(HostNo(0));
        }
    }

    /// Kills a machine, which answers nothing for `back_in` milliseconds. The server survives.
    pub fn kill_host(&mut self, host: HostNo, back_in: u64) {
        connections::kill_host(self, host, back_in);
    }

    /// Cuts the connection to a machine for `lasts` milliseconds. The machine itself runs on.
    pub fn cut_link(&mut self, host: HostNo, lasts: u64) {
        connections::cut_link(self, host, lasts);
    }

    /// Cuts the connections to all other machines at once.
    pub fn cut_all_links(&mut self, lasts: u64) {
        connections::cut_all(self, lasts);
        proxies::cut_all(self, lasts);
    }

    /// Heals all connections that were cut. Machines that are dead stay dead.
    pub fn heal_links(&mut self) {
        connections::heal_all(self);
        proxies::heal_all(self);
        reach::unblock_all(self);
    }

    /// Kills a process from outside.
    pub fn kill(&mut self, id: &InstanceId) {
        self.coverage.fault("kill", self.views.values().map(|view| &**view));
        let errands = self.hosts.kill(id);
        self.follow(errands);
    }

    /// Sets the wall clock. Control reads it at its next start.
    pub fn set_wall_clock(&mut self, ahead: u64) {
        self.wall = ahead;
    }

    /// Runs everything that happens within this many milliseconds.
    pub fn run_for(&mut self, milliseconds: u64) {
        let until = self.now + milliseconds;
        while self.checker.violation.is_none() {
            let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= until)
            else {
                break;
            };
            let ((at, _), (epoch, happening)) = entry.remove_entry();
            self.now = self.now.max(at);
            if epoch == self.epoch || !happening.is_mortal() {
                self.happen(happening);
            }
        }
        self.now = self.now.max(until);
    }

    /// Checks that everything has come to rest within `steps` steps.
    pub fn check_quiet(&mut self, steps: u64) {
        self.checker.spinning(steps, self.now);
        watch::quiet(self);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Deliver(event) => self.step(event),
            Happening::Host(command) if !connections::arrives(self, &command.host) => {}
            Happening::Host(command) => {
                let errands = self.hosts.command(command, self.now, self.epoch, &mut self.rng);
                self.follow(errands);
            }
            Happening::Errand(errand) => {
                let host = self.hosts.name(errand.host);
                let gone_on = self.hosts.go_on(errand, self.now, self.epoch, &mut self.rng);
                self.follow(gone_on.errands);
                let report = gone_on.report.filter(|_| connections::arrives(self, &host));
                if let Some(report) = report.filter(|_| !self.strikes(self.faults.lose_report)) {
                    self.report(Event::Host(FromHost { host, report }));
                }
            }
            Happening::ComeBack(host) => connections::come_back(self, host),
            Happening::ProxyConnects(number) => proxies::connect(self, number),
            Happening::ProxyUnheard(number, cut) => proxies::fall_silent(self, number, cut),
            Happening::ProxyHeals(number, cut) => proxies::heal(self, number, cut),
            Happening::Unheard(host, cut) => connections::fall_silent(self, host, cut),
            Happening::Heal(host, cut) => connections::heal(self, host, cut),
            Happening::Connect(host) => connections::connect(self, host),
            Happening::Append => {
                if self.strikes(self.faults.lose_append) {
                    let losses = [Loss::There, Loss::NotThere, Loss::Fenced];
                    self.disk.next = self.rng.pick(&losses).copied();
                }
                let result = self.disk.finish();
                let fault = match &result {
                    Ok(()) => None,
                    Err(Lost::Refused(_)) => Some("disk-full"),
                    Err(Lost::Unknown(_)) => Some("lost-append"),
                    Err(Lost::Fenced { .. }) => Some("fenced"),
                };
                if let Some(fault) = fault {
                    self.coverage.fault(fault, self.views.values().map(|view| &**view));
                }
                self.step(Event::Appended(result));
            }
            Happening::Prepare(proxy, snapshot) => traffic::prepare(self, proxy, &snapshot),
            Happening::Commit(proxy, generation) => traffic::commit(self, proxy, generation),
            Happening::Swap(at, snapshot) => traffic::swap(self, at, snapshot),
            Happening::Done(at, id) => traffic::done(self, at, &id),
            Happening::ProxyComesBack(proxy) => proxies::come_back(self, proxy),
            Happening::Asks(number) => reach::asks(self, number),
            Happening::Heartbeat(number) => {
                reach::ask(self, number);
                traffic::report_traffic(self, number);
                self.at(1_000, Happening::Heartbeat(number));
            }
            Happening::Scrape(number) => traffic::scrape(self, number),
            Happening::Wake => self.step(Event::Tick),
            Happening::BeginAgain if self.engine.is_some() => {}
            Happening::BeginAgain | Happening::Restart => start::start(self),
        }
    }

    /// Delivers a report to control: at once, after later ones, or both.
    fn report(&mut self, report: Event) {
        if self.strikes(self.faults.repeat) {
            let after = self.rng.between(1, LATEST);
            self.deliver(after, report.clone());
        }
        if self.strikes(self.faults.late) {
            let after = self.rng.between(1, LATEST);
            self.deliver(after, report);
        } else {
            self.step(report);
        }
    }

    /// Returns whether a fault with a rate of one in `once_in` occurs.
    fn strikes(&mut self, once_in: u64) -> bool {
        once_in > 0 && self.rng.once_in(once_in)
    }

    /// Runs one step of the engine, carries out its commands, and checks the invariants.
    fn step(&mut self, event: Event) {
        let now = self.clock.now(Millis(self.now));
        let Some(mut engine) = self.engine.take() else {
            // The event waits in control's inbox, unless the inbox has died.
            if !self.is_down {
                self.deliver(1, event);
            }
            return;
        };
        self.steps += 1;
        let is_report = matches!(event, Event::Traffic(_));
        let commands = engine.step(event, now);
        let wake = engine.wake_at();
        if let Some(defect) = engine.defect() {
            self.checker.defect(defect, self.now);
        }
        let has_stepped_down = engine.lost().is_some();
        self.foreign.clone_from(engine.foreign());
        if is_report {
            watch::counted(self, &engine);
        }
        self.engine = Some(engine);
        self.carry_out(commands, now);
        if has_stepped_down {
            self.engine = None;
            let takes = self.rng.between(1, 50);
            self.at(takes, Happening::BeginAgain);
        } else {
            self.schedule_wake(wake, now);
        }
    }

    fn carry_out(&mut self, commands: Vec<Command>, now: Timestamp) {
        let (engine, proxies) = (self.engine.as_ref(), &self.proxies);
        self.checker.check(&commands, engine, proxies, now, self.now);
        watch::said(self, &commands);
        watch::accepted(self, &commands);
        for command in commands {
            match command {
                Command::Append(records) => {
                    self.disk.begin(&records);
                    // Records of the fleet alone are written at once.
                    let of_apps = records.iter().filter_map(Record::app).count();
                    let takes = if of_apps > 0 { self.rng.between(1, 15) } else { 0 };
                    self.at(takes, Happening::Append);
                }
                Command::Checkpoint(body) => self.disk.checkpoint(&body),
                Command::Host(command) => {
                    let is_keep = matches!(command.command, HostCommand::Keep(_));
                    let is_lost = is_keep && self.strikes(self.faults.lose_keep);
                    if !is_lost && !self.strikes(self.faults.lose) {
                        // The port to a host keeps the order of commands.
                        let arrives = (self.now + self.rng.between(0, 3)).max(self.arrived);
                        self.arrived = arrives;
                        self.at(arrives - self.now, Happening::Host(command));
                    }
                }
                Command::Proxy(to) => traffic::tell(self, to),
                Command::Answer(ticket, answer) => {
                    self.hosts.values.answered(ticket, &answer);
                    self.answers.insert(ticket, answer);
                }
                Command::Announce(event) => self.announce(&event),
                Command::Show(view) => {
                    self.coverage.seen(&view);
                    reach::shown(self, &view);
                    self.views.insert(view.app.clone(), view);
                }
                Command::Hide(app) => {
                    self.views.remove(&app);
                }
                Command::ShowFleet(_) => {}
            }
        }
    }

    fn announce(&mut self, event: &model::RolloutEvent) {
        let (seconds, millis) = (self.now / 1_000, self.now % 1_000);
        self.transcript.push(format!("{seconds:>4}.{millis:03} {} {}", event.app, event.text));
    }

    fn schedule_wake(&mut self, wake: Timestamp, now: Timestamp) {
        let key = self.now + wake.since(now).0.max(1);
        // One wake-up at a time is enough, since each step schedules the next.
        let later = |(at, h): (&(u64, u64), &(u64, Happening))| {
            matches!(h.1, Happening::Wake) && at.0 <= key
        };
        if !self.queue.iter().take_while(|(at, _)| at.0 <= key).any(later) {
            self.at(key - self.now, Happening::Wake);
        }
    }

    fn follow(&mut self, errands: Vec<(u64, Errand)>) {
        self.checker.started_twice(&self.hosts, self.now);
        for (after, errand) in errands {
            self.at(after, Happening::Errand(errand));
        }
    }

    /// Delivers an event to control after this many milliseconds.
    pub fn deliver(&mut self, after: u64, event: Event) {
        self.at(after, Happening::Deliver(event));
    }

    fn at(&mut self, after: u64, happening: Happening) {
        self.order += 1;
        self.queue.insert((self.now + after, self.order), (self.epoch, happening));
    }
}
