//! Clients that leave before their answer: nothing new is begun for them. Those that only end their
//! own side get their answers.

use std::net::Shutdown;

use model::Millis;

use crate::common::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

const ALL: [&str; 5] = [
    GET,
    POST,
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf",
];

fn nobody() -> model::Snapshot {
    snapshot(1, &[(1, 10_000, &[])])
}

fn sending(world: &World, request: &str) -> Client {
    let mut client = world.client();
    client.send(request);
    client
}

/// Ends its side as `nc -N` does: the end is in the packet of the last byte.
fn sending_the_last(world: &World, request: &str) -> Client {
    let client = world.client();
    let socket = socket2::SockRef::from(client.stream.get_ref());
    socket.set_tcp_cork(true).expect("it waits for more");
    socket.send(request.as_bytes()).expect("sent");
    client.stream.get_ref().shutdown(Shutdown::Write).expect("ended");
    client
}

#[test]
fn what_is_held_for_a_client_that_has_left_is_never_carried_out() {
    for leaves in [drop, Client::reset] {
        for looked_at in [Millis(0), Millis(100)] {
            let played = Played::new();
            let world = World::still(&nobody());
            let clients: Vec<_> = ALL.iter().map(|request| sending(&world, request)).collect();
            world.settle();
            assert_eq!(world.counters().held, 5);
            clients.into_iter().for_each(leaves);
            world.settle();
            world.advance(looked_at);
            world.publish(&one(2, 1, played.at));
            let counters = world.counted(5);
            assert_eq!((counters.client_aborted, counters.failed), (5, 0));
            assert!(played.is_left_alone());
        }
    }
}

#[test]
fn a_client_that_has_ended_its_side_with_its_request_is_served_once() {
    let played = Played::new();
    let world = World::still(&nobody());
    let mut client = sending_the_last(&world, POST);
    world.settle();
    world.advance(Millis(3_000));
    world.publish(&one(2, 1, played.at));
    let mut instance = played.asked();
    instance.send(OK);
    assert_eq!(client.receive().text(), "ok");
    // And never a second time.
    let mut client = sending_the_last(&world, GET);
    let instance = played.asked();
    world.settle();
    drop(instance);
    assert_eq!(client.receive().status, 502);
    world.advance(Millis(200));
    assert!(played.is_left_alone());
}

#[test]
fn a_request_whose_client_has_left_is_not_sent_again() {
    let played = Played::new();
    let world = World::still(&one(1, 1, played.at));
    let client = sending(&world, GET);
    let instance = played.asked();
    client.stream.get_ref().shutdown(Shutdown::Write).expect("ended");
    world.settle();
    world.advance(Millis(100));
    drop(instance);
    let counters = world.counted(1);
    assert_eq!(counters.retried, 0);
    world.advance(Millis(200));
    assert!(played.is_left_alone());
    // While the client is there, it is.
    let mut client = sending(&world, GET);
    drop(played.asked());
    world.settle();
    world.advance(Millis(100));
    played.asked().send(OK);
    assert_eq!(client.receive().text(), "ok");
}

#[test]
fn nothing_is_sent_for_a_client_that_left_while_its_request_waited_for_a_connection() {
    for leaves in [drop, Client::reset] {
        let full = Full::new();
        let world = World::still(&one(1, 1, full.at));
        let client = sending(&world, POST);
        world.settle();
        leaves(client);
        world.settle();
        world.advance(Millis(100));
        assert_eq!(world.counted(1).client_aborted, 1);
        assert!(in_flight(&world.proxy.report()).is_empty());
    }
}

#[test]
fn a_reset_cancels_what_is_in_flight_at_once() {
    // With more behind it, the client is not read on.
    for request in [GET.to_owned(), format!("{GET}{GET}")] {
        let played = Played::new();
        let world = World::still(&one(1, 1, played.at));
        let client = sending(&world, &request);
        let mut instance = played.asked();
        world.settle();
        world.advance(Millis(100));
        client.reset();
        world.settle();
        world.advance(Millis(100));
        assert!(instance.is_closed());
        assert_eq!(world.counted(1).client_aborted, 1);
    }
}

#[test]
fn a_request_that_has_come_through_ten_proxies_goes_round() {
    let hops = answering(|seen| {
        let hops = field(&seen.head, "x-segue-hops").unwrap_or_default();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{hops}", hops.len())
    });
    let world = World::new(&one(1, 1, hops));
    let mut client = world.client();
    assert_eq!(client.get("/").text(), "1");
    assert_eq!(client.get_with("/", "X-Segue-Hops: 9\r\n").text(), "10");
    assert_eq!(client.get_with("/", "X-Segue-Hops: nonsense\r\n").text(), "1");
    assert_eq!(client.get_with("/", "X-Segue-Hops: 10\r\n").status, 508);
    assert_eq!(client.get_with("/", "X-Segue-Hops: 1\r\nx-segue-hops: 12\r\n").status, 508);
    // A proxy that is its own instance.
    let at = world.at;
    world.publish(&one(2, 2, at));
    assert_eq!(world.client().get("/").status, 508);
    assert_eq!(world.counters().failed, 0);
}
