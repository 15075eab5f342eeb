//! Which connections to an instance carry another request, and whose. The instance is played: it
//! sees each connection and what comes on it.

use model::{KeepAlive, Millis, Snapshot};
use proxy::Config;

use crate::common::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn with_rule(at: std::net::SocketAddr, rule: KeepAlive) -> Snapshot {
    let mut snapshot = one(1, 1, at);
    snapshot.apps[0].route.keep_alive = rule;
    snapshot
}

/// What has become of a connection to the instance after one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Became {
    Closed,
    /// The next request of the same client came on it; another client's did not.
    Own,
    /// Another client's came on it.
    Common,
}

/// One request and its answer, and what became of the connection, `after` a while.
fn became(rule: KeepAlive, request: &str, answer: &str, after: Millis) -> Became {
    let played = Played::new();
    let world = World::still(&with_rule(played.at, rule));
    let mut client = world.client();
    client.send(request);
    let mut first = played.accept();
    let head = first.head();
    first.send(answer);
    let with_body = !request.starts_with("HEAD");
    client.try_receive(with_body).expect("an answer");
    read_body(&head, &mut first.stream).expect("a body");
    world.settle();
    world.advance(after);
    let mut other = world.client();
    other.send(GET);
    world.settle();
    if !first.hears_nothing() && !ended(&first) {
        return Became::Common;
    }
    let mut second = played.asked();
    second.send(OK);
    assert_eq!(other.receive().text(), "ok");
    world.settle();
    if ended(&first) {
        return Became::Closed;
    }
    client.send(GET);
    world.settle();
    assert!(!first.hears_nothing() && !ended(&first), "it is kept for nobody");
    Became::Own
}

fn ended(connection: &Client) -> bool {
    !connection.hears_nothing() && matches!(connection.stream.get_ref().peek(&mut [0]), Ok(0))
}

fn request(method: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!("{method} / HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: {length}\r\n\r\n{body}")
}

fn answer(status: &str) -> String {
    match status {
        "204" | "304" => format!("HTTP/1.1 {status} X\r\n\r\n"),
        _ => format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nok"),
    }
}

#[test]
fn a_connection_that_carried_a_body_stays_with_its_client() {
    let body = "GET /secret HTTP/1.1\r\nX-Ignore: ";
    let long_enough = Millis(100);
    for (method, fields, status, expected) in [
        ("POST", "", "200", Became::Own),
        ("PUT", "", "303", Became::Own),
        ("POST", "", "204", Became::Own),
        ("POST", "", "401", Became::Closed),
        ("PATCH", "", "500", Became::Closed),
        ("GET", "", "200", Became::Closed),
        ("DELETE", "", "200", Became::Closed),
        ("OPTIONS", "", "204", Became::Closed),
        ("POST", "X-Forwarded-For: 192.0.2.1\r\n", "200", Became::Closed),
        ("POST", "Via: 1.1 cache\r\n", "200", Became::Closed),
        ("POST", "CF-Connecting-IP: 192.0.2.1\r\n", "200", Became::Closed),
    ] {
        let request = request(method, fields, body);
        let became = became(KeepAlive::Careful, &request, &answer(status), long_enough);
        assert_eq!(became, expected, "{method} {fields} {status}");
    }
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(became(KeepAlive::Careful, chunked, OK, long_enough), Became::Own);
}

#[test]
fn a_connection_that_carried_none_is_everybodys() {
    let common = |request: &str, status: &str, after: u64| {
        became(KeepAlive::Careful, request, &answer(status), Millis(after))
    };
    for status in ["200", "404", "500"] {
        assert_eq!(common(GET, status, 0), Became::Common);
    }
    assert_eq!(common(&request("POST", "", ""), "401", 0), Became::Common);
    assert_eq!(
        common(&request("GET", "X-Forwarded-For: 192.0.2.1\r\n", ""), "200", 0),
        Became::Common
    );
}

