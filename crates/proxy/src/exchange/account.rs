//! What a request is counted and logged as: its app, the availability gap that it may belong to, how it
//! ended, and its line in the access log. Never decides anything.

use std::sync::Arc;

use http1::RequestHead;
use model::ReleaseNo;

use crate::access_log::{EndedBy, Entry, RequestPhase, Said, Times};
use crate::exchange::failure::AttemptFailure;
use crate::exchange::own_answer::OwnAnswer;
use crate::instance::InstanceState;
use crate::stats::AppStats;
use crate::turn::Turn;
use crate::unanswered::UnansweredRequest;
use crate::worker::Worker;

/// The account of one request.
#[derive(Debug)]
pub(super) struct Accounting {
    app: Option<Arc<AppStats>>,
    /// The time when the head was complete.
    started_ms: u64,
    waiting: Option<UnansweredRequest>,
    outcome: Outcome,
    /// The status of the answer; 0 before there is one.
    status: u16,
    /// The line for the access log, if there is a log.
    entry: Option<Box<Entry>>,
}

/// The outcome that a request is counted as. The first one decided stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Open,
    Fine,
    Failed,
    Aborted,
}

/// Tells whether a request belongs to the same app as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Belongs {
    AsBefore,
    Anew,
}

impl Accounting {
    /// Returns the account of a request whose head is complete. Its first byte came at `since_ms`.
    #[inline]
    pub(super) fn of(head: &RequestHead, since_ms: u64, turn: &Turn<'_, '_>) -> Self {
        Self {
            app: None,
            started_ms: turn.now_ms,
            waiting: None,
            outcome: Outcome::Open,
            status: 0,
            entry: entry(head, since_ms, turn),
        }
    }

    /// Returns the app of the request, once it is known.
    pub(super) fn app(&self) -> Option<&Arc<AppStats>> {
        self.app.as_ref()
    }

    /// Returns the time when the head was complete, by the proxy's clock.
    pub(super) fn started_ms(&self) -> u64 {
        self.started_ms
    }

    /// Assigns the request to an app.
    #[inline]
    pub(super) fn belongs_to(&mut self, app: Arc<AppStats>, now_ms: u64) -> Belongs {
        let is_other = self.app.as_ref().is_none_or(|before| before.key != app.key);
        if is_other {
            self.waiting = Some(app.gap.begin(now_ms));
        }
        if let Some(entry) = &mut self.entry {
            entry.app = Some(Arc::clone(&app));
        }
        self.app = Some(app);
        if is_other { Belongs::Anew } else { Belongs::AsBefore }
    }

    /// Notes how long the request was held.
    pub(super) fn held(&mut self, held_ms: u64) {
        let Some(entry) = &mut self.entry else { return };
        entry.held_ms = held_ms;
        entry.phase = RequestPhase::Waiting;
    }

    /// Notes the chosen instance. Notes on an instance chosen before are cleared.
    #[inline]
    pub(super) fn chose(&mut self, instance: &Arc<InstanceState>, release: ReleaseNo, now_ms: u64) {
        let Some(entry) = &mut self.entry else { return };
        entry.instance = Some(Arc::clone(instance));
        entry.release = Some(release.0);
        entry.phase = RequestPhase::Connecting;
        let waiting = Some(now_ms.saturating_sub(self.started_ms));
        entry.times = Times { head: entry.times.head, waiting, ..Times::default() };
    }

    /// Notes that the instance is connected. Connecting began at `since_ms`.
    #[inline]
    pub(super) fn connected(&mut self, since_ms: u64, now_ms: u64) {
        let Some(entry) = &mut self.entry else { return };
        entry.phase = RequestPhase::Answering;
        entry.times.connecting = Some(now_ms.saturating_sub(since_ms));
    }

