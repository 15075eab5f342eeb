//! Servers that close idle connections in the very moment in which one is used again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use model::{AppSection, InstanceId, Snapshot};

use crate::common::origins::{Maker, Origin};
use crate::common::{Client, World, one};

/// Each has an app of its own, and so a connection to the server that nobody else makes younger.
fn apps(count: usize, at: SocketAddr) -> Snapshot {
    let mut snapshot = one(1, 1, at);
    let first = snapshot.apps.remove(0);
    let app = |number: usize| {
        let mut section: AppSection = first.clone();
        section.app = format!("app{number}").parse().unwrap();
        section.route.hosts = vec![host(number)];
        let target = &mut section.arms[0].instances[0];
        target.id = InstanceId { app: section.app.clone(), number: 1 };
        section
    };
    snapshot.apps = (0..count).map(app).collect();
    snapshot
}

fn host(number: usize) -> String {
    format!("app{number}.test")
}

/// A client that lets its connection, and so the proxy's, grow so old between two requests.
fn sends(to: SocketAddr, host: &str, method: &str, age_ms: u64, rounds: usize) -> Vec<u16> {
    let mut client = Client::connect(to);
    let mut answered = || {
        client.send(format!("{method} / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1\r\n\r\nx"));
        client.receive().status
    };
    let mut all = vec![answered()];
    for _ in 0..rounds {
        // it waits: the age of the connection is what is tried
        std::thread::sleep(Duration::from_millis(age_ms));
        all.push(answered());
    }
    all
}

/// Around the moments at which the server closes or the proxy changes its mind, one client with GETs
/// and one with POSTs for every two milliseconds.
fn loses_nothing(origin: &Origin, moments_ms: &[u64], rounds: usize) {
    let ages = moments_ms.iter().flat_map(|at| (at - 8..at + 22).step_by(2));
    let clients: Vec<_> = ages.flat_map(|age| [("GET", age), ("POST", age)]).collect();
    let world = World::new(&apps(clients.len(), origin.at));
    let to = world.at;
    let lost: BTreeMap<_, _> = std::thread::scope(|scope| {
        let client = |(number, (method, age)): (usize, (&'static str, u64))| {
            let run = move || sends(to, &host(number), method, age, rounds);
            ((method, age), scope.spawn(run))
        };
        let clients: Vec<_> = clients.iter().copied().enumerate().map(client).collect();
        let all = clients.into_iter().map(|(who, client)| (who, client.join().expect("no panic")));
        all.filter(|(_, answers)| answers.iter().any(|status| *status != 200)).collect()
    });
    assert!(lost.is_empty(), "{lost:?}");
}

// Node computes half of the time: a request that comes meanwhile, to a connection whose time is over
// meanwhile, is never read, because its timers go first. (The time that it computes is none that a
// whole number of makes the time it keeps connections, or the two would never meet.)

#[test]
fn node_closes_after_five_seconds_and_loses_nothing() {
    let origin = Origin::set(Maker::Node, &[("BUSY_MS", "23")]);
    loses_nothing(&origin, &[1_000, 4_000, 5_000], 2);
}

/// The server says `timeout=2`; so a connection is kept for one.
#[test]
fn node_closes_after_two_seconds_and_loses_nothing() {
    let origin = Origin::set(Maker::Node, &[("BUSY_MS", "23"), ("KEEP_ALIVE_MS", "2000")]);
    loses_nothing(&origin, &[1_000, 2_000], 4);
}

/// The server says `timeout=0`, by which no connection can be kept.
#[test]
fn node_closes_after_a_fifth_of_a_second_and_loses_nothing() {
    let origin = Origin::set(Maker::Node, &[("BUSY_MS", "23"), ("KEEP_ALIVE_MS", "200")]);
    loses_nothing(&origin, &[200], 20);
}

/// Two seconds by default, and it does not say so.
#[test]
fn gunicorn_closes_after_two_seconds_and_loses_nothing() {
    loses_nothing(&Origin::start(Maker::Gunicorn), &[1_000, 1_500, 2_000, 3_000], 3);
}
