//! How long and how many requests may wait for an instance.

use model::Millis;

use crate::common::*;
use crate::{GET, sending};

fn nobody() -> model::Snapshot {
    snapshot(1, &[(1, 10_000, &[])])
}

#[test]
fn a_request_waits_five_seconds_for_an_instance_and_then_gets_503() {
    for hold in [Millis::from_secs(5), Millis::from_secs(8)] {
        let mut nobody = nobody();
        nobody.apps[0].route.hold = hold;
        let world = World::still(&nobody);
        let mut client = sending(&world, GET);
        world.reaches(hold, &client);
        let got = client.receive();
        assert_eq!((got.status, got.field("retry-after").as_deref()), (503, Some("1")));
        let counters = world.counters();
        assert_eq!((counters.held, counters.failed, counters.requests), (1, 1, 1));
        client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n");
        world.advance(hold);
        assert!(client.receive().text().starts_with("{\"status\":503,"));
    }
}

#[test]
fn instances_that_refuse_are_tried_again_every_tenth_of_a_second() {
    let gone = testport::reserve();
    let world = World::still(&one(1, 1, gone));
    let mut client = sending(&world, GET);
    world.settle();
    assert_eq!(world.counters().held, 1);
    let listener = std::net::TcpListener::bind(gone).expect("the same port");
    listener.set_nonblocking(true).expect("non-blocking");
    world.advance(Millis(99));
    assert!(listener.accept().is_err(), "before its time");
    world.advance(Millis(1));
    let (stream, _) = listener.accept().expect("it is tried again");
    stream.set_nonblocking(false).expect("blocking");
    let mut instance = Client::of(stream);
    instance.head();
    instance.send(crate::OK);
    assert_eq!(client.receive().text(), "ok");
}

#[test]
fn not_more_than_1024_requests_of_an_app_wait() {
    let world = World::still(&nobody());
    let mut held: Vec<_> = (0..1_024).map(|_| sending(&world, GET)).collect();
    world.settle();
    assert_eq!(world.sample("segue_holding{app=\"web\"}"), 1_024);
    assert_eq!(world.client().get("/").status, 503);
    // Whoever leaves makes room.
    drop(held.pop());
    world.advance(Millis(100));
    let mut late = sending(&world, GET);
    world.settle();
    assert!(late.hears_nothing());
    world.publish(&one(2, 1, saying("ok")));
    for client in held.iter_mut().chain([&mut late]) {
        assert_eq!(client.receive().text(), "ok");
    }
}

#[test]
fn not_more_than_four_mib_of_them_wait() {
    let world = World::still(&nobody());
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(31 << 10));
    let mut held = Vec::new();
    while held.len() < 200 {
        let mut client = sending(&world, &large);
        world.settle();
        if !client.hears_nothing() {
            assert_eq!(client.receive().status, 503);
            break;
        }
        held.push(client);
    }
    // What we add to a head counts, too.
    assert!((125..=132).contains(&held.len()), "{} of them wait", held.len());
}
