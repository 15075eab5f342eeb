//! How long an instance may take, and how long we keep what we have of it.

use model::{AppLimits, Balance, Health, HealthTable, Millis};

use crate::common::*;
use crate::{GET, OK, sending};

const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";

/// The requests go to two instances in turn.
fn in_turn(a: std::net::SocketAddr, b: std::net::SocketAddr) -> model::Snapshot {
    let mut both = snapshot(1, &[(1, 10_000, &[(1, a), (2, b)])]);
    both.apps[0].route.balance = Balance::RoundRobin;
    both
}

/// One of these is answered at once; the others wait.
fn waiting(world: &World, clients: Vec<Client>) -> Vec<Client> {
    eventually("one is answered", || clients.iter().any(|it| !it.hears_nothing()).then_some(()));
    world.settle();
    clients.into_iter().filter(Client::hears_nothing).collect()
}

fn faults(world: &World) -> u64 {
    world.counters().faults.values().sum()
}

#[test]
fn an_instance_of_this_machine_without_room_is_waited_for_as_an_answer_is() {
    for limits in [8, 60]
        .map(|seconds| AppLimits { first_byte: Millis::from_secs(seconds), ..AppLimits::default() })
    {
        let full = Full::new();
        let world = World::still(&limited(one(1, 1, full.at), limits));
        let mut client = sending(&world, POST);
        world.settle();
        world.reaches(limits.first_byte, &client);
        assert_eq!(client.receive().status, 504);
        assert_eq!((world.counted(1).retried, faults(&world)), (0, 0), "it listens");
    }
}

/// An address of another machine, in a network of this test's own: what is sent there is lost, as it is
/// when the machine is off.
fn lost() -> std::net::SocketAddr {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)
        .expect("a network of its own, which takes root");
    for words in [
        "link set lo up",
        "tuntap add dev off mode tun",
        "addr add 192.0.2.1/24 dev off",
        "link set off up",
    ] {
        let done = std::process::Command::new("ip").args(words.split(' ')).status();
        assert!(done.is_ok_and(|status| status.success()), "ip {words}");
    }
    ([192, 0, 2, 9], 80).into()
}

#[test]
fn an_instance_of_another_machine_has_to_take_the_connection_within_two_seconds() {
    let gone = lost();
    // Nothing of the request went out: another instance gets it.
    let world = World::still(&in_turn(gone, saying("ok")));
    let clients = vec![sending(&world, POST), sending(&world, POST)];
    let mut client = waiting(&world, clients).remove(0);
    world.advance(Millis(1_999));
    assert!(client.hears_nothing());
    world.advance(Millis(1));
    assert_eq!(client.receive().text(), "ok");
    assert_eq!((world.counted(2).failed, faults(&world)), (0, 1));
}

/// A machine that is switched off sends no word. Whoever waits for one of its instances goes to none of the
/// others there, and nobody waits any more once two have waited in vain.
#[test]
fn all_instances_of_a_machine_that_is_off_are_left_alone_and_one_request_at_a_time_looks_again() {
    let gone = lost();
    let there = |port| std::net::SocketAddr::new(gone.ip(), port);
    let (first, second, well) = (there(81), there(82), saying("ok"));
    let mut table = snapshot(1, &[(1, 10_000, &[(1, first), (2, second), (3, well)])]);
    table.apps[0].route.balance = Balance::RoundRobin;
    let world = World::still(&table);
    let asked = |count: usize| (0..count).map(|_| sending(&world, POST)).collect::<Vec<Client>>();
    let mut clients = waiting(&world, asked(3));
    assert_eq!(clients.len(), 2);
    world.advance(Millis(2_000));
    clients.iter_mut().for_each(|client| assert_eq!(client.receive().text(), "ok"));
    assert_eq!(faults(&world), 2);
    asked(6).iter_mut().for_each(|client| assert_eq!(client.receive().text(), "ok"));
    // The ejection is over: of many requests one finds out whether the machine is still off.
    world.advance(Millis(2_001));
    let mut clients = waiting(&world, asked(6));
    assert_eq!(clients.len(), 1);
    world.advance(Millis(2_000));
    assert_eq!(clients.remove(0).receive().text(), "ok");
    assert_eq!(faults(&world), 3);
    // Now for twice as long.
    world.advance(Millis(2_001));
    asked(6).iter_mut().for_each(|client| assert_eq!(client.receive().text(), "ok"));
}

