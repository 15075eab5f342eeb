//! The world: one queue of happenings in virtual time, the real engine in the middle.

mod traffic;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use control::{Answer, Command, Engine, Event, Mode, Record, SteadyClock, Ticket};
use journal::Lost;
use model::{
    AppName, AppView, FromHost, HostAbilities, HostCommand, HostId, InstanceId, Millis, ProxyId,
    Timestamp,
};
use rollout::{Ask, Refusal};

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

/// Workers of each proxy.
const WORKERS: usize = 3;
/// What comes late comes within so many milliseconds.
const LATEST: u64 = 3_000;

/// The simulated world.
/// Many fields: every part of the world is there once, and each draws from the same chance.
#[derive(Clone, Debug)]
pub struct World {
    /// Milliseconds since the world began; also the machine's boot time.
    pub now: u64,
    /// The one source of chance.
    pub rng: Rng,
    /// The journal.
    pub disk: Disk,
    /// The machines; the server is on the first.
    pub hosts: Hosts,
    /// The proxies. The first is in the server and dies with it; the others live on.
    pub proxies: Vec<Proxy>,
    /// How unkind it is.
    pub faults: Faults,
    /// Answers to commands.
    pub answers: BTreeMap<Ticket, Result<Answer, Refusal>>,
    /// How apps look.
    pub views: BTreeMap<AppName, Arc<AppView>>,
    /// What was announced, as transcript lines.
    pub transcript: Vec<String>,
    /// What has been reached.
    pub coverage: Coverage,
    /// Steps the engine has made.
    pub steps: u64,
    /// How many apps there may be.
    most_apps: usize,
    checker: Checker,
    engine: Option<Engine>,
    /// Instances at whose address control has found somebody else.
    foreign: BTreeSet<InstanceId>,
    /// The server is down, not only control.
    is_down: bool,
    clock: SteadyClock,
    /// The wall clock's distance from `now`.
    wall: u64,
    epoch: u64,
    queue: BTreeMap<(u64, u64), (u64, Happening)>,
    order: u64,
    tickets: u64,
    /// What was asked and not answered yet.
    asked: BTreeMap<Ticket, (AppName, &'static str)>,
    /// When the last command reached the host.
    arrived: u64,
}

impl World {
    /// A new world of one machine, with control running and nothing deployed.
    pub fn new(seed: u64, sabotage: Option<Sabotage>) -> Self {
        Self::with_hosts(seed, &[Pace::default()], sabotage)
    }

