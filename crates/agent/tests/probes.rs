//! Probes of a real server whose answers the test decides.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail by panicking, and waits for one of many reports"
)]

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{Host, until};
use model::{Expect, Health, HostReport, Launch, ListenerRule, Millis};

/// Answers every request with the same status until told otherwise; 0 is silence.
struct Server {
    status: Arc<AtomicU16>,
    asked: Arc<AtomicUsize>,
    request: Arc<Mutex<String>>,
}

impl Server {
    fn listen(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let server = Self {
            status: Arc::new(AtomicU16::new(200)),
            asked: Arc::default(),
            request: Arc::default(),
        };
        let (status, asked) = (Arc::clone(&server.status), Arc::clone(&server.asked));
        let request = Arc::clone(&server.request);
        std::thread::spawn(move || {
            let mut silent: Vec<TcpStream> = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut bytes = [0; 4096];
                let length = stream.read(&mut bytes).unwrap_or(0);
                *request.lock().unwrap() = String::from_utf8_lossy(&bytes[..length]).into_owned();
                asked.fetch_add(1, Ordering::Relaxed);
                match status.load(Ordering::Relaxed) {
                    0 => silent.push(stream),
                    status => drop(write!(stream, "HTTP/1.1 {status} X\r\n\r\n")),
                }
            }
        });
        server
    }

    fn answer(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }
}

/// An instance for which the test itself listens.
fn listened_for(host: &Host) -> Launch {
    let mut launch = host.shell("web-1", "exec sleep 1000");
    launch.run.listener = ListenerRule::Any;
    launch
}

#[test]
fn health_follows_the_answers() {
    let host = Host::new();
    let mut launch = listened_for(&host);
    launch.health.timeout = Millis(300);
    // The port is taken once the shim has been started: the server belongs to the test.
    host.run(&launch, Expect::Fresh);
    let note = host.health(&launch.id, Health::Unknown);
    assert_eq!(note.as_deref(), Some("connection refused"));
    let model::Address::Tcp(address) = launch.address else { unreachable!() };
    let server = Server::listen(address.port());
    host.health(&launch.id, Health::Up);
    let request = server.request.lock().unwrap().clone();
    assert!(request.starts_with("GET /up HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("\r\nHost: {address}\r\nUser-Agent: segue-probe\r\n")));
    server.answer(503);
    assert_eq!(host.health(&launch.id, Health::Down).unwrap(), "GET /up answered 503");
    server.answer(204);
    host.health(&launch.id, Health::Up);
    server.answer(0);
    assert_eq!(
        host.health(&launch.id, Health::Down).unwrap(),
        "GET /up got no answer within 300ms"
    );
    // A repeated command is answered with what is known.
    host.run(&launch, Expect::Fresh);
    host.running(&launch.id);
    host.health(&launch.id, Health::Down);
}

#[test]
fn a_deploy_does_not_wait_for_the_interval() {
    let host = Host::new();
    let mut launch = listened_for(&host);
    launch.health.interval = Millis(60_000);
    launch.health.rise = 5;
    host.run(&launch, Expect::Fresh);
    host.health(&launch.id, Health::Unknown);
    let model::Address::Tcp(address) = launch.address else { unreachable!() };
    let begun = Instant::now();
    let server = Server::listen(address.port());
    host.health(&launch.id, Health::Up);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(server.asked.load(Ordering::Relaxed), 5, "and not probed more than it has to be");
}

#[test]
fn nothing_is_said_of_an_instance_after_its_end() {
    let host = Host::new();
    let mut launch = listened_for(&host);
    launch.health.interval = Millis(10);
    host.run(&launch, Expect::Fresh);
    host.running(&launch.id);
    let model::Address::Tcp(address) = launch.address else { unreachable!() };
    let server = Server::listen(address.port());
    host.health(&launch.id, Health::Up);
    host.stop(&launch.id, 0);
    let (_, address_in_use, _) = host.exited(&launch.id);
    assert!(address_in_use, "the test's server has it");
    let asked = server.asked.load(Ordering::Relaxed);
    server.answer(500);
    for _ in 0..20 {
        let told = host.told_by_now();
        assert!(!told.iter().any(|report| matches!(report, HostReport::Health { .. })), "{told:?}");
    }
    until("the last probe", || server.asked.load(Ordering::Relaxed) <= asked + 1);
}
