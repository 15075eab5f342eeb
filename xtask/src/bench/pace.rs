//! A load client at a fixed rate. Requests are due at equal intervals regardless of answers, and their
//! latency counts from the time they were due. A slow server thus does not reduce the load (Gil Tene's
//! "coordinated omission").

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU64;
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::{CpuSet, sched_setaffinity, set_current_timer_slack};

use super::behind::host;
use super::case::SMALL;
use super::statistics::quantile_of;

/// Number of connections; wrk has this number too.
const CONNECTIONS: usize = 32;
/// Time at the beginning during which answers are not counted.
const WARM_UP: Duration = Duration::from_millis(300);
/// Maximum time for all answers after the last request was due.
const PATIENCE: Duration = Duration::from_secs(10);
/// Upper bound of the length of an answer in bytes.
const ANSWER: usize = 4096;

/// The requests and their rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) per_second: f64,
    pub(super) lasts: Duration,
    /// Number of hosts of a table to be requested in turn. Without them, the host is the contender's
    /// address.
    pub(super) hosts: u8,
}

/// Latencies in microseconds.
#[derive(Clone, Debug)]
pub(super) struct Latencies(Vec<f64>);

impl Latencies {
    /// Returns the latency that `part` of the requests did not exceed.
    pub(super) fn quantile(&self, part: f64) -> f64 {
        quantile_of(&self.0, part).unwrap_or(f64::NAN)
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

/// A kept-alive connection and the request it waits for.
#[derive(Debug)]
struct Line {
    stream: TcpStream,
    /// Time at which its request was due.
    due: Option<Instant>,
    answer: Vec<u8>,
}

/// Requests `/small` from `address`, on one thread on `core`. Fails if any answer is wrong or missing.
pub(super) fn keep(pace: Pace, address: SocketAddr, core: usize) -> Result<Latencies, String> {
    // A separate thread is used, since a core is assigned per thread.
    let timed = thread::spawn(move || {
        let mut cores = CpuSet::new();
        cores.set(core);
        sched_setaffinity(None, &cores)?;
        // By default, the kernel lets each wait take up to 50 µs longer.
        set_current_timer_slack(NonZeroU64::new(1))?;
        run(pace, address)
    });
    let timed = timed.join().map_err(|_| "the load client ended in a panic".to_owned())?;
    timed.map_err(|error| format!("at {:.0} requests per second: {error}", pace.per_second))
}

fn run(pace: Pace, address: SocketAddr) -> io::Result<Latencies> {
    let requests = requests(pace.hosts, address);
    let mut lines: Vec<Line> =
        (0..CONNECTIONS).map(|_| Line::open(address)).collect::<Result<_, _>>()?;
    let start = Instant::now();
    let due = |number: u32| start + Duration::from_secs_f64(f64::from(number) / pace.per_second);
    let (counts_from, end) = (start + WARM_UP, start + WARM_UP + pace.lasts);
    let (mut sent, mut latencies) = (0u32, Vec::new());
    loop {
        let mut now = Instant::now();
        for line in lines.iter_mut().filter(|line| line.due.is_none()) {
            if due(sent) > now || due(sent) >= end {
                break;
            }
            line.ask(&requests[sent as usize % requests.len()], due(sent))?;
            sent += 1;
        }
        let asked_all = due(sent) >= end;
        let is_free = lines.iter().any(|line| line.due.is_none());
        if asked_all && lines.iter().all(|line| line.due.is_none()) {
            return Ok(Latencies(latencies));
        }
        if now > end + PATIENCE {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "answers fail to come"));
        }
        let until = if asked_all || !is_free { end + PATIENCE } else { due(sent) };
        now = Instant::now();
        for at in readable(&lines, until.saturating_duration_since(now))? {
            if let Some((asked, answered)) = lines[at].hear()?
                && asked >= counts_from
            {
                latencies.push((answered - asked).as_secs_f64() * 1e6);
            }
        }
    }
}

