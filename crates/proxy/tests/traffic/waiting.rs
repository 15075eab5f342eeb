//! Held requests leave the queue in their order, at a pace that their instances bear.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use model::{Millis, Snapshot};

use crate::common::*;

/// An upstream that tells who has come, and answers each when it is let.
fn gated() -> (SocketAddr, Receiver<u32>, Sender<()>) {
    let (arrived, arrivals) = channel();
    let (open, gate) = channel::<()>();
    let gate = Arc::new(Mutex::new(gate));
    let at = answering(move |seen| {
        let path = seen.head.split(' ').nth(1).expect("a path");
        let number = path.trim_start_matches('/').parse().expect("a number");
        arrived.send(number).expect("the test waits");
        let _ = gate.lock().expect("no panic").recv();
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".into()
    });
    (at, arrivals, open)
}

/// One worker, and so many requests that wait in their order.
fn held(initial: &Snapshot, count: usize) -> (World, Vec<Client>) {
    let world = World::still(initial);
    let clients = (0..count)
        .map(|number| {
            let mut client = world.client();
            client.send(format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n"));
            eventually("it is held", || (world.counters().held == number as u64 + 1).then_some(()));
            client
        })
        .collect();
    (world, clients)
}

fn next(arrivals: &Receiver<u32>, count: usize) -> BTreeSet<u32> {
    let next = |_| arrivals.recv_timeout(PATIENCE).expect("an arrival");
    (0..count).map(next).collect()
}

#[test]
fn the_held_go_in_their_order_and_faster_with_every_answer() {
    let (at, arrivals, open) = gated();
    let (world, clients) = held(&snapshot(1, &[(1, 10_000, &[])]), 30);
    // Acknowledged means that all that wait have looked at the new instance.
    let report = world.publish(&one(2, 1, at));
    assert_eq!(in_flight(&report), [(1, 8)].into());
    assert_eq!(next(&arrivals, 8), (0..8).collect());
    open.send(()).expect("open");
    assert_eq!(next(&arrivals, 2), [8, 9].into());
    // Who comes now stands behind those that wait.
    let mut late = world.client();
    late.send("GET /30 HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it is held", || (world.counters().held == 31).then_some(()));
    open.send(()).expect("open");
    assert_eq!(next(&arrivals, 2), [10, 11].into());
    drop(open);
    assert_eq!(next(&arrivals, 19), (12..31).collect());
    for mut client in clients.into_iter().chain([late]) {
        assert_eq!(client.receive().text(), "ok");
    }
    let counters = world.counted(31);
    assert_eq!((counters.held, counters.failed, counters.retried), (31, 0, 0));
    // With nobody waiting, nobody waits.
    assert_eq!(world.client().get("/31").text(), "ok");
    assert_eq!(world.counted(32).held, 31);
}

#[test]
fn nobody_is_refused_only_because_others_are_slow() {
    let (at, arrivals, open) = gated();
    let (world, clients) = held(&snapshot(1, &[(1, 10_000, &[])]), 20);
    world.publish(&one(2, 1, at));
    assert_eq!(next(&arrivals, 8), (0..8).collect());
    world.advance(Millis(4_999));
    assert!(arrivals.try_recv().is_err(), "none was answered");
    world.advance(Millis(1));
    // None is answered, and still all of them get there before their time is over.
    assert_eq!(next(&arrivals, 12), (8..20).collect());
    drop(open);
    for mut client in clients {
        assert_eq!(client.receive().status, 200);
    }
    assert_eq!(world.counted(20).failed, 0);
}

#[test]
fn one_that_leaves_the_line_holds_nobody_up() {
    let (at, arrivals, open) = gated();
    let (world, mut clients) = held(&snapshot(1, &[(1, 10_000, &[])]), 12);
    world.publish(&one(2, 1, at));
    assert_eq!(next(&arrivals, 8), (0..8).collect());
    drop(clients.remove(8));
    // Their leaving is looked for after a moment.
    world.advance(Millis(100));
    eventually("it has left", || (world.counters().client_aborted == 1).then_some(()));
    clients.remove(0).reset();
    assert_eq!(next(&arrivals, 1), [9].into());
    drop(open);
    assert_eq!(next(&arrivals, 2), [10, 11].into());
    for mut client in clients {
        assert_eq!(client.receive().status, 200);
    }
}
