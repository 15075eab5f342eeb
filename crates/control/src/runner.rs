//! Feeds the engine: one thread, real time, a real journal, and whatever stands behind the ports.
//! It decides nothing.

use std::collections::BTreeSet;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use journal::{Log, Lost, NewRecord, Room, Seq};
use model::{
    Abilities, AppName, AppView, Generation, HealthTable, InstanceId, Millis, ProxyId, Snapshot,
    Timestamp, ToHost, TrafficReport,
};
use rollout::{Ask, Refusal, RefusalCode};

use crate::clock::SteadyClock;
use crate::engine::Engine;
use crate::inbox::{Inbox, Mail, Message, Reply};
use crate::message::{Command, Event, Ticket};
use crate::record::VERSION;

/// The port to the hosts' agents.
pub trait HostLinks: Send {
    /// Has a host do this; never blocks. Commands about one instance are taken in order, everything else
    /// may run concurrently.
    fn send(&mut self, command: ToHost);
}

/// The port to one proxy. No call blocks for longer than the proxy's own work takes.
pub trait Traffic: Send {
    /// Its name in reports.
    fn id(&self) -> ProxyId;
    /// What it can do. A command that needs more is refused.
    fn abilities(&self) -> Abilities;
    /// Has it make its table of this snapshot without using it; a [`TrafficReport`] says so. The one that it
    /// has already is not made again.
    fn prepare(&mut self, snapshot: Arc<Snapshot>);
    /// Has it use the snapshot that it has prepared of that generation; acknowledged by a report.
    fn commit(&mut self, generation: Generation);
    /// Gives it this health table.
    fn health(&mut self, table: Arc<HealthTable>);
    /// A report of now, where it can be had at once.
    fn sample(&mut self) -> Option<TrafficReport>;
}

/// For whoever watches: the API and the dashboard.
pub trait Outbox: Send {
    /// Something has happened.
    fn announce(&mut self, event: model::RolloutEvent);
    /// An app looks like this now.
    fn show(&mut self, view: Arc<AppView>);
    /// An app is gone.
    fn hide(&mut self, app: &AppName);
}

/// Crossing points at which a test may have the process die: before and after every append and
/// every effect.
pub trait CrashPoint: Send {
    /// Called at every point, with what is crossed.
    fn cross(&mut self, what: &'static str);
}

/// The engine's surroundings.
pub struct RunnerConfig {
    /// Facts go here.
    pub log: Box<dyn Log>,
    /// The number of the last record in it.
    pub last: Seq,
    /// Effects on hosts go here.
    pub hosts: Box<dyn HostLinks>,
    /// Snapshots go here: the proxies, each with the name that the engine knows.
    pub traffic: Vec<Box<dyn Traffic>>,
    /// What people see goes here.
    pub outbox: Box<dyn Outbox>,
    /// For tests; production passes `None`.
    pub crash: Option<Box<dyn CrashPoint>>,
    /// The engine's time.
    pub clock: SteadyClock,
    /// Milliseconds since the machine was booted.
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

/// What the log has answered. Beside the inbox, so that whoever answers never waits, not even control
/// itself with its inbox full.
#[derive(Debug, Default)]
struct Logged {
    /// The answer to the append under way.
    append: Option<Result<Seq, Lost>>,
    /// Why the log takes nothing any more, as a checkpoint has shown.
    cut: Option<Lost>,
}

/// How a runner has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Ended {
    /// The runner was told to end.
    Stopped,
    /// What is in the log is not known, or somebody else writes to it. The log has to be opened anew; the
    /// engine that is recovered from it goes on as after a start.
    SteppedDown {
        /// What the log has said.
        lost: Lost,
        /// The instances at whose address somebody else listened.
        foreign: BTreeSet<InstanceId>,
    },
    /// The engine has decided what it cannot fold.
    Defect(String),
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner").field("engine", &self.engine).finish_non_exhaustive()
    }
}

