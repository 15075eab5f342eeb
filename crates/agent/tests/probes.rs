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

use common::{Host, listens_at, serving, until};
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
    serving(&mut launch).health.timeout = Millis(300);
    // The port is taken once the shim has been started: the server belongs to the test.
    host.run(&launch, Expect::Fresh);
    let note = host.health(&launch.id, Health::Unknown);
    assert_eq!(note.as_deref(), Some("connection refused"));
    let model::Address::Tcp(address) = listens_at(&launch) else { unreachable!() };
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
    let unanswered = || {
        host.wait("unanswered", |report| match report {
            HostReport::Health { unanswered: true, health, note, .. } => {
                Some((*health, note.clone()))
            }
            _ => None,
        })
    };
    let note = "GET /up got no answer within 300ms".to_owned();
    assert_eq!(unanswered(), (Health::Up, Some(note)), "control decides what it means");
    // A repeated command is answered with what is known.
    host.run(&launch, Expect::Fresh);
    host.running(&launch.id);
    unanswered();
}

#[test]
fn a_deploy_does_not_wait_for_the_interval() {
    let host = Host::new();
    let mut launch = listened_for(&host);
    serving(&mut launch).health.interval = Millis(60_000);
    serving(&mut launch).health.rise = 5;
    host.run(&launch, Expect::Fresh);
    host.health(&launch.id, Health::Unknown);
    let model::Address::Tcp(address) = listens_at(&launch) else { unreachable!() };
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
    serving(&mut launch).health.interval = Millis(10);
    host.run(&launch, Expect::Fresh);
    host.running(&launch.id);
    let model::Address::Tcp(address) = listens_at(&launch) else { unreachable!() };
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

/// An instance that is probed by a shell script.
fn scripted(host: &Host, script: &str) -> Launch {
    let mut launch = host.shell("web-1", "exec sleep 1000");
    serving(&mut launch).health.command = Some(["sh", "-c", script].map(str::to_owned).into());
    serving(&mut launch).health.interval = Millis(20);
    launch
}

#[test]
fn a_command_that_exits_with_0_makes_it_up_and_its_last_words_are_told_otherwise() {
    let host = Host::new();
    let well = host.data().join("well");
    let script = "echo checking; test -e \"$0\" || { echo no database >&2; exit 3; }; \
                  test \"$SEGUE_INSTANCE$PORT\" = web-1$1";
    let mut launch = scripted(&host, script);
    let model::Address::Tcp(address) = listens_at(&launch) else { unreachable!() };
    let arguments = [well.display().to_string(), address.port().to_string()];
    serving(&mut launch).health.command.as_mut().unwrap().extend(arguments);
    host.run(&launch, Expect::Fresh);
    let note = host.health(&launch.id, Health::Down).unwrap();
    assert_eq!(note, "`sh` exited with code 3: no database");
    std::fs::write(&well, "").unwrap();
    host.health(&launch.id, Health::Up);
}

#[test]
fn a_command_that_takes_too_long_is_ended_with_its_tree_and_runs_alone() {
    let host = Host::new();
    let log = host.data().join("log");
    // Each leaves a child of its own session behind; none may live on beside the next.
    let script = "test -e \"$0.child\" && kill -0 $(cat \"$0.child\") && echo two >> \"$0\"; \
                  setsid sh -c 'echo $$ > \"$0.child\"; echo run >> \"$0\"; sleep 1000' \"$0\" & \
                  sleep 1000";
    let mut launch = scripted(&host, script);
    serving(&mut launch).health.command.as_mut().unwrap().push(log.display().to_string());
    serving(&mut launch).health.timeout = Millis(200);
    host.run(&launch, Expect::Fresh);
    let unanswered = host.wait("unanswered", |report| match report {
        HostReport::Health { unanswered: true, health, note, .. } => Some((*health, note.clone())),
        _ => None,
    });
    let note = "`sh` did not end within 200ms".to_owned();
    assert_eq!(unanswered, (Health::Unknown, Some(note)), "control decides what it means");
    let lines = || std::fs::read_to_string(&log).unwrap_or_default();
    until("it is run again and again", || lines().matches("run").count() >= 4);
    assert!(!lines().contains("two"), "{}", lines());
}

#[test]
fn a_command_of_an_agent_that_is_gone_is_ended() {
    let mut host = Host::new();
    let log = host.data().join("log");
    let mut launch = scripted(&host, "echo $$ >> \"$0\"; exec sleep 1000");
    serving(&mut launch).health.command.as_mut().unwrap().push(log.display().to_string());
    serving(&mut launch).health.timeout = Millis(600_000);
    host.run(&launch, Expect::Fresh);
    let pid: u32 = common::line_in(&log).parse().unwrap();
    assert!(common::lives(pid));
    host.agent = None;
    until("it has ended", || !common::lives(pid));
    host.restart();
}

#[test]
fn a_probe_that_gets_no_answer_or_no_connection_says_so_and_leaves_the_health_to_control() {
    let host = Host::new();
    let mut launch = listened_for(&host);
    serving(&mut launch).health.timeout = Millis(200);
    host.run(&launch, Expect::Fresh);
    host.health(&launch.id, Health::Unknown);
    let model::Address::Tcp(address) = listens_at(&launch) else { unreachable!() };
    // A queue of one connection, which nobody takes out.
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::STREAM,
        None,
    )
    .unwrap();
    rustix::net::bind(&socket, &address).unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let silent = |words: &str| {
        host.wait(words, |report| match report {
            HostReport::Health { health: Health::Unknown, unanswered: true, note, .. } => {
                note.as_ref().filter(|note| note.contains(words)).cloned()
            }
            _ => None,
        })
    };
    silent("its queue of new connections is full");
}

