//! Feeds the engine: one thread, real time, a real journal, and whatever stands behind the ports.
//! It decides nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use journal::{Journal, NewRecord, Room, Seq};
use model::{
    AppName, AppView, HealthTable, HostCommand, HostReport, Millis, Receipt, Snapshot, Timestamp,
    TrafficReport,
};
use rollout::{Ask, Refusal, RefusalCode};

use crate::clock::Clock;
use crate::engine::Engine;
use crate::message::{Answer, Command, Event, Mode, Ticket, Trace, Unwritten};
use crate::record::VERSION;
use crate::reports::Reports;

/// The port to the hosts' agents.
pub trait Hosts: Send {
    /// Has this done; never blocks. Commands about one instance are taken in order, everything else
    /// may run concurrently.
    fn send(&mut self, command: HostCommand);
}

/// The port to the proxies.
pub trait Traffic: Send {
    /// Gives every proxy this snapshot; acknowledged by a [`TrafficReport`].
    fn publish(&mut self, snapshot: Arc<Snapshot>);
    /// Gives every proxy this health table.
    fn health(&mut self, table: Arc<HealthTable>);
    /// The freshest counts, where they can be had at once.
    fn report(&mut self) -> Option<TrafficReport>;
}

/// For whoever watches: the API and the dashboard.
pub trait Outbox: Send {
    /// Something has happened.
    fn announce(&mut self, event: model::Event);
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
    pub journal: Journal,
    /// The number of the last record in it.
    pub last: Seq,
    /// Effects on hosts go here.
    pub hosts: Box<dyn Hosts>,
    /// Snapshots go here.
    pub traffic: Box<dyn Traffic>,
    /// What people see goes here.
    pub outbox: Box<dyn Outbox>,
    /// For tests; production passes `None`.
    pub crash: Option<Box<dyn CrashPoint>>,
    /// The engine's time.
    pub clock: Clock,
    /// Milliseconds since the machine was booted.
    pub boot_time: fn() -> Millis,
}

impl std::fmt::Debug for RunnerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunnerConfig").field("last", &self.last).finish_non_exhaustive()
    }
}

type Reply = Box<dyn FnOnce(Result<Answer, Refusal>) + Send>;
type AccountReply = Box<dyn FnOnce(Option<Receipt>) + Send>;

enum Message {
    Host(HostReport),
    /// Some proxy has reported: see [`Reports`].
    Traffic,
    Ask {
        app: AppName,
        ask: Ask,
        version: Option<u64>,
        mode: Mode,
        reply: Reply,
    },
    Account {
        app: AppName,
        reply: AccountReply,
    },
    /// The append under way was answered; what became of it is in the runner's hands.
    Appended,
    Stop,
}

/// Where agents, proxies and the API reach control. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Inbox {
    sender: SyncSender<Message>,
    alive: Arc<AtomicBool>,
    reports: Arc<Reports>,
}

/// Messages that may wait for control; agents and proxies wait beyond, commands are refused.
const QUEUE: usize = 4_096;

impl Inbox {
    /// An inbox and the end that a [`Runner`] reads.
    pub fn new() -> (Self, Mail) {
        let (sender, receiver) = sync_channel(QUEUE);
        let alive = Arc::new(AtomicBool::new(true));
        let reports = Arc::default();
        (Self { sender, alive: alive.clone(), reports }, Mail { receiver, alive })
    }

    /// Control has not ended, whether in order or in a panic.
    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }

    /// An agent reports.
    pub fn host(&self, report: HostReport) {
        // Control has ended: there is nobody left to tell.
        let _ = self.sender.send(Message::Host(report));
    }

    /// A proxy reports. When control is behind, it reads only the newest.
    pub fn traffic(&self, report: TrafficReport) {
        if self.reports.put(report) {
            // If there is no room, control has other messages, before each of which it looks for reports.
            let _ = self.sender.try_send(Message::Traffic);
        }
    }

    /// Somebody asks; `reply` is called once, from control's thread or right here.
    pub fn ask(
        &self,
        app: AppName,
        ask: Ask,
        version: Option<u64>,
        mode: Mode,
        reply: impl FnOnce(Result<Answer, Refusal>) + Send + 'static,
    ) {
        let message = Message::Ask { app, ask, version, mode, reply: Box::new(reply) };
        if let Err(error) = self.sender.try_send(message) {
            let (std::sync::mpsc::TrySendError::Full(message)
            | std::sync::mpsc::TrySendError::Disconnected(message)) = error;
            if let Message::Ask { app, reply, .. } = message {
                reply(Err(Refusal {
                    code: RefusalCode::Unavailable,
                    message: format!("cannot change {app}: control does not answer"),
                    hint: Some("traffic goes on; look at the server's log".into()),
                }));
            }
        }
    }

    /// What the rollout of `app` has cost so far; `reply` is called once with `None` if none is under
    /// way, and dropped if control does not answer.
    pub fn account(&self, app: AppName, reply: impl FnOnce(Option<Receipt>) + Send + 'static) {
        // Whoever asked sees that the reply was dropped.
        let _ = self.sender.try_send(Message::Account { app, reply: Box::new(reply) });
    }

    /// Ends the runner after what it is doing.
    pub fn stop(&self) {
        let _ = self.sender.send(Message::Stop);
    }
}

/// The receiving end of an [`Inbox`].
#[derive(Debug)]
pub struct Mail {
    receiver: Receiver<Message>,
    alive: Arc<AtomicBool>,
}

