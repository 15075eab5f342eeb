//! The inbox through which agents, proxies and the API reach control, whichever engine is running.

use std::cell::RefCell;
use std::fmt;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::{AppName, FromHost, HostId, Link, ProxyId, ProxyLink, Receipt, TrafficReport};
use rollout::{Ask, FleetAsk, Refusal, RefusalCode};

use crate::message::{Answer, Mode};
use crate::reports::Reports;

pub(crate) type Reply = Box<dyn FnOnce(Result<Answer, Refusal>) + Send>;
type AccountReply = Box<dyn FnOnce(Option<Receipt>) + Send>;

pub(crate) enum Message {
    Host(FromHost),
    Link {
        host: HostId,
        link: Link,
    },
    ProxyLink {
        proxy: ProxyId,
        link: ProxyLink,
    },
    /// A proxy has reported: see [`Reports`].
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
    Fleet {
        ask: FleetAsk,
        reply: Reply,
    },
    /// A host has obeyed a control of this term, which is not behind this one's.
    Superseded(u64),
    /// The log has answered. The runner holds the result.
    Logged,
    Stop,
}

/// The inbox through which agents, proxies and the API reach control. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Inbox {
    sender: SyncSender<Message>,
    fault: Arc<Mutex<Option<String>>>,
    reports: Arc<Reports>,
}

/// Maximum number of waiting messages. Beyond it, agents and proxies wait and commands are refused.
const QUEUE: usize = 4_096;
/// Maximum number of agents' reports that are read together.
const REPORTS: usize = 256;

impl Inbox {
    /// Returns an inbox and the end that a `Runner` reads.
    pub fn new() -> (Self, Mail) {
        let (sender, receiver) = sync_channel(QUEUE);
        let (fault, reports) = (Arc::<Mutex<_>>::default(), Arc::default());
        (
            Self { sender, fault: fault.clone(), reports },
            Mail { receiver, next: RefCell::default(), fault },
        )
    }

    /// Returns why nothing can be changed, if so: control has ended, in order or by a panic, or cannot
    /// start.
    pub fn fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Delivers an agent's report.
    pub fn host(&self, report: FromHost) {
        // If control has ended, nobody is left to receive the report.
        let _ = self.sender.send(Message::Host(report));
    }

    /// Delivers a change of the connection to a host's agent. It keeps its order with the agent's reports.
    /// A control that begins again learns of the connected hosts from `Engine::with_host`.
    pub fn link(&self, host: HostId, link: Link) {
        // If control has ended, nobody is left to receive it.
        let _ = self.sender.send(Message::Link { host, link });
    }

    /// Delivers a change of the connection to a proxy on another machine. It keeps no order with the proxy's
    /// reports, which name its process.
    pub fn proxy_link(&self, proxy: ProxyId, link: ProxyLink) {
        // If control has ended, nobody is left to receive it.
        let _ = self.sender.send(Message::ProxyLink { proxy, link });
    }

    /// Tells control that a host has obeyed another control, of this term: one that had more of the journal.
    /// Control begins anew with a higher term, since hosts obey no lower one.
    pub fn superseded(&self, term: u64) {
        let _ = self.sender.send(Message::Superseded(term));
    }

    /// Delivers a proxy's report. If control is behind, it reads only the newest.
    pub fn traffic(&self, report: TrafficReport) {
        if self.reports.put(report) {
            // If there is no room, control has other messages, and looks for reports before each of
            // them.
            let _ = self.sender.try_send(Message::Traffic);
        }
    }

