//! The queue of messages that wait to be sent in a session. A message of which only the last one matters
//! replaces an earlier one in the queue. A queue that is full is broken: the session ends, and after a
//! reconnect everything is said again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::message::Replaces;

/// Capacity of a queue. All commands to a host with a thousand instances fit several times.
const CAPACITY: usize = 8_192;

/// A queue of outgoing messages, shared by whoever sends and the session that writes.
#[derive(Debug)]
pub(crate) struct Queue<M>(Arc<Shared<M>>);

#[derive(Debug)]
struct Shared<M> {
    waiting: Mutex<Waiting<M>>,
    changed: Notify,
}

#[derive(Debug)]
struct Waiting<M> {
    messages: VecDeque<M>,
    closed: bool,
}

impl<M> Clone for Queue<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Replaces> Waiting<M> {
    /// Drops the messages that a new one replaces, unless another one needs them. The newest gets the last place:
    /// a commit stays behind the table that it means.
    fn make_way_for(&mut self, message: &M) {
        let Some(slot) = message.slot() else { return };
        let mut at = 0;
        while let Some(earlier) = self.messages.get(at) {
            let is_needed = self.messages.iter().any(|other| earlier.is_needed_by(other));
            if earlier.slot() == Some(slot) && !is_needed {
                self.messages.remove(at);
            } else {
                at += 1;
            }
        }
    }
}

impl<M: Replaces> Queue<M> {
    pub fn new() -> Self {
        let waiting = Mutex::new(Waiting { messages: VecDeque::new(), closed: false });
        Self(Arc::new(Shared { waiting, changed: Notify::new() }))
    }

    /// Adds a message. Closes the queue if it is full. A message to a closed queue is dropped.
    pub fn push(&self, message: M) {
        let mut waiting = self.waiting();
        if waiting.closed {
            return;
        }
        waiting.make_way_for(&message);
        if waiting.messages.len() >= CAPACITY {
            waiting.messages.clear();
            waiting.closed = true;
        } else {
            waiting.messages.push_back(message);
        }
        drop(waiting);
        self.0.changed.notify_one();
    }

    /// Lets the session send what is waiting, and then end.
    pub fn close(&self) {
        self.waiting().closed = true;
        self.0.changed.notify_one();
    }

    /// Returns whether the queue takes no more messages.
    #[cfg(test)]
    pub fn is_closed(&self) -> bool {
        self.waiting().closed
    }

    /// Waits for the next message. Returns `None` once the queue is closed and empty. This method is cancel
    /// safe. Only one task may call it.
    pub async fn next(&self) -> Option<M> {
        loop {
            {
                let mut waiting = self.waiting();
                if let Some(message) = waiting.messages.pop_front() {
                    return Some(message);
                }
                if waiting.closed {
                    return None;
                }
            }
            self.0.changed.notified().await;
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<M>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt as _;
    use model::{Generation, HostCommand, Snapshot};

    use crate::shared_json::SharedJson;

    use super::*;
    use crate::message::{ControlRun, ToMember};

    const BY: ControlRun = ControlRun { term: 1, run: 1 };

    fn prepare(number: u64) -> ToMember {
        let generation = Generation { term: 1, counter: number };
        let snapshot = Arc::new(Snapshot { generation, ..Snapshot::default() });
        ToMember::Prepare { by: BY, snapshot: snapshot.into() }
    }

    fn health() -> ToMember {
        ToMember::Health { by: BY, table: SharedJson::default() }
    }

    fn commit(number: u64) -> ToMember {
        ToMember::Commit { by: BY, generation: Generation { term: 1, counter: number } }
    }

    fn all(queue: &Queue<ToMember>) -> Vec<ToMember> {
        std::iter::from_fn(|| queue.next().now_or_never().flatten()).collect()
    }

    #[test]
    fn a_newer_table_replaces_the_unsent_one_and_a_commit_stays_behind_its_table() {
        let queue = Queue::new();
        for number in 1..=3 {
            queue.push(prepare(number));
            queue.push(health());
            queue.push(commit(number));
        }
        assert_eq!(all(&queue), [prepare(2), prepare(3), health(), commit(3)]);
    }

    #[test]
    fn a_table_that_is_to_be_used_is_sent_although_the_next_one_waits() {
        let queue = Queue::new();
        let messages = [prepare(1), commit(1), prepare(2)];
        messages.iter().for_each(|message| queue.push(message.clone()));
        queue.push(prepare(3));
        assert_eq!(all(&queue), [prepare(1), commit(1), prepare(3)]);
    }

    #[test]
    fn a_queue_that_nobody_reads_is_closed_and_not_longer_than_its_bound() {
        let queue = Queue::new();
        let command =
            || ToMember::Host { by: BY, command: HostCommand::OfferPorts { except: Vec::new() } };
        (0..CAPACITY).for_each(|_| queue.push(command()));
        assert!(!queue.is_closed());
        queue.push(command());
        assert!(queue.is_closed());
        assert_eq!(all(&queue), []);
        queue.push(command());
        assert_eq!(queue.next().now_or_never(), Some(None), "it takes nothing any more");
    }

    #[test]
    fn what_was_said_before_the_end_is_sent() {
        let queue = Queue::new();
        queue.push(ToMember::Removed);
        queue.close();
        assert_eq!(queue.next().now_or_never(), Some(Some(ToMember::Removed)));
        assert_eq!(queue.next().now_or_never(), Some(None));
    }
}