impl Drop for Mail {
    fn drop(&mut self) {
        self.alive.store(false, Ordering::Relaxed);
    }
}

/// Runs an engine.
pub struct Runner {
    engine: Engine,
    config: RunnerConfig,
    inbox: Inbox,
    replies: std::collections::BTreeMap<Ticket, Reply>,
    next_ticket: u64,
    /// The answer to the append under way. Beside the inbox, so that whoever gives it never waits, not
    /// even control itself with its inbox full.
    appended: Arc<Mutex<Option<Result<Seq, Unwritten>>>>,
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner").field("engine", &self.engine).finish_non_exhaustive()
    }
}

impl Runner {
    /// An engine that has been recovered, and its surroundings.
    pub fn new(engine: Engine, config: RunnerConfig, inbox: Inbox) -> Self {
        let (replies, appended) = (Default::default(), Arc::default());
        Self { engine, config, inbox, replies, next_ticket: 0, appended }
    }

    /// Runs until [`Inbox::stop`]. Returns once the journal is closed. Calls `begun` when everything that
    /// the journal knows of has been shown.
    pub fn run(mut self, mail: Mail, begun: impl FnOnce()) {
        let now = self.now();
        let commands = self.engine.begin(now);
        self.carry_out(commands);
        begun();
        loop {
            if let Some(defect) = self.engine.defect() {
                tracing::error!("a defect of segue: nothing can be changed any more: {defect}");
                return;
            }
            let message = match self.next(&mail) {
                Ok(Message::Stop) => return,
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let now = self.now();
            for report in self.inbox.reports.take().into_values() {
                let commands = self.engine.step(Event::Traffic(report), now);
                self.carry_out(commands);
            }
            if matches!(message, Some(Message::Traffic)) {
                continue;
            }
            // What is decided now rests on counts of now.
            let counts = matches!(
                message,
                None | Some(Message::Ask { .. } | Message::Account { .. } | Message::Appended)
            );
            if counts && let Some(report) = self.config.traffic.report() {
                let commands = self.engine.step(Event::Traffic(report), now);
                self.carry_out(commands);
            }
            let event = self.event(message, now);
            let commands = self.engine.step(event, now);
            self.carry_out(commands);
        }
    }

    fn now(&mut self) -> Timestamp {
        let boot = (self.config.boot_time)();
        self.config.clock.now(boot)
    }

    /// Waits for a message, or until the engine wants to be asked again.
    fn next(&mut self, mail: &Mail) -> Result<Message, RecvTimeoutError> {
        if self.answered().is_some() {
            return Ok(Message::Appended);
        }
        match mail.receiver.try_recv() {
            Ok(message) => return Ok(message),
            Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
            Err(TryRecvError::Empty) => {}
        }
        let wait = self.engine.wake_at().since(self.now()).to_duration();
        mail.receiver.recv_timeout(wait.max(Duration::from_millis(1)))
    }

    fn event(&mut self, message: Option<Message>, now: Timestamp) -> Event {
        match message {
            Some(Message::Ask { app, ask: Ask::Deploy { .. }, reply, .. })
                if self.config.journal.room() == Room::Spent =>
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
            Some(Message::Appended) => {
                let answered = self.answered().take();
                // It may have been found before the message came.
                let Some(result) = answered else { return Event::Tick };
                self.cross("appended");
                Event::Appended(result.map(|seq| self.config.last = seq))
            }
            Some(Message::Traffic | Message::Stop) | None => Event::Tick,
        }
    }

    fn answered(&self) -> MutexGuard<'_, Option<Result<Seq, Unwritten>>> {
        self.appended.lock().unwrap_or_else(PoisonError::into_inner)
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
                Command::Publish(snapshot) => {
                    self.cross("publish");
                    self.config.traffic.publish(snapshot);
                    self.cross("published");
                }
                Command::Health(table) => self.config.traffic.health(table),
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
                tracing::debug!(app = %record.app, facts = ?record.facts.iter().map(rollout::Fact::name).collect::<Vec<_>>(), "append");
                Ok(NewRecord { version: VERSION, body: serde_json::to_vec(record)? })
            })
            .collect();
        let slot = Arc::clone(&self.appended);
        let done = move |result: Result<Seq, Unwritten>| {
            tracing::debug!(took = ?started.elapsed(), "appended");
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            // Only wakes it: a full inbox is awake, and looks there before it goes on.
            let _ = inbox.sender.try_send(Message::Appended);
        };
        match bodies {
            Ok(batch) => self.config.journal.append(batch, move |result| {
                done(result.map_err(|error| {
                    let trace = if error.is_in_doubt() { Trace::Unknown } else { Trace::None };
                    Unwritten { why: error.to_string(), trace }
                }));
            }),
            Err(error) => {
                let error: serde_json::Error = error;
                done(Err(Unwritten { why: error.to_string(), trace: Trace::None }));
            }
        }
    }

    fn checkpoint(&mut self, body: &crate::CheckpointBody) {
        match serde_json::to_vec(body) {
            Ok(bytes) => self.config.journal.checkpoint(self.config.last, VERSION, bytes, |result| {
                if let Err(error) = result {
                    tracing::warn!(%error, "cannot compact the journal; it is tried again later");
                }
            }),
            Err(error) => tracing::error!(%error, "cannot write a checkpoint"),
        }
    }

    fn cross(&mut self, what: &'static str) {
        if let Some(crash) = self.config.crash.as_mut() {
            crash.cross(what);
        }
    }
}
