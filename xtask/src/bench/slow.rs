//! What slow clients cost the others: the latency of a few users at a fixed pace, without and with a
//! thousand connections of slowhttptest, which send a head or a body or read an answer byte by byte.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_setaffinity};

use super::case::SMALL;
use super::child::Child;
use super::contender::Contender;
use super::proof;
use super::report::{cell, heading, row};
use super::statistics::{Spread, quantile_of};

/// Runs while its core has nothing else to do: slow clients are somebody else's machines, and take no
/// time from those of the users.
const SLOW: &str = "slowhttptest";
const CONNECTIONS: u64 = 1_000;
/// So many are enough to measure: some are refused or done by then.
const ENOUGH: u64 = 900;
const ROUNDS: usize = 3;
/// How long the users are timed, without and with the slow ones.
const TIMED: Duration = Duration::from_secs(3);
const USERS: usize = 4;
/// Between two requests of a user.
const PACE: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(50);
/// Longer than one round takes; it is ended before.
const LASTS: &str = "20";

const WAYS: [(&str, &str); 3] = [
    ("slow heads", "-H -i 3 -x 24 -u http://{address}/small"),
    ("slow bodies", "-B -i 3 -s 8192 -x 10 -u http://{address}/post"),
    ("slow readers", "-X -w 1 -y 2 -n 3 -z 1 -u http://{address}/1m"),
];

/// Measures all ways to be slow, and writes the table.
pub(super) fn table(segue: &Contender, (core, folder): (usize, &Path)) -> Result<String, String> {
    let mut out = format!(
        "### p99 of other users with {CONNECTIONS} slow clients ÷ without\n\nUsers of `segue proxy` \
         at a fixed pace; the clients are slowhttptest's.\n\n"
    );
    out += &heading("clients", &["p99"]);
    for (what, words) in WAYS {
        let mut ratios = Vec::new();
        for round in 0..ROUNDS {
            let before = p99(segue.address, core)?;
            let words = words.replace("{address}", &segue.address.to_string());
            let count = CONNECTIONS.to_string();
            let fixed = ["--idle", "0", SLOW, "-c", &count, "-r", &count, "-l", LASTS];
            let args = fixed.into_iter().chain(words.split_whitespace());
            let slow = Child::start((SLOW, core), "chrt", args, folder)?;
            wait(segue, |open| open >= ENOUGH).map_err(|why| format!("{what}: {why}"))?;
            let with = p99(segue.address, core)?;
            drop(slow);
            wait(segue, |open| open < ENOUGH / 10).map_err(|why| format!("{what}: {why}"))?;
            println!("{what}, round {}: p99 {before:.0} µs without, {with:.0} µs with", round + 1);
            ratios.push(with / before);
        }
        out += &row(what, &[cell(Spread::of(&ratios))]);
    }
    Ok(out)
}

/// Waits until the number of our connections is as wanted.
fn wait(segue: &Contender, wanted: impl Fn(u64) -> bool) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let open = proof::connections(segue)?;
        if wanted(open) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("after {PATIENCE:?} there are {open} connections"));
        }
        thread::sleep(STEP);
    }
}

/// The 99th percentile of the users' latencies, in microseconds.
fn p99(address: SocketAddr, core: usize) -> Result<f64, String> {
    let users: Vec<_> = (0..USERS).map(|_| thread::spawn(move || user(address, core))).collect();
    let mut all = Vec::new();
    for user in users {
        let timed = user.join().map_err(|_| "a user's thread ended in a panic".to_owned())?;
        all.extend(timed.map_err(|error| format!("a user was not served: {error}"))?);
    }
    quantile_of(&all, 0.99).ok_or_else(|| "no user was served".to_owned())
}

fn user(address: SocketAddr, core: usize) -> std::io::Result<Vec<f64>> {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores)?;
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = format!("GET /small HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let (mut timed, until) = (Vec::new(), Instant::now() + TIMED);
    while Instant::now() < until {
        let start = Instant::now();
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        while !answer.ends_with(&[b'x'; SMALL]) {
            let mut part = [0; 1024];
            match stream.read(&mut part)? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                read => answer.extend_from_slice(&part[..read]),
            }
        }
        timed.push(start.elapsed().as_secs_f64() * 1e6);
        thread::sleep(PACE);
    }
    Ok(timed)
}
