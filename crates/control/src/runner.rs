//! Runs the engine on one thread, with real time, a real journal, and the implementations behind the
//! ports. It decides nothing.

use std::collections::BTreeSet;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use journal::{Log, Lost, NewRecord, Room, Seq};
use model::{
    AppName, AppView, FleetView, InstanceId, Millis, ProxyCommand, ProxyId, Timestamp, ToHost,
    ToProxy, TrafficReport,
};
use rollout::{Ask, Refusal, RefusalCode};

use crate::clock::SteadyClock;
use crate::engine::Engine;
use crate::inbox::{Inbox, Mail, Message, Reply};
use crate::message::{Command, Event, Ticket};
use crate::record::VERSION;

/// The port to the agents of the hosts.
pub trait HostLinks: Send {
    /// Sends a command to a host. Never blocks. Commands about one instance are carried out in order;
    /// all others may run concurrently. A command to a host whose agent is not connected may be dropped:
    /// everything is said again after [`model::Link::Up`].
    fn send(&mut self, command: ToHost);
}

/// The port to the proxies.
pub trait ProxyLinks: Send {
    /// Sends a command to a proxy. Never blocks longer than the server's own proxy needs to build a table.
    /// Commands to one proxy are carried out in order. A command to a proxy that is not connected may be
    /// dropped: everything is said again after [`model::ProxyLink::Up`].
    fn send(&mut self, command: ToProxy);
    /// Returns a current report of the server's own proxy, if there is one.
    fn sample(&mut self) -> Option<TrafficReport>;
}

/// The port to observers: the API and the dashboard.
pub trait Outbox: Send {
    /// Announces an event.
    fn announce(&mut self, event: model::RolloutEvent);
    /// Shows the current view of an app.
    fn show(&mut self, view: Arc<AppView>);
    /// Removes an app from view.
    fn hide(&mut self, app: &AppName);
    /// Shows the current members of the fleet.
    fn show_fleet(&mut self, view: Arc<FleetView>);
}

/// Points at which a test may let the process die: before and after every append and every effect.
pub trait CrashPoint: Send {
    /// Called at every point, with the name of the action.
    fn cross(&mut self, what: &'static str);
}

/// The environment of an engine.
pub struct RunnerConfig {
    /// The log that facts are written to.
    pub log: Box<dyn Log>,
    /// The number of the last record in the log.
    pub last: Seq,
    /// The hosts that effects go to.
    pub hosts: Box<dyn HostLinks>,
    /// The proxies that snapshots go to.
    pub proxies: Box<dyn ProxyLinks>,
    /// The receiver of everything that people see.
    pub outbox: Box<dyn Outbox>,
    /// Crash points for tests; `None` in production.
    pub crash: Option<Box<dyn CrashPoint>>,
    /// The engine's clock.
    pub clock: SteadyClock,
    /// Returns the time since the machine was booted.
    pub boot_time: fn() -> Millis,
}

impl std::fmt::Debug for RunnerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunnerConfig").field("last", &self.last).finish_non_exhaustive()
    }
}

/// Runs an engine.
pub struct Runner {
    engine: Engine,
    config: RunnerConfig,
    inbox: Inbox,
    replies: std::collections::BTreeMap<Ticket, Reply>,
    next_ticket: u64,
    logged: Arc<Mutex<Logged>>,
}

/// Results from the log. They are kept outside the inbox, so that delivering one never blocks, not even
/// when control itself delivers it while its inbox is full.
#[derive(Debug, Default)]
struct Logged {
    /// The result of the append in progress.
    append: Option<Result<Seq, Lost>>,
    /// Why the log accepts nothing any more, as found by a checkpoint.
    cut: Option<Lost>,
}

/// The end of a runner.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Ended {
    /// The runner was told to end.
    Stopped,
    /// The content of the log is unknown, or another process writes to it. The log has to be opened
    /// again. An engine recovered from it continues as after a start.
    SteppedDown {
        /// The error from the log.
        lost: Lost,
        /// The instances at whose address another program listened.
        foreign: BTreeSet<InstanceId>,
    },
    /// The engine has decided a fact that it cannot fold.
    Defect(String),
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner").field("engine", &self.engine).finish_non_exhaustive()
    }
}