    /// Asks a question. `reply` is called once, on control's thread or within this call.
    pub fn ask(
        &self,
        app: AppName,
        ask: Ask,
        version: Option<u64>,
        mode: Mode,
        reply: impl FnOnce(Result<Answer, Refusal>) + Send + 'static,
    ) {
        let message = Message::Ask { app, ask, version, mode, reply: Box::new(reply) };
        if let Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) =
            self.sender.try_send(message)
        {
            message.refuse("control does not answer");
        }
    }

    /// Asks what the rollout of `app` has cost so far. `reply` is called once, with `None` if no
    /// rollout is in progress. It is dropped if control does not answer.
    pub fn account(&self, app: AppName, reply: impl FnOnce(Option<Receipt>) + Send + 'static) {
        // The client notices that the reply was dropped.
        let _ = self.sender.try_send(Message::Account { app, reply: Box::new(reply) });
    }

    /// Asks for a change of the fleet. `reply` is called once, on control's thread or within this call.
    pub fn fleet(
        &self,
        ask: FleetAsk,
        reply: impl FnOnce(Result<Answer, Refusal>) + Send + 'static,
    ) {
        let message = Message::Fleet { ask, reply: Box::new(reply) };
        if let Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) =
            self.sender.try_send(message)
        {
            message.refuse("control does not answer");
        }
    }

    /// Ends the runner after its current step.
    pub fn stop(&self) {
        let _ = self.sender.send(Message::Stop);
    }

    /// Returns all reports of proxies that were not read yet.
    pub(crate) fn reports(&self) -> impl Iterator<Item = TrafficReport> + use<> {
        self.reports.take()
    }

    /// Wakes the reader of the mail. Never blocks: if there is no room, the reader is awake.
    pub(crate) fn wake(&self) {
        let _ = self.sender.try_send(Message::Logged);
    }
}

impl Message {
    fn refuse(self, why: &str) {
        let (what, reply) = match self {
            Self::Ask { app, reply, .. } => (app.to_string(), reply),
            Self::Fleet { reply, .. } => ("the fleet".to_owned(), reply),
            Self::Host(_)
            | Self::Link { .. }
            | Self::ProxyLink { .. }
            | Self::Traffic
            | Self::Account { .. }
            | Self::Superseded(_)
            | Self::Logged
            | Self::Stop => {
                return;
            }
        };
        reply(Err(Refusal {
            code: RefusalCode::Unavailable,
            message: format!("cannot change {what}: {why}"),
            hint: Some("traffic goes on; look at the server's log".into()),
        }));
    }
}

/// The receiving end of an [`Inbox`].
pub struct Mail {
    receiver: Receiver<Message>,
    /// The message behind the reports that were read together.
    next: RefCell<Option<Message>>,
    fault: Arc<Mutex<Option<String>>>,
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail").finish_non_exhaustive()
    }
}

impl Mail {
    /// Returns the next message, or a timeout after `wait`.
    pub(crate) fn next(&self, wait: Duration) -> Result<Message, RecvTimeoutError> {
        let next = self.next.borrow_mut().take();
        match next.map_or_else(|| self.receiver.try_recv(), Ok) {
            Ok(message) => Ok(message),
            Err(_) => self.receiver.recv_timeout(wait.max(Duration::from_millis(1))),
        }
    }

    /// Returns the agents' reports that follow at once, up to a bound.
    pub(crate) fn more_reports(&self) -> impl Iterator<Item = FromHost> {
        let report = || match self.receiver.try_recv() {
            Ok(Message::Host(report)) => Some(report),
            Ok(other) => {
                *self.next.borrow_mut() = Some(other);
                None
            }
            Err(_) => None,
        };
        std::iter::from_fn(report).take(REPORTS)
    }

    /// Refuses every command with `why` for the time of `wait`. Returns whether to go on afterwards.
    pub(crate) fn refuse_for(&self, wait: Duration, why: &str) -> bool {
        self.set_fault(Some(why.to_owned()));
        let end = Instant::now() + wait;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            match self.next(left) {
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
                Ok(message) => message.refuse(why),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        true
    }

    /// Sets the result of [`Inbox::fault`].
    pub(crate) fn set_fault(&self, fault: Option<String>) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }
}

impl Drop for Mail {
    fn drop(&mut self) {
        let why = "control has ended; look at the server's log, then restart it";
        self.set_fault(Some(why.to_owned()));
    }
}
