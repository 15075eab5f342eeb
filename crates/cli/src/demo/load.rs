//! The demo's load: some connections, each one request after the other, everything counted.
//! Bounded in connections, pace and time.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Connections at a time.
pub(super) const CONNECTIONS: usize = 16;
/// Between two requests of a connection.
const PACE: Duration = Duration::from_millis(10);
/// It ends by itself after this time.
const LONGEST: Duration = Duration::from_secs(180);
/// An answer that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(15);
/// The first failures are kept for the report.
const KEPT: usize = 5;

/// What was counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) ok: u64,
    pub(super) failed: u64,
    /// Answers by release.
    pub(super) by_release: BTreeMap<String, u64>,
    /// The releases each connection saw, one after the other.
    pub(super) seen: Vec<Vec<String>>,
    /// What the first failures were.
    pub(super) failures: Vec<String>,
    /// The slowest answer.
    pub(super) slowest: Duration,
}

/// Load that runs until it is stopped.
#[derive(Debug)]
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    counts: Arc<Mutex<Counts>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts asking `address`.
    pub(super) fn start(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let counts = Arc::new(Mutex::new(Counts {
            seen: vec![Vec::new(); CONNECTIONS],
            ..Counts::default()
        }));
        let threads = (0..CONNECTIONS)
            .map(|number| {
                let client = One { number, address, stop: stop.clone(), counts: counts.clone() };
                thread::spawn(move || client.run())
            })
            .collect();
        Self { stop, counts, threads }
    }

    /// What was counted so far.
    pub(super) fn so_far(&self) -> Counts {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it and gives the counts. A request under way is finished and counted.
    pub(super) fn stop(mut self) -> Counts {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A thread that panicked has asked nothing since; what it counted is counted.
            let _ = thread.join();
        }
        self.so_far()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// One connection's thread.
struct One {
    number: usize,
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    counts: Arc<Mutex<Counts>>,
}

impl One {
    fn run(&self) {
        let started = Instant::now();
        let mut connection = None;
        while !self.stop.load(Ordering::Relaxed) && started.elapsed() < LONGEST {
            let asked = Instant::now();
            let answer = self.ask(&mut connection);
            self.count(answer, asked.elapsed());
            thread::sleep(PACE);
        }
    }

    fn ask(&self, connection: &mut Option<BufReader<TcpStream>>) -> io::Result<String> {
        let mut reader = match connection.take() {
            Some(reader) => reader,
            None => {
                let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                BufReader::new(stream)
            }
        };
        let request = format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\n", self.address);
        reader.get_mut().write_all(request.as_bytes())?;
        let answer = read_answer(&mut reader)?;
        if !answer.close {
            *connection = Some(reader);
        }
        if answer.status != 200 {
            return Err(io::Error::other(format!("answered {}", answer.status)));
        }
        Ok(answer.release)
    }

    fn count(&self, answer: io::Result<String>, took: Duration) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.slowest = counts.slowest.max(took);
        match answer {
            Ok(release) => {
                counts.ok += 1;
                *counts.by_release.entry(release.clone()).or_default() += 1;
                if counts.seen[self.number].last() != Some(&release) {
                    counts.seen[self.number].push(release);
                }
            }
            Err(error) => {
                counts.failed += 1;
                if counts.failures.len() < KEPT {
                    counts.failures.push(error.to_string());
                }
            }
        }
    }
}

struct Answer {
    status: u16,
    release: String,
    close: bool,
}

/// Reads one whole answer; anything cut short is an error.
fn read_answer(reader: &mut BufReader<TcpStream>) -> io::Result<Answer> {
    let line = read_line(reader)?;
    let status = line.split_whitespace().nth(1).and_then(|word| word.parse().ok());
    let status = status.ok_or_else(|| io::Error::other("no HTTP answer"))?;
    let (mut length, mut close) = (None, false);
    loop {
        let line = read_line(reader)?;
        if line.is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else { continue };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse::<u64>().ok(),
            "connection" => close = value.trim().eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    let length = length.ok_or_else(|| io::Error::other("an answer without a length"))?;
    let mut body = String::new();
    let read = reader.take(length).read_to_string(&mut body)?;
    if read as u64 != length {
        return Err(io::Error::other("an answer was cut short"));
    }
    let release = body.split_whitespace().next().unwrap_or_default().to_owned();
    Ok(Answer { status, release, close })
}

fn read_line(reader: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    if reader.take(8 * 1024).read_line(&mut line)? == 0 {
        return Err(io::Error::other("the connection was closed without an answer"));
    }
    Ok(line.trim_end().to_owned())
}

impl Counts {
    /// Connections that saw releases in another order than they were switched in.
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
    use crate::sample::Sample;
    use std::net::TcpListener;

    #[test]
    fn every_answer_is_counted_by_release() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let sample = Arc::new(Sample::new("v7"));
        thread::spawn(move || sample.accept(&listener));
        let load = Load::start(address);
        while load.so_far().ok < 100 {
            thread::yield_now();
        }
        let counts = load.stop();
        assert_eq!((counts.failed, &counts.failures), (0, &vec![]));
        assert_eq!(counts.by_release["v7"], counts.ok);
        assert_eq!(counts.out_of_order(&["v7".into()]), 0);
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
