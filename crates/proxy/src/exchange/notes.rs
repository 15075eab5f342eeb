//! What is noted of a request for the access log, if there is one: how far it came, who ended it, and
//! where its time went.

use std::sync::Arc;

use http1::RequestHead;

use crate::access_log::{End, Entry, Phase, Said, Times};
use crate::exchange::attempt::Failure;
use crate::exchange::{Exchange, Outcome};
use crate::instance::Instance;
use crate::turn::Turn;
use crate::worker::Worker;

/// An entry for a request whose first byte came at `since_ms`; none without a log.
pub(crate) fn log_entry(
    head: &RequestHead,
    since_ms: u64,
    turn: &Turn<'_, '_>,
) -> Option<Box<Entry>> {
    turn.worker.shared.access_log.as_ref()?;
    let input = turn.client.input.unread();
    let times = Times { head: turn.now_ms.saturating_sub(since_ms), ..Times::default() };
    let client = &turn.client.address;
    let said = Said::new(client, head.method(input), head.host(input), head.path(input));
    Some(Box::new(Entry { said, times, ..Entry::default() }))
}

impl Exchange {
    /// An instance has been chosen: what was noted of another one before does not count.
    pub(crate) fn note_instance(&mut self, instance: &Arc<Instance>, now_ms: u64) {
        let Some(entry) = &mut self.entry else { return };
        entry.instance = Some(Arc::clone(instance));
        entry.release = self.release.as_ref().map(|release| release.release.0);
        entry.phase = Phase::Connecting;
        let waiting = Some(now_ms.saturating_sub(self.terms.started_ms()));
        entry.times = Times { head: entry.times.head, waiting, ..Times::default() };
    }

    /// It is connected, which began at `since_ms`.
    pub(crate) fn note_connected(&mut self, since_ms: u64, now_ms: u64) {
        let Some(entry) = &mut self.entry else { return };
        entry.phase = Phase::Answering;
        entry.times.connecting = Some(now_ms.saturating_sub(since_ms));
    }

    /// The head of the answer has come.
    pub(crate) fn note_answer(&mut self, now_ms: u64) {
        let Some(entry) = &mut self.entry else { return };
        entry.phase = Phase::Answered;
        let before = entry.times.waiting.unwrap_or(0) + entry.times.connecting.unwrap_or(0);
        entry.times.answering = Some(now_ms.saturating_sub(self.terms.started_ms() + before));
    }

    pub(crate) fn note_held(&mut self, held_ms: u64) {
        let Some(entry) = &mut self.entry else { return };
        entry.held_ms = held_ms;
        entry.phase = Phase::Waiting;
    }

    /// Who is to blame, should this have been the last attempt.
    pub(crate) fn note_failure(&mut self, failure: Failure) {
        let Some(entry) = &mut self.entry else { return };
        entry.blamed = match failure {
            Failure::Connect | Failure::Broken | Failure::Stale | Failure::BadAnswer => {
                End::Upstream
            }
            Failure::NoRoom | Failure::Timeout => End::Timeout,
            Failure::ConnectOurs | Failure::Drained => End::Proxy,
        };
    }

    /// Writes the entry.
    pub(crate) fn note_end(&mut self, worker: &Worker, now_ms: u64) {
        let (Some(log), Some(mut entry)) = (&worker.shared.access_log, self.entry.take()) else {
            return;
        };
        entry.status = self.status;
        entry.attempts = self.attempts;
        entry.times.all = entry.times.head + now_ms.saturating_sub(self.terms.started_ms());
        entry.end = match self.outcome {
            Outcome::Open | Outcome::Fine if entry.phase == Phase::Answered => End::Done,
            Outcome::Open | Outcome::Fine => End::Proxy,
            Outcome::Failed => entry.blamed,
            Outcome::Aborted => End::Client,
        };
        log.add(&entry, &mut worker.log.borrow_mut());
    }
}
