//! Connections that have been idle for a while rest without a task: nobody outside can tell.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use model::Millis;
use proxy::{Config, Limits};

use crate::common::*;

fn eventually_at_rest(world: &World, count: u64) {
    let resting = || world.sample("segue_resting_connections");
    eventually("they rest", || (resting() == count).then_some(()));
}

/// A client that has been served and is at rest by now.
fn resting(world: &World) -> Client {
    let mut client = world.client();
    assert_eq!(client.get("/").status, 200);
    eventually_at_rest(world, 1);
    client
}

#[test]
fn whoever_asks_after_a_rest_is_served_as_before() {
    let seen = answering(|seen| {
        let told = ["X-Forwarded-For", "X-Forwarded-Port"].map(|name| field(&seen.head, name));
        let told = told.map(Option::unwrap_or_default).join(" ");
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{told}", told.len())
    });
    let world = World::new(&one(1, 1, seen));
    let mut client = resting(&world);
    let told = format!("127.0.0.1 {}", world.at.port());
    for _ in 0..2 {
        // A head that comes in two parts ends the rest with the first.
        client.send("GET / HTTP/1.1\r\nHo");
        eventually_at_rest(&world, 0);
        client.send("st: a\r\n\r\n");
        assert_eq!(client.receive().text(), told);
        eventually_at_rest(&world, 1);
    }
    assert_eq!(client.get("/").text(), told);
    assert_eq!(world.sample("segue_connections"), 1);
    assert_eq!(world.counted(4).requests, 4);
}

#[test]
fn many_that_rest_are_all_served_again() {
    let world = World::new(&one(1, 1, saying("ok")));
    // More than are called in one turn, some of which have never asked.
    let mut clients: Vec<_> = (0..200).map(|_| world.client()).collect();
    for client in clients.iter_mut().skip(100) {
        assert_eq!(client.get("/").text(), "ok");
    }
    eventually_at_rest(&world, clients.len() as u64);
    clients.iter_mut().for_each(|client| client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    clients.iter_mut().for_each(|client| assert_eq!(client.receive().text(), "ok"));
    assert_eq!(world.sample("segue_connections"), clients.len() as u64);
}

#[test]
fn who_leaves_from_its_rest_is_counted_off() {
    let world = World::new(&one(1, 1, saying("ok")));
    drop(resting(&world));
    eventually("it is gone", || (world.sample("segue_connections") == 0).then_some(()));
    resting(&world).reset();
    eventually("it is gone", || (world.sample("segue_connections") == 0).then_some(()));
    assert_eq!(world.sample("segue_resting_connections"), 0);
}

#[test]
fn those_at_rest_make_room() {
    let mut config = config();
    config.workers = 1;
    config.limits = Limits { connections: 10, ..Limits::default() };
    let world = World::of(&one(1, 1, saying("ok")), config);
    let mut idle: Vec<_> = (0..9).map(|_| world.client()).collect();
    eventually_at_rest(&world, 9);
    let mut new = world.client();
    assert_eq!(new.get("/").text(), "ok");
    eventually("one has to leave", || (world.sample("segue_evicted_total") == 1).then_some(()));
    eventually("it is gone", || (world.sample("segue_connections") == 9).then_some(()));
    // Idle for longest, it is one of the first; all of them came within moments.
    let is_open = |client: &mut Client| {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.try_receive(true).is_ok()
    };
    assert_eq!(idle.iter_mut().filter_map(|client| is_open(client).then_some(())).count(), 8);
}

#[test]
fn a_proxy_that_is_shut_down_closes_those_at_rest() {
    let world = World::new(&one(1, 1, saying("ok")));
    let mut client = resting(&world);
    world.proxy.drain(Duration::from_secs(10));
    assert!(client.is_closed());
    world.proxy.join();
    assert_eq!(world.sample("segue_connections"), 0);
    assert_eq!(world.sample("segue_resting_connections"), 0);
}

#[test]
fn memory_of_a_burst_is_returned_once_its_connections_rest() {
    static RELEASED: AtomicUsize = AtomicUsize::new(0);
    let mut config = Config { workers: 1, ..config() };
    config.release_memory = || {
        RELEASED.fetch_add(1, Ordering::Relaxed);
    };
    let world = World::still_of(&one(1, 1, saying("ok")), config);
    let released_at_rest_of = |count: u64| {
        let mut clients: Vec<_> = (0..count).map(|_| world.client()).collect();
        clients.iter_mut().for_each(|client| assert_eq!(client.get("/").text(), "ok"));
        world.advance(Millis(50));
        assert_eq!(RELEASED.load(Ordering::Relaxed), 0, "they still have their tasks");
        (0..8).for_each(|_| world.advance(Millis(50)));
        assert_eq!(world.sample("segue_resting_connections"), count);
        RELEASED.swap(0, Ordering::Relaxed)
    };
    assert_eq!(released_at_rest_of(60), 0, "few connections are no burst");
    assert_eq!(released_at_rest_of(200), 1);
}
