//! Requests and answers on their way: what arrives is what was sent, whole or visibly broken.

use std::io::{Read, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use model::Millis;

use crate::common::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn connections_are_kept_on_both_sides() {
    let at = upstream(|connection, mut stream| {
        while let Some(_head) = read_head(&mut stream) {
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{connection}");
            stream.get_mut().write_all(answer.as_bytes()).expect("written");
        }
    });
    let world = World::new(&one(1, 1, at));
    let mut client = world.client();
    for _ in 0..20 {
        assert_eq!(client.get("/").text(), "0");
    }
}

#[test]
fn requests_sent_at_once_are_answered_in_order() {
    let world = World::new(&one(
        1,
        1,
        answering(|seen| {
            let path = seen.head.split(' ').nth(1).expect("a path").to_owned();
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len())
        }),
    ));
    let mut client = world.client();
    let all: String = (0..100).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    client.send(all);
    for n in 0..100 {
        assert_eq!(client.receive().text(), format!("/{n}"));
    }
}

#[test]
fn the_app_sees_the_client_and_none_of_its_lies() {
    let world = World::new(&one(
        1,
        1,
        answering(|seen| {
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", seen.head.len(), seen.head)
        }),
    ));
    let mut client = world.client();
    client.send("GET /x HTTP/1.1\r\nHost: a:81\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: x\r\nX: 1\r\n\r\n");
    let port = world.at.port();
    let expected = format!(
        "GET /x HTTP/1.1\r\nHost: a:81\r\nX-Forwarded-For: 127.0.0.1\r\nX-Real-IP: 127.0.0.1\r\n\
         X-Forwarded-Proto: http\r\nX-Forwarded-Port: {port}\r\nX-Segue-Hops: 1\r\n\
         X-Forwarded-Host: a:81\r\n\r\n"
    );
    assert_eq!(client.receive().text(), expected);
}

#[test]
fn chunks_and_trailers_pass_in_both_directions() {
    let at = upstream(|_, mut stream| {
        let head = read_head(&mut stream).expect("a head");
        let (body, trailers) = read_body(&head, &mut stream).expect("a body");
        let sum = field(&format!("\n{trailers}"), "x-sum").expect("a trailer");
        let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for byte in body {
            answer.extend_from_slice(b"1;ext=1\r\n");
            answer.extend_from_slice(&[byte, b'\r', b'\n']);
        }
        answer.extend_from_slice(
            format!("0\r\nX-Back: {sum}\r\nContent-Length: 3\r\n\r\n").as_bytes(),
        );
        stream.get_mut().write_all(&answer).expect("written");
    });
    let world = World::new(&one(1, 1, at));
    let mut client = world.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nX-Sum: 7\r\nHost: evil\r\n\r\n");
    let got = client.receive();
    assert_eq!((got.text(), got.trailers.as_str()), ("hello world", "X-Back: 7\r\n\r\n"));
}

#[test]
fn head_has_a_length_and_no_body() {
    let world = World::new(&one(
        1,
        1,
        answering(|_| "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".into()),
    ));
    let mut client = world.client();
    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        let got = client.try_receive(false).expect("an answer");
        assert_eq!(got.field("content-length").as_deref(), Some("5"));
    }
}

#[test]
fn an_answer_that_ends_with_its_connection_is_chunked_and_the_client_stays() {
    let at = upstream(|_, mut stream| {
        read_head(&mut stream).expect("a head");
        stream.get_mut().write_all(b"HTTP/1.0 200 OK\r\n\r\nuntil the end").expect("written");
    });
    let world = World::new(&one(1, 1, at));
    let mut client = world.client();
    for _ in 0..3 {
        let got = client.get("/");
        assert_eq!(got.field("transfer-encoding").as_deref(), Some("chunked"));
        assert_eq!(got.text(), "until the end");
    }
    client.send("GET / HTTP/1.0\r\n\r\n");
    let mut rest = String::new();
    client.stream.read_to_string(&mut rest).expect("until closed");
    assert!(
        rest.ends_with("\r\n\r\nuntil the end") && rest.contains("Connection: close"),
        "{rest}"
    );
}

#[test]
fn interim_answers_pass_and_the_body_waits_for_the_100() {
    let at = upstream(|_, mut stream| {
        let head = read_head(&mut stream).expect("a head");
        let out = stream.get_mut();
        out.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n").expect("written");
        out.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").expect("written");
        let (body, _) = read_body(&head, &mut stream).expect("a body");
        assert_eq!(body, b"body");
        stream.get_mut().write_all(OK.as_bytes()).expect("written");
    });
    let world = World::new(&one(1, 1, at));
    let mut client = world.client();
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    assert_eq!(client.receive().field("link").as_deref(), Some("</a>"));
    assert_eq!(client.receive().status, 100);
    client.send("body");
    assert_eq!(client.receive().text(), "ok");
}

