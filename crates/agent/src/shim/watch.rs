//! The life of a running instance: waits for its end, or ends it when told to, and writes down how
//! it ended. One thread decides; the others only bring notes.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use model::Exit;
use rustix::process::WaitStatus;

use super::Started;
use super::door::{self, tell, thread};
use super::note::{Note, bury};
use super::tree::Tree;
use crate::protocol::{Event, Request, VERSION};
use crate::runfolder::RunFolder;

/// SIGKILL is repeated after this, until nothing is left.
pub(super) const KILL_AGAIN: Duration = Duration::from_millis(20);
/// Output still in the pipe after the last process has ended gets so long to be written.
const OUTPUT_PATIENCE: Duration = Duration::from_secs(2);
/// A longer grace is cut to this.
const LONGEST_GRACE: Duration = Duration::from_secs(24 * 60 * 60);
/// Notes that may wait.
const NOTES: usize = 64;

struct Watch {
    folder: RunFolder,
    tree: Tree,
    peers: BTreeMap<usize, UnixStream>,
    dropped: Arc<AtomicU64>,
    exit: Option<Exit>,
    /// When what is left is killed; set by a stop, or by the end of the command.
    kill_at: Option<Instant>,
    childless: bool,
    output_done: bool,
}

impl Started {
    /// Returns when the instance and its whole tree have ended.
    pub(super) fn watch(self) {
        let Self { folder, tree, listener, output, _lock: lock } = self;
        let (notes, inbox) = sync_channel(NOTES);
        let dropped = output.dropped();
        let mut watch = Watch {
            folder,
            tree,
            peers: BTreeMap::new(),
            dropped,
            exit: None,
            kill_at: None,
            childless: false,
            output_done: false,
        };
        let written = notes.clone();
        let begun = thread("reaper")
            .spawn({
                let notes = notes.clone();
                move || bury(&notes)
            })
            .and_then(|_| {
                thread("output").spawn(move || {
                    output.run();
                    let _ = written.send(Note::OutputDone);
                })
            })
            .and_then(|_| door::open(listener, notes.clone()));
        if begun.is_err() {
            // Without threads there is nothing to watch with: what runs unwatched must not run.
            watch.kill_at = Some(Instant::now());
        }
        watch.until_the_end(&inbox);
        drop(lock);
    }
}

impl Watch {
    fn until_the_end(&mut self, inbox: &Receiver<Note>) {
        while !self.childless {
            match self.next_note(inbox) {
                Ok(note) => self.take(note),
                Err(RecvTimeoutError::Timeout) => {
                    self.tree.kill();
                    self.kill_at = Some(Instant::now() + KILL_AGAIN);
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // A process outside the tree may hold the pipe: it is not waited for for ever.
        let give_up = Instant::now() + OUTPUT_PATIENCE;
        while !self.output_done {
            let left = give_up.saturating_duration_since(Instant::now());
            match inbox.recv_timeout(left) {
                Ok(note) => self.take(note),
                Err(_) => break,
            }
        }
        for sentence in self.tree.hit_limits() {
            let _ = self.folder.note(&sentence);
        }
        self.tree.clear();
        let exit = self.exit.unwrap_or(Exit::Unknown);
        // If even the reserved room is not writable, whoever is connected still hears it.
        let _ = self.folder.record_exit(exit);
        self.tell_all(&Event::Exited { exit });
    }

    fn next_note(&self, inbox: &Receiver<Note>) -> Result<Note, RecvTimeoutError> {
        match self.kill_at {
            Some(at) => inbox.recv_timeout(at.saturating_duration_since(Instant::now())),
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    fn take(&mut self, note: Note) {
        match note {
            Note::Buried { pid, status } if pid == self.tree.main() => {
                self.exit = Some(exit_of(status));
                // During a stop the rest may finish within the grace; otherwise there is no reason
                // for it to go on.
                self.kill_at.get_or_insert_with(Instant::now);
            }
            Note::Buried { .. } => {}
            Note::Childless => self.childless = true,
            Note::OutputDone => self.output_done = true,
            Note::Connected(number, mut peer) => {
                let hello = Event::Hello { version: VERSION, pid: self.tree.main() };
                if tell(&mut peer, &hello) {
                    self.peers.insert(number, peer);
                }
            }
            Note::Asked(number, request) => self.answer(number, &request),
            Note::HungUp(number) => drop(self.peers.remove(&number)),
        }
    }

    fn answer(&mut self, number: usize, request: &Request) {
        let event = match request {
            Request::Hello { .. } => Event::Hello { version: VERSION, pid: self.tree.main() },
            Request::Status => self.status(),
            Request::Stop { grace_ms } => {
                self.stop(Duration::from_millis(*grace_ms));
                self.status()
            }
            Request::Unknown => Event::Unknown,
        };
        let heard = self.peers.get_mut(&number).is_some_and(|peer| tell(peer, &event));
        if !heard {
            self.peers.remove(&number);
        }
    }

    fn stop(&mut self, grace: Duration) {
        // The agent leaves it too; whoever asks, it is there.
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

    fn status(&self) -> Event {
        Event::Status {
            pid: self.tree.main(),
            stopping: self.kill_at.is_some(),
            dropped_bytes: self.dropped.load(Ordering::Relaxed),
        }
    }

    fn tell_all(&mut self, event: &Event) {
        self.peers.retain(|_, peer| tell(peer, event));
    }
}

pub(super) fn exit_of(status: WaitStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Unknown,
    }
}
