//! The effect of slow clients on other clients: the latency of a few users at a fixed rate, without and with
//! a thousand connections of slowhttptest. These send a head or a body, or read an answer, byte by byte.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_setaffinity};

use super::case::SMALL;
use super::child::Child;
use super::contender::{COMPARED, Contender, Who, compared, in_turn};
use super::proof;
use super::report::{cell, heading, row};
use super::statistics::{Spread, quantile_of};

/// Runs only while its core is idle. Slow clients stand for other machines, and must take no time from the
/// users.
const SLOW: &str = "slowhttptest";
const CONNECTIONS: usize = 1_000;
/// Number of slow connections that is enough to measure, since some are refused or done by then.
const ENOUGH: usize = 900;
const ROUNDS: usize = 5;
/// Duration of the measurement of users, without and with slow clients.
const TIMED: Duration = Duration::from_secs(2);
const USERS: usize = 4;
/// Time between two requests of a user.
const PACE: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(50);
/// Duration of slowhttptest in seconds, longer than one round. It is ended before.
const LASTS: &str = "20";

const WAYS: [(&str, &str); 3] = [
    ("slow heads", "-H -i 3 -x 24 -u http://{address}/small"),
    ("slow bodies", "-B -i 3 -s 8192 -x 10 -u http://{address}/post"),
    ("slow readers", "-X -w 1 -y 2 -n 3 -z 1 -u http://{address}/1m"),
];

/// Measures all kinds of slow clients, and returns the table.
pub(super) fn table(
    contenders: &[Contender],
    (core, folder): (usize, &Path),
) -> Result<String, String> {
    let compared = compared(contenders);
    let mut out = format!(
        "### p99 of other users with {CONNECTIONS} slow clients ÷ without\n\nEach proxy compared \
         with itself: users at a fixed pace, while slowhttptest's clients are there and before.\n\n"
    );
    out += &heading("clients", &COMPARED.map(Who::name));
    for (what, words) in WAYS {
        let mut ratios = COMPARED.map(|_| Vec::new());
        for round in 0..ROUNDS {
            for at in in_turn(compared.len(), round) {
                let (contender, who) = (compared[at], compared[at].who.name());
                let [before, with] = one(contender, words, (core, folder))
                    .map_err(|why| format!("{what}: {who}: {why}"))?;
                println!("{what}, round {}: {who} p99 {before:.0} → {with:.0} µs", round + 1);
                ratios[at].push(with / before);
            }
        }
        out += &row(what, &ratios.map(|ratios| cell(Spread::of(&ratios))));
    }
    Ok(out)
}

/// Returns the users' p99 without and with slow clients of this kind.
fn one(
    contender: &Contender,
    words: &str,
    (core, folder): (usize, &Path),
) -> Result<[f64; 2], String> {
    let before = p99(contender.address, core)?;
    let words = words.replace("{address}", &contender.address.to_string());
    let count = CONNECTIONS.to_string();
    let fixed = ["--idle", "0", SLOW, "-c", &count, "-r", &count, "-l", LASTS];
    let args = fixed.into_iter().chain(words.split_whitespace());
    let slow = Child::start((SLOW, core), "chrt", args, folder)?;
    wait(contender, |open| open >= ENOUGH)?;
    let with = p99(contender.address, core)?;
    drop(slow);
    wait(contender, |open| open < ENOUGH / 10)?;
    Ok([before, with])
}

/// Waits until the number of connections meets the condition.
fn wait(contender: &Contender, wanted: impl Fn(usize) -> bool) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let open = proof::connections(contender)?;
        if wanted(open) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("after {PATIENCE:?} there are {open} connections"));
        }
        thread::sleep(STEP);
    }
}

/// Returns the 99th percentile of the users' latencies, in microseconds.
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