#[test]
fn a_truncated_answer_is_a_reset_and_never_looks_whole() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
    ] {
        let at = upstream(move |_, mut stream| {
            read_head(&mut stream).expect("a head");
            stream.get_mut().write_all(answer.as_bytes()).expect("written");
        });
        let world = World::new(&one(1, 1, at));
        let mut client = world.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut all = Vec::new();
        client.stream.read_to_end(&mut all).expect_err("a reset");
        assert!(!all.ends_with(b"0\r\n\r\n"));
        eventually("it is counted", || (world.counters().failed == 1).then_some(()));
    }
}

#[test]
fn a_post_meets_only_connections_that_certainly_stand() {
    // This upstream closes every connection right after an answer, without a word.
    let at = upstream(|_, mut stream| {
        let head = read_head(&mut stream).expect("a head");
        read_body(&head, &mut stream).expect("a body");
        stream.get_mut().write_all(OK.as_bytes()).expect("written");
        stream.get_ref().shutdown(std::net::Shutdown::Both).expect("closed");
        answered();
    });
    let world = World::new(&one(1, 1, at));
    let mut client = world.client();
    for _ in 0..200 {
        let closed = CLOSED.load(Ordering::SeqCst);
        assert_eq!(client.post("x").status, 200);
        eventually("it has closed", || (CLOSED.load(Ordering::SeqCst) > closed).then_some(()));
    }
    assert_eq!(world.counters().retried, 0);
}

static CLOSED: AtomicUsize = AtomicUsize::new(0);

