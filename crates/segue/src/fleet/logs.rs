//! Output of instances on other hosts: a question to the agent of each, and its answer.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wire::LogPage;

/// The time in which a host has to answer.
const PATIENCE: Duration = Duration::from_secs(5);

type LogAnswer = Result<LogPage, String>;

/// The questions that wait for an answer.
#[derive(Debug, Default)]
pub struct LogQuestions(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    questions: BTreeMap<u64, SyncSender<LogAnswer>>,
}

/// A question that was sent. Dropped, it is forgotten.
pub struct LogQuestion<'a> {
    questions: &'a LogQuestions,
    pub number: u64,
    answer: Receiver<LogAnswer>,
}

impl LogQuestions {
    /// Begins a question.
    pub fn ask(&self) -> LogQuestion<'_> {
        let (answer, answered) = sync_channel(1);
        let mut waiting = self.waiting();
        waiting.last += 1;
        let number = waiting.last;
        waiting.questions.insert(number, answer);
        LogQuestion { questions: self, number, answer: answered }
    }

    /// Takes an answer. One that nobody waits for any more is dropped.
    pub fn answer(&self, number: u64, answer: LogAnswer) {
        if let Some(question) = self.waiting().questions.remove(&number) {
            let _ = question.try_send(answer);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogQuestion<'_> {
    /// Waits for the answer.
    pub fn wait(self) -> io::Result<LogPage> {
        match self.answer.recv_timeout(PATIENCE) {
            Ok(answer) => answer.map_err(io::Error::other),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl Drop for LogQuestion<'_> {
    fn drop(&mut self) {
        self.questions.waiting().questions.remove(&self.number);
    }
}
