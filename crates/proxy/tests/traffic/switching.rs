//! Swapping snapshots: nothing is lost, nothing goes back, and an acknowledgement means what it says.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use model::{Generation, Maintenance, Millis, Page};

use crate::common::*;

/// One upstream per version, each saying its number.
fn versions(count: u64) -> Vec<SocketAddr> {
    let answer = |n: u64| format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{n:04}");
    (0..count).map(|n| answering(move |_| answer(n))).collect()
}

#[test]
fn hundreds_of_swaps_under_load_lose_nothing_and_never_go_back() {
    let versions = versions(200);
    let world = World::new(&one(1, 0, versions[0]));
    let acknowledged = Arc::new(AtomicU64::new(0));
    let answered = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (acknowledged, stop) = (Arc::clone(&acknowledged), Arc::clone(&stop));
            let answered = Arc::clone(&answered);
            let mut client = world.client();
            std::thread::spawn(move || {
                let mut last = 0;
                while !stop.load(Ordering::Acquire) {
                    let least = acknowledged.load(Ordering::Acquire);
                    let got = client.get("/");
                    let version: u64 = got.text().parse().expect("a version");
                    assert_eq!(got.status, 200);
                    assert!(version >= last, "went back from {last} to {version}");
                    assert!(version >= least, "{version} answered after {least} was acknowledged");
                    last = version;
                    answered.fetch_add(1, Ordering::AcqRel);
                }
            })
        })
        .collect();
    for (version, at) in versions.iter().enumerate().skip(1) {
        let version = version as u64;
        world.publish(&one(version + 1, version, *at));
        acknowledged.store(version, Ordering::Release);
        let least = answered.load(Ordering::Acquire) + 8;
        eventually("requests between swaps", || {
            (answered.load(Ordering::Acquire) >= least).then_some(())
        });
    }
    stop.store(true, Ordering::Release);
    clients.into_iter().for_each(|client| client.join().expect("no client failed"));
    let requests = answered.load(Ordering::Acquire);
    let counters = world.counted(requests);
    assert_eq!((counters.requests, counters.failed, counters.held), (requests, 0, 0));
    assert_eq!((counters.retried, counters.client_aborted), (0, 0));
}

/// An upstream that tells of each request and answers it with `text` when it is let.
fn held_back(text: &'static str) -> (SocketAddr, Receiver<()>, Sender<()>) {
    let (arrived, arrivals) = channel();
    let (release, gate) = channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let at = answering(move |_| {
        arrived.send(()).expect("the test waits");
        gate.lock().expect("no panic").recv().expect("released");
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())
    });
    (at, arrivals, release)
}

#[test]
fn in_flight_is_exact_and_its_end_is_reported_at_once() {
    let (slow, arrivals, release) = held_back("old");
    let world = World::new(&one(1, 1, slow));
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    arrivals.recv().expect("the request");
    let report = world.publish(&one(2, 2, saying("new")));
    assert_eq!(in_flight(&report), [(1, 1)].into());
    assert_eq!(world.client().get("/").text(), "new");
    release.send(()).expect("the upstream waits");
    assert_eq!(client.receive().text(), "old");
    let asked = Instant::now();
    world.report(|report| in_flight(report).is_empty());
    assert!(asked.elapsed() < Duration::from_millis(500), "only the periodic report told");
    assert_eq!(client.get("/").text(), "new");
}

/// An app whose instance tells what it was asked for.
fn telling() -> SocketAddr {
    answering(|seen| {
        let first = seen.head.lines().next().unwrap_or_default();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{first}", first.len())
    })
}

