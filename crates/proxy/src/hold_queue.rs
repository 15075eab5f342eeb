//! Those that wait, in the order they came, one line per app and worker. When an instance is there
//! they are let go at a pace it bears. Never makes anybody wait who has nobody before them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;

use balance::Pace;

/// A place in a line: who came first has the lower number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// The lines of one worker: mostly none.
#[derive(Debug, Default)]
pub(crate) struct HoldQueues(RefCell<Inner>);

#[derive(Debug, Default)]
struct Inner {
    tickets: u64,
    lines: Vec<HoldQueue>,
}

#[derive(Debug)]
struct HoldQueue {
    app: u32,
    waiting: VecDeque<(Ticket, Waker)>,
    pace: Pace,
    at_first: u32,
}

impl Inner {
    fn line(&mut self, app: u32) -> Option<&mut HoldQueue> {
        self.lines.iter_mut().find(|line| line.app == app)
    }

    /// Forgets a line that nobody stands in: the next begins with a pace of its own.
    fn tidy(&mut self, app: u32) {
        self.lines.retain(|l| l.app != app || !l.waiting.is_empty() || !l.pace.is_idle());
    }
}

impl HoldQueue {
    fn room(&self) -> usize {
        self.pace.room(self.at_first) as usize
    }

    /// Wakes those that may go since there was room for so many only.
    fn wake(&self, before: usize) {
        self.waiting
            .range(before.min(self.waiting.len())..)
            .take(self.room() - before)
            .for_each(|(_, waker)| waker.wake_by_ref());
    }
}

impl HoldQueues {
    /// Whether somebody waits for an instance of the app.
    pub(crate) fn is_waiting(&self, app: u32) -> bool {
        let inner = self.0.borrow();
        inner.lines.iter().any(|line| line.app == app && !line.waiting.is_empty())
    }

    /// Takes a place at the end of the line, or the one that a request had before.
    pub(crate) fn join(self: &Rc<Self>, app: u32, ticket: Option<Ticket>, waker: Waker) -> Place {
        let mut inner = self.0.borrow_mut();
        inner.tickets += 1;
        let ticket = ticket.unwrap_or(Ticket(inner.tickets));
        if inner.line(app).is_none() {
            let (waiting, pace) = (VecDeque::new(), Pace::default());
            inner.lines.push(HoldQueue { app, waiting, pace, at_first: 0 });
        }
        if let Some(line) = inner.line(app) {
            let at = line.waiting.partition_point(|(other, _)| *other < ticket);
            line.waiting.insert(at, (ticket, waker));
        }
        Place { lines: Rc::clone(self), app, ticket }
    }
}

/// A place in a line. Falls with it.
#[derive(Debug)]
pub(crate) struct Place {
    lines: Rc<HoldQueues>,
    app: u32,
    pub(crate) ticket: Ticket,
}

impl Place {
    /// Whether its turn has come, where so many are let go at first.
    pub(crate) fn may_go(&self, at_first: u32) -> bool {
        let mut inner = self.lines.0.borrow_mut();
        let Some(line) = inner.line(self.app) else { return true };
        line.at_first = at_first;
        line.waiting.partition_point(|(other, _)| *other < self.ticket) < line.room()
    }

    /// Leaves the line to try an instance.
    pub(crate) fn go(self) -> LetGo {
        if let Some(line) = self.lines.0.borrow_mut().line(self.app) {
            line.pace.sent();
        }
        LetGo { lines: Rc::clone(&self.lines), app: self.app, answered: false }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.lines.0.borrow_mut();
        if let Some(line) = inner.line(self.app) {
            let at = line.waiting.partition_point(|(other, _)| *other < self.ticket);
            line.waiting.remove(at);
            // Those behind have moved up by one.
            if let Some(before) = line.room().checked_sub(1) {
                line.wake(before);
            }
        }
        inner.tidy(self.app);
    }
}

/// One that was let go and has no answer yet.
#[derive(Debug)]
pub(crate) struct LetGo {
    lines: Rc<HoldQueues>,
    app: u32,
    answered: bool,
}

impl LetGo {
    /// Its instance bears more.
    pub(crate) fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for LetGo {
    fn drop(&mut self) {
        let mut inner = self.lines.0.borrow_mut();
        if let Some(line) = inner.line(self.app) {
            let before = line.room();
            match self.answered {
                true => line.pace.answered(),
                false => line.pace.lost(),
            }
            line.wake(before);
        }
        inner.tidy(self.app);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(lines: &Rc<HoldQueues>, count: usize) -> Vec<Place> {
        (0..count).map(|_| lines.join(1, None, Waker::noop().clone())).collect()
    }

    #[test]
    fn the_first_go_first_and_answers_let_the_next_go() {
        let lines = Rc::new(HoldQueues::default());
        let mut places = places(&lines, 5);
        assert!(lines.is_waiting(1) && !lines.is_waiting(2));
        let may = |places: &[Place]| places.iter().filter(|place| place.may_go(2)).count();
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
        let lines = Rc::new(HoldQueues::default());
        let mut places = places(&lines, 3);
        let ticket = places[0].ticket;
        drop(places.remove(0));
        let back = lines.join(1, Some(ticket), Waker::noop().clone());
        assert!(back.may_go(1) && !places[0].may_go(1));
        places.clear();
        let gone = back.go();
        assert!(!lines.is_waiting(1) && !lines.0.borrow().lines.is_empty());
        drop(gone);
        assert!(lines.0.borrow().lines.is_empty());
    }
}
