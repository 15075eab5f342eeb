//! Hands new connections from a worker that has too many to one that has fewer. The kernel spreads
//! connections at random, and long-lived ones would stay where they are. Connections are handed over only
//! at accept, never later.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Number of connections that may wait for one worker.
const WAITING: usize = 64;

/// A connection that was accepted and has not been read from.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    /// The index of the listening address that the connection came to.
    pub(crate) listener: usize,
}

/// The queue of connections that other workers hand over to one worker.
#[derive(Debug, Default)]
pub(crate) struct ArrivalQueue {
    /// The number of the worker's open connections, including those in the queue.
    open: AtomicUsize,
    queue: Mutex<Queue>,
    pub(crate) wake: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Arrival>,
    closed: bool,
}

impl ArrivalQueue {
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Notes that the worker has accepted a connection and keeps it.
    pub(crate) fn opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that a connection of the worker has ended.
    pub(crate) fn ended(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Takes a connection for the worker. Gives it back if too many wait, or if the worker ends.
    fn offer(&self, arrival: Arrival) -> Result<(), Arrival> {
        let mut queue = self.queue();
        if queue.closed || queue.waiting.len() >= WAITING {
            return Err(arrival);
        }
        queue.waiting.push_back(arrival);
        self.opened();
        drop(queue);
        self.wake.notify_one();
        Ok(())
    }

    /// Returns the next connection in the queue.
    pub(crate) fn take(&self) -> Option<Arrival> {
        self.queue().waiting.pop_front()
    }

    /// Closes the queue unless a connection waits in it. Returns whether the queue is closed.
    pub(crate) fn close(&self) -> bool {
        let mut queue = self.queue();
        queue.closed = queue.waiting.is_empty();
        queue.closed
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands `arrival` on if its worker would have more than 1.25 times the mean: to the less loaded of two
/// other workers, if that one has fewer. `arrivals` returns the queue of each worker. Gives the
/// connection back if it stays; otherwise it is counted at the worker that gets it.
pub(crate) fn pass_on<'a>(
    (workers, arrivals): (usize, impl Fn(usize) -> &'a ArrivalQueue),
    own: usize,
    all: usize,
    random: u64,
    arrival: Arrival,
) -> Result<(), Arrival> {
    let here = arrivals(own).open() + 1;
    if here * workers * 4 <= all * 5 {
        return Err(arrival);
    }
    let others = two_others(workers, own, random);
    let fewest = others.into_iter().flatten().min_by_key(|at| arrivals(*at).open());
    match fewest.map(arrivals) {
        Some(arrivals) if arrivals.open() + 1 < here => arrivals.offer(arrival),
        Some(_) | None => Err(arrival),
    }
}

/// Returns two workers other than `own`, different ones if possible.
fn two_others(workers: usize, own: usize, random: u64) -> [Option<usize>; 2] {
    let Some(others) = workers.checked_sub(1).filter(|others| *others > 0) else {
        return [None; 2];
    };
    let worker = |place: usize| place + usize::from(place >= own);
    let draw = |bits: u64, below: usize| bits as usize % below;
    let first = draw(random >> 32, others);
    let Some(rest) = others.checked_sub(1).filter(|rest| *rest > 0) else {
        return [Some(worker(first)), None];
    };
    let second = (first + 1 + draw(random & 0xffff_ffff, rest)) % others;
    [Some(worker(first)), Some(worker(second))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_are_others_and_different() {
        for random in (0..64).flat_map(|high| (0..64).map(move |low| high << 32 | low)) {
            assert_eq!(two_others(1, 0, random), [None, None]);
            assert_eq!(two_others(2, 1, random), [Some(0), None]);
            for own in 0..4 {
                let [first, second] = two_others(4, own, random).map(|at| at.expect("there are"));
                assert!(first != second && first != own && second != own && first.max(second) < 4);
            }
        }
    }

    #[test]
    fn a_worker_that_ends_and_a_full_queue_give_back() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = listener.local_addr().unwrap();
        let arrival = || Arrival { stream: TcpStream::connect(peer).unwrap(), peer, listener: 0 };
        let arrivals = ArrivalQueue::default();
        for _ in 0..WAITING {
            arrivals.offer(arrival()).unwrap();
        }
        assert_eq!(arrivals.open(), WAITING);
        assert!(arrivals.offer(arrival()).is_err());
        assert!(!arrivals.close(), "they wait to be served");
        while arrivals.take().is_some() {}
        arrivals.offer(arrival()).unwrap();
        assert!(arrivals.take().is_some() && arrivals.close());
        assert!(arrivals.offer(arrival()).is_err());
    }
}