#[test]
fn a_held_request_is_routed_by_the_snapshot_that_lets_it_go() {
    let waits = |request: &str| {
        let world = World::new(&snapshot(1, &[(1, 0, &[])]));
        let mut client = world.client();
        client.send(request);
        eventually("the request is held", || (world.counters().held == 1).then_some(()));
        (world, client)
    };
    // Another rule for its path.
    let (world, mut client) = waits("GET /shop/x?y HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut stripped = one(2, 1, telling());
    stripped.apps[0].route.path = "/shop".into();
    stripped.apps[0].route.prefix = model::Prefix::Stripped;
    world.publish(&stripped);
    assert_eq!(client.receive().text(), "GET /x?y HTTP/1.1");
    // Another limit for its body.
    let (world, mut client) = waits("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    let limits = model::AppLimits { body: Some(1), ..model::AppLimits::default() };
    world.publish(&limited(one(2, 1, telling()), limits));
    assert_eq!(client.receive().status, 413);
    assert_eq!(client.get("/").text(), "GET / HTTP/1.1", "the connection goes on");
    // Another app under its host.
    let (world, mut client) = waits("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut two = snapshot(2, &[(1, 0, &[])]);
    let mut other = one(2, 1, telling()).apps.remove(0);
    other.app = "other".parse().expect("a name");
    other.route.hosts = vec!["a".into()];
    two.apps.push(other);
    world.publish(&two);
    assert_eq!(client.receive().text(), "GET / HTTP/1.1");
    // None at all.
    let (world, mut client) = waits("GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut elsewhere = one(2, 1, telling());
    elsewhere.apps[0].route.path = "/shop".into();
    world.publish(&elsewhere);
    assert_eq!(client.receive().status, 404);
}

#[test]
fn an_older_snapshot_is_refused_and_the_same_one_changes_nothing() {
    let world = World::new(&one(5, 1, saying("a")));
    let stale = world.proxy.publish(&one(4, 2, saying("b"))).expect_err("older");
    assert_eq!(stale.current, Generation { term: 1, counter: 5 });
    world.proxy.publish(&one(5, 2, saying("b"))).expect("the same");
    assert_eq!(world.client().get("/").text(), "a");
}

#[test]
fn a_held_request_goes_to_the_instance_that_the_next_snapshot_brings() {
    let world = World::new(&snapshot(1, &[(1, 0, &[])]));
    let mut client = world.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    eventually("the request is held", || (world.counters().held == 1).then_some(()));
    world.publish(&one(
        2,
        1,
        answering(|seen| {
            format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
                String::from_utf8_lossy(&seen.body)
            )
        }),
    ));
    assert_eq!(client.receive().text(), "hi");
    assert_eq!(world.counters().failed, 0);
}

#[test]
fn a_request_that_is_connecting_goes_elsewhere_when_its_instance_leaves() {
    // A listener whose queue is full lets nobody in and refuses nobody.
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    listener.listen(0).unwrap();
    let full = TcpListener::from(listener);
    let at = full.local_addr().unwrap();
    let _first = std::net::TcpStream::connect(at).unwrap();
    let world = World::new(&one(1, 1, at));
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it connects", || {
        (in_flight(&world.proxy.report()) == [(1, 1)].into()).then_some(())
    });
    let report = world.publish(&one(2, 2, saying("new")));
    assert_eq!(in_flight(&report).get(&1), None, "it still counts on the one that left");
    assert_eq!(client.receive().text(), "new");
}

/// An instance that switches protocols and sends back every byte.
fn echoing() -> std::net::SocketAddr {
    upstream(|_, mut stream| {
        let head = read_head(&mut stream).expect("a head");
        assert!(head.contains("Upgrade: echo"), "{head}");
        let switch =
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n";
        stream.get_mut().write_all(switch.as_bytes()).expect("written");
        let mut byte = [0];
        while stream.read(&mut byte).is_ok_and(|n| n > 0) {
            stream.get_mut().write_all(&byte).expect("echoed");
        }
    })
}

/// What all snapshots here say.
const DEADLINE: Millis = Millis(10_000);
/// What has no end of its own is not all closed in the same moment.
const JITTER: Millis = Millis(250);

/// A tunnel to the first release, that the second snapshot takes from it.
fn tunnel_ends_after(first: &model::Snapshot, second: &model::Snapshot) {
    let world = World::still(first);
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    assert_eq!(client.try_receive(false).expect("an answer").status, 101);
    let echoes = |client: &mut Client| {
        client.send("x");
        let mut byte = [0];
        client.stream.read(&mut byte).is_ok_and(|n| n == 1)
    };
    assert!(echoes(&mut client));
    let report = world.publish(second);
    assert_eq!(in_flight(&report), [(1, 1)].into());
    world.advance(Millis(DEADLINE.0 - 1));
    assert!(echoes(&mut client));
    assert!(client.hears_nothing());
    world.advance(JITTER);
    assert!(client.is_closed());
    world.report(|report| in_flight(report).is_empty());
}

#[test]
fn a_tunnel_lives_on_after_a_swap_until_the_drain_deadline() {
    let echo = echoing();
    tunnel_ends_after(&one(1, 1, echo), &one(2, 2, saying("new")));
}

#[test]
fn a_tunnel_on_a_kept_standby_ends_at_the_deadline_too() {
    let (echo, new) = (echoing(), saying("new"));
    let standby = snapshot(2, &[(2, 10_000, &[(2, new)]), (1, 0, &[(1, echo)])]);
    tunnel_ends_after(&one(1, 1, echo), &standby);
}

/// The app is closed for all but these.
fn closed(mut snapshot: model::Snapshot, counter: u64, allow: &[&str]) -> model::Snapshot {
    let allow = allow.iter().map(|text| text.parse().expect("a network")).collect();
    let page = Page { html: None, message: None, retry_after: Millis(1_000) };
    snapshot.generation.counter = counter;
    snapshot.apps[0].maintenance = Some(Maintenance { page, hold: Millis(0), allow });
    snapshot
}

#[test]
fn a_tunnel_ends_at_the_deadline_when_its_app_is_closed() {
    let first = one(1, 1, echoing());
    tunnel_ends_after(&first, &closed(first.clone(), 2, &["10.0.0.0/8"]));
}

#[test]
fn a_tunnel_stays_through_a_closing_that_its_client_may_pass_or_that_ends_in_time() {
    let first = one(1, 1, echoing());
    for (allow, and_then) in [
        ("127.0.0.0/8", closed(first.clone(), 3, &["127.0.0.1/32"])),
        (
            "10.0.0.0/8",
            model::Snapshot { generation: Generation { term: 1, counter: 3 }, ..first.clone() },
        ),
    ] {
        let world = World::still(&first);
        let mut client = world.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
        assert_eq!(client.try_receive(false).expect("an answer").status, 101);
        world.publish(&closed(first.clone(), 2, &[allow]));
        world.advance(Millis(DEADLINE.0 - 1));
        world.publish(&and_then);
        world.advance(Millis(2 * DEADLINE.0));
        client.send("x");
        let mut byte = [0];
        assert_eq!(client.stream.read(&mut byte).expect("an echo"), 1, "{allow}");
    }
}

#[test]
fn an_event_stream_ends_at_the_deadline_when_its_app_is_closed() {
    let first = one(1, 1, streaming());
    let world = World::still(&first);
    let mut client = listening(&world);
    world.publish(&closed(first, 2, &[]));
    world.advance(Millis(DEADLINE.0 - 1));
    assert!(client.hears_nothing());
    world.advance(JITTER);
    assert_eq!(rest(&mut client), "");
    let counters = world.counters();
    assert_eq!((counters.requests, counters.failed, counters.client_aborted), (1, 0, 0));
}

/// Sends one event and then waits.
fn streaming() -> SocketAddr {
    upstream(|_, mut stream| {
        read_head(&mut stream).expect("a head");
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
        let text = format!("{head}Transfer-Encoding: chunked\r\n\r\n7\r\ndata: 1\r\n");
        stream.get_mut().write_all(text.as_bytes()).expect("written");
        let _ = stream.read(&mut [0]);
    })
}

/// A client that has got the first event.
fn listening(world: &World) -> Client {
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(read_head(&mut client.stream).expect("a head").starts_with("HTTP/1.1 200"));
    let mut event = [0; 12];
    client.stream.read_exact(&mut event).expect("an event");
    assert_eq!(&event, b"7\r\ndata: 1\r\n");
    client
}

/// Until the connection ends in order.
fn rest(client: &mut Client) -> String {
    let mut rest = String::new();
    client.stream.read_to_string(&mut rest).expect("no reset");
    rest
}

#[test]
fn an_event_stream_lives_until_the_drain_deadline_on_a_kept_standby_too() {
    let (stream, new) = (streaming(), saying("new"));
    let gone = one(2, 2, new);
    let standby = snapshot(2, &[(2, 10_000, &[(2, new)]), (1, 0, &[(1, stream)])]);
    for second in [gone, standby] {
        let world = World::still(&one(1, 1, stream));
        let mut client = listening(&world);
        world.publish(&second);
        world.advance(Millis(DEADLINE.0 - 1));
        assert!(client.hears_nothing());
        world.advance(JITTER);
        // It is not whole, and does not look so.
        assert_eq!(rest(&mut client), "");
        world.report(|report| in_flight(report).is_empty());
        let counters = world.counters();
        assert_eq!((counters.requests, counters.failed, counters.client_aborted), (1, 0, 0));
    }
}

#[test]
fn an_event_stream_ends_with_the_proxy_and_counts_as_no_failure() {
    let world = World::new(&one(1, 1, streaming()));
    let mut client = listening(&world);
    world.proxy.drain(Duration::from_secs(10));
    assert_eq!(rest(&mut client), "");
    world.proxy.join();
    assert_eq!(world.counters().failed, 0);
}

#[test]
fn an_end_on_one_side_of_a_tunnel_is_passed_on_and_the_other_side_goes_on() {
    let upstream = upstream(|_, mut stream| {
        read_head(&mut stream).expect("a head");
        stream
            .get_mut()
            .write_all(b"HTTP/1.1 101 X\r\nUpgrade: e\r\nConnection: upgrade\r\n\r\n")
            .expect("written");
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("until the client's end");
        stream.get_mut().write_all(&all).expect("after the client's end");
    });
    let world = World::new(&one(1, 1, upstream));
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: e\r\n\r\nearly");
    assert_eq!(client.try_receive(false).expect("an answer").status, 101);
    client.send(" and late");
    client.stream.get_ref().shutdown(std::net::Shutdown::Write).expect("half-closed");
    let mut all = String::new();
    client.stream.read_to_string(&mut all).expect("until the upstream's end");
    assert_eq!(all, "early and late");
}

#[test]
fn a_request_that_outlasts_the_drain_deadline_is_cut_and_counted() {
    let stuck = upstream(|_, mut stream| {
        read_head(&mut stream).expect("a head");
        let _ = stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
        let _ = stream.read(&mut [0]);
    });
    let world = World::still(&one(1, 1, stuck));
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut half = [0; 4];
    let head = read_head(&mut client.stream).expect("a head");
    client.stream.read_exact(&mut half).expect("half of it");
    assert!(head.starts_with("HTTP/1.1 200") && &half == b"half");
    world.publish(&one(2, 2, saying("new")));
    world.advance(Millis(DEADLINE.0 - 1));
    assert!(client.hears_nothing());
    world.advance(Millis(1));
    assert!(client.stream.read(&mut [0]).is_err(), "the client must see a reset");
    eventually("it is counted", || (world.counters().failed == 1).then_some(()));
}

#[test]
fn draining_finishes_what_is_in_flight_and_says_close() {
    let (slow, arrivals, release) = held_back("ok");
    let world = World::new(&one(1, 1, slow));
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    arrivals.recv().expect("the request");
    world.proxy.drain(Duration::from_secs(10));
    release.send(()).expect("the upstream waits");
    let got = client.receive();
    assert_eq!((got.text(), got.field("connection").as_deref()), ("ok", Some("close")));
    assert!(client.is_closed());
    drop(client);
    world.proxy.join();
    assert!(std::net::TcpStream::connect(world.at).is_err(), "it still listens");
}

#[test]
fn what_outlasts_the_end_of_a_drain_is_cut_and_counted() {
    let (arrived, arrivals) = channel();
    let never = upstream(move |_, mut stream| {
        read_head(&mut stream).expect("a head");
        arrived.send(()).expect("the test waits");
        let _ = stream.read(&mut [0]);
    });
    let world = World::still(&one(1, 1, never));
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    arrivals.recv().expect("the request");
    world.proxy.drain(Duration::from_secs(30));
    world.advance(Millis(29_999));
    assert!(client.hears_nothing());
    world.advance(Millis(1));
    world.proxy.join();
    let counters = world.counters();
    assert_eq!((counters.requests, counters.failed), (1, 1));
    assert_eq!(in_flight(&world.proxy.report()), [].into());
}

#[test]
fn a_second_proxy_cannot_share_the_port_unnoticed() {
    let world = World::new(&one(1, 1, saying("a")));
    let config = proxy::Config::new(vec![world.at]);
    let error = proxy::Proxy::bind(config).expect_err("taken");
    assert!(error.to_string().contains(&world.at.to_string()), "{error}");
    // And every worker gets its part of the connections.
    for _ in 0..32 {
        assert_eq!(world.client().get("/").text(), "a");
    }
}
