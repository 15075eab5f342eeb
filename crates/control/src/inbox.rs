//! Where agents, proxies and the API reach control, whichever engine runs at the moment.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::{AppName, FromHost, Receipt, TrafficReport};
use rollout::{Ask, Refusal, RefusalCode};

use crate::message::{Answer, Mode};
use crate::reports::Reports;

pub(crate) type Reply = Box<dyn FnOnce(Result<Answer, Refusal>) + Send>;
type AccountReply = Box<dyn FnOnce(Option<Receipt>) + Send>;

pub(crate) enum Message {
    Host(FromHost),
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
    /// The log has answered; what it said is in the runner's hands.
    Logged,
    Stop,
}

/// Where agents, proxies and the API reach control. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Inbox {
    sender: SyncSender<Message>,
    fault: Arc<Mutex<Option<String>>>,
    reports: Arc<Reports>,
}

/// Messages that may wait for control; agents and proxies wait beyond, commands are refused.
const QUEUE: usize = 4_096;

impl Inbox {
    /// An inbox and the end that a [`Runner`] reads.
    pub fn new() -> (Self, Mail) {
        let (sender, receiver) = sync_channel(QUEUE);
        let (fault, reports) = (Arc::<Mutex<_>>::default(), Arc::default());
        (Self { sender, fault: fault.clone(), reports }, Mail { receiver, fault })
    }

    /// Why nothing can be changed, if so: control has ended, in order or in a panic, or cannot begin.
    pub fn fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// An agent reports.
    pub fn host(&self, report: FromHost) {
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
        if let Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) =
            self.sender.try_send(message)
        {
            message.refuse("control does not answer");
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

    /// All reports of proxies that nobody has read.
    pub(crate) fn reports(&self) -> impl Iterator<Item = TrafficReport> + use<> {
        self.reports.take()
    }

    /// Wakes whoever reads the mail. Never waits: if there is no room, the reader is awake.
    pub(crate) fn wake(&self) {
        let _ = self.sender.try_send(Message::Logged);
    }
}

impl Message {
    fn refuse(self, why: &str) {
        if let Self::Ask { app, reply, .. } = self {
            reply(Err(Refusal {
                code: RefusalCode::Unavailable,
                message: format!("cannot change {app}: {why}"),
                hint: Some("traffic goes on; look at the server's log".into()),
            }));
        }
    }
}

/// The receiving end of an [`Inbox`].
#[derive(Debug)]
pub struct Mail {
    receiver: Receiver<Message>,
    fault: Arc<Mutex<Option<String>>>,
}

impl Mail {
    /// The next message, or the end of `wait`.
    pub(crate) fn next(&self, wait: Duration) -> Result<Message, RecvTimeoutError> {
        match self.receiver.try_recv() {
            Ok(message) => Ok(message),
            Err(_) => self.receiver.recv_timeout(wait.max(Duration::from_millis(1))),
        }
    }

    /// For so long nothing can be changed: refuses every command, saying why. Whether to go on then.
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

    /// What [`Inbox::fault`] says from now on.
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