impl Runner {
    /// An engine that has been recovered, and its surroundings.
    pub fn new(engine: Engine, config: RunnerConfig, inbox: Inbox) -> Self {
        let (replies, logged) = (Default::default(), Arc::default());
        Self { engine, config, inbox, replies, next_ticket: 0, logged }
    }

    /// Runs until [`Inbox::stop`], or until it cannot go on. Returns once the log is closed. Calls `begun`
    /// when everything that the log knows of has been shown.
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
            for report in self.inbox.reports() {
                let commands = self.engine.step(Event::Traffic(report), now);
                self.carry_out(commands);
            }
            if matches!(message, Some(Message::Traffic)) {
                continue;
            }
            // What is decided now rests on counts of now.
            let counts = matches!(
                message,
                None | Some(Message::Ask { .. } | Message::Account { .. } | Message::Logged)
            );
            if counts {
                self.sample(now);
            }
            let event = self.event(message, now);
            let commands = self.engine.step(event, now);
            self.carry_out(commands);
        }
    }

    /// Takes what the proxies count now.
    fn sample(&mut self, now: Timestamp) {
        let proxies = self.config.traffic.iter_mut();
        let reports: Vec<_> = proxies.filter_map(|proxy| proxy.sample()).collect();
        for report in reports {
            let commands = self.engine.step(Event::Traffic(report), now);
            self.carry_out(commands);
        }
    }

    fn now(&mut self) -> Timestamp {
        let boot = (self.config.boot_time)();
        self.config.clock.now(boot)
    }

    /// Waits for a message, or until the engine wants to be asked again.
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
                // What room is left is for the way back.
                let message = format!("cannot deploy {app}: the disk is full");
                let hint = Some("free disk space; rollback, abort and restarts still work".into());
                reply(Err(Refusal { code: RefusalCode::Unavailable, message, hint }));
                Event::Tick
            }
            Some(Message::Host(report)) => Event::Host(report),
            Some(Message::Ask { app, ask, version, mode, reply }) => {
                self.next_ticket += 1;
                let ticket = Ticket(self.next_ticket);
                self.replies.insert(ticket, reply);
                Event::Ask { ticket, app, ask, version, mode }
            }
            Some(Message::Account { app, reply }) => {
                reply(self.engine.account(&app, now));
                Event::Tick
            }
            Some(Message::Logged) => {
                let Logged { append, cut } = std::mem::take(&mut *self.logged());
                if let Some(lost) = cut {
                    return Event::Cut(lost);
                }
                // It may have been found before the message came.
                let Some(result) = append else { return Event::Tick };
                self.cross("appended");
                Event::Appended(result.map(|seq| self.config.last = seq))
            }
            Some(Message::Traffic | Message::Stop) | None => Event::Tick,
        }
    }

    fn logged(&self) -> MutexGuard<'_, Logged> {
        self.logged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn carry_out(&mut self, commands: Vec<Command>) {
        for command in commands {
            match command {
                Command::Append(records) => self.append(&records),
                Command::Checkpoint(body) => self.checkpoint(&body),
                Command::Host(command) => {
                    self.cross("effect");
                    self.config.hosts.send(command);
                    self.cross("effect sent");
                }
                Command::Prepare(snapshot) => {
                    self.cross("publish");
                    let proxies = self.config.traffic.iter_mut();
                    proxies.for_each(|proxy| proxy.prepare(snapshot.clone()));
                }
                Command::Commit(generation) => {
                    let proxies = self.config.traffic.iter_mut();
                    proxies.for_each(|proxy| proxy.commit(generation));
                    self.cross("published");
                }
                Command::Health(table) => {
                    let proxies = self.config.traffic.iter_mut();
                    proxies.for_each(|proxy| proxy.health(table.clone()));
                }
                Command::Answer(ticket, answer) => {
                    if let Some(reply) = self.replies.remove(&ticket) {
                        reply(answer);
                    }
                }
                Command::Announce(event) => self.config.outbox.announce(event),
                Command::Show(view) => self.config.outbox.show(view),
                Command::Hide(app) => self.config.outbox.hide(&app),
            }
        }
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