impl Runner {
    /// Returns a runner for a recovered engine and its environment.
    pub fn new(engine: Engine, config: RunnerConfig, inbox: Inbox) -> Self {
        let (replies, logged) = (Default::default(), Arc::default());
        Self { engine, config, inbox, replies, next_ticket: 0, logged }
    }

    /// Runs until [`Inbox::stop`] is called or the runner cannot continue. Returns once the log is
    /// closed. Calls `begun` once the complete content of the log has been shown.
    pub fn run(mut self, mail: &Mail, begun: impl FnOnce()) -> Ended {
        let now = self.now();
        let commands = self.engine.begin(now);
        self.carry_out(commands);
        begun();
        loop {
            if let Some(defect) = self.engine.defect() {
                return Ended::Defect(defect.to_owned());
            }
            if let Some(lost) = self.engine.lost() {
                let foreign = self.engine.foreign().clone();
                return Ended::SteppedDown { lost: lost.clone(), foreign };
            }
            let message = match self.next(mail) {
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return Ended::Stopped,
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
            };
            let now = self.now();
            let reports: Vec<_> = self.inbox.reports().map(Event::Traffic).collect();
            if !reports.is_empty() {
                let commands = self.engine.step_all(reports, now);
                self.carry_out(commands);
            }
            if matches!(message, Some(Message::Traffic)) {
                continue;
            }
            // Decisions after these messages depend on current counts.
            let counts = matches!(
                message,
                None | Some(Message::Ask { .. } | Message::Account { .. } | Message::Logged)
            );
            if counts {
                self.sample(now);
            }
            let event = self.event(message, now);
            // What follows from many reports follows from all of them together.
            let more =
                matches!(event, Event::Host(_)).then(|| mail.more_reports().map(Event::Host));
            let events = std::iter::once(event).chain(more.into_iter().flatten());
            let commands = self.engine.step_all(events, now);
            self.carry_out(commands);
        }
    }

    /// Takes the current counts of the server's own proxy.
    fn sample(&mut self, now: Timestamp) {
        if let Some(report) = self.config.proxies.sample() {
            let commands = self.engine.step(Event::Traffic(report), now);
            self.carry_out(commands);
        }
    }

    fn now(&mut self) -> Timestamp {
        let boot = (self.config.boot_time)();
        self.config.clock.now(boot)
    }

    /// Waits for a message, or for the time at which the engine has to be called again.
    fn next(&mut self, mail: &Mail) -> Result<Message, RecvTimeoutError> {
        let logged = self.logged();
        if logged.append.is_some() || logged.cut.is_some() {
            return Ok(Message::Logged);
        }
        drop(logged);
        mail.next(self.engine.wake_at().since(self.now()).to_duration())
    }

    fn event(&mut self, message: Option<Message>, now: Timestamp) -> Event {
        match message {
            Some(Message::Ask { app, ask: Ask::Deploy { .. }, reply, .. })
                if self.config.log.room() == Room::Spent =>
            {
                // The remaining space is reserved for rollbacks, aborts and restarts.
                let message = format!("cannot deploy {app}: the disk is full");
                let hint = Some("free disk space; rollback, abort and restarts still work".into());
                reply(Err(Refusal { code: RefusalCode::Unavailable, message, hint }));
                Event::Tick
            }
            Some(Message::Host(report)) => Event::Host(report),
            Some(Message::Link { host, link }) => Event::Link { host, link },
            Some(Message::ProxyLink { proxy, link }) => Event::ProxyLink { proxy, link },
            Some(Message::Ask { app, ask, version, mode, reply }) => {
                let ticket = self.ticket(reply);
                Event::Ask { ticket, app, ask, version, mode }
            }
            Some(Message::Fleet { ask, reply }) => {
                let ticket = self.ticket(reply);
                Event::Fleet { ticket, ask }
            }
            Some(Message::Account { app, reply }) => {
                reply(self.engine.account(&app, now));
                Event::Tick
            }
            Some(Message::Superseded(term)) => Event::Cut(Lost::Fenced { by: term }),
            Some(Message::Logged) => {
                let Logged { append, cut } = std::mem::take(&mut *self.logged());
                if let Some(lost) = cut {
                    return Event::Cut(lost);
                }
                // The result may have been taken before the message arrived.
                let Some(result) = append else { return Event::Tick };
                self.cross("appended");
                Event::Appended(result.map(|seq| self.config.last = seq))
            }
            Some(Message::Traffic | Message::Stop) | None => Event::Tick,
        }
    }