    /// A new world with a machine for each of `paces`, with control running and nothing deployed.
    pub fn with_hosts(seed: u64, paces: &[Pace], sabotage: Option<Sabotage>) -> Self {
        let wall = 1_700_000_000_000;
        let mut world = Self {
            now: 0,
            rng: Rng::new(seed),
            disk: Disk::default(),
            hosts: Hosts::new(paces),
            proxies: vec![Proxy::new(ProxyId(0), WORKERS)],
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
        world.restart();
        world
    }

    /// From now on there may be no more apps than this.
    pub fn limit_apps(&mut self, most_apps: usize) {
        self.most_apps = most_apps;
        self.engine = self.engine.take().map(|engine| engine.limited_to(most_apps));
    }

    /// The first violation, if one was seen.
    pub fn violation(&self) -> Option<&Violation> {
        self.checker.violation.as_ref()
    }

    /// The engine, while control lives.
    pub fn engine(&self) -> Option<&Engine> {
        self.engine.as_ref()
    }

    /// Somebody asks; the answer is found under the ticket once it is there.
    pub fn ask(&mut self, app: &AppName, ask: Ask, version: Option<u64>) -> Ticket {
        self.coverage.asked(&ask, self.views.get(app).map(|view| &**view));
        let ticket = self.ticket();
        self.asked.insert(ticket, (app.clone(), coverage::command(&ask)));
        watch::asked(self, ticket, app, &ask);
        let mode = Mode::Commit;
        self.deliver(0, Event::Ask { ticket, app: app.clone(), ask, version, mode });
        ticket
    }

    /// Somebody asks what the answer would be.
    pub fn dry_run(&mut self, app: &AppName, ask: Ask, version: Option<u64>) -> Ticket {
        let (ticket, mode) = (self.ticket(), Mode::DryRun);
        self.deliver(0, Event::Ask { ticket, app: app.clone(), ask, version, mode });
        ticket
    }

    /// One more proxy, on a machine of its own. Control is started again to know it.
    pub fn add_proxy(&mut self) {
        let number = u32::try_from(self.proxies.len()).unwrap_or(u32::MAX);
        self.proxies.push(Proxy::new(ProxyId(number), WORKERS));
        self.crash(true, 0);
        self.run_for(0);
    }

    /// A proxy apart dies, and is there again after so many milliseconds: another process, which begins from
    /// what was saved.
    pub fn kill_proxy(&mut self, number: usize, back_in: u64) {
        let alive = self.proxies.get_mut(number).filter(|proxy| number > 0 && !proxy.is_dead);
        if let Some(proxy) = alive {
            proxy.is_dead = true;
            proxy.crash();
            self.coverage.fault("dead-proxy", self.views.values().map(|view| &**view));
            self.at(back_in, Happening::ProxyComesBack(number));
        }
    }

    /// Somebody scrapes that proxy from now on.
    pub fn scrape_from_now(&mut self, number: usize) {
        self.at(2_000, Happening::Scrape(number));
    }

    /// A request for `app` that lasts so long.
    pub fn request(&mut self, app: &AppName, lasts: u64) {
        let is_down = |number: usize| number == 0 && self.is_down;
        let up = self.proxies.iter().enumerate();
        let up = up.filter(|(number, proxy)| !is_down(*number) && !proxy.is_dead);
        let up: Vec<usize> = up.map(|(number, _)| number).collect();
        // Where there is no choice, none is drawn.
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

    /// The whole server dies at this very moment: control, agent and its proxy; processes live on.
    pub fn crash(&mut self, append_is_durable: bool, restart_in: u64) {
        if self.is_down {
            return;
        }
        (self.engine, self.is_down) = (None, true);
        self.coverage.fault("crash", self.views.values().map(|view| &**view));
        self.disk.crash(append_is_durable);
        self.proxies[0].crash();
        self.hosts.agents_die();
        self.views.clear();
        self.asked.clear();
        self.queue.retain(|_, (_, happening)| !happening.is_mortal());
        self.at(restart_in, Happening::Restart);
    }

    /// The server's machine dies and comes up again.
    pub fn reboot(&mut self) {
        self.coverage.fault("reboot", self.views.values().map(|view| &**view));
        self.crash(false, 2_000);
        // The server is there again before anybody asks the agent; nothing is reported to it.
        if self.hosts.die(HostNo(0)) {
            self.hosts.come_back(HostNo(0));
        }
    }

    /// A machine dies, all at once, and answers nothing for so many milliseconds. The server lives on,
    /// wherever it is.
    pub fn kill_host(&mut self, host: HostNo, back_in: u64) {
        if self.hosts.die(host) {
            self.coverage.fault("dead-host", self.views.values().map(|view| &**view));
            self.at(back_in, Happening::ComeBack(host));
        }
    }

    /// A process dies of somebody else's hand.
    pub fn kill(&mut self, id: &InstanceId) {
        self.coverage.fault("kill", self.views.values().map(|view| &**view));
        let errands = self.hosts.kill(id);
        self.follow(errands);
    }

    /// The wall clock is set; what counts is what control reads at its next start.
    pub fn set_wall_clock(&mut self, ahead: u64) {
        self.wall = ahead;
    }

    /// Runs what happens within so many milliseconds.
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

    /// Checks that everything has come to rest, and that it took no more than so many steps.
    pub fn check_quiet(&mut self, steps: u64) {
        self.checker.spinning(steps, self.now);
        watch::quiet(self);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Deliver(event) => self.step(event),
            Happening::Host(command) => {
                let errands = self.hosts.command(command, self.now, self.epoch, &mut self.rng);
                self.follow(errands);
            }
            Happening::Errand(errand) => {
                let gone_on = self.hosts.go_on(errand, self.now, self.epoch, &mut self.rng);
                self.follow(gone_on.errands);
                let heard = gone_on.report.filter(|_| !self.strikes(self.faults.lose_report));
                if let Some(report) = heard {
                    self.report(Event::Host(FromHost { host: HostId::local(), report }));
                }
            }
            Happening::ComeBack(host) => {
                let errands = self.hosts.come_back(host);
                self.follow(errands);
            }
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
            Happening::ProxyComesBack(proxy) => traffic::proxy_comes_back(self, proxy),
            Happening::Heartbeat(number) => {
                traffic::report_traffic(self, number);
                self.at(1_000, Happening::Heartbeat(number));
            }
            Happening::Scrape(number) => traffic::scrape(self, number),
            Happening::Wake => self.step(Event::Tick),
            Happening::BeginAgain if self.engine.is_none() => self.restart(),
            Happening::BeginAgain => {}
            Happening::Restart => self.restart(),
        }
    }

    /// A report reaches control: at once, after later ones, or both.
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

    /// Whether a fault that strikes once in so many times does.
    fn strikes(&mut self, once_in: u64) -> bool {
        once_in > 0 && self.rng.once_in(once_in)
    }

    /// One step of the engine, its consequences, and the invariants.
    fn step(&mut self, event: Event) {
        let now = self.clock.now(Millis(self.now));
        let Some(mut engine) = self.engine.take() else {
            // It waits in control's inbox, unless that has died.
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

    /// Control starts, with the server or by itself: reads the log, says everything again.
    fn restart(&mut self) {
        let with_server = std::mem::take(&mut self.is_down);
        self.epoch += u64::from(with_server);
        self.checker.restarting(&mut self.disk);
        let recovered = self.disk.open();
        let term = self.checker.term(recovered.term);
        let proxies: Vec<ProxyId> = self.proxies.iter().map(|proxy| proxy.id).collect();
        match Engine::recover(term, &proxies, &recovered) {
            Ok(engine) => {
                let foreign = std::mem::take(&mut self.foreign).into_iter();
                let taken = foreign.filter(|_| !with_server).map(|id| (id, "taken".to_owned()));
                let (local, able) = (HostId::local(), HostAbilities::default());
                let engine = engine.with_host(local, Ipv4Addr::LOCALHOST.into(), able);
                let mut engine = engine.with_strangers(taken).limited_to(self.most_apps);
                let wall = Timestamp(self.now + self.wall);
                self.clock = SteadyClock::new(wall, engine.last_fact(), Millis(self.now));
                let now = self.clock.now(Millis(self.now));
                let commands = engine.begin(now);
                self.checker.recovered(&engine, self.now);
                let wake = engine.wake_at();
                self.engine = Some(engine);
                self.carry_out(commands, now);
                self.schedule_wake(wake, now);
                let beginning = if with_server { 0..self.proxies.len() } else { 0..0 };
                for proxy in beginning {
                    self.at(1_000, Happening::Heartbeat(proxy));
                }
            }
            Err(error) => self.checker.unreadable(&error, self.now),
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
                    // What is of the fleet alone is written at once.
                    let of_apps = records.iter().filter_map(Record::app).count();
                    let takes = if of_apps > 0 { self.rng.between(1, 15) } else { 0 };
                    self.at(takes, Happening::Append);
                }
                Command::Checkpoint(body) => self.disk.checkpoint(&body),
                Command::Host(command) => {
                    let is_keep = matches!(command.command, HostCommand::Keep(_));
                    let is_lost = is_keep && self.strikes(self.faults.lose_keep);
                    if !is_lost && !self.strikes(self.faults.lose) {
                        // The port to a host keeps the order.
                        let arrives = (self.now + self.rng.between(0, 3)).max(self.arrived);
                        self.arrived = arrives;
                        self.at(arrives - self.now, Happening::Host(command));
                    }
                }
                Command::Prepare(snapshot) => traffic::tell_to_prepare(self, &snapshot),
                Command::Commit(generation) => traffic::tell_to_commit(self, generation),
                Command::Health(table) => {
                    self.proxies.iter_mut().for_each(|proxy| proxy.take_health(&table));
                }
                Command::Answer(ticket, answer) => {
                    self.hosts.values.answered(ticket, &answer);
                    self.answers.insert(ticket, answer);
                }
                Command::Announce(event) => self.announce(&event),
                Command::Show(view) => {
                    self.coverage.seen(&view);
                    self.views.insert(view.app.clone(), view);
                }
                Command::Hide(app) => {
                    self.views.remove(&app);
                }
            }
        }
    }

    fn announce(&mut self, event: &model::RolloutEvent) {
        let (seconds, millis) = (self.now / 1_000, self.now % 1_000);
        self.transcript.push(format!("{seconds:>4}.{millis:03} {} {}", event.app, event.text));
    }

    fn schedule_wake(&mut self, wake: Timestamp, now: Timestamp) {
        let key = self.now + wake.since(now).0.max(1);
        // One wake-up at a time is enough: each step schedules the next.
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

    fn deliver(&mut self, after: u64, event: Event) {
        self.at(after, Happening::Deliver(event));
    }

    fn at(&mut self, after: u64, happening: Happening) {
        self.order += 1;
        self.queue.insert((self.now + after, self.order), (self.epoch, happening));
    }
}
