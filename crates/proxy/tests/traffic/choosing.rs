//! Arms, shares and instances that fail: who gets a request.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use model::{Address, AppLimits, Balance, Health, HealthTable, Millis};

use crate::common::*;

#[test]
fn a_share_of_the_requests_goes_to_each_arm_and_none_to_a_standby() {
    let (a, b, c) = (saying("a"), saying("b"), saying("c"));
    let arms: &[ArmOf<'_>] = &[(1, 7_500, &[(1, a)]), (2, 0, &[(2, b)]), (3, 2_500, &[(3, c)])];
    let world = World::new(&snapshot(1, arms));
    let mut client = world.client();
    let mut counts = [0; 3];
    for _ in 0..1_000 {
        match client.get("/").text() {
            "a" => counts[0] += 1,
            "b" => counts[1] += 1,
            _ => counts[2] += 1,
        }
    }
    assert_eq!(counts[1], 0);
    // Six standard deviations to each side.
    assert!((168..=332).contains(&counts[2]), "{counts:?}");
    assert_eq!(world.counted(1_000).diverted, 0);
}

#[test]
fn an_arm_whose_instances_are_down_gives_its_share_to_the_other() {
    let arms: &[ArmOf<'_>] = &[(1, 5_000, &[(1, saying("a"))]), (2, 5_000, &[(2, saying("b"))])];
    let world = World::new(&snapshot(1, arms));
    let mut table = HealthTable::default();
    table.health.insert(instance(1), Health::Up);
    table.health.insert(instance(2), Health::Down);
    world.proxy.set_health(Arc::new(table));
    let mut client = world.client();
    for _ in 0..50 {
        assert_eq!(client.get("/").text(), "a");
    }
    let counters = world.counted(50);
    assert!(counters.diverted > 0 && counters.failed == 0, "{counters:?}");
}

#[test]
fn an_instance_that_fails_again_and_again_rests_but_never_the_last() {
    let broken = upstream(|_, mut stream| {
        let _ = read_head(&mut stream);
        let _ = stream.get_mut().write_all(b"nonsense\r\n\r\n");
    });
    let arms: &[ArmOf<'_>] = &[(1, 10_000, &[(1, broken), (2, saying("ok"))])];
    let world = World::new(&snapshot(1, arms));
    let mut client = world.client();
    let mut failed = 0;
    for _ in 0..200 {
        failed += usize::from(client.get("/").status == 502);
    }
    assert!((1..=20).contains(&failed), "{failed} requests met the broken one");
    let alone = World::new(&one(1, 1, broken));
    for _ in 0..20 {
        assert_eq!(alone.client().get("/").status, 502);
    }
}

#[test]
fn an_instance_that_breaks_off_each_answer_in_the_middle_rests() {
    let broken = upstream(|_, mut stream| {
        let _ = read_head(&mut stream);
        let _ = stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
    });
    let world = World::new(&snapshot(1, &[(1, 10_000, &[(1, broken), (2, saying("ok"))])]));
    let mut client = world.client();
    let mut cut = 0;
    for _ in 0..200 {
        if client.try_get("/").is_err() {
            cut += 1;
            client = world.client();
        }
    }
    assert!((1..=20).contains(&cut), "{cut} answers were broken off");
}

/// What was on its way when an instance began to rest says nothing new when it fails: one bad moment
/// is one rest of two seconds, however many requests it costs.
#[test]
fn requests_that_fail_together_make_an_instance_rest_once() {
    let (well, arrived) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let hanging = {
        let (well, arrived) = (Arc::clone(&well), Arc::clone(&arrived));
        upstream(move |_, mut stream| {
            while read_head(&mut stream).is_some() {
                arrived.fetch_add(1, Ordering::AcqRel);
                if well.load(Ordering::Acquire) {
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nagain";
                    stream.get_mut().write_all(answer).expect("written");
                }
            }
        })
    };
    let mut instances: Vec<_> = (2..=6).map(|number| (number, saying("ok"))).collect();
    instances.push((1, hanging));
    let mut first = snapshot(1, &[(1, 10_000, &instances)]);
    first.apps[0].route.balance = Balance::RoundRobin;
    let world = World::still(&first);
    let mut clients: Vec<_> = (0..72).map(|_| world.client()).collect();
    for client in &mut clients {
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    }
    eventually("all that go there are there", || {
        (arrived.load(Ordering::Acquire) == 12).then_some(())
    });
    eventually("all others are answered", || {
        (clients.iter().filter(|client| client.hears_nothing()).count() == 12).then_some(())
    });
    world.advance(AppLimits::default().first_byte);
    let failed = clients.iter_mut().map(Client::receive).filter(|got| got.status == 504).count();
    assert_eq!((failed, arrived.load(Ordering::Acquire)), (12, 12));
    well.store(true, Ordering::Release);
    let mut client = world.client();
    let mut asks_it = || (0..12).any(|_| client.get("/").text() == "again");
    world.advance(Millis(1_999));
    assert!(!asks_it(), "it rests");
    world.advance(Millis(1));
    assert!(asks_it(), "it still rests");
}

#[test]
fn instances_may_listen_on_unix_sockets() {
    let path = std::env::temp_dir().join(format!("segue-proxy-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).expect("a socket");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = std::io::BufReader::new(stream);
            while read_head(&mut stream).is_some() {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nunix";
                stream.get_mut().write_all(answer).expect("written");
            }
        }
    });
    let mut snapshot = one(1, 1, "127.0.0.1:1".parse().expect("an address"));
    snapshot.apps[0].arms[0].instances[0].address =
        Address::Unix(path.to_str().expect("text").to_owned());
    let world = World::new(&snapshot);
    let mut client = world.client();
    for _ in 0..5 {
        assert_eq!(client.get("/").text(), "unix");
    }
    std::fs::remove_file(&path).expect("removed");
}

#[test]
fn refused_by_all_a_request_is_held_until_one_listens() {
    let at = testport::reserve();
    let world = World::new(&one(1, 1, at));
    let mut client = world.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    eventually("it is held", || (world.counters().held == 1).then_some(()));
    let listener = TcpListener::bind(at).expect("the same port");
    let (stream, _) = listener.accept().expect("the proxy tries again");
    let mut stream = std::io::BufReader::new(stream);
    let head = read_head(&mut stream).expect("a head");
    assert_eq!(read_body(&head, &mut stream).expect("a body").0, b"x");
    stream
        .get_mut()
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nback")
        .expect("written");
    assert_eq!(client.receive().text(), "back");
    let counters = world.counted(1);
    assert_eq!((counters.held, counters.failed, counters.retried), (1, 0, 0));
}

#[test]
fn however_many_refuse_the_request_is_held_and_then_503() {
    let many: Vec<_> = (1..=12).map(|number| (number, testport::reserve())).collect();
    let table = snapshot(1, &[(1, 10_000, &many)]);
    let world = World::still(&table);
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    for _ in 0..50 {
        assert!(client.hears_nothing());
        world.advance(Millis(100));
    }
    assert_eq!(client.receive().status, 503);
    let counters = world.counted(1);
    assert_eq!((counters.held, counters.failed), (1, 1));
}

#[test]
fn a_held_request_is_dropped_when_its_client_leaves() {
    let world = World::new(&snapshot(1, &[(1, 10_000, &[])]));
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it is held", || (world.counters().held == 1).then_some(()));
    drop(client);
    let counters = world.counted(1);
    assert_eq!((counters.client_aborted, counters.failed), (1, 0));
    assert!(world.proxy.metrics().contains("segue_holding{app=\"web\"} 0"));
}

/// Right after a start all are young: they share the work, and nobody waits for one to grow old.
#[test]
fn instances_that_all_start_slowly_share_the_requests() {
    let mut first = snapshot(1, &[(1, 10_000, &[(1, saying("a")), (2, saying("b"))])]);
    first.apps[0].route.slow_start = model::Millis::from_secs(300);
    let world = World::new(&first);
    let up = |number| (instance(number), Health::Up);
    world.proxy.set_health(Arc::new(HealthTable {
        health: [up(1), up(2)].into(),
        ..HealthTable::default()
    }));
    let mut client = world.client();
    let of_a = (0..1_000).filter(|_| client.get("/").text() == "a").count();
    // Six standard deviations to each side.
    assert!((405..=595).contains(&of_a), "{of_a}");
    assert_eq!(world.counted(1_000).failed, 0);
}

/// Three instances that are Up, picked as the app's file says.
fn balanced(balance: Balance, affinity: model::Affinity) -> World {
    let instances = [(1, saying("a")), (2, saying("b")), (3, saying("c"))];
    let mut first = snapshot(1, &[(1, 10_000, &instances)]);
    (first.apps[0].route.balance, first.apps[0].route.affinity) = (balance, affinity);
    let world = World::new(&first);
    let up = (1..=3).map(|number| (instance(number), Health::Up)).collect();
    world.proxy.set_health(Arc::new(HealthTable { health: up, ..HealthTable::default() }));
    world
}

#[test]
fn round_robin_goes_round_over_all_workers() {
    let world = balanced(Balance::RoundRobin, model::Affinity::None);
    let mut clients = [world.client(), world.client(), world.client(), world.client()];
    let mut counts = std::collections::BTreeMap::new();
    for turn in 0..300 {
        let got = clients[turn % 4].get("/").text().to_owned();
        *counts.entry(got).or_insert(0) += 1;
    }
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [100, 100, 100]);
}

/// Answers of each of three instances to so many requests, by their names; the second weighs three times
/// as much as the others.
fn of_weighted(balance: Balance, requests: usize) -> std::collections::BTreeMap<String, usize> {
    let instances = [(1, saying("a")), (2, saying("b")), (3, saying("c"))];
    let mut first = snapshot(1, &[(1, 10_000, &instances)]);
    let route = &mut first.apps[0].route;
    (route.balance, route.affinity) = (balance, model::Affinity::Header("x-user".into()));
    first.apps[0].arms[0].instances[1].weight = model::Weight::new(3).expect("a weight");
    let world = World::new(&first);
    let up = (1..=3).map(|number| (instance(number), Health::Up)).collect();
    world.proxy.set_health(Arc::new(HealthTable { health: up, ..HealthTable::default() }));
    let mut client = world.client();
    let mut counts = std::collections::BTreeMap::new();
    for user in 0..requests {
        let got = client.get_with("/", &format!("X-User: {user}\r\n")).text().to_owned();
        *counts.entry(got).or_insert(0) += 1;
    }
    counts
}

#[test]
fn weights_divide_the_requests_however_they_are_picked() {
    let exactly = of_weighted(Balance::RoundRobin, 500);
    assert_eq!(exactly.into_values().collect::<Vec<_>>(), [100, 300, 100]);
    for balance in [Balance::TwoChoices, Balance::LeastConnections, Balance::Hash] {
        let counts = of_weighted(balance, 1_000);
        // Six standard deviations to each side of 200 and 600.
        let near = |name: &str, fair: usize, by| counts[name].abs_diff(fair) <= by;
        let fair = near("a", 200, 76) && near("b", 600, 93) && near("c", 200, 76);
        assert!(fair, "{balance:?}: {counts:?}");
    }
}

/// One client at a time has nobody in flight: only the time that answers take tells the two apart.
#[test]
fn by_peak_ewma_a_slow_instance_gets_clearly_fewer() {
    let slow = answering(|_| {
        // it waits: this app is slow
        std::thread::sleep(Duration::from_millis(200));
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow".into()
    });
    let of_slow = |balance| {
        let mut first = snapshot(1, &[(1, 10_000, &[(1, slow), (2, saying("quick"))])]);
        first.apps[0].route.balance = balance;
        let world = World::new(&first);
        let mut client = world.client();
        (0..40).filter(|_| client.get("/").text() == "slow").count()
    };
    let (by_time, by_turn) = (of_slow(Balance::PeakEwma), of_slow(Balance::RoundRobin));
    assert!(by_turn == 20 && (1..=8).contains(&by_time), "{by_time} of 40, {by_turn} in turn");
}

#[test]
fn least_connections_fills_all_alike() {
    let holding = || {
        upstream(|_, mut stream| {
            let _ = read_head(&mut stream);
            let _ = stream.read(&mut [0]);
        })
    };
    let instances: Vec<_> = (1..=8).map(|number| (number, holding())).collect();
    let mut first = snapshot(1, &[(1, 10_000, &instances)]);
    first.apps[0].route.balance = Balance::LeastConnections;
    let world = World::new(&first);
    let up = (1..=8).map(|number| (instance(number), Health::Up)).collect();
    world.proxy.set_health(Arc::new(HealthTable { health: up, ..HealthTable::default() }));
    let mut waiting = Vec::new();
    for sent in 1..=32 {
        let mut client = world.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        waiting.push(client);
        eventually("it is in flight", || {
            (in_flight(&world.proxy.report()).values().sum::<u32>() == sent).then_some(())
        });
    }
    assert_eq!(in_flight(&world.proxy.report()).into_values().collect::<Vec<_>>(), [4; 8]);
}

#[test]
fn hashed_users_stay_on_one_instance_and_the_unknown_go_anywhere() {
    let world = balanced(Balance::Hash, model::Affinity::Header("x-user".into()));
    let mut client = world.client();
    let mut seen = std::collections::BTreeSet::new();
    for user in 0..30 {
        let field = format!("X-User: {user}\r\n");
        let first = client.get_with("/", &field).text().to_owned();
        assert!((0..5).all(|_| world.client().get_with("/", &field).text() == first), "{user}");
        seen.insert(first);
    }
    assert_eq!(seen.len(), 3, "users are spread");
    let unknown: std::collections::BTreeSet<String> =
        (0..100).map(|_| client.get("/").text().to_owned()).collect();
    assert_eq!(unknown.len(), 3);
}
