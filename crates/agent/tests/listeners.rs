//! Whose sockets are at an instance's address: real ones, of real processes.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail by panicking, and waits for one of many reports"
)]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use common::{Host, launch, listens_at, serving};
use model::{Address, Expect, Health, HostReport, Launch, ListenerRule, Listeners, Target};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

const APP: &str = env!("CARGO_BIN_EXE_agent-shim-for-tests");

/// An instance that listens while there is no file with this name.
fn app(host: &Host, id: &str) -> (Launch, PathBuf) {
    let closed = host.data().join("closed");
    let mut launch = launch(id, host.free_port(), &[APP, "__serve", closed.to_str().unwrap()]);
    serving(&mut launch).health.timeout = model::Millis(500);
    (launch, closed)
}

fn address(launch: &Launch) -> SocketAddr {
    let Address::Tcp(address) = listens_at(launch) else { panic!("a unix socket") };
    address
}

/// Somebody else: this test. Answers every request with 200 while it lives.
struct Stranger;

impl Stranger {
    fn listen(address: SocketAddr) -> Self {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
        sockopt::set_socket_reuseport(&socket, true).unwrap();
        bind(&socket, &address).unwrap();
        listen(&socket, 128).unwrap();
        let listener = TcpListener::from(socket);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut request = [0; 4096];
                let length = stream.read(&mut request).unwrap_or(0);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
                if request[..length].starts_with(b"LEAVE") {
                    break;
                }
            }
        });
        Self
    }
}

/// The next health report with this health: its note, and who listens.
fn told(host: &Host, wanted: Health) -> (Option<String>, Listeners) {
    host.wait(&format!("{wanted:?}"), |report| match report {
        HostReport::Health { health, note, listeners, .. } if *health == wanted => {
            Some((note.clone(), listeners.clone()))
        }
        _ => None,
    })
}

#[test]
fn an_instance_that_listens_itself_is_up_and_its_socket_is_noted() {
    let host = Host::new();
    let (launch, _) = app(&host, "web-1");
    host.run(&launch, Expect::Fresh);
    let (note, listeners) = told(&host, Health::Up);
    assert!(matches!(&listeners, Listeners::Own(inodes) if inodes.len() == 1), "{listeners:?}");
    assert_eq!(note, None);
}

#[test]
fn it_may_be_a_process_far_down_in_its_tree_that_listens() {
    let host = Host::new();
    let (mut launch, closed) = app(&host, "web-1");
    // The first shell ends its child's parent: the shim becomes the parent of what listens.
    let script = format!("(setsid {APP} __serve {} &) & exec sleep 1000", closed.display());
    launch.run.command = ["sh", "-c", &script].map(str::to_owned).into();
    host.run(&launch, Expect::Fresh);
    let (_, listeners) = told(&host, Health::Up);
    assert!(matches!(&listeners, Listeners::Own(inodes) if inodes.len() == 1), "{listeners:?}");
}

#[test]
fn one_that_listens_at_another_port_than_it_was_given_is_told_where() {
    let host = Host::new();
    let (mut launch, closed) = app(&host, "web-1");
    let given = address(&launch);
    let own = host.free_port();
    let script = format!("PORT={own} exec {APP} __serve {}", closed.display());
    launch.run.command = ["sh", "-c", &script].map(str::to_owned).into();
    host.run(&launch, Expect::Fresh);
    let told = format!(
        "connection refused; it listens at 127.0.0.1:{own} and not at {given}, which HOST and PORT name"
    );
    host.wait(&told, |report| match report {
        HostReport::Health { note: Some(note), .. } if *note == told => Some(()),
        _ => None,
    });
}

