//! The journal's thread. It works in order, and writes several waiting batches in one transaction. It never
//! blocks a caller and never writes half a batch.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use super::ballast::Ballast;
use super::error::{AppendError, OpenError};
use super::options::JournalOptions;
use super::store::{Store, WriteError};
use crate::log::{self, Log, Room};
use crate::record::{CheckpointPart, NewRecord, Recovered, Seq};

/// Maximum number of waiting batches and checkpoints.
const QUEUE: usize = 1024;
/// Maximum number of batches in one transaction.
const GROUP: usize = 128;

/// The callback for the result of a job. It is called in any case: a panic must not leave a caller waiting.
struct Done<T>(Option<log::Done<T>>);

impl<T> Done<T> {
    fn new(callback: log::Done<T>) -> Self {
        Self(Some(callback))
    }

    fn tell(mut self, outcome: Result<T, AppendError>) {
        if let Some(callback) = self.0.take() {
            callback(outcome.map_err(Into::into));
        }
    }
}

impl<T> Drop for Done<T> {
    fn drop(&mut self) {
        if let Some(callback) = self.0.take() {
            callback(Err(AppendError::Died.into()));
        }
    }
}

enum Job {
    Append { batch: Vec<NewRecord>, done: Done<Seq> },
    Checkpoint { upto: Seq, parts: Vec<CheckpointPart>, done: Done<()> },
}

/// An open journal. Dropping it writes the waiting batches and closes the file.
pub struct Journal {
    jobs: Option<SyncSender<Job>>,
    spent: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("room", &self.room()).finish_non_exhaustive()
    }
}

impl Journal {
    /// Checks the journal at `path`, or creates an empty one, and begins a new term.
    ///
    /// # Errors
    ///
    /// Refuses a damaged, foreign or newer file, and one in use. The file is left as it is.
    pub fn open(path: &Path, options: JournalOptions) -> Result<(Self, Recovered), OpenError> {
        let mut ballast = Ballast::beside(path, options.ballast_bytes);
        let (store, recovered) = Store::open(path, &options, &mut || ballast.free())?;
        ballast.restore();
        let spent = Arc::new(AtomicBool::new(!ballast.is_there()));
        let (jobs, queue) = sync_channel(QUEUE);
        let worker = Worker { store, ballast, spent: Arc::clone(&spent), broken: None };
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || worker.run(&queue))
            .map_err(|source| OpenError::Io {
                act: "start the thread of",
                path: path.into(),
                source,
            })?;
        Ok((Self { jobs: Some(jobs), spent, thread: Some(thread) }, recovered))
    }

    fn send(&self, job: Job) {
        let Some(jobs) = &self.jobs else { return job.refuse(AppendError::Closed) };
        match jobs.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(job)) => job.refuse(AppendError::Overloaded { waiting: QUEUE }),
            Err(TrySendError::Disconnected(job)) => job.refuse(AppendError::Closed),
        }
    }
}

impl Log for Journal {
    /// Calls `done` on the journal's thread, or within this call if its queue is full.
    fn append(&mut self, batch: Vec<NewRecord>, done: log::Done<Seq>) {
        self.send(Job::Append { batch, done: Done::new(done) });
    }

    fn checkpoint(&mut self, upto: Seq, parts: Vec<CheckpointPart>, done: log::Done<()>) {
        self.send(Job::Checkpoint { upto, parts, done: Done::new(done) });
    }

    /// Returns [`Room::Spent`] once the disk was full and the ballast is used up.
    fn room(&self) -> Room {
        if self.spent.load(Ordering::Relaxed) { Room::Spent } else { Room::Plenty }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic on that thread was printed there and has no further effect here.
            let _ = thread.join();
        }
    }
}

impl Job {
    fn refuse(self, why: AppendError) {
        match self {
            Self::Append { done, .. } => done.tell(Err(why)),
            Self::Checkpoint { done, .. } => done.tell(Err(why)),
        }
    }
}

struct Worker {
    store: Store,
    ballast: Ballast,
    spent: Arc<AtomicBool>,
    broken: Option<Arc<rusqlite::Error>>,
}

impl Worker {
    fn run(mut self, queue: &Receiver<Job>) {
        let mut next = None;
        while let Some(job) = next.take().or_else(|| queue.recv().ok()) {
            match job {
                Job::Append { batch, done } => {
                    let mut group = vec![(batch, done)];
                    while group.len() < GROUP && next.is_none() {
                        match queue.try_recv() {
                            Ok(Job::Append { batch, done }) => group.push((batch, done)),
                            Ok(other) => next = Some(other),
                            Err(_) => break,
                        }
                    }
                    self.append(group);
                }
                Job::Checkpoint { upto, parts, done } => {
                    done.tell(self.write(|store| store.checkpoint(upto, &parts)));
                }
            }
            self.ballast.restore();
            self.spent.store(!self.ballast.is_there(), Ordering::Relaxed);
        }
    }

