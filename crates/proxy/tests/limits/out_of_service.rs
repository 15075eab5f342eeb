//! A proxy that leaves service while it goes on: its clients' connections end with their next answer, new ones may
//! get no answer at all, and what is left can be cut.

use std::net::TcpStream;
use std::time::Duration;

use model::Millis;
use proxy::ServiceMode;

use crate::common::*;
use crate::{GET, OK, sending};

/// The age from which a connection counts as settled, and one sweep.
const SETTLED: Millis = Millis(600);

/// Returns the number of connections of before the proxy left service.
fn left_over(world: &World) -> Option<usize> {
    world.proxy.leaving_connections().map(|it| it.left_over)
}

#[test]
fn each_connection_ends_with_its_next_answer_and_an_idle_one_is_left_until_then() {
    let world = World::still(&one(1, 1, saying("ok")));
    let mut client = world.client();
    let mut other = world.client();
    assert_eq!(client.get("/").field("connection"), None);
    assert_eq!(other.get("/").field("connection"), None);
    world.proxy.set_service(ServiceMode::ClosesConnections);
    world.settle();
    assert_eq!(left_over(&world), None, "nobody has counted yet");
    world.advance(SETTLED);
    assert_eq!(left_over(&world), Some(2));
    let last = client.get("/");
    assert_eq!((last.text(), last.field("connection")), ("ok", Some("close".into())));
    assert!(client.is_closed());
    drop(client);
    world.advance(Millis(100));
    assert_eq!(left_over(&world), Some(1), "the other one is idle");
    // Whoever comes now is served, once.
    let late = world.client().get("/");
    assert_eq!((late.text(), late.field("connection")), ("ok", Some("close".into())));
    world.proxy.set_service(ServiceMode::Full);
    world.settle();
    assert_eq!(other.get("/").field("connection"), None, "it is back in service");
}

#[test]
fn a_request_under_way_is_waited_for_and_what_is_left_is_cut_and_counted() {
    let played = Played::new();
    let world = World::still(&one(1, 1, played.at));
    let mut finished = sending(&world, GET);
    let mut instance = played.asked();
    let mut cut = sending(&world, GET);
    let _never_answers = played.asked();
    let mut idle = world.client();
    world.proxy.set_service(ServiceMode::ClosesConnections);
    world.advance(SETTLED);
    assert_eq!(left_over(&world), Some(3));
    instance.send(OK);
    assert_eq!(finished.receive().field("connection"), Some("close".into()));
    drop(finished);
    // Somebody who comes after that is neither counted nor cut, however long the request takes.
    let mut new = sending(&world, GET);
    instance.head();
    world.advance(SETTLED);
    let counted = world.proxy.leaving_connections().map(|it| (it.left_over, it.settled));
    assert_eq!(counted, Some((2, 3)));
    world.proxy.cut_left_over();
    world.settle();
    assert!(cut.try_receive(true).is_err(), "it has no answer");
    assert!(idle.is_closed());
    world.advance(Millis(100));
    assert_eq!((world.proxy.cut(), left_over(&world)), (1, Some(0)));
    instance.send(OK);
    assert_eq!(new.receive().status, 200);
    let counters = world.counted(2);
    assert_eq!((counters.failed, counters.client_aborted), (1, 0));
}

#[test]
fn new_connections_get_no_answer_until_the_proxy_takes_them_again() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let mut config = config();
        (config.listen, config.workers) = (vec![address.parse().unwrap()], 2);
        let world = World::of(&one(1, 1, saying("ok")), config);
        let mut before = world.client();
        assert_eq!(before.get("/").text(), "ok");
        world.proxy.set_service(ServiceMode::TakesNoMore);
        let short = Duration::from_millis(300);
        // The kernel may still take some for a moment: until both workers have noticed.
        eventually("nobody gets in", || {
            let all = (0..8).map(|_| TcpStream::connect_timeout(&world.at, short));
            all.into_iter().all(|it| it.is_err()).then_some(())
        });
        assert_eq!(before.get("/").text(), "ok", "those that are in are served");
        world.proxy.set_service(ServiceMode::Full);
        let mut after = Client::connect(world.at);
        assert_eq!(after.get("/").text(), "ok");
    }
}