#[test]
fn somebody_else_at_the_address_is_named_and_never_called_up() {
    let host = Host::new();
    let launch = host.shell("web-1", "exec sleep 1000");
    host.run(&launch, Expect::Fresh);
    host.health(&launch.id, Health::Unknown);
    let _stranger = Stranger::listen(address(&launch));
    let (note, listeners) = told(&host, Health::Down);
    assert_eq!(listeners, Listeners::Foreign);
    let note = note.unwrap();
    let (port, pid) = (address(&launch).port(), std::process::id());
    assert!(note.starts_with(&format!("port {port} is held by ")), "{note}");
    assert!(note.contains(&format!("(pid {pid}, user ")), "{note}");
    assert!(note.contains("set `listener = \"any\"` in [run]"), "{note}");
    let told = host.told_by_now();
    let up = |report: &HostReport| matches!(report, HostReport::Health { health: Health::Up, .. });
    assert!(!told.iter().any(up), "{told:?}");
}

#[test]
fn whoever_takes_the_port_of_one_that_serves_is_noticed_and_so_is_its_return() {
    let host = Host::new();
    let (launch, closed) = app(&host, "web-1");
    host.run(&launch, Expect::Fresh);
    let (_, first) = told(&host, Health::Up);
    std::fs::write(&closed, "").unwrap();
    common::until("it listens no more", || std::net::TcpStream::connect(address(&launch)).is_err());
    let _stranger = Stranger::listen(address(&launch));
    assert_eq!(told(&host, Health::Down).1, Listeners::Foreign);
    let mut leave = std::net::TcpStream::connect(address(&launch)).unwrap();
    leave.write_all(b"LEAVE").unwrap();
    std::fs::remove_file(&closed).unwrap();
    let (_, again) = told(&host, Health::Up);
    assert!(matches!(&again, Listeners::Own(inodes) if inodes.len() == 1), "{again:?}");
    assert_ne!(again, first, "it is another socket");
}

#[test]
fn a_second_socket_beside_its_own_is_one_too_many() {
    let host = Host::new();
    let (launch, _) = app(&host, "web-1");
    host.run(&launch, Expect::Fresh);
    told(&host, Health::Up);
    let _stranger = Stranger::listen(address(&launch));
    let (note, listeners) = told(&host, Health::Down);
    assert_eq!(listeners, Listeners::Foreign);
    assert!(note.unwrap().contains(&format!("(pid {}, ", std::process::id())));
}

#[test]
fn where_anybody_may_listen_nobody_is_asked() {
    let host = Host::new();
    let mut launch = host.shell("web-1", "exec sleep 1000");
    launch.run.listener = ListenerRule::Any;
    host.run(&launch, Expect::Fresh);
    host.health(&launch.id, Health::Unknown);
    let _stranger = Stranger::listen(address(&launch));
    assert_eq!(told(&host, Health::Up), (None, Listeners::Any));
}

#[test]
fn a_saved_table_is_compared_before_anybody_is_sent_there() {
    let mut host = Host::new();
    let (launch, closed) = app(&host, "web-1");
    host.run(&launch, Expect::Fresh);
    let (_, listeners) = told(&host, Health::Up);
    // The server is away from here on.
    host.agent = None;
    let target = |listeners: &Listeners| Target {
        listeners: listeners.clone(),
        ..Target::new(launch.id.clone(), listens_at(&launch))
    };
    let strange = |listeners: &Listeners| -> Vec<String> {
        let found = agent::foreign_listeners(&host.data(), [&target(listeners)]);
        found.into_iter().map(|(_, why)| why).collect()
    };
    assert_eq!(strange(&listeners), [""; 0], "the sockets are those of the table");
    let other = Listeners::Own(vec![1]);
    assert_eq!(strange(&other), [""; 0], "another socket, but its own");
    std::fs::write(&closed, "").unwrap();
    common::until("it listens no more", || std::net::TcpStream::connect(address(&launch)).is_err());
    assert!(strange(&listeners)[0].starts_with("nobody listens at "));
    let _stranger = Stranger::listen(address(&launch));
    assert!(strange(&listeners)[0].contains(" is held by "));
    assert_eq!(strange(&Listeners::Any), [""; 0]);
    assert_eq!(strange(&Listeners::Unknown), [""; 0], "saved by a segue that did not look");
    host.restart();
}
