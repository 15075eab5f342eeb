//! The demo's load: some users, each of whom sends one request after the other. Everything is counted. The
//! number of users, the pace and the time are bounded.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::browser::{Browser, Told};

/// The number of concurrent connections.
pub(super) const CONNECTIONS: usize = 16;
/// The time between two requests of a connection.
const PACE: Duration = Duration::from_millis(10);
/// The time after which the load ends by itself.
const LONGEST: Duration = Duration::from_secs(180);
/// The longest wait of a user who is told to wait.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// The number of first failures that are kept for the report.
const KEPT: usize = 5;

/// The counts of the load.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) ok: u64,
    pub(super) failed: u64,
    /// The number of users who were told to wait while the app was closed.
    pub(super) told_to_wait: u64,
    /// The number of responses, by release.
    pub(super) by_release: BTreeMap<String, u64>,
    /// The releases that each connection saw, in order.
    pub(super) seen: Vec<Vec<String>>,
    /// The first failures.
    pub(super) failures: Vec<String>,
    /// The time of the slowest response.
    pub(super) slowest: Duration,
}

/// The state of the app: closed on purpose, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Open,
    Closed,
}

/// Load that runs until it is stopped.
#[derive(Debug)]
pub(super) struct DemoLoad {
    stop: Arc<AtomicBool>,
    /// True while the app is closed on purpose. A response that tells the user to wait is then no failure.
    closed: Arc<AtomicBool>,
    counts: Arc<Mutex<Counts>>,
    threads: Vec<JoinHandle<()>>,
}

impl DemoLoad {
    /// Starts sending requests to `address`.
    pub(super) fn start(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let closed = Arc::new(AtomicBool::new(false));
        let counts = Arc::new(Mutex::new(Counts {
            seen: vec![Vec::new(); CONNECTIONS],
            ..Counts::default()
        }));
        let threads = (0..CONNECTIONS)
            .map(|number| {
                let client = One {
                    number,
                    address,
                    stop: stop.clone(),
                    closed: closed.clone(),
                    counts: counts.clone(),
                };
                thread::spawn(move || client.run())
            })
            .collect();
        Self { stop, closed, counts, threads }
    }

    /// Sets whether the app is closed on purpose from now on.
    pub(super) fn closed(&self, door: Door) {
        self.closed.store(door == Door::Closed, Ordering::Relaxed);
    }

    /// Returns the counts so far.
    pub(super) fn so_far(&self) -> Counts {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops the load and returns the counts. A request in flight is finished and counted.
    pub(super) fn stop(mut self) -> Counts {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A thread that panicked has sent no more requests. Its counts so far remain.
            let _ = thread.join();
        }
        self.so_far()
    }
}

impl Drop for DemoLoad {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The state of one connection's thread.
struct One {
    number: usize,
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    closed: Arc<AtomicBool>,
    counts: Arc<Mutex<Counts>>,
}

impl One {
    fn run(&self) {
        let started = Instant::now();
        let mut browser = Browser::new(self.address);
        while !self.stop.load(Ordering::Relaxed) && started.elapsed() < LONGEST {
            let asked = Instant::now();
            let told = browser.ask();
            let pace = match &told {
                Ok(Told::Wait(time)) => (*time).clamp(PACE, LONGEST_WAIT),
                Ok(Told::Release(_)) | Err(_) => PACE,
            };
            self.count(told, asked.elapsed());
            thread::sleep(pace);
        }
    }

    fn count(&self, told: io::Result<Told>, took: Duration) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.slowest = counts.slowest.max(took);
        let failure = match told {
            Ok(Told::Release(release)) => {
                counts.ok += 1;
                *counts.by_release.entry(release.clone()).or_default() += 1;
                if counts.seen[self.number].last() != Some(&release) {
                    counts.seen[self.number].push(release);
                }
                return;
            }
            Ok(Told::Wait(_)) if self.closed.load(Ordering::Relaxed) => {
                counts.told_to_wait += 1;
                return;
            }
            Ok(Told::Wait(_)) => "told to wait by an app that is open".into(),
            Err(error) => error.to_string(),
        };
        counts.failed += 1;
        if counts.failures.len() < KEPT {
            counts.failures.push(failure);
        }
    }
}

impl Counts {
    /// Returns the number of connections that saw releases in another order than that of the switches.
    pub(super) fn out_of_order(&self, switched: &[String]) -> usize {
        let in_order = |seen: &[String]| {
            let mut rest = switched.iter();
            seen.iter().all(|release| rest.any(|switched| switched == release))
        };
        self.seen.iter().filter(|seen| !in_order(seen)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample_app::Sample;
    use std::net::TcpListener;

    #[test]
    fn every_answer_is_counted_by_release() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let sample = Arc::new(Sample::new("v7"));
        thread::spawn(move || sample.accept(&listener));
        let load = DemoLoad::start(address);
        while load.so_far().ok < 100 {
            thread::yield_now();
        }
        let counts = load.stop();
        assert_eq!((counts.failed, &counts.failures), (0, &vec![]));
        assert_eq!(counts.by_release["v7"], counts.ok);
        assert_eq!(counts.out_of_order(&["v7".into()]), 0);
    }

    #[test]
    fn to_be_told_to_wait_is_a_failure_unless_the_app_is_closed_on_purpose() {
        let number = 0;
        let counts = Arc::new(Mutex::new(Counts::default()));
        let closed = Arc::new(AtomicBool::new(false));
        let address = "127.0.0.1:1".parse().unwrap();
        let stop = Arc::default();
        let user = One { number, address, stop, closed: closed.clone(), counts: counts.clone() };
        user.count(Ok(Told::Wait(PACE)), PACE);
        closed.store(true, Ordering::Relaxed);
        user.count(Ok(Told::Wait(PACE)), PACE);
        let counts = counts.lock().unwrap();
        assert_eq!((counts.failed, counts.told_to_wait), (1, 1));
        assert_eq!(counts.failures, ["told to wait by an app that is open"]);
    }

    #[test]
    fn a_connection_that_goes_back_to_an_old_release_is_seen() {
        let text = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let counts = Counts {
            seen: vec![text(&["v1", "v2"]), text(&["v2"]), text(&["v1", "v2", "v1"]), vec![]],
            ..Counts::default()
        };
        assert_eq!(counts.out_of_order(&text(&["v1", "v2"])), 1);
        assert_eq!(counts.out_of_order(&text(&["v1", "v2", "v1"])), 0);
    }
}
