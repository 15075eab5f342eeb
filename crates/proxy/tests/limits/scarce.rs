//! What changes while many connections are in use: clients have to move, and those that move least
//! leave.

use std::io::Read;

use model::{AppLimits, Millis};
use proxy::{Config, Limits};

use crate::clients::{deaf, fill, post, sized, timed_out};
use crate::common::*;
use crate::{GET, OK, sending};

/// A world whose time stands still, for so many connections.
fn small(initial: &model::Snapshot, connections: usize) -> World {
    let limits = Limits { connections, ..Limits::default() };
    World::still_of(initial, Config { limits, workers: 1, ..config() })
}

/// An upload without a declared length, of which a byte has come.
fn trickle(mut client: Client) -> Client {
    client.send(post("Transfer-Encoding: chunked\r\n") + "1\r\nx\r\n");
    client
}

fn open(world: &World, count: usize) -> Vec<Client> {
    let clients = (0..count).map(|_| world.client()).collect();
    world.settle();
    clients
}

#[test]
fn an_open_ended_body_may_not_trickle_while_more_than_half_of_the_connections_are_in_use() {
    let world = small(&one(1, 1, sized()), 10);
    let mut client = trickle(world.client());
    let half = open(&world, 4);
    for _ in 0..3 {
        world.advance(Millis::from_secs(14));
        client.send("1\r\nx\r\n");
    }
    assert!(client.hears_nothing());
    let more = open(&world, 1);
    for _ in 0..2 {
        world.advance(Millis::from_secs(14));
        client.send("1\r\nx\r\n");
    }
    world.reaches(Millis::from_secs(2), &client);
    timed_out(client);
    assert_eq!(world.counters().client_aborted, 1);
    drop((half, more));
}

#[test]
fn one_that_moves_enough_in_every_grace_may_go_on_and_so_may_an_app_that_is_exempt() {
    let exempt = AppLimits { body_rate: Some(0), ..AppLimits::default() };
    for (limits, chunk) in [(AppLimits::default(), 7_680 / 2), (exempt, 1)] {
        let world = small(&limited(one(1, 1, sized()), limits), 2);
        let others = open(&world, 1);
        let mut client = trickle(world.client());
        let chunk = format!("{chunk:x}\r\n{}\r\n", "x".repeat(chunk));
        for _ in 0..8 {
            world.advance(Millis::from_secs(14));
            client.send(&chunk);
            world.settle();
            assert!(client.hears_nothing());
        }
        client.send("0\r\n\r\n");
        assert_eq!(client.receive().status, 200);
        drop(others);
    }
}

#[test]
fn a_reader_has_to_read_while_more_than_half_of_the_connections_are_in_use() {
    let played = Played::new();
    let world = small(&one(1, 1, played.at), 3);
    let others = open(&world, 1);
    let mut client = deaf(&world);
    let mut instance = played.asked();
    instance.send("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n");
    fill(&mut instance, &world);
    world.advance(Millis::from_secs(29));
    // Less than the kernel needs to take more for it, and still enough.
    client.stream.get_mut().read_exact(&mut [0; 9_000]).expect("read");
    world.advance(Millis::from_secs(1));
    assert!(instance.hears_nothing());
    // The first grace has what was read before it, too.
    client.stream.get_mut().read_exact(&mut [0; 9_000]).expect("read");
    world.advance(Millis::from_secs(29));
    assert!(instance.hears_nothing());
    world.advance(Millis::from_secs(31));
    assert!(!instance.hears_nothing(), "its connection stays open");
    assert_eq!(world.counters().client_aborted, 1);
    drop(others);
}

#[test]
fn the_slowest_exchanges_of_the_heaviest_address_make_room_and_others_stay() {
    let world = small(&one(1, 1, sized()), 20);
    let mut friend = trickle(world.client_from("127.0.0.2"));
    let mut heavy: Vec<_> = (0..17).map(|_| trickle(world.client_from("127.0.0.3"))).collect();
    // One of them is quick.
    heavy[5].send(format!("fff\r\n{}\r\n", "x".repeat(0xfff)));
    world.settle();
    world.advance(Millis(1_000));
    assert_eq!(world.sample("segue_evicted_total"), 0);
    for _ in 0..16 {
        heavy.push(trickle(world.client_from("127.0.0.3")));
        world.settle();
        world.advance(Millis(1_000));
        assert_eq!(world.client_from("127.0.0.4").get("/").status, 200);
    }
    assert!(world.sample("segue_evicted_total") >= 14);
    assert!(heavy[5].hears_nothing(), "the quick one had to leave");
    assert!(friend.hears_nothing(), "somebody else had to leave");
    friend.send("0\r\n\r\n");
    assert_eq!(friend.receive().text(), "1");
    let (aborted, failed) = (world.counters().client_aborted, world.counters().failed);
    assert!(aborted >= 14 && failed == 0, "{aborted} {failed}");
}

#[test]
fn tunnels_leave_last_and_what_waits_for_its_instance_never() {
    let played = Played::new();
    let world = small(&one(1, 1, played.at), 10);
    let ask = |what: &str| {
        let mut client = world.client_from("127.0.0.3");
        client.send(what);
        (client, played.asked())
    };
    let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    let switch = "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    let tunnels: Vec<_> = (0..2)
        .map(|_| {
            let (mut client, mut instance) = ask(upgrade);
            instance.send(switch);
            client.head();
            (client, instance)
        })
        .collect();
    let (mut waits, mut instance) = ask(GET);
    let bodies: Vec<_> = (0..6).map(|_| ask(&post("Content-Length: 9\r\n"))).collect();
    world.advance(Millis(1_000));
    let late = world.client();
    world.settle();
    assert_eq!(world.sample("segue_connections"), 9);
    let gone = |of: &[(Client, Client)]| of.iter().filter(|one| !one.0.hears_nothing()).count();
    assert_eq!((gone(&bodies), gone(&tunnels)), (1, 0));
    let rest: Vec<_> = (0..5)
        .map(|number| {
            let late = world.client_from(&format!("127.0.0.{}", 10 + number));
            world.advance(Millis(1));
            late
        })
        .collect();
    assert_eq!((gone(&bodies), gone(&tunnels)), (6, 0), "bodies leave before tunnels");
    let last = ask(GET);
    world.advance(Millis(1));
    instance.send(OK);
    assert_eq!(waits.receive().text(), "ok");
    drop((late, rest, last));
}

#[test]
fn nobody_is_waited_for_after_an_early_answer_while_there_are_nearly_too_many() {
    let mut elsewhere = one(1, 1, saying("ok"));
    elsewhere.apps[0].route.hosts = vec!["b.example".into()];
    let world = small(&elsewhere, 10);
    let mut client = sending(&world, &post("Content-Length: 60000\r\n"));
    assert_eq!(client.receive().status, 404);
    world.settle();
    assert_eq!(world.sample("segue_connections"), 1);
    let others = open(&world, 9);
    world.settle();
    assert_eq!(world.sample("segue_connections"), 9);
    assert!(others.iter().all(Client::hears_nothing));
    drop(others);
}
