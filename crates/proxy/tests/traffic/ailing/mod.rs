//! Two instances under steady load, and one of them is killed, hangs or breaks off; and servers that
//! close idle connections at the wrong moment. No request is lost that may be sent again, and none that
//! may not is sent twice (I10).

mod idle;
mod load;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use model::{AppLimits, Balance, Health, HealthTable, Millis};

use crate::common::origins::{Maker, Origin};
use crate::common::*;
use load::{CLIENTS, End, Load, Sent};

/// A proxy before two instances that are Up, and that answer within a second or hang.
fn before(a: SocketAddr, b: SocketAddr, balance: Balance) -> World {
    let limits = AppLimits { first_byte: Millis(1_000), ..AppLimits::default() };
    let mut first = limited(snapshot(1, &[(1, 10_000, &[(1, a), (2, b)])]), limits);
    first.apps[0].route.balance = balance;
    let world = World::new(&first);
    let up = [1, 2].map(|number| (instance(number), Health::Up));
    world.proxy.set_health(Arc::new(HealthTable { health: up.into(), ..HealthTable::default() }));
    world
}

/// The requests that an origin was given, in order.
fn given(origin: &Origin) -> Vec<String> {
    origin.said().lines().filter(|line| !line.contains("/ready")).map(String::from).collect()
}

fn no_post_was_given_twice(origins: [&Origin; 2]) {
    let mut seen = BTreeSet::new();
    for line in origins.into_iter().flat_map(given).filter(|line| line.starts_with("POST ")) {
        assert!(seen.insert(line.clone()), "twice: {line}");
    }
    assert!(seen.len() > 100, "only {} were given at all", seen.len());
}

/// Waits until an origin is given requests, after all that it has been given before.
fn is_given_more(origin: &Origin) {
    let before = given(origin).len();
    eventually("it is given requests again", || (given(origin).len() > before + 20).then_some(()));
}

/// Requests without an answer of the app's.
fn lost(sent: &[Sent]) -> Vec<&Sent> {
    sent.iter().filter(|sent| sent.end != End::Answered(200)).collect()
}

#[test]
fn an_instance_that_is_killed_costs_only_the_posts_that_it_had() {
    let (mut a, b) = (Origin::start(Maker::Node), Origin::start(Maker::Node));
    let world = before(a.at, b.at, Balance::TwoChoices);
    let load = Load::on(world.at);
    load.goes_on(400);
    a.kill();
    let killed = Instant::now();
    load.goes_on(400);
    a.restart();
    is_given_more(&a);
    load.goes_on(100);
    let sent = load.end();
    let lost = lost(&sent);
    assert!(lost.len() <= CLIENTS, "{lost:?}");
    for sent in lost {
        assert_eq!((sent.method, sent.end), ("POST", End::Answered(502)), "{sent:?}");
        assert!(sent.begun < killed, "it began when the instance was long gone: {sent:?}");
    }
    no_post_was_given_twice([&a, &b]);
}

/// What a hung instance costs in six seconds, whichever way instances are picked: how many requests
/// came to it before somebody knew. Nobody knows but by waiting: a GET then goes to the other, a POST is
/// answered with 504.
fn reach_one_that_hangs(balance: Balance) -> usize {
    let (a, b) = (Origin::start(Maker::Node), Origin::start(Maker::Node));
    let world = before(a.at, b.at, balance);
    let load = Load::on(world.at);
    load.goes_on(400);
    a.hang();
    let hung = Instant::now();
    eventually("it hung for six seconds", || {
        (hung.elapsed() > Duration::from_secs(6)).then_some(())
    });
    a.go_on();
    let again = Instant::now();
    is_given_more(&a);
    load.goes_on(100);
    let sent = load.end();
    let lost = lost(&sent);
    for sent in &lost {
        assert_eq!((sent.method, sent.end), ("POST", End::Answered(504)), "{sent:?}");
        assert!(sent.begun < again, "the instance was there again: {sent:?}");
    }
    // A second in vain, then the answer of the other.
    let slowest = sent.iter().max_by_key(|sent| sent.took).expect("some were sent");
    assert!(slowest.took < Duration::from_secs(4), "{slowest:?}");
    no_post_was_given_twice([&a, &b]);
    let counters = world.counted(sent.len() as u64);
    assert_eq!(counters.failed, lost.len() as u64);
    lost.len() + usize::try_from(counters.retried).unwrap()
}

/// Requests in flight count against it: each second, that is each time they are given up, at most half
/// of the clients come to it, and after the fifth failure in a row it rests.
#[test]
fn an_instance_that_hangs_costs_a_few_posts_and_no_get() {
    let reached = reach_one_that_hangs(Balance::TwoChoices);
    assert!((1..=2 * CLIENTS).contains(&reached), "{reached} requests came to it");
}

/// In turn, all clients come to it within a moment, and wait for a second. Then it rests for two, lets
/// them all wait once more, and rests for four.
#[test]
fn an_instance_that_hangs_and_is_picked_in_turn_rests() {
    let reached = reach_one_that_hangs(Balance::RoundRobin);
    assert!((CLIENTS..=3 * CLIENTS).contains(&reached), "{reached} requests came to it");
}

#[test]
fn an_answer_that_is_reset_in_the_middle_is_broken_off_and_never_asked_for_again() {
    // Per origin, and the paths that were broken off; every fourth is, so that it never rests.
    let asked = Arc::new([const { AtomicUsize::new(0) }; 2]);
    let broken = Arc::<Mutex<BTreeSet<String>>>::default();
    let origin = |own: usize| {
        let (asked, broken) = (Arc::clone(&asked), Arc::clone(&broken));
        upstream(move |_, mut stream| {
            while let Some(head) = read_head(&mut stream) {
                let Ok(_) = read_body(&head, &mut stream) else { return };
                let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n12345678";
                if asked[own].fetch_add(1, Ordering::AcqRel) % 4 == 3 && own == 0 {
                    broken.lock().unwrap().insert(head.split(' ').nth(1).unwrap().into());
                    stream.get_mut().write_all(&whole[..whole.len() - 4]).unwrap();
                    let stream = stream.into_inner();
                    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                    return;
                }
                if stream.get_mut().write_all(whole).is_err() {
                    return;
                }
            }
        })
    };
    let world = before(origin(0), origin(1), Balance::TwoChoices);
    let load = Load::on(world.at);
    load.goes_on(1_000);
    let sent = load.end();
    let cut = broken.lock().unwrap().clone();
    assert!(cut.len() > 50, "only {} were broken off", cut.len());
    for sent in &sent {
        let end = if cut.contains(&sent.path) { End::BrokenOff } else { End::Answered(200) };
        assert_eq!(sent.end, end, "{sent:?}");
    }
    let asked: usize = asked.iter().map(|count| count.load(Ordering::Acquire)).sum();
    assert_eq!(asked, sent.len(), "something was asked for again");
    let counters = world.counted(sent.len() as u64);
    assert_eq!((counters.failed, counters.retried), (cut.len() as u64, 0));
}