/// A machine that is there may take its time to read. Only one that acknowledges nothing is given up.
#[test]
fn an_upload_to_another_machine_may_wait_for_its_reader() {
    let _elsewhere = lost();
    let played = Played::at("192.0.2.1:0".parse().expect("an address"));
    let mut table = one(1, 1, played.at);
    table.apps[0].route.hold = Millis(0);
    let world = World::new(&table);
    let length = 8 << 20;
    let mut client =
        sending(&world, &format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
    let mut writer = client.stream.get_ref().try_clone().expect("a second handle");
    let sends = std::thread::spawn(move || {
        std::io::Write::write_all(&mut writer, &vec![b'x'; length]).expect("it is read at last");
    });
    let mut instance = played.asked();
    // it waits: the kernel has to count it as not acknowledged for longer than two seconds
    std::thread::sleep(std::time::Duration::from_millis(4_500));
    let mut body = vec![0; length];
    std::io::Read::read_exact(&mut instance.stream, &mut body).expect("the whole body");
    instance.send(OK);
    assert_eq!(client.receive().text(), "ok");
    sends.join().expect("all is sent");
    // What is sent next on this connection is small. If nobody acknowledges it, the machine is off.
    for words in [
        "add table inet off",
        "add chain inet off output { type filter hook output priority 0; }",
        "add rule inet off output ip daddr 192.0.2.1 drop",
    ] {
        let done = std::process::Command::new("nft").arg(words).status();
        assert!(done.is_ok_and(|status| status.success()), "nft {words}");
    }
    let asked = std::time::Instant::now();
    client.send(GET);
    assert_eq!(client.receive().status, 503, "there is no other instance");
    let took = asked.elapsed().as_secs();
    assert!((1..10).contains(&took), "{took} s");
}

#[test]
fn once_there_is_room_the_request_goes_out() {
    let full = Full::new();
    let world = World::still(&one(1, 1, full.at));
    let mut client = sending(&world, POST);
    world.settle();
    world.advance(Millis::from_secs(30));
    let mut instance = full.accept();
    assert!(instance.head().starts_with("POST / "));
    instance.send(OK);
    assert_eq!(client.receive().text(), "ok");
    let counters = world.counted(1);
    assert_eq!((counters.failed, counters.held, counters.retried, faults(&world)), (0, 0, 0, 0));
}

#[test]
fn an_instance_on_a_unix_socket_without_room_is_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.sock").to_str().expect("text").to_owned();
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    socket.bind(&socket2::SockAddr::unix(&path).expect("an address")).expect("bound");
    socket.listen(0).expect("listening");
    let listener = std::os::unix::net::UnixListener::from(socket);
    let _first = std::os::unix::net::UnixStream::connect(&path).expect("its queue has one place");
    let mut table = one(1, 1, "127.0.0.1:9".parse().expect("an address"));
    table.apps[0].arms[0].instances[0].address = model::Address::Unix(path);
    let world = World::still(&table);
    let mut client = sending(&world, POST);
    world.settle();
    world.advance(Millis::from_secs(30));
    assert!(client.hears_nothing());
    drop(listener.accept().expect("the first in its queue"));
    let mut instance = std::io::BufReader::new(listener.accept().expect("the proxy's").0);
    assert!(read_head(&mut instance).expect("a head").starts_with("POST / "));
    std::io::Write::write_all(instance.get_mut(), OK.as_bytes()).expect("written");
    assert_eq!(client.receive().text(), "ok");
    let counters = world.counted(1);
    assert_eq!((counters.failed, counters.held, counters.retried, faults(&world)), (0, 0, 0, 0));
}

