//! Held requests in the order they came, in one queue per app and worker. When an instance is there, they
//! leave the queue at a pace that the instance can take. A request with none before it never waits.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;

use balance::ReleasePace;

/// A place in a queue. Earlier requests have lower numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct QueueTicket(u64);

/// The queues of one worker. There are mostly none.
#[derive(Debug, Default)]
pub(crate) struct HoldQueues(RefCell<Inner>);

#[derive(Debug, Default)]
struct Inner {
    tickets: u64,
    queues: Vec<HoldQueue>,
}

#[derive(Debug)]
struct HoldQueue {
    app: u32,
    waiting: VecDeque<(QueueTicket, Waker)>,
    pace: ReleasePace,
    at_first: u32,
}

impl Inner {
    fn queue(&mut self, app: u32) -> Option<&mut HoldQueue> {
        self.queues.iter_mut().find(|queue| queue.app == app)
    }

    /// Removes a queue that is not used any more. The next one begins with a pace of its own.
    fn tidy(&mut self, app: u32) {
        self.queues.retain(|l| l.app != app || !l.waiting.is_empty() || !l.pace.is_idle());
    }
}

impl HoldQueue {
    fn room(&self) -> usize {
        self.pace.room(self.at_first) as usize
    }

    /// Wakes the requests that may go now, if only the first `before` could go before.
    fn wake(&self, before: usize) {
        self.waiting
            .range(before.min(self.waiting.len())..)
            .take(self.room() - before)
            .for_each(|(_, waker)| waker.wake_by_ref());
    }
}

impl HoldQueues {
    /// Returns whether a request waits for an instance of the app.
    pub(crate) fn is_waiting(&self, app: u32) -> bool {
        let inner = self.0.borrow();
        inner.queues.iter().any(|queue| queue.app == app && !queue.waiting.is_empty())
    }

    /// Takes a place at the end of the queue, or the one that the request had before.
    pub(crate) fn join(
        self: &Rc<Self>,
        app: u32,
        ticket: Option<QueueTicket>,
        waker: Waker,
    ) -> QueuePlace {
        let mut inner = self.0.borrow_mut();
        inner.tickets += 1;
        let ticket = ticket.unwrap_or(QueueTicket(inner.tickets));
        if inner.queue(app).is_none() {
            let (waiting, pace) = (VecDeque::new(), ReleasePace::default());
            inner.queues.push(HoldQueue { app, waiting, pace, at_first: 0 });
        }
        if let Some(queue) = inner.queue(app) {
            let at = queue.waiting.partition_point(|(other, _)| *other < ticket);
            queue.waiting.insert(at, (ticket, waker));
        }
        QueuePlace { queues: Rc::clone(self), app, ticket }
    }
}

/// A place in a queue. Given up on drop.
#[derive(Debug)]
pub(crate) struct QueuePlace {
    queues: Rc<HoldQueues>,
    app: u32,
    pub(crate) ticket: QueueTicket,
}

impl QueuePlace {
    /// Returns whether the request may go, if `at_first` requests may go at first.
    pub(crate) fn may_go(&self, at_first: u32) -> bool {
        let mut inner = self.queues.0.borrow_mut();
        let Some(queue) = inner.queue(self.app) else { return true };
        queue.at_first = at_first;
        queue.waiting.partition_point(|(other, _)| *other < self.ticket) < queue.room()
    }

    /// Leaves the queue to try an instance.
    pub(crate) fn go(self) -> Dequeued {
        if let Some(queue) = self.queues.0.borrow_mut().queue(self.app) {
            queue.pace.sent();
        }
        Dequeued { queues: Rc::clone(&self.queues), app: self.app, answered: false }
    }
}

impl Drop for QueuePlace {
    fn drop(&mut self) {
        let mut inner = self.queues.0.borrow_mut();
        if let Some(queue) = inner.queue(self.app) {
            let at = queue.waiting.partition_point(|(other, _)| *other < self.ticket);
            queue.waiting.remove(at);
            // The requests behind have moved up by one.
            if let Some(before) = queue.room().checked_sub(1) {
                queue.wake(before);
            }
        }
        inner.tidy(self.app);
    }
}

/// A request that left the queue and has no answer yet.
#[derive(Debug)]
pub(crate) struct Dequeued {
    queues: Rc<HoldQueues>,
    app: u32,
    answered: bool,
}

impl Dequeued {
    /// Notes the answer: the instance can take more requests.
    pub(crate) fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Dequeued {
    fn drop(&mut self) {
        let mut inner = self.queues.0.borrow_mut();
        if let Some(queue) = inner.queue(self.app) {
            let before = queue.room();
            match self.answered {
                true => queue.pace.answered(),
                false => queue.pace.lost(),
            }
            queue.wake(before);
        }
        inner.tidy(self.app);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(queues: &Rc<HoldQueues>, count: usize) -> Vec<QueuePlace> {
        (0..count).map(|_| queues.join(1, None, Waker::noop().clone())).collect()
    }

    #[test]
    fn the_first_go_first_and_answers_let_the_next_go() {
        let queues = Rc::new(HoldQueues::default());
        let mut places = places(&queues, 5);
        assert!(queues.is_waiting(1) && !queues.is_waiting(2));
        let may = |places: &[QueuePlace]| places.iter().filter(|place| place.may_go(2)).count();
        assert_eq!(may(&places), 2);
        assert!(places[0].may_go(2) && places[1].may_go(2) && !places[2].may_go(2));
        let first = places.remove(0).go();
        let second = places.remove(0).go();
        assert_eq!(may(&places), 0);
        first.answered();
        assert_eq!(may(&places), 2);
        drop(second);
        assert_eq!(may(&places), 3);
    }

    #[test]
    fn who_comes_back_has_the_old_place_and_an_empty_line_is_forgotten() {
        let queues = Rc::new(HoldQueues::default());
        let mut places = places(&queues, 3);
        let ticket = places[0].ticket;
        drop(places.remove(0));
        let back = queues.join(1, Some(ticket), Waker::noop().clone());
        assert!(back.may_go(1) && !places[0].may_go(1));
        places.clear();
        let gone = back.go();
        assert!(!queues.is_waiting(1) && !queues.0.borrow().queues.is_empty());
        drop(gone);
        assert!(queues.0.borrow().queues.is_empty());
    }
}
