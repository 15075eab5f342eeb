//! Steady load: clients that send a GET and a POST in turn, each on a connection that is kept, at a
//! pace and never more than a number. No path is asked for twice.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::common::{Client, eventually};

pub const CLIENTS: usize = 8;
/// Between two requests of one client.
const PACE: Duration = Duration::from_millis(10);
/// Of one client: half a minute at that pace.
const MOST: usize = 3_000;

/// How a request ended for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Answered(u16),
    /// The connection broke before the answer was whole.
    BrokenOff,
}

#[derive(Debug)]
pub struct Sent {
    pub method: &'static str,
    pub path: String,
    pub begun: Instant,
    pub took: Duration,
    pub end: End,
}

pub struct Load {
    over: Arc<AtomicBool>,
    ended: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Vec<Sent>>>,
}

impl Load {
    pub fn on(at: SocketAddr) -> Self {
        let (over, ended) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let client = |number| {
            let (over, ended) = (Arc::clone(&over), Arc::clone(&ended));
            std::thread::spawn(move || {
                let mut client = Client::connect(at);
                let mut all = Vec::new();
                while !over.load(Ordering::Acquire) {
                    assert!(all.len() < MOST, "the test takes too long");
                    let sent = send(&mut client, number, all.len());
                    if sent.end == End::BrokenOff {
                        client = Client::connect(at);
                    }
                    all.push(sent);
                    ended.fetch_add(1, Ordering::AcqRel);
                    // it waits: that is the pace of the load
                    std::thread::sleep(PACE);
                }
                all
            })
        };
        let clients = (0..CLIENTS).map(client).collect();
        Self { over, ended, clients }
    }

    /// Waits until so many more requests have ended.
    pub fn goes_on(&self, more: u64) {
        let wanted = self.ended.load(Ordering::Acquire) + more;
        eventually("the load goes on", || {
            (self.ended.load(Ordering::Acquire) >= wanted).then_some(())
        });
    }

    pub fn end(self) -> Vec<Sent> {
        self.over.store(true, Ordering::Release);
        self.clients.into_iter().flat_map(|client| client.join().expect("no panic")).collect()
    }
}

fn send(client: &mut Client, number: usize, count: usize) -> Sent {
    let (method, body) = if count.is_multiple_of(2) { ("GET", "") } else { ("POST", "x") };
    let path = format!("/{number}/{count}");
    let begun = Instant::now();
    let length = body.len();
    client.send(format!(
        "{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}"
    ));
    let end = match client.try_receive(true) {
        Ok(got) => End::Answered(got.status),
        Err(error) => {
            use std::io::ErrorKind;
            let patient = !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            assert!(patient, "neither an answer nor an end: {method} {path}");
            End::BrokenOff
        }
    };
    Sent { method, path, begun, took: begun.elapsed(), end }
}