#[test]
fn another_instance_that_has_room_goes_first() {
    let full = Full::new();
    let world = World::still(&in_turn(full.at, saying("ok")));
    let clients = vec![sending(&world, POST), sending(&world, POST)];
    let mut left = waiting(&world, clients);
    assert_eq!(left.len(), 1);
    let mut client = left.remove(0);
    world.advance(Millis(49));
    assert!(client.hears_nothing());
    world.advance(Millis(1));
    assert_eq!(client.receive().text(), "ok");
    let counters = world.counted(2);
    assert_eq!((counters.failed, counters.held, faults(&world)), (0, 0, 0));
}

#[test]
fn an_answer_has_to_begin_within_sixty_seconds() {
    let own = AppLimits { first_byte: Millis::from_secs(8), ..AppLimits::default() };
    for limits in [AppLimits::default(), own] {
        let played = Played::new();
        let world = World::still(&limited(one(1, 1, played.at), limits));
        let mut client = sending(&world, GET);
        let instance = played.asked();
        world.reaches(limits.first_byte, &client);
        assert_eq!(client.receive().status, 504);
        assert!(!instance.hears_nothing(), "its connection stays open");
        let counters = world.counters();
        assert_eq!((counters.failed, counters.retried), (1, 0));
    }
    assert_eq!(AppLimits::default().first_byte, Millis::from_secs(60));
}

#[test]
fn a_get_that_waited_sixty_seconds_in_vain_goes_to_another_instance_once() {
    let (a, b) = (Played::new(), Played::new());
    let world = World::still(&in_turn(a.at, b.at));
    let mut client = sending(&world, GET);
    world.settle();
    world.advance(Millis::from_secs(60));
    let (_first, _second) = (a.asked(), b.asked());
    assert!(client.hears_nothing());
    world.reaches(Millis::from_secs(60), &client);
    assert_eq!(client.receive().status, 504);
    assert_eq!(world.counters().retried, 1);
}

#[test]
fn an_answer_has_five_minutes_between_two_reads() {
    let own = AppLimits { between_bytes: Millis::from_secs(9), ..AppLimits::default() };
    for limits in [AppLimits::default(), own] {
        let played = Played::new();
        let world = World::still(&limited(one(1, 1, played.at), limits));
        let mut client = sending(&world, GET);
        let mut instance = played.asked();
        instance.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal");
        assert!(client.head().starts_with("HTTP/1.1 200"));
        world.advance(Millis(limits.between_bytes.0 - 1));
        instance.send("f");
        world.advance(Millis(limits.between_bytes.0 - 1));
        assert!(instance.hears_nothing());
        world.advance(Millis(1));
        let mut half = Vec::new();
        let end = std::io::Read::read_to_end(&mut client.stream, &mut half);
        assert!(end.is_err() && (half.is_empty() || half == b"half"), "{end:?} {half:?}");
        assert_eq!(world.counters().failed, 1);
    }
    assert_eq!(AppLimits::default().between_bytes, Millis::from_secs(300));
}

#[test]
fn an_event_stream_may_be_silent() {
    let played = Played::new();
    let world = World::still(&one(1, 1, played.at));
    let mut client = sending(&world, GET);
    let mut instance = played.asked();
    instance.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 200"));
    world.advance(Millis::from_secs(86_400));
    assert!(client.hears_nothing() && instance.hears_nothing());
    instance.send("data: 1\n\n");
    world.settle();
    assert!(!client.hears_nothing());
}