    fn append(&mut self, group: Vec<(Vec<NewRecord>, Done<Seq>)>) {
        let batches: Vec<&[NewRecord]> = group.iter().map(|(batch, _)| batch.as_slice()).collect();
        match self.write(|store| store.append(&batches)) {
            Ok(ends) => group.into_iter().zip(ends).for_each(|((_, done), seq)| done.tell(Ok(seq))),
            // The batches do not fit together, but the first of them may.
            Err(AppendError::Full) if group.len() > 1 => {
                group.into_iter().for_each(|one| self.append(vec![one]));
            }
            Err(e) => group.into_iter().for_each(|(_, done)| done.tell(Err(e.clone()))),
        }
    }

    /// Runs one transaction. If the disk is full, runs it once more without the ballast.
    fn write<T>(
        &mut self,
        transaction: impl Fn(&mut Store) -> Result<T, WriteError>,
    ) -> Result<T, AppendError> {
        if let Some(source) = &self.broken {
            return Err(AppendError::Broken(Arc::clone(source)));
        }
        let mut outcome = transaction(&mut self.store);
        if matches!(outcome, Err(WriteError::Full)) && self.ballast.free() {
            outcome = transaction(&mut self.store);
        }
        outcome.map_err(|e| match e {
            WriteError::Full => AppendError::Full,
            WriteError::NoSuchRecord { upto, first, last } => {
                AppendError::NoSuchRecord { upto: upto.0, first: first.0, last: last.0 }
            }
            WriteError::Unmarked(source) => AppendError::Unmarked(Arc::new(source)),
            WriteError::Broken(source) => {
                let source = Arc::new(source);
                self.broken = Some(Arc::clone(&source));
                AppendError::InDoubt(source)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::super::acked::Acked;
    use super::*;
    use crate::log::Lost;

    fn one(body: &str) -> Vec<NewRecord> {
        vec![NewRecord { version: 1, body: body.into() }]
    }

    fn append(worker: &mut Worker, body: &str) -> Result<Seq, Lost> {
        let (tell, told) = mpsc::channel();
        let done = Done::new(Box::new(move |outcome| tell.send(outcome).unwrap()));
        worker.append(vec![(one(body), done)]);
        told.recv().unwrap()
    }

    #[test]
    fn a_commit_whose_mark_fails_is_acknowledged_and_the_next_one_waits_for_the_mark() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        let (store, _) = Store::open(&path, &JournalOptions::default(), &mut || false).unwrap();
        let ballast = Ballast::beside(&path, 0);
        let mut worker = Worker { store, ballast, spent: Arc::default(), broken: None };
        let unwritable = Acked::unwritable(&path).unwrap();
        let writable = std::mem::replace(&mut worker.store.acked, unwritable);
        let first = append(&mut worker, "first");
        assert_eq!(first, Ok(Seq(1)), "it is on the disk, so it has happened");
        let refused = append(&mut worker, "second").unwrap_err();
        assert!(matches!(refused, Lost::Refused(_)), "nothing was tried: {refused}");
        worker.store.acked = writable;
        assert_eq!(append(&mut worker, "third"), Ok(Seq(2)), "the disk can be written again");
        drop(worker);
        let (_, recovered) = Store::open(&path, &JournalOptions::default(), &mut || false).unwrap();
        let bodies: Vec<&[u8]> = recovered.records.iter().map(|r| r.body.as_slice()).collect();
        assert_eq!(bodies, [&b"first"[..], b"third"]);
    }

    #[test]
    fn after_a_failure_of_which_nobody_knows_what_it_left_only_a_new_start_helps() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        let (store, _) = Store::open(&path, &JournalOptions::default(), &mut || false).unwrap();
        let ballast = Ballast::beside(&path, 0);
        let mut worker = Worker { store, ballast, spent: Arc::default(), broken: None };
        assert_eq!(append(&mut worker, "first"), Ok(Seq(1)));
        // Every transaction fails from now on, as on a failing disk.
        worker.store.db.execute_batch("ALTER TABLE meta RENAME TO gone").unwrap();
        for why in ["the disk failed: ", "the disk failed earlier: "] {
            let lost = append(&mut worker, "next").unwrap_err();
            let said = matches!(&lost, Lost::Unknown(text) if text.starts_with(why));
            assert!(said, "{lost:?}");
        }
    }

    #[test]
    fn whoever_waits_is_told_when_the_thread_panics() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        let (mut journal, _) = Journal::open(&path, JournalOptions::default()).unwrap();
        journal.append(one("first"), Box::new(|_| panic!("planted")));
        for _ in 0..10 {
            let (tell, told) = mpsc::channel();
            journal.append(one("next"), Box::new(move |outcome| tell.send(outcome).unwrap()));
            let lost = told.recv().unwrap().unwrap_err();
            assert!(matches!(lost, Lost::Unknown(_)), "only a new start can tell: {lost}");
        }
    }
}