    /// Returns the ticket under which a reply is kept until its answer comes.
    fn ticket(&mut self, reply: Reply) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.replies.insert(ticket, reply);
        ticket
    }

    fn logged(&self) -> MutexGuard<'_, Logged> {
        self.logged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn carry_out(&mut self, commands: Vec<Command>) {
        let mut own_waits = false;
        for command in commands {
            match command {
                Command::Append(records) => self.append(&records),
                Command::Checkpoint(body) => self.checkpoint(&body),
                Command::Host(command) => {
                    self.cross("effect");
                    self.config.hosts.send(command);
                    self.cross("effect sent");
                }
                Command::Proxy(to) => {
                    if to.proxy == ProxyId::local() {
                        own_waits = match to.command {
                            ProxyCommand::Prepare(_) => true,
                            ProxyCommand::Commit(_) => false,
                            ProxyCommand::Health(_) => own_waits,
                        };
                    }
                    self.tell_proxy(to);
                }
                Command::Answer(ticket, answer) => {
                    if let Some(reply) = self.replies.remove(&ticket) {
                        reply(answer);
                    }
                }
                Command::Announce(event) => self.config.outbox.announce(event),
                Command::Show(view) => self.config.outbox.show(view),
                Command::Hide(app) => self.config.outbox.hide(&app),
                Command::ShowFleet(view) => self.config.outbox.show_fleet(view),
            }
        }
        // The server's own proxy has made its table by now, and would say so within a second. The others wait for
        // that word.
        if own_waits && let Some(report) = self.config.proxies.sample() {
            self.inbox.traffic(report);
        }
    }

    fn tell_proxy(&mut self, to: ToProxy) {
        let (before, after) = match &to.command {
            ProxyCommand::Prepare(_) => (Some("publish"), None),
            ProxyCommand::Commit(_) => (None, Some("published")),
            ProxyCommand::Health(_) => (None, None),
        };
        before.into_iter().for_each(|what| self.cross(what));
        self.config.proxies.send(to);
        after.into_iter().for_each(|what| self.cross(what));
    }

    fn append(&mut self, records: &[crate::Record]) {
        self.cross("append");
        let (inbox, started) = (self.inbox.clone(), Instant::now());
        let bodies: Result<Vec<NewRecord>, _> = records
            .iter()
            .map(|record| {
                tracing::debug!(app = ?record.app(), facts = ?record.names(), "append");
                Ok(NewRecord { version: VERSION, body: serde_json::to_vec(record)? })
            })
            .collect();
        let logged = Arc::clone(&self.logged);
        let done = move |result: Result<Seq, Lost>| {
            tracing::debug!(took = ?started.elapsed(), "appended");
            logged.lock().unwrap_or_else(PoisonError::into_inner).append = Some(result);
            inbox.wake();
        };
        match bodies {
            Ok(batch) => self.config.log.append(batch, Box::new(done)),
            Err(error) => {
                let error: serde_json::Error = error;
                done(Err(Lost::Refused(error.to_string())));
            }
        }
    }

    fn checkpoint(&mut self, body: &crate::CheckpointBody) {
        let parts = match body.parts() {
            Ok(parts) => parts,
            Err(error) => return tracing::error!(%error, "cannot write a checkpoint"),
        };
        let (logged, inbox) = (Arc::clone(&self.logged), self.inbox.clone());
        let done = move |result: Result<(), Lost>| match result {
            Ok(()) => {}
            Err(Lost::Refused(why)) => {
                tracing::warn!(why, "cannot compact the journal; it is tried again later");
            }
            Err(lost @ (Lost::Unknown(_) | Lost::Fenced { .. })) => {
                logged.lock().unwrap_or_else(PoisonError::into_inner).cut = Some(lost);
                inbox.wake();
            }
        };
        self.config.log.checkpoint(self.config.last, parts, Box::new(done));
    }

    fn cross(&mut self, what: &'static str) {
        if let Some(crash) = self.config.crash.as_mut() {
            crash.cross(what);
        }
    }
}