/// Returns the requests, one for each host.
fn requests(hosts: u8, address: SocketAddr) -> Vec<String> {
    let request = |host: String| format!("GET /small HTTP/1.1\r\nHost: {host}\r\n\r\n");
    if hosts == 0 {
        return vec![request(address.to_string())];
    }
    (0..hosts).map(|app| request(host(app))).collect()
}

/// Returns the indices of the connections with data to read, after at most `patience`.
fn readable(lines: &[Line], patience: Duration) -> io::Result<Vec<usize>> {
    let mut waited: Vec<PollFd<'_>> = lines
        .iter()
        .map(|line| PollFd::from_borrowed_fd(line.stream.as_fd(), PollFlags::IN))
        .collect();
    let timeout = Timespec::try_from(patience).map_err(io::Error::other)?;
    poll(&mut waited, Some(&timeout))?;
    let ready = waited.iter().enumerate().filter(|(_, one)| !one.revents().is_empty());
    Ok(ready.map(|(at, _)| at).collect())
}

impl Line {
    fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, due: None, answer: Vec::new() })
    }

    fn ask(&mut self, request: &str, due: Instant) -> io::Result<()> {
        self.stream.write_all(request.as_bytes())?;
        self.due = Some(due);
        Ok(())
    }

    /// Reads available data. At the end of an answer, returns when its request was due and when the answer
    /// was complete.
    fn hear(&mut self) -> io::Result<Option<(Instant, Instant)>> {
        let mut part = [0; ANSWER];
        match self.stream.read(&mut part) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => self.answer.extend_from_slice(&part[..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
        if !self.answer.ends_with(&[b'x'; SMALL]) {
            if self.answer.len() > ANSWER {
                return Err(io::Error::other("an answer is too long"));
            }
            return Ok(None);
        }
        let is_good = self.answer.starts_with(b"HTTP/1.1 200 ");
        self.answer.clear();
        match self.due.take() {
            Some(due) if is_good => Ok(Some((due, Instant::now()))),
            Some(_) => Err(io::Error::other("an answer other than 200")),
            None => Err(io::Error::other("an answer that nobody asked for")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Starts a server that answers each request at once, except the one with this number, which it delays.
    fn server(late: usize, by: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let streams: Vec<_> =
                listener.incoming().take(CONNECTIONS).map(Result::unwrap).collect();
            let answer = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(SMALL));
            for stream in &streams {
                stream.set_nonblocking(true).unwrap();
            }
            let mut number = 0;
            loop {
                for mut stream in &streams {
                    match stream.read(&mut [0; 1024]) {
                        Ok(0) => return,
                        Ok(_) => {}
                        Err(_) => continue,
                    }
                    number += 1;
                    if number == late {
                        let start = Instant::now();
                        while start.elapsed() < by {
                            thread::park_timeout(by);
                        }
                    }
                    stream.write_all(answer.as_bytes()).unwrap();
                }
                thread::yield_now();
            }
        });
        address
    }

    #[test]
    fn a_pause_is_counted_for_all_that_were_due_in_it() {
        let pause = Duration::from_millis(500);
        let address = server(200, pause);
        let lasts = Duration::from_secs(2);
        let pace = Pace { per_second: 500.0, lasts, hosts: 0 };
        let latencies = run(pace, address).unwrap();
        // All requests due within the second were sent, including those delayed by the pause.
        assert!((999..=1001).contains(&latencies.count()), "{}", latencies.count());
        // 250 requests were due during the pause. A client that waits for answers before it sends more would
        // have seen 32 slow ones.
        let slow = latencies.0.iter().filter(|micros| **micros > 50_000.0).count();
        assert!(slow >= 220, "{slow} were slow");
        assert!(latencies.quantile(1.0) >= 499_000.0);
    }

    #[test]
    fn an_answer_that_breaks_off_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().take(CONNECTIONS) {
                let mut stream = stream.unwrap();
                let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nxxx");
            }
        });
        let pace = Pace { per_second: 100.0, lasts: Duration::from_secs(1), hosts: 0 };
        assert!(run(pace, address).is_err());
    }
}
