//! The journal's thread: one at a time, in order, several waiting batches in one transaction.
//! Never blocks a caller, never writes half a batch.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use crate::ballast::Ballast;
use crate::error::{AppendError, OpenError};
use crate::options::Options;
use crate::record::{NewRecord, Recovered, Seq};
use crate::store::{Store, WriteError};

/// Batches and checkpoints that may wait.
const QUEUE: usize = 1024;
/// Batches that share one transaction.
const GROUP: usize = 128;

/// Whether there is room on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// The ballast is in place.
    Plenty,
    /// The disk was full and the ballast is spent: what is left is for the way back.
    Spent,
}

/// Who is told what became of a job. Told in any case: a panic must not leave anybody waiting.
struct Done<T>(Option<Callback<T>>);

type Callback<T> = Box<dyn FnOnce(Result<T, AppendError>) + Send>;

impl<T> Done<T> {
    fn new(callback: impl FnOnce(Result<T, AppendError>) + Send + 'static) -> Self {
        Self(Some(Box::new(callback)))
    }

    fn tell(mut self, outcome: Result<T, AppendError>) {
        if let Some(callback) = self.0.take() {
            callback(outcome);
        }
    }
}

impl<T> Drop for Done<T> {
    fn drop(&mut self) {
        if let Some(callback) = self.0.take() {
            callback(Err(AppendError::Died));
        }
    }
}

enum Job {
    Append { batch: Vec<NewRecord>, done: Done<Seq> },
    Checkpoint { upto: Seq, version: u16, body: Vec<u8>, done: Done<()> },
}

/// An open journal. Dropping it writes what waits and closes the file.
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
    /// Checks the journal at `path`, or makes an empty one, and begins a new term.
    ///
    /// # Errors
    /// A damaged, foreign or newer file is refused and left as it is; so is one in use.
    pub fn open(path: &Path, options: Options) -> Result<(Self, Recovered), OpenError> {
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

    /// Writes a batch: all of it or nothing. `done` gets the number of its last record once it is
    /// on the disk, or why it is not there; it is called on the journal's thread, in the order of
    /// the appends, or right here if the queue is full.
    pub fn append(
        &self,
        batch: Vec<NewRecord>,
        done: impl FnOnce(Result<Seq, AppendError>) + Send + 'static,
    ) {
        self.send(Job::Append { batch, done: Done::new(done) });
    }

    /// Lets `body` stand for all records up to `upto`, which are deleted.
    pub fn checkpoint(
        &self,
        upto: Seq,
        version: u16,
        body: Vec<u8>,
        done: impl FnOnce(Result<(), AppendError>) + Send + 'static,
    ) {
        self.send(Job::Checkpoint { upto, version, body, done: Done::new(done) });
    }

    /// Whether there is room on the disk. While it is `Spent`, take nothing new on.
    pub fn room(&self) -> Room {
        if self.spent.load(Ordering::Relaxed) { Room::Spent } else { Room::Plenty }
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

impl Drop for Journal {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic on that thread was printed there; here it changes nothing.
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
                Job::Checkpoint { upto, version, body, done } => {
                    let outcome = self.write(|store| store.checkpoint(upto, version, &body));
                    done.tell(outcome.map_err(|e| e.name(upto)));
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
            // Together they do not fit, one by one the first may.
            Err(Failed::Full) if group.len() > 1 => {
                group.into_iter().for_each(|one| self.append(vec![one]));
            }
            Err(e) => {
                group.into_iter().for_each(|(_, done)| done.tell(Err(e.clone().name(Seq(0)))))
            }
        }
    }

    /// One transaction; once more without the ballast if the disk is full.
    fn write<T>(
        &mut self,
        transaction: impl Fn(&mut Store) -> Result<T, WriteError>,
    ) -> Result<T, Failed> {
        if let Some(source) = &self.broken {
            return Err(Failed::Broken(Arc::clone(source)));
        }
        let mut outcome = transaction(&mut self.store);
        if matches!(outcome, Err(WriteError::Full)) && self.ballast.free() {
            outcome = transaction(&mut self.store);
        }
        if let Some(source) = self.store.take_unmarked() {
            self.broken = Some(Arc::new(source));
        }
        outcome.map_err(|e| match e {
            WriteError::Full => Failed::Full,
            WriteError::NoSuchRecord { first, last } => Failed::NoSuchRecord { first, last },
            WriteError::Broken(source) => {
                let source = Arc::new(source);
                self.broken = Some(Arc::clone(&source));
                Failed::InDoubt(source)
            }
        })
    }
}

#[derive(Clone)]
enum Failed {
    Full,
    NoSuchRecord {
        first: Seq,
        last: Seq,
    },
    /// This failure, after which nobody knows.
    InDoubt(Arc<rusqlite::Error>),
    /// An earlier one: nothing was tried.
    Broken(Arc<rusqlite::Error>),
}

impl Failed {
    fn name(self, upto: Seq) -> AppendError {
        match self {
            Self::Full => AppendError::Full,
            Self::NoSuchRecord { first, last } => {
                AppendError::NoSuchRecord { upto: upto.0, first: first.0, last: last.0 }
            }
            Self::InDoubt(source) => AppendError::InDoubt { source },
            Self::Broken(source) => AppendError::Broken { source },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::acked::Acked;

    fn one(body: &str) -> Vec<NewRecord> {
        vec![NewRecord { version: 1, body: body.into() }]
    }

    #[test]
    fn a_commit_whose_mark_fails_is_acknowledged_and_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        let (store, _) = Store::open(&path, &Options::default(), &mut || false).unwrap();
        let ballast = Ballast::beside(&path, 0);
        let mut worker = Worker { store, ballast, spent: Arc::default(), broken: None };
        worker.store.acked = Acked::unwritable(&path).unwrap();
        let mut append = |body| {
            let (tell, told) = mpsc::channel();
            let done = Done::new(move |outcome| tell.send(outcome).unwrap());
            worker.append(vec![(one(body), done)]);
            told.recv().unwrap()
        };
        assert_eq!(append("first").unwrap(), Seq(1), "it is on the disk, so it has happened");
        let refused = append("second").unwrap_err();
        assert!(matches!(refused, AppendError::Broken { .. }), "{refused}");
        assert!(!refused.is_in_doubt(), "nothing was tried");
        drop(worker);
        let (_, recovered) = Store::open(&path, &Options::default(), &mut || false).unwrap();
        let bodies: Vec<&[u8]> = recovered.records.iter().map(|r| r.body.as_slice()).collect();
        assert_eq!(bodies, [b"first"]);
    }

    #[test]
    fn whoever_waits_is_told_when_the_thread_panics() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        let (journal, _) = Journal::open(&path, Options::default()).unwrap();
        journal.append(one("first"), |_| panic!("planted"));
        for _ in 0..10 {
            let (tell, told) = mpsc::channel();
            journal.append(one("next"), move |outcome| tell.send(outcome).unwrap());
            let refused = told.recv().unwrap().unwrap_err();
            assert!(matches!(refused, AppendError::Died | AppendError::Closed), "{refused}");
        }
    }
}