#[test]
fn a_tunnel_is_closed_after_an_hour_without_a_byte_either_way() {
    let own = AppLimits { tunnel_idle: Millis::from_secs(11), ..AppLimits::default() };
    for limits in [AppLimits::default(), own] {
        let played = Played::new();
        let world = World::still(&limited(one(1, 1, played.at), limits));
        let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";
        let mut client = sending(&world, upgrade);
        let mut instance = played.asked();
        instance.send("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
        assert!(client.head().starts_with("HTTP/1.1 101"));
        let mut byte = [0];
        world.advance(Millis(limits.tunnel_idle.0 - 1));
        client.send("a");
        std::io::Read::read_exact(&mut instance.stream, &mut byte).expect("it is passed on");
        world.advance(Millis(limits.tunnel_idle.0 - 1));
        instance.send("b");
        std::io::Read::read_exact(&mut client.stream, &mut byte).expect("it is passed on");
        world.reaches(limits.tunnel_idle, &client);
        assert!(client.is_closed() && instance.is_closed());
    }
    assert_eq!(AppLimits::default().tunnel_idle, Millis::from_secs(3_600));
}

/// A connection to the instance that has been idle from now on, its answer with these fields. The
/// instance has served two at once: nothing has to make way for anybody.
fn idle(world: &World, played: &Played, fields: &str) -> Client {
    let (one, other) = (sending(world, GET), sending(world, GET));
    let (mut first, mut second) = (played.asked(), played.asked());
    first.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{fields}\r\nok"));
    world.settle();
    second.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    eventually("both are answered", || {
        (!one.hears_nothing() && !other.hears_nothing()).then_some(())
    });
    world.settle();
    assert!(first.hears_nothing() && second.is_closed());
    first
}

/// Up to this age a connection to an instance is used again, and from then on a new one is made.
fn is_kept_for(most: Millis, request: &str, fields: &str) {
    for (age, again) in [(Millis(most.0 - 1), true), (most, false)] {
        let played = Played::new();
        let world = World::still(&one(1, 1, played.at));
        let first = idle(&world, &played, fields);
        world.advance(age);
        let mut client = sending(&world, request);
        let mut instance = if again { first } else { played.accept() };
        let head = instance.head();
        read_body(&head, &mut instance.stream).expect("a body");
        instance.send(OK);
        assert_eq!(client.receive().text(), "ok", "{age:?}");
    }
}

#[test]
fn an_idle_connection_to_an_instance_is_kept_for_one_and_a_half_seconds() {
    is_kept_for(Millis(1_500), GET, "");
}

#[test]
fn or_a_second_less_than_the_instance_says() {
    is_kept_for(Millis(4_000), GET, "Keep-Alive: timeout=5\r\n");
    is_kept_for(Millis(1_000), GET, "Keep-Alive: timeout=2\r\n");
}

#[test]
fn but_a_minute_at_most_whatever_it_says() {
    is_kept_for(Millis(60_000), GET, "Keep-Alive: timeout=3600\r\n");
    is_kept_for(Millis(60_000), GET, "Keep-Alive: timeout=999999999999999999\r\n");
}

#[test]
fn a_request_that_cannot_be_sent_again_takes_one_that_was_idle_for_less_than_a_second() {
    is_kept_for(Millis(1_000), POST, "Keep-Alive: timeout=60\r\n");
}

#[test]
fn a_connection_whose_time_is_over_is_closed_though_nobody_asks() {
    let played = Played::new();
    let world = World::still(&one(1, 1, played.at));
    let mut instance = idle(&world, &played, "");
    world.advance(Millis(1_499));
    assert!(instance.hears_nothing());
    // Such things are looked at five times a second.
    world.advance(Millis(200));
    assert!(instance.is_closed());
}

#[test]
fn a_program_that_may_serve_one_connection_at_a_time_has_none_for_longer_than_half_a_second() {
    let played = Played::new();
    let world = World::still(&one(1, 1, played.at));
    let client = sending(&world, GET);
    let mut instance = played.asked();
    instance.send(OK);
    eventually("it is answered", || (!client.hears_nothing()).then_some(()));
    world.settle();
    world.advance(Millis(499));
    assert!(instance.hears_nothing());
    world.advance(Millis(200));
    assert!(instance.is_closed(), "whoever else waits for it is next");
}

#[test]
fn while_a_new_connection_waits_the_idle_ones_make_room() {
    let played = Played::new();
    let world = World::still(&one(1, 1, played.at));
    let mut client = sending(&world, POST);
    let mut first = played.asked();
    std::io::Read::read_exact(&mut first.stream, &mut [0]).expect("a body");
    first.send(OK);
    assert_eq!(client.receive().text(), "ok");
    // That connection is the first client's own: this one needs another, which is not answered on.
    let mut other = sending(&world, GET);
    let mut second = played.asked();
    world.advance(Millis(49));
    assert!(first.hears_nothing());
    world.advance(Millis(1));
    world.advance(Millis(200));
    assert!(first.is_closed(), "perhaps it is in the way");
    second.send(OK);
    assert_eq!(other.receive().text(), "ok");
    assert!(second.is_closed(), "it was: the next one is not to wait for that");
}

#[test]
fn not_more_than_32_connections_to_an_instance_stay_idle() {
    let played = Played::new();
    let world = World::still(&one(1, 1, played.at));
    let mut clients: Vec<_> = (0..50).map(|_| sending(&world, GET)).collect();
    let mut instances: Vec<_> = clients.iter().map(|_| played.asked()).collect();
    instances.iter_mut().for_each(|instance| instance.send(OK));
    clients.iter_mut().for_each(|client| assert_eq!(client.receive().text(), "ok"));
    world.settle();
    assert!(instances.iter().all(Client::hears_nothing), "a burst keeps them for a moment");
    world.advance(Millis(200));
    assert_eq!(instances.iter().filter(|it| it.hears_nothing()).count(), 32);
}

/// The rests of an instance that fails whenever it is asked: two seconds, and twice as long each time.
#[test]
fn an_instance_that_fails_five_times_rests_for_two_seconds_and_longer_each_time() {
    let broken = answering(|_| "nonsense\r\n\r\n".into());
    let world = World::still(&in_turn(broken, saying("ok")));
    let up = [1, 2].map(|number| (instance(number), Health::Up));
    world.proxy.set_health(std::sync::Arc::new(HealthTable {
        health: up.into(),
        ..HealthTable::default()
    }));
    let failures = || (0..20).filter(|_| world.client().get("/").status == 502).count();
    assert_eq!(failures(), 5);
    for rest in [2, 4, 8, 16, 32, 60, 60].map(Millis::from_secs) {
        world.advance(Millis(rest.0 - 1));
        assert_eq!(failures(), 0, "{rest:?}");
        world.advance(Millis(1));
        assert_eq!(failures(), 1, "{rest:?}");
    }
}

#[test]
fn retries_are_a_fifth_of_the_requests_or_ten_per_second() {
    // Every connection answers once and then breaks under the next request.
    let at = upstream(|_, mut stream| {
        use std::io::Write;
        if read_head(&mut stream).is_some() {
            let _ = stream.get_mut().write_all(OK.as_bytes());
        }
        let _ = read_head(&mut stream);
    });
    let world = World::still(&one(1, 1, at));
    let mut client = world.client();
    let mut sent = 0;
    let mut retries = |requests: u64| {
        let before = world.counters().retried;
        (0..requests).for_each(|_| drop(client.get("/")));
        sent += requests;
        world.counted(sent).retried - before
    };
    let first = retries(100);
    assert!((10..=40).contains(&first), "{first}");
    assert_eq!(retries(10), 2, "the time stands still");
    world.advance(Millis::from_secs(1));
    let next = retries(30);
    assert!((10..=17).contains(&next), "{next}");
}

/// How quiet the proxy says that the instance has been.
fn quiet(world: &World) -> Option<u64> {
    world.settle();
    world.proxy.report().quiet.get(&instance(1)).map(|quiet| quiet.0)
}

#[test]
fn how_long_an_instance_has_made_no_progress_is_reported() {
    let played = Played::new();
    let world = World::still(&one(1, 1, played.at));
    world.advance(Millis::from_secs(30));
    assert_eq!(quiet(&world), None, "nothing is in flight");
    let mut client = sending(&world, POST);
    let mut first = played.asked();
    world.advance(Millis(700));
    assert_eq!(quiet(&world), Some(700), "taking a request's first bytes is no progress");
    let other = sending(&world, GET);
    let second = played.asked();
    assert_eq!(quiet(&world), Some(700), "nor is another request");
    first.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no");
    assert!(client.head().starts_with("HTTP/1.1 200"));
    assert_eq!(quiet(&world), Some(0), "a byte of an answer is");
    world.advance(Millis(300));
    drop((client, other));
    assert_eq!(quiet(&world), Some(300), "a client that leaves is none");
    drop((first, second));
}
