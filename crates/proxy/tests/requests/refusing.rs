//! What is refused, and that the worker serves the next connection afterwards.

use std::sync::Arc;

use model::Generation;
use proxy::Limits;

use crate::common::*;

#[test]
fn a_malformed_chunk_never_reaches_the_app_as_an_end() {
    let whole = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = std::sync::Arc::clone(&whole);
    let at = upstream(move |_, mut stream| {
        let head = read_head(&mut stream).expect("a head");
        seen.fetch_or(read_body(&head, &mut stream).is_ok(), std::sync::atomic::Ordering::SeqCst);
    });
    let world = World::new(&one(1, 1, at));
    let mut client = world.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    client.send("0\r\nBad Trailer\r\n\r\n");
    assert_eq!(client.receive().status, 400);
    assert!(!whole.load(std::sync::atomic::Ordering::SeqCst));
}

#[test]
fn ambiguous_answers_are_502_and_their_connection_is_not_used_again() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "not http at all\r\n\r\n",
    ] {
        let world = World::new(&one(1, 1, answering(move |_| answer.into())));
        let mut client = world.client();
        assert_eq!(client.get("/").status, 502, "{answer:?}");
        assert_eq!(client.get("/").status, 502, "{answer:?}");
        assert_eq!(world.counted(2).failed, 2);
    }
}

#[test]
fn interim_answers_may_be_many_but_not_without_end() {
    const HINT: &str = "HTTP/1.1 103 Early Hints\r\n\r\n";
    let played = Played::new();
    let world = World::still(&one(1, 1, played.at));
    let ask = || {
        let mut client = world.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        (client, played.asked())
    };
    let last = |client: &mut Client| {
        std::iter::repeat_with(|| client.receive().status).find(|status| *status != 103)
    };
    let at_once = (64 << 10) / HINT.len();
    let (mut client, mut instance) = ask();
    instance.send(HINT.repeat(at_once));
    // Every second brings some more.
    world.advance(model::Millis::from_secs(10));
    instance.send(HINT.repeat(10 * (4 << 10) / HINT.len()));
    world.settle();
    instance.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(last(&mut client), Some(200));
    let (mut client, mut instance) = ask();
    instance.send(HINT.repeat(at_once + 1));
    world.settle();
    assert_eq!(last(&mut client), Some(502));
}

#[test]
fn an_unknown_host_is_404_and_an_empty_table_503() {
    let mut snapshot = one(1, 1, saying("ok"));
    snapshot.apps[0].route.hosts = vec!["b.example".into(), "*.c.example".into()];
    let world = World::new(&snapshot);
    let mut client = world.client();
    assert_eq!(client.get("/").status, 404);
    for host in ["b.example", "B.EXAMPLE:80", "x.c.example"] {
        client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(client.receive().status, 200, "{host}");
    }
    let empty = World::new(&model::Snapshot::default());
    assert_eq!(empty.client().get("/").status, 503);
}

#[test]
fn at_the_limit_of_connections_accepting_stops_and_goes_on() {
    let limits = Limits { connections: 2, ..Limits::default() };
    let world = World::with(&one(1, 1, saying("ok")), limits);
    let mut inside: Vec<_> = (0..2).map(|_| world.client()).collect();
    for client in &mut inside {
        assert_eq!(client.get("/").text(), "ok");
    }
    let mut outside = world.client();
    outside.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    drop(inside);
    assert_eq!(outside.receive().text(), "ok");
}

#[test]
fn an_instance_that_is_down_gets_nothing_while_another_is_up() {
    let world = World::new(&snapshot(1, &[(1, 10_000, &[(1, saying("a")), (2, saying("b"))])]));
    let version = |term, counter| Generation { term, counter };
    let mut table = model::HealthTable { version: version(1, 8), ..Default::default() };
    table.health.insert(instance(1), model::Health::Down);
    table.health.insert(instance(2), model::Health::Up);
    world.proxy.set_health(Arc::new(table.clone()));
    let mut client = world.client();
    for _ in 0..20 {
        assert_eq!(client.get("/").text(), "b");
    }
    // All down: the one that was up once is better than an answer of ours.
    table.version = version(1, 9);
    table.health.insert(instance(2), model::Health::Down);
    world.proxy.set_health(Arc::new(table.clone()));
    assert_eq!(client.get("/").text(), "b");
    // The health of an instance may be known before a snapshot brings it. Control has begun anew.
    table.version = version(2, 1);
    table.health.insert(instance(3), model::Health::Up);
    world.proxy.set_health(Arc::new(table.clone()));
    world.publish(&snapshot(2, &[(1, 10_000, &[(2, saying("b")), (3, saying("c"))])]));
    assert_eq!(client.get("/").text(), "c");
    // An older table changes nothing.
    table.version = version(1, 10);
    table.health.insert(instance(3), model::Health::Down);
    world.proxy.set_health(Arc::new(table.clone()));
    assert_eq!(client.get("/").text(), "c");
}
