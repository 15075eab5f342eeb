//! Somebody else at the port of an instance: no user is ever sent there.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::app;
use crate::load::ask;
use crate::world::{World, signal};

/// Answers everything with 200, and counts what asks for `/`.
fn stranger(address: &str) -> Arc<AtomicUsize> {
    let address: SocketAddr = address.parse().unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    let listener = loop {
        match TcpListener::bind(address) {
            Ok(listener) => break listener,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
        // it waits: for the kernel to close what a killed process had open
        std::thread::sleep(Duration::from_millis(5));
    };
    let users = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&users);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap_or(0);
            if request[..length].starts_with(b"GET / ") {
                count.fetch_add(1, Ordering::Relaxed);
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nstolen\n");
        }
    });
    users
}

fn addresses(status: &Value, arm: &str) -> Vec<String> {
    let instances = status[arm]["instances"].as_array().cloned().unwrap_or_default();
    instances.iter().filter_map(|i| Some(i["address"].as_str()?.to_owned())).collect()
}

#[test]
fn after_a_restart_nobody_is_sent_to_whoever_has_the_old_ports() {
    let mut world = World::with(&app::watch("0s"), &[]);
    assert_eq!(world.deploy("v1", "good").code, Some(0));
    let before = world.at_rest();
    world.kill_server();
    world.processes().into_iter().for_each(|pid| signal(pid, Signal::KILL));
    let strangers: Vec<_> =
        addresses(&before, "live").iter().map(|address| stranger(address)).collect();
    world.serve(&[]);
    // Held until there is an instance again, or refused: never answered by somebody else.
    let answered = (0..10).any(|_| ask(&mut None, world.http, "/") == Ok("v1".to_owned()));
    assert!(answered, "it never comes back");
    world.at_rest();
    for users in strangers {
        assert_eq!(users.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn a_server_that_starts_again_waits_for_nobody_where_the_sockets_are_the_same() {
    let mut world = World::with(&app::watch("0s"), &[]);
    assert_eq!(world.deploy("v1", "good").code, Some(0));
    world.at_rest();
    let saved = std::fs::read_to_string(world.data().join("snapshot")).unwrap();
    assert!(saved.contains("\"listeners\":{\"own\":["), "{saved}");
    world.kill_server();
    // Without a journal there is no control, and nobody who could look into anything.
    let journal = world.data().join("journal.db");
    std::fs::rename(&journal, world.data().join("aside.db")).unwrap();
    world.serve(&[]);
    assert_eq!(ask(&mut None, world.http, "/"), Ok("v1".to_owned()));
    world.kill_server();
    std::fs::rename(world.data().join("aside.db"), &journal).unwrap();
    world.serve(&[]);
    world.at_rest();
}
