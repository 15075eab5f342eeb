//! How long a client may take.

use std::io::Write;

use model::{AppLimits, Millis};
use proxy::{Config, Limits};

use crate::common::*;
use crate::{GET, OK, sending};

pub(crate) fn sized() -> std::net::SocketAddr {
    answering(|seen| {
        let body = seen.body.len().to_string();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    })
}

pub(crate) fn post(fields: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

pub(crate) fn timed_out(mut client: Client) {
    let got = client.receive();
    assert_eq!((got.status, got.field("connection").as_deref()), (408, Some("close")));
    assert!(client.is_closed());
}

#[test]
fn a_head_has_ten_seconds_in_all_however_it_trickles() {
    for head in [Limits::default().head, Millis::from_secs(4)] {
        let limits = Limits { head, ..Limits::default() };
        let world = World::still_of(&one(1, 1, saying("ok")), Config { limits, ..config() });
        // What was idle before does not count.
        let mut client = world.client();
        world.advance(Millis::from_secs(30));
        client.send("GET / HTTP/1.1\r\nHost: a\r\n");
        for _ in 1..head.0 / 1_000 {
            world.advance(Millis::from_secs(1));
            client.send("X: y\r\n");
        }
        world.reaches(Millis::from_secs(1), &client);
        timed_out(client);
    }
    assert_eq!(Limits::default().head, Millis::from_secs(10));
}

#[test]
fn an_idle_connection_is_closed_after_75_seconds_whether_it_has_asked_or_not() {
    let world = World::still(&one(1, 1, saying("ok")));
    let (mut silent, mut asks) = (world.client(), world.client());
    assert_eq!(asks.get("/").text(), "ok");
    world.advance(Millis(74_999));
    assert_eq!(world.sample("segue_resting_connections"), 2);
    assert!(silent.hears_nothing());
    // A request begins it anew.
    assert_eq!(asks.get("/").text(), "ok");
    world.advance(Millis(1));
    assert!(silent.is_closed());
    assert!(asks.hears_nothing());
    world.advance(Millis(74_998));
    assert!(asks.hears_nothing());
    world.advance(Millis(1));
    assert!(asks.is_closed());
    assert_eq!(world.sample("segue_connections"), 0);
    assert_eq!(world.sample("segue_resting_connections"), 0);
}

#[test]
fn a_body_has_sixty_seconds_between_two_reads() {
    let own = AppLimits { body_read: Millis::from_secs(7), ..AppLimits::default() };
    for limits in [AppLimits::default(), own] {
        let world = World::still(&limited(one(1, 1, sized()), limits));
        let chunked = post("Transfer-Encoding: chunked\r\n");
        let mut client = sending(&world, &format!("{chunked}1\r\na\r\n"));
        world.advance(Millis(limits.body_read.0 - 1));
        client.send("1\r\nb\r\n");
        world.reaches(limits.body_read, &client);
        timed_out(client);
        let counters = world.counters();
        assert_eq!((counters.client_aborted, counters.failed), (1, 0));
        assert_eq!(counters.faults.values().sum::<u64>(), 0);
    }
    assert_eq!(AppLimits::default().body_read, Millis::from_secs(60));
}

#[test]
fn a_declared_body_has_thirty_seconds_at_any_pace() {
    let world = World::still(&one(1, 1, sized()));
    let mut client = sending(&world, &post("Content-Length: 9\r\n"));
    for _ in 0..2 {
        client.send("x");
        world.advance(Millis::from_secs(10));
    }
    client.send("x");
    world.reaches(Millis::from_secs(10), &client);
    timed_out(client);
    assert_eq!(world.counters().client_aborted, 1);
}

#[test]
fn a_declared_body_has_a_second_for_every_256_bytes_after_that() {
    let world = World::still(&one(1, 1, sized()));
    let mut client = sending(&world, &post("Content-Length: 999999\r\n"));
    for _ in 0..6 {
        client.send([b'x'; 11 * 256]);
        world.advance(Millis::from_secs(10));
        assert!(client.hears_nothing());
    }
    world.reaches(Millis::from_secs(6), &client);
    timed_out(client);
}

#[test]
fn a_client_that_has_sent_much_at_once_may_pause_for_longer() {
    let world = World::still(&one(1, 1, sized()));
    let mut client = sending(&world, &post("Content-Length: 999999\r\n"));
    client.send([b'x'; 50 * 256]);
    world.reaches(Millis::from_secs(50), &client);
    timed_out(client);
}

#[test]
fn an_open_ended_body_may_trickle() {
    let world = World::still(&one(1, 1, sized()));
    let mut client = sending(&world, &post("Transfer-Encoding: chunked\r\n"));
    for _ in 0..10 {
        client.send("1\r\nx\r\n");
        world.advance(Millis(59_999));
        assert!(client.hears_nothing());
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.receive().text(), "10");
}

#[test]
fn only_the_time_counts_in_which_it_is_the_client_that_is_waited_for() {
    let mut nobody = snapshot(1, &[(1, 10_000, &[])]);
    nobody.apps[0].route.hold = Millis::from_secs(50);
    let world = World::still(&nobody);
    let client = sending(&world, &post("Content-Length: 9\r\n"));
    world.advance(Millis::from_secs(40));
    world.publish(&one(2, 1, sized()));
    world.reaches(Millis::from_secs(30), &client);
    timed_out(client);
}

/// Writes until nobody takes any more of it.
pub(crate) fn fill(from: &mut Client, world: &World) {
    let socket = from.stream.get_mut();
    socket.set_nonblocking(true).expect("non-blocking");
    let mut idle = 0;
    while idle < 5 {
        match socket.write(&[7; 1 << 14]) {
            Ok(_) => idle = 0,
            Err(_) => idle += 1,
        }
        world.settle();
    }
    socket.set_nonblocking(false).expect("blocking");
}

/// A client that reads nothing, and whose kernel takes little for it.
pub(crate) fn deaf(world: &World) -> Client {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    socket.set_recv_buffer_size(16 << 10).expect("a small buffer");
    socket.connect(&world.at.into()).expect("connected");
    let mut client = Client::of(socket.into());
    client.send(GET);
    client
}

#[test]
fn an_answer_that_nobody_reads_is_broken_off_after_sixty_seconds() {
    let played = Played::new();
    let world = World::still(&one(1, 1, played.at));
    let client = deaf(&world);
    let mut instance = played.asked();
    instance.send("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n");
    fill(&mut instance, &world);
    world.advance(Millis(59_999));
    assert!(instance.hears_nothing());
    assert_eq!(world.counters().requests, 0);
    world.advance(Millis(1));
    let counters = world.counters();
    assert_eq!((counters.requests, counters.client_aborted, counters.failed), (1, 1, 0));
    assert_eq!(world.sample("segue_connections"), 0);
    assert!(!instance.hears_nothing(), "its connection stays open");
    drop(client);
}

#[test]
fn what_still_comes_after_an_early_answer_is_discarded_for_ten_seconds_however_much() {
    let mut elsewhere = one(1, 1, saying("ok"));
    elsewhere.apps[0].route.hosts = vec!["b.example".into()];
    let world = World::still(&elsewhere);
    let mut client = sending(&world, &post("Content-Length: 9999999\r\n"));
    assert_eq!(client.receive().status, 404);
    assert!(client.is_closed(), "it sends nothing more");
    for _ in 0..9 {
        world.advance(Millis::from_secs(1));
        client.send([b'x'; 60_000]);
    }
    world.advance(Millis(999));
    client.send("more");
    world.settle();
    assert_eq!(world.sample("segue_connections"), 1);
    world.advance(Millis(1));
    assert_eq!(world.sample("segue_connections"), 0);
}

#[test]
fn a_client_that_writes_all_before_it_reads_gets_a_long_answer_to_what_nobody_wanted() {
    let page: std::sync::Arc<str> = "x".repeat(4 << 20).into();
    let mut closed = one(1, 1, saying("ok"));
    let html = Some(page.clone());
    let page = model::Page { html, message: None, retry_after: Millis(1) };
    let maintenance = model::Maintenance { page, hold: Millis(0), allow: Vec::new() };
    closed.apps[0].maintenance = Some(maintenance);
    let world = World::new(&closed);
    let mut client = world.client();
    client.send(post("Content-Length: 16000000\r\n"));
    // More than the kernel keeps for the two of us, in both directions.
    client.send(vec![b'x'; 16_000_000]);
    let got = client.receive();
    assert_eq!((got.status, got.body.len()), (503, 4 << 20));
}

#[test]
fn who_asks_whether_to_go_on_is_told_to_after_a_second_of_silence_and_once() {
    let played = Played::new();
    let world = World::still(&one(1, 1, played.at));
    let fields = "Expect: 100-continue\r\nContent-Length: 4\r\n";
    let mut client = sending(&world, &post(fields));
    let mut instance = played.asked();
    world.reaches(Millis::from_secs(1), &client);
    assert_eq!(client.receive().status, 100);
    instance.send("HTTP/1.1 100 Continue\r\n\r\n");
    client.send("body");
    world.settle();
    assert!(client.hears_nothing());
    instance.send(OK);
    assert_eq!(client.receive().text(), "ok");
}

#[test]
fn an_idle_connection_stays_open_for_a_second_after_the_proxy_is_told_to_end() {
    let world = World::still(&one(1, 1, saying("ok")));
    let (mut idle, mut asks) = (world.client(), world.client());
    world.settle();
    world.proxy.drain(std::time::Duration::from_secs(30));
    world.advance(Millis(999));
    assert!(idle.hears_nothing());
    let got = asks.get("/");
    assert_eq!((got.text(), got.field("connection").as_deref()), ("ok", Some("close")));
    world.advance(Millis(1));
    assert!(idle.is_closed());
    drop(asks);
    world.proxy.join();
}
