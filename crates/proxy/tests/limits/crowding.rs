//! Nearly too many connections: the idle ones of the heaviest address make room for others.

use proxy::Limits;

use crate::common::*;

#[test]
fn the_idle_and_slow_of_the_heaviest_address_make_room_and_others_stay() {
    let limits = Limits { connections: 40, ..Limits::default() };
    let mut config = config();
    config.workers = 1;
    config.limits = limits;
    let world = World::of(&one(1, 1, saying("ok")), config);
    let mut friend = world.client_from("127.0.0.2");
    assert_eq!(friend.get("/").text(), "ok");
    // A heavy address fills the proxy with connections that say nothing, or half a head.
    let mut heavy: Vec<_> = (0..39).map(|_| world.client_from("127.0.0.3")).collect();
    heavy.iter_mut().skip(30).for_each(|slow| slow.send("GET / HT"));
    eventually("some had to leave", || {
        world.proxy.metrics().contains("segue_connections 36\n").then_some(())
    });
    assert!(heavy[0].is_closed(), "the longest idle stays");
    assert_eq!(friend.get("/").text(), "ok");
    // There is room for more, again and again.
    for _ in 0..30 {
        assert_eq!(world.client_from("127.0.0.4").get("/").text(), "ok");
    }
    assert_eq!(friend.get("/").text(), "ok");
}

#[test]
fn connections_that_are_being_served_stay() {
    let (arrived, arrivals) = std::sync::mpsc::channel();
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let slow = answering(move |_| {
        arrived.send(()).expect("the test waits");
        let _ = gate.lock().expect("no panic").recv();
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".into()
    });
    let world = World::with(&one(1, 1, slow), Limits { connections: 10, ..Limits::default() });
    let mut served: Vec<_> = (0..10).map(|_| world.client_from("127.0.0.3")).collect();
    for client in &mut served {
        let _ = client.stream.get_mut();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        arrivals.recv_timeout(PATIENCE).expect("it is served");
    }
    drop(open);
    for mut client in served {
        assert_eq!(client.receive().text(), "ok");
    }
}
