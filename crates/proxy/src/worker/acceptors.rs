//! The wakers of the tasks that accept connections on a worker's listening sockets. Never accepts.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

/// The acceptors of one worker, one per listening socket.
#[derive(Debug)]
pub(crate) struct Acceptors {
    parked: RefCell<Vec<Option<Waker>>>,
    /// The ports of the listening sockets, as text.
    ports: Vec<Rc<str>>,
    /// True while an acceptor waits for a connection to end.
    is_full: Cell<bool>,
}

impl Acceptors {
    pub(crate) fn new(ports: Vec<Rc<str>>) -> Self {
        let parked = ports.iter().map(|_| None).collect();
        Self { parked: RefCell::new(parked), ports, is_full: Cell::new(false) }
    }

    /// Returns the port of a listening socket, as text.
    pub(crate) fn port(&self, at: usize) -> Rc<str> {
        Rc::clone(&self.ports[at])
    }

    /// Parks an acceptor until all are woken.
    pub(crate) fn park(&self, at: usize, waker: &Waker) {
        self.parked.borrow_mut()[at] = Some(waker.clone());
    }

    /// Parks an acceptor until a connection ends, because the number of connections is at its limit.
    pub(crate) fn park_until_room(&self, at: usize, waker: &Waker) {
        self.is_full.set(true);
        self.park(at, waker);
    }

    /// Wakes the acceptors that wait for room: a connection has ended.
    pub(crate) fn connection_ended(&self) {
        if self.is_full.replace(false) {
            self.wake();
        }
    }

    /// Wakes all acceptors.
    pub(crate) fn wake(&self) {
        self.parked.borrow_mut().iter_mut().filter_map(Option::take).for_each(Waker::wake);
    }
}
