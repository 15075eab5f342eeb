//! Supervises a running instance: waits for its end, or ends it on request, and records how it ended. One
//! thread makes all decisions; the others only send messages.

use std::collections::BTreeMap;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use model::Exit;
use rustix::process::WaitStatus;

use super::message::{SupervisorMessage, reap_children};
use super::output::Output;
use super::process_tree::ProcessTree;
use super::socket::{self, send, thread};
use crate::protocol::{ShimEvent, ShimRequest, VERSION};
use crate::runfolder::{Lock, RunFolder};

/// The time between two SIGKILLs, until no process is left.
pub(super) const KILL_AGAIN: Duration = Duration::from_millis(20);
/// The time to read output that is still in the pipe when the last process has ended.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest grace period. A longer one is reduced to this.
const LONGEST_GRACE: Duration = Duration::from_secs(24 * 60 * 60);
/// Capacity of the queue of messages.
const MESSAGES: usize = 64;

/// A running instance with its resources.
pub(super) struct Running {
    pub folder: RunFolder,
    pub tree: ProcessTree,
    pub listener: UnixListener,
    pub output: Output,
    /// The lock of the run folder, held until the instance has ended.
    pub lock: Lock,
}

struct Supervisor {
    folder: RunFolder,
    tree: ProcessTree,
    peers: BTreeMap<usize, UnixStream>,
    dropped: Arc<AtomicU64>,
    exit: Option<Exit>,
    /// The time at which the remaining processes are killed. A stop or the end of the command sets it.
    kill_at: Option<Instant>,
    no_children: bool,
    output_done: bool,
}

impl Running {
    /// Supervises the instance. Returns when the instance and its whole process tree have ended.
    pub fn supervise(self) {
        let Self { folder, tree, listener, output, lock } = self;
        let (messages, inbox) = sync_channel(MESSAGES);
        let dropped = output.dropped();
        let mut supervisor = Supervisor {
            folder,
            tree,
            peers: BTreeMap::new(),
            dropped,
            exit: None,
            kill_at: None,
            no_children: false,
            output_done: false,
        };
        let written = messages.clone();
        let begun = thread("reaper")
            .spawn({
                let messages = messages.clone();
                move || reap_children(&messages)
            })
            .and_then(|_| {
                thread("output").spawn(move || {
                    output.run();
                    let _ = written.send(SupervisorMessage::OutputDone);
                })
            })
            .and_then(|_| socket::accept(listener, messages.clone()));
        if begun.is_err() {
            // An instance cannot be supervised without threads, and must not run unsupervised.
            supervisor.kill_at = Some(Instant::now());
        }
        supervisor.run(&inbox);
        drop(lock);
    }
}

impl Supervisor {
    fn run(&mut self, inbox: &Receiver<SupervisorMessage>) {
        while !self.no_children {
            match self.next_message(inbox) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => {
                    self.tree.kill();
                    self.kill_at = Some(Instant::now() + KILL_AGAIN);
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // A process outside the tree may hold the pipe open, so the wait is bounded.
        let give_up = Instant::now() + OUTPUT_TIMEOUT;
        while !self.output_done {
            let left = give_up.saturating_duration_since(Instant::now());
            match inbox.recv_timeout(left) {
                Ok(message) => self.take(message),
                Err(_) => break,
            }
        }
        for sentence in self.tree.hit_limits() {
            let _ = self.folder.note(&sentence);
        }
        self.tree.clear();
        let exit = self.exit.unwrap_or(Exit::Unknown);
        // If even the reserved space is not writable, connected agents still get the event.
        let _ = self.folder.record_exit(exit);
        self.send_all(&ShimEvent::Exited { exit });
    }

    fn next_message(
        &self,
        inbox: &Receiver<SupervisorMessage>,
    ) -> Result<SupervisorMessage, RecvTimeoutError> {
        match self.kill_at {
            Some(at) => inbox.recv_timeout(at.saturating_duration_since(Instant::now())),
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    fn take(&mut self, message: SupervisorMessage) {
        match message {
            SupervisorMessage::Reaped { pid, status } if pid == self.tree.main() => {
                self.exit = Some(exit_of(status));
                // During a stop the other processes may finish within the grace period. Otherwise they are no
                // longer needed.
                self.kill_at.get_or_insert_with(Instant::now);
            }
            SupervisorMessage::Reaped { .. } => {}
            SupervisorMessage::NoChildren => self.no_children = true,
            SupervisorMessage::OutputDone => self.output_done = true,
            SupervisorMessage::Connected(number, mut peer) => {
                let hello = ShimEvent::Hello { version: VERSION, pid: self.tree.main() };
                if send(&mut peer, &hello) {
                    self.peers.insert(number, peer);
                }
            }
            SupervisorMessage::Requested(number, request) => self.answer(number, &request),
            SupervisorMessage::Disconnected(number) => drop(self.peers.remove(&number)),
        }
    }

    fn answer(&mut self, number: usize, request: &ShimRequest) {
        let event = match request {
            ShimRequest::Hello { .. } => {
                ShimEvent::Hello { version: VERSION, pid: self.tree.main() }
            }
            ShimRequest::Status => self.status(),
            ShimRequest::Stop { grace_ms } => {
                self.stop(Duration::from_millis(*grace_ms));
                self.status()
            }
            ShimRequest::Unknown => ShimEvent::Unknown,
        };
        let heard = self.peers.get_mut(&number).is_some_and(|peer| send(peer, &event));
        if !heard {
            self.peers.remove(&number);
        }
    }

    fn stop(&mut self, grace: Duration) {
        // The agent writes the tombstone, too. This one covers all other clients.
        let _ = self.folder.tombstone();
        let at = Instant::now() + grace.min(LONGEST_GRACE);
        match self.kill_at {
            None => {
                self.tree.ask_to_end();
                self.kill_at = Some(at);
            }
            Some(earlier) => self.kill_at = Some(earlier.min(at)),
        }
    }

    fn status(&self) -> ShimEvent {
        ShimEvent::Status {
            pid: self.tree.main(),
            stopping: self.kill_at.is_some(),
            dropped_bytes: self.dropped.load(Ordering::Relaxed),
        }
    }

    fn send_all(&mut self, event: &ShimEvent) {
        self.peers.retain(|_, peer| send(peer, event));
    }
}

pub(super) fn exit_of(status: WaitStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Unknown,
    }
}