#[test]
fn an_answer_without_a_body_has_to_be_followed_by_silence() {
    let head = GET.replace("GET", "HEAD");
    assert_eq!(
        became(KeepAlive::Careful, &head, OK.trim_end_matches("ok"), Millis(0)),
        Became::Closed
    );
    for status in ["204", "304"] {
        let after = |ms: u64| became(KeepAlive::Careful, GET, &answer(status), Millis(ms));
        assert_eq!(after(100), Became::Common);
    }
}

#[test]
fn what_comes_late_closes_the_connection() {
    for status in ["204", "304"] {
        let played = Played::new();
        let world = World::still(&one(1, 1, played.at));
        let mut client = world.client();
        client.send(GET);
        let mut first = played.asked();
        first.send(answer(status));
        client.receive();
        world.advance(Millis(99));
        // A whole answer: whoever used the connection now would take it for its own.
        first.send(OK);
        world.settle();
        client.send(GET);
        let mut second = played.asked();
        second.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine");
        assert_eq!(client.receive().text(), "mine");
    }
}

#[test]
fn the_rule_of_an_app_can_be_less_careful_or_none_at_all() {
    let post = request("POST", "", "x");
    for (rule, expected) in
        [(KeepAlive::Trusting, Became::Common), (KeepAlive::Off, Became::Closed)]
    {
        assert_eq!(became(rule, &post, &answer("401"), Millis(0)), expected);
        assert_eq!(became(rule, GET, OK, Millis(0)), expected);
    }
}

#[test]
fn what_a_client_had_kept_for_it_ends_with_it() {
    let played = Played::new();
    let world = World::still(&one(1, 1, played.at));
    let mut client = world.client();
    client.send(request("POST", "", "x"));
    let mut first = played.asked();
    first.send(OK);
    client.receive();
    // It has given up its task, and is called from its rest to end.
    world.advance(Millis(150));
    drop(client);
    read_body("POST\r\ncontent-length: 1\r\n", &mut first.stream).expect("a body");
    assert!(first.is_closed());
}

#[test]
fn an_answer_that_began_before_the_body_was_out_ends_the_connection() {
    let played = Played::new();
    let world = World::still(&one(1, 1, played.at));
    let mut client = world.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx");
    let mut first = played.asked();
    first.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no");
    assert!(client.head().starts_with("HTTP/1.1 200"));
    client.send("y");
    read_body("POST\r\ncontent-length: 2\r\n", &mut first.stream).expect("a body");
    first.send("k");
    assert!(first.is_closed());
}

/// An instance whose connections send `first`, whatever is asked, after one good answer.
fn leaving(first: &'static str) -> std::net::SocketAddr {
    upstream(move |number, mut stream| {
        use std::io::Write;
        let mut count = 0;
        while let Some(head) = read_head(&mut stream) {
            read_body(&head, &mut stream).expect("a body");
            count += 1;
            let answer = if number == 0 && count == 2 { first } else { OK };
            if stream.get_mut().write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
}

#[test]
fn what_is_no_answer_on_a_used_connection_is_left_over_there() {
    let late = "<html>late</html>";
    let idle = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    for (left, for_post) in [(late, 502), (idle, 408)] {
        let world = World::of(&one(1, 1, leaving(left)), Config { workers: 1, ..config() });
        let mut client = world.client();
        assert_eq!(client.get("/").status, 200);
        assert_eq!(client.get("/").status, 200, "a GET is sent again on a new connection");
        let counters = world.counted(2);
        assert_eq!((counters.retried, counters.failed), (1, 0));
        assert_eq!(counters.faults.values().sum::<u64>(), 0);
        let world = World::of(&one(1, 1, leaving(left)), Config { workers: 1, ..config() });
        let mut client = world.client();
        assert_eq!(client.get("/").status, 200);
        assert_eq!(client.post("x").status, for_post, "a POST is not");
        assert_eq!(world.counted(2).retried, 0);
    }
}