    /// Notes who is to blame for a failed attempt, in case it was the last one.
    pub(super) fn attempt_failed(&mut self, failure: AttemptFailure) {
        let Some(entry) = &mut self.entry else { return };
        entry.blamed = match failure {
            AttemptFailure::Connect
            | AttemptFailure::Broken
            | AttemptFailure::Stale
            | AttemptFailure::BadAnswer => EndedBy::Upstream,
            AttemptFailure::NoRoom | AttemptFailure::Timeout => EndedBy::Timeout,
            AttemptFailure::ConnectOurs | AttemptFailure::Drained => EndedBy::Proxy,
        };
    }

    /// Notes that the head of an instance's answer has come.
    #[inline]
    pub(super) fn answered(&mut self, status: u16, now_ms: u64) {
        self.status = status;
        if let Some(waiting) = self.waiting.take() {
            waiting.succeeded(now_ms);
        }
        let Some(entry) = &mut self.entry else { return };
        entry.phase = RequestPhase::Answered;
        let before = entry.times.waiting.unwrap_or(0) + entry.times.connecting.unwrap_or(0);
        entry.times.answering = Some(now_ms.saturating_sub(self.started_ms + before));
    }

    /// Notes that the proxy answers itself.
    pub(super) fn answered_ourselves(&mut self, answer: &OwnAnswer, worker: &Worker) {
        if answer.is_failure() {
            self.fails();
        }
        self.status = answer.status();
        self.waiting = None;
        if let Some(app) = &self.app {
            worker.app_cells(app).answered_ourselves(self.status);
        }
    }

    /// Notes that the request has failed, unless its outcome is decided.
    pub(super) fn fails(&mut self) {
        self.decide(Outcome::Failed);
    }

    /// Notes that the client aborted the request. A client that leaves before it has the whole answer is
    /// to blame, whatever the proxy was about to answer.
    pub(super) fn aborts(&mut self) {
        self.decide(Outcome::Aborted);
    }

    fn decide(&mut self, outcome: Outcome) {
        if self.outcome == Outcome::Open {
            self.outcome = outcome;
        }
    }

    /// Counts the request, with its number of attempts, and writes its log line.
    #[inline]
    pub(super) fn request_ended(&mut self, attempts: u32, worker: &Worker, now_ms: u64) {
        self.waiting = None;
        self.decide(Outcome::Fine);
        if let Some(app) = self.app.take() {
            worker.count(&app, |cells| &cells.requests);
            worker.app_cells(&app).took(now_ms.saturating_sub(self.started_ms));
            match self.outcome {
                Outcome::Failed => worker.count(&app, |cells| &cells.failed),
                Outcome::Aborted => worker.count(&app, |cells| &cells.client_aborted),
                Outcome::Open | Outcome::Fine => {}
            }
        }
        self.write(attempts, worker, now_ms);
    }

    fn write(&mut self, attempts: u32, worker: &Worker, now_ms: u64) {
        let (Some(log), Some(mut entry)) = (&worker.shared.access_log, self.entry.take()) else {
            return;
        };
        entry.status = self.status;
        entry.attempts = attempts;
        entry.times.all = entry.times.head + now_ms.saturating_sub(self.started_ms);
        entry.end = match self.outcome {
            Outcome::Open | Outcome::Fine if entry.phase == RequestPhase::Answered => EndedBy::Done,
            Outcome::Open | Outcome::Fine => EndedBy::Proxy,
            Outcome::Failed => entry.blamed,
            Outcome::Aborted => EndedBy::Client,
        };
        log.add(&entry, &mut worker.log.borrow_mut());
    }
}

/// Returns a log entry for a request whose first byte came at `since_ms`. `None` without a log.
fn entry(head: &RequestHead, since_ms: u64, turn: &Turn<'_, '_>) -> Option<Box<Entry>> {
    turn.worker.shared.access_log.as_ref()?;
    let input = turn.client.head_bytes();
    let times = Times { head: turn.now_ms.saturating_sub(since_ms), ..Times::default() };
    let client = &turn.caller.address;
    let said = Said::new(client, head.method(input), head.host(input), head.path(input));
    Some(Box::new(Entry { said, times, ..Entry::default() }))
}
