//! What is counted of a request, and against whom.

use std::io::{Read, Write};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use model::{AppLimits, Millis, ReleaseNo};

use crate::common::*;

fn of(counts: &std::collections::BTreeMap<ReleaseNo, u64>, release: u32) -> u64 {
    counts.get(&ReleaseNo(release)).copied().unwrap_or_default()
}

#[test]
fn every_answer_of_an_instance_counts_for_its_release_whatever_its_status() {
    let statuses = |_: &Seen| "HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n".to_owned();
    let world = World::new(&one(1, 1, answering(statuses)));
    let mut client = world.client();
    assert_eq!(client.get("/").status, 503);
    world.publish(&snapshot(2, &[(2, 10_000, &[(2, saying("new"))])]));
    assert_eq!(client.get("/").status, 200);
    let counters = world.counted(2);
    assert_eq!((of(&counters.answers, 1), of(&counters.answers, 2)), (1, 1));
    assert_eq!((of(&counters.app_5xx, 1), counters.failed), (1, 0));
    assert_eq!((of(&counters.faults, 1), of(&counters.faults, 2)), (0, 0));
    let first = "segue_requests_total{app=\"web\",release=\"1\",code_class=\"5xx\"} 1";
    assert!(world.proxy.metrics().contains(first));
    assert!(world.proxy.metrics().contains("segue_faults_total{app=\"web\",release=\"1\"} 0"));
}

#[test]
fn a_refusing_instance_is_at_fault_once_per_request_though_others_save_it() {
    let gone = testport::reserve();
    let alone = World::still(&one(1, 1, gone));
    let mut client = alone.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    (0..5).for_each(|_| alone.advance(Millis::from_secs(1)));
    assert_eq!(client.receive().status, 503);
    assert_eq!(of(&alone.counted(1).faults, 1), 1);
    let world = World::new(&snapshot(1, &[(1, 10_000, &[(1, gone), (2, saying("ok"))])]));
    let mut client = world.client();
    for _ in 0..20 {
        assert_eq!(client.get("/").text(), "ok");
    }
    let counters = world.counted(20);
    assert!((1..=20).contains(&of(&counters.faults, 1)), "{counters:?}");
    assert_eq!((of(&counters.answers, 1), counters.failed), (20, 0));
}

#[test]
fn answers_that_break_off_or_never_come_are_faults_and_clients_that_leave_are_not() {
    let at = upstream(|_, mut stream| {
        let Some(head) = read_head(&mut stream) else { return };
        if head.starts_with("GET /half") {
            let half = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
            let _ = stream.get_mut().write_all(half);
        } else if head.starts_with("POST /never") {
            let _ = stream.read(&mut [0]);
        }
    });
    let world = World::still(&one(1, 1, at));
    let mut client = world.client();
    client.send("GET /half HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.try_receive(true).is_err(), "it must not look whole");
    assert_eq!(world.client().post("x").status, 502);
    let mut slow = world.client();
    slow.send("POST /never HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    world.advance(AppLimits::default().first_byte);
    assert_eq!(slow.receive().status, 504);
    let counters = world.counted(3);
    assert_eq!((of(&counters.faults, 1), counters.failed), (3, 3));
    // The half one is an answer and a fault. Whoever judges the release must not count it as two requests.
    assert_eq!((of(&counters.answers, 1), of(&counters.broken_off, 1)), (1, 1));
    assert_eq!(of(&counters.bad, 1), 3);
    let own = "segue_requests_total{app=\"web\",release=\"none\",code_class=\"5xx\"} 2";
    assert!(world.proxy.metrics().contains(own), "the half one was the instance's answer");
    let mut leaving = world.client();
    leaving.send("POST /never HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    eventually("it arrives", || {
        (in_flight(&world.proxy.report()) == [(1, 1)].into()).then_some(())
    });
    leaving.reset();
    // Its leaving is looked for after a moment.
    world.advance(Millis(50));
    let counters = world.counted(4);
    assert_eq!((of(&counters.faults, 1), counters.client_aborted), (3, 1));
}

#[test]
fn what_we_cut_at_the_drain_deadline_is_not_the_instances_fault() {
    let (arrived, arrivals) = channel();
    let arrived = Mutex::new(arrived);
    let never = upstream(move |_, mut stream| {
        let _ = read_head(&mut stream);
        arrived.lock().expect("no panic").send(()).expect("the test waits");
        let _ = stream.read(&mut [0]);
    });
    let world = World::still(&one(1, 1, never));
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    arrivals.recv_timeout(PATIENCE).expect("the request");
    world.publish(&one(2, 2, saying("new")));
    // The deadline is that of the first.
    world.reaches(Millis::from_secs(10), &client);
    assert_eq!(client.receive().status, 504);
    let counters = world.counted(1);
    assert_eq!((of(&counters.faults, 1), counters.failed), (0, 1));
    world.proxy.drain(Duration::ZERO);
}