fn answered() {
    CLOSED.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn a_get_is_sent_again_when_its_kept_connection_breaks_and_a_post_is_not() {
    // Every second request on a connection meets an upstream that has just gone.
    let at = upstream(|_, mut stream| {
        read_head(&mut stream).expect("a head");
        stream.get_mut().write_all(OK.as_bytes()).expect("written");
        let _ = read_head(&mut stream);
    });
    let world = World::new(&one(1, 1, at));
    let mut client = world.client();
    assert_eq!(client.get("/").status, 200);
    assert_eq!(client.get("/").status, 200);
    assert_eq!(world.counters().retried, 1);
    assert_eq!(client.post("x").status, 502);
    let counters = world.counted(3);
    assert_eq!((counters.retried, counters.failed), (1, 1));
}

#[test]
fn an_answer_that_came_before_the_connection_broke_is_read() {
    let at = upstream(|_, mut stream| {
        read_head(&mut stream).expect("a head");
        let answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig";
        stream.get_mut().write_all(answer).expect("written");
        // Closing on unread bytes resets the connection under the proxy's writes.
    });
    let world = World::new(&one(1, 1, at));
    let mut client = world.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n");
    let _ = client.stream.get_mut().write_all(&vec![b'x'; 300_000]);
    let got = client.receive();
    assert_eq!((got.status, got.text()), (413, "big"));
}

#[test]
fn a_refused_connection_costs_nothing_when_another_instance_stands() {
    let gone = testport::reserve();
    let good = saying("ok");
    let world = World::new(&snapshot(1, &[(1, 10_000, &[(1, gone), (2, good)])]));
    let mut client = world.client();
    for _ in 0..50 {
        assert_eq!(client.post("x").text(), "ok");
    }
    let counters = world.counted(50);
    assert_eq!((counters.failed, counters.held), (0, 0));
}

#[test]
fn an_early_answer_reaches_a_client_that_still_sends() {
    let mut nobody = snapshot(1, &[(1, 10_000, &[])]);
    nobody.apps[0].route.hold = Millis(0);
    let world = World::new(&nobody);
    for _ in 0..20 {
        let mut client = world.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n");
        client.send(vec![b'x'; 50_000]);
        assert_eq!(client.receive().status, 503);
        assert!(client.is_closed());
    }
}

#[test]
fn a_client_that_said_close_and_sends_on_still_gets_its_answer_and_a_clean_end() {
    let (arrived, arrivals) = channel();
    let (open, gate) = channel::<()>();
    let (arrived, gate) = (Mutex::new(arrived), Mutex::new(gate));
    let at = answering(move |_| {
        arrived.lock().expect("no panic").send(()).expect("the test waits");
        gate.lock().expect("no panic").recv().expect("the test goes on");
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".into()
    });
    let world = World::new(&one(1, 1, at));
    for _ in 0..5 {
        let mut client = world.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        arrivals.recv_timeout(PATIENCE).expect("the request");
        client.send(vec![b'x'; 10_000]);
        open.send(()).expect("the upstream waits");
        assert_eq!(client.receive().text(), "ok");
        assert!(client.is_closed());
    }
}

#[test]
fn a_client_that_resets_takes_its_request_back() {
    let (arrived, arrivals) = channel();
    let (ended, ends) = channel();
    let (arrived, ended) = (Mutex::new(arrived), Mutex::new(ended));
    let at = upstream(move |_, mut stream| {
        read_head(&mut stream).expect("a head");
        arrived.lock().expect("no panic").send(()).expect("the test waits");
        let end = stream.read(&mut [0]);
        ended.lock().expect("no panic").send(end.is_ok_and(|n| n > 0)).expect("the test waits");
    });
    let world = World::new(&one(1, 1, at));
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    arrivals.recv().expect("the request");
    client.reset();
    assert!(!ends.recv_timeout(PATIENCE).expect("the upstream's connection ends"));
    eventually("it is counted", || (world.counters().client_aborted == 1).then_some(()));
    assert_eq!(world.counters().failed, 0);
}

#[test]
fn a_half_closed_client_gets_its_answer() {
    let world = World::new(&one(1, 1, saying("ok")));
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.stream.get_ref().shutdown(std::net::Shutdown::Write).expect("half-closed");
    assert_eq!(client.receive().text(), "ok");
    assert!(client.is_closed());
}

#[test]
fn answers_of_instances_are_counted_by_release_and_ours_are_not() {
    let broken = "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n";
    let world = World::new(&one(1, 1, answering(move |_| broken.into())));
    let mut client = world.client();
    assert_eq!(client.get("/").status, 500);
    let counters = world.counted(1);
    assert!(counters.max_gap_ms.is_some());
    assert_eq!(counters.app_5xx.get(&model::ReleaseNo(1)), Some(&1));
    assert_eq!(counters.failed, 0);
    assert!(world.proxy.metrics().contains("code_class=\"5xx\"} 1"));
}

#[test]
fn bodies_of_any_size_stream_both_ways() {
    const SIZE: usize = 48 << 20;
    let at = upstream(|_, mut stream| {
        let head = read_head(&mut stream).expect("a head");
        let mut sum = 0_u64;
        let mut part = vec![0; 1 << 16];
        let mut left: usize = field(&head, "content-length").expect("a length").parse().unwrap();
        while left > 0 {
            let count = stream.read(&mut part).expect("read");
            assert!(count > 0, "cut short");
            sum += part[..count].iter().map(|b| u64::from(*b)).sum::<u64>();
            left -= count;
        }
        let out = stream.get_mut();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\nX-Sum: {sum}\r\n\r\n");
        out.write_all(head.as_bytes()).expect("written");
        for _ in 0..SIZE >> 16 {
            out.write_all(&[7; 1 << 16]).expect("written");
        }
    });
    let world = World::new(&one(1, 1, at));
    let mut client = world.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n"));
    for _ in 0..SIZE >> 16 {
        client.send([3; 1 << 16]);
    }
    let got = client.receive();
    assert_eq!(got.field("x-sum"), Some((3 * SIZE).to_string()));
    assert!(got.body.len() == SIZE && got.body.iter().all(|b| *b == 7));
    assert_eq!(world.counters().failed, 0);
}

#[test]
fn a_slow_reader_does_not_make_the_proxy_hoard() {
    const SIZE: usize = 64 << 20;
    let sent = std::sync::Arc::new(AtomicUsize::new(0));
    let counter = std::sync::Arc::clone(&sent);
    let at = upstream(move |_, mut stream| {
        read_head(&mut stream).expect("a head");
        let out = stream.get_mut();
        out.set_write_timeout(Some(Duration::from_millis(300))).expect("a timeout");
        let _ =
            out.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes());
        while out.write_all(&[7; 1 << 16]).is_ok() {
            counter.fetch_add(1 << 16, Ordering::SeqCst);
        }
        counter.fetch_add(SIZE, Ordering::SeqCst);
    });
    let world = World::new(&one(1, 1, at));
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    // The upstream gives up when nobody takes its bytes for a while: what it got rid of is bounded
    // by the kernel's buffers and ours.
    let total = eventually("the upstream stalls", || {
        let sent = sent.load(Ordering::SeqCst);
        (sent >= SIZE).then(|| sent - SIZE)
    });
    assert!(total < 24 << 20, "{total} bytes went somewhere");
}

#[test]
fn whoever_only_looks_changes_no_report() {
    let played = Played::new();
    let world = World::still(&one(1, 1, played.at));
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut instance = played.asked();
    world.advance(Millis(700));
    instance.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.receive().status, 200);
    let app = app_name();
    let has_ended = |gap: &model::Gap| gap.ms == 700;
    let before =
        world.report(|report| report.gaps.get(&app).is_some_and(|g| g.iter().any(has_ended)));
    eventually("nobody reports for a moment", || {
        let first = world.proxy.observe();
        assert!(world.proxy.metrics().contains("segue_requests_total"));
        (first == world.proxy.observe()).then_some(())
    });
    // It is in every report of the next minute, under the number of the first.
    let after = world.proxy.report();
    assert!(after.seq > before.seq && before.gaps[&app] == after.gaps[&app]);
    assert_eq!(after.gaps[&app].iter().map(|gap| gap.ms).max(), Some(700));
}
