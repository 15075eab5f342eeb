//! The tasks that accept connections on a worker's listening sockets, while they wait. Never accepts.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

/// The acceptors of one worker, one per listening socket.
#[derive(Debug)]
pub(crate) struct Acceptors {
    parked: RefCell<Vec<Option<Waker>>>,
    /// The ports of the listening sockets, as text.
    ports: Vec<Rc<str>>,
    /// One waits for a connection to end.
    is_full: Cell<bool>,
}

impl Acceptors {
    pub(crate) fn new(ports: Vec<Rc<str>>) -> Self {
        let parked = ports.iter().map(|_| None).collect();
        Self { parked: RefCell::new(parked), ports, is_full: Cell::new(false) }
    }

    /// The port of a listening socket, as text.
    pub(crate) fn port(&self, at: usize) -> Rc<str> {
        Rc::clone(&self.ports[at])
    }

    /// An acceptor waits until all are woken.
    pub(crate) fn park(&self, at: usize, waker: &Waker) {
        self.parked.borrow_mut()[at] = Some(waker.clone());
    }

    /// An acceptor waits until a connection ends: there are as many as there may be.
    pub(crate) fn park_until_room(&self, at: usize, waker: &Waker) {
        self.is_full.set(true);
        self.park(at, waker);
    }

    /// A connection has ended: acceptors that waited for room go on.
    pub(crate) fn connection_ended(&self) {
        if self.is_full.replace(false) {
            self.wake();
        }
    }

    /// Wakes all.
    pub(crate) fn wake(&self) {
        self.parked.borrow_mut().iter_mut().filter_map(Option::take).for_each(Waker::wake);
    }
}