#[test]
fn probes_go_to_a_port_of_their_own_where_only_the_instance_may_listen() {
    let host = Host::new();
    let (closed, mut launch) = (host.data().join("closed"), host.shell("web-1", ""));
    let app = env!("CARGO_BIN_EXE_agent-shim-for-tests");
    // One process serves users, another answers probes.
    let script =
        format!("{app} __serve {0} & PORT=$HEALTH_PORT exec {app} __serve {0}", closed.display());
    launch.run.command = ["sh", "-c", &script].map(str::to_owned).into();
    let port = host.free_port();
    serving(&mut launch).health_address = Some(model::Address::Tcp(([127, 0, 0, 1], port).into()));
    host.run(&launch, Expect::Fresh);
    host.health(&launch.id, Health::Up);
    std::fs::write(&closed, "").unwrap();
    until("nobody listens", || TcpStream::connect(("127.0.0.1", port)).is_err());
    let _stranger = Server::listen(port);
    let note = host.health(&launch.id, Health::Down).unwrap();
    assert!(note.starts_with(&format!("port {port} is held by ")), "{note}");
}

#[test]
fn a_command_runs_in_the_control_group_of_its_instance_and_ends_with_it() {
    let host = Host::new();
    let log = host.data().join("log");
    let script = "echo $$ >> \"$0\"; exec sleep 1000";
    let mut launch = scripted(&host, script);
    serving(&mut launch).health.command.as_mut().unwrap().push(log.display().to_string());
    serving(&mut launch).health.timeout = Millis(600_000);
    host.run(&launch, Expect::Fresh);
    let main = host.running(&launch.id);
    let pid: u32 = common::line_in(&log).parse().unwrap();
    let group = |pid: u32| {
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        groups.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
    };
    assert_eq!(group(main), group(pid));
    let record = std::fs::read_to_string(host.run_folder(&launch.id).join("process.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    // The app goes by itself: nothing but its group leads from it to its probe.
    common::kill(main);
    host.exited(&launch.id);
    if let Some(made) = record["cgroup"].as_str() {
        assert!(!common::lives(pid), "the kernel ends what is left in the group");
        assert!(!std::path::Path::new(made).exists(), "the group is gone");
    }
}
