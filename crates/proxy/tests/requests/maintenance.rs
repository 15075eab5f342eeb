//! A closed app: users are held for a while, then get a page; some are let in all the same.

use std::sync::Arc;

use model::{Maintenance, Millis, Page, Snapshot};
use proxy::Limits;

use crate::common::*;

fn closed(mut snapshot: Snapshot, hold_ms: u64, page: Page) -> Snapshot {
    let hold = Millis(hold_ms);
    snapshot.apps[0].maintenance = Some(Maintenance { page, hold, allow: Vec::new() });
    snapshot
}

fn page(message: &str) -> Page {
    Page { html: None, message: Some(message.to_owned()), retry_after: Millis(2_001) }
}

#[test]
fn a_closed_app_holds_its_requests_then_shows_a_page_and_nothing_has_failed() {
    let at = saying("open");
    let world = World::new(&closed(one(1, 1, at), 120, page("Tea <break> & \"more\"")));
    let mut client = world.client();
    let got = client.get("/");
    assert_eq!(got.status, 503);
    assert_eq!(got.field("retry-after").as_deref(), Some("3"));
    assert_eq!(got.field("cache-control").as_deref(), Some("no-store"));
    assert_eq!(got.field("content-type").as_deref(), Some("text/html; charset=utf-8"));
    assert!(got.text().contains("Tea &lt;break&gt; &amp; &quot;more&quot;"), "{}", got.text());
    let counters = world.counted(1);
    assert_eq!((counters.held, counters.failed, counters.client_aborted), (1, 0, 0));
    assert!(counters.answers.values().all(|count| *count == 0), "{counters:?}");
    // The connection is still good, and the app is back.
    world.publish(&one(2, 1, at));
    assert_eq!(client.get("/").text(), "open");
}

#[test]
fn opening_the_app_releases_the_held_at_once_in_their_order() {
    let first = closed(one(1, 1, saying("old")), 20_000, page("later"));
    let world = World::new(&first);
    let mut clients: Vec<_> = (0..20).map(|_| world.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    eventually("all are held", || (world.counters().held == 20).then_some(()));
    // A new page changes nothing for those that wait.
    world.publish(&closed(one(2, 1, saying("old")), 20_000, page("much later")));
    world.publish(&one(3, 2, saying("new")));
    for client in &mut clients {
        assert_eq!(client.receive().text(), "new");
    }
    let counters = world.counted(20);
    assert_eq!((counters.held, counters.failed, counters.retried), (20, 0, 0));
}

#[test]
fn whoever_likes_json_better_gets_json_and_head_gets_no_body() {
    let world = World::new(&closed(one(1, 1, saying("open")), 0, page("Tea \"break\"")));
    let mut client = world.client();
    let json = client.get_with("/", "Accept: application/json, */*\r\n");
    assert_eq!(json.field("content-type").as_deref(), Some("application/json; charset=utf-8"));
    let body: serde_json::Value = serde_json::from_str(json.text()).expect("JSON");
    let error = serde_json::json!({
        "code": "maintenance", "message": "Tea \"break\"", "retry_after": 3
    });
    assert_eq!(body, serde_json::json!({ "error": error }));
    let browser = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";
    let html = client.get_with("/", browser);
    assert!(html.text().starts_with("<!doctype html>"));
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.try_receive(false).expect("an answer");
    assert_eq!(head.field("content-length"), Some(html.body.len().to_string()));
    assert_eq!(client.get("/").status, 503, "the connection is out of step");
    let counters = world.counted(4);
    assert_eq!((counters.held, counters.failed), (0, 0));
}

#[test]
fn an_own_page_is_shown_as_it_is() {
    let html: Arc<str> = "<h1>Closed & <b>tired</b></h1>".into();
    let page = Page { html: Some(Arc::clone(&html)), message: None, retry_after: Millis(0) };
    let world = World::new(&closed(one(1, 1, saying("open")), 0, page));
    let got = world.client().get("/");
    assert_eq!((got.text(), got.field("retry-after").as_deref()), (&*html, Some("1")));
}

#[test]
fn a_body_that_was_read_keeps_the_connection_and_one_that_was_not_closes_it() {
    let world = World::new(&closed(one(1, 1, saying("open")), 0, page("later")));
    let mut client = world.client();
    let got = client.post("a body that comes with its head");
    assert_eq!((got.status, got.field("connection")), (503, None));
    assert_eq!(client.get("/").status, 503);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf");
    let got = client.receive();
    assert_eq!((got.status, got.field("connection").as_deref()), (503, Some("close")));
    client.stream.get_ref().shutdown(std::net::Shutdown::Write).expect("half-closed");
    assert!(client.is_closed());
}

#[test]
fn allowed_networks_are_let_in() {
    let mut table = closed(one(1, 1, saying("open")), 0, page("later"));
    let maintenance = |table: &mut Snapshot, allow: &[&str]| {
        let allow = allow.iter().map(|text| text.parse().expect("a network")).collect();
        table.apps[0].maintenance.as_mut().expect("closed").allow = allow;
    };
    maintenance(&mut table, &["10.0.0.0/8", "127.0.0.0/8"]);
    let world = World::new(&table);
    let mut client = world.client();
    assert_eq!(client.get("/").text(), "open");
    table.generation.counter = 2;
    maintenance(&mut table, &["10.0.0.0/8"]);
    table.apps[0].maintenance.as_mut().expect("closed").hold = Millis(60_000);
    world.publish(&table);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it is held", || (world.counters().held == 1).then_some(()));
    // Who is let in does not stand behind those that are not, on whichever worker.
    table.generation.counter = 3;
    maintenance(&mut table, &["127.0.0.2"]);
    world.publish(&table);
    let allowed: std::net::SocketAddr = "127.0.0.2:0".parse().expect("an address");
    for _ in 0..16 {
        let domain = socket2::Domain::IPV4;
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&allowed.into()).expect("bound");
        socket.connect(&world.at.into()).expect("connected");
        let stream: std::net::TcpStream = socket.into();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(5))).expect("a timeout");
        let mut friend = Client { stream: std::io::BufReader::new(stream) };
        assert_eq!(friend.get("/").text(), "open");
    }
    assert_eq!(world.counters().held, 1);
}

#[test]
fn who_finds_no_room_among_the_held_gets_the_page_at_once() {
    let limits = Limits { hold_requests: 1, ..Limits::default() };
    let world = World::with(&closed(one(1, 1, saying("open")), 60_000, page("later")), limits);
    let mut held = world.client();
    held.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("one is held", || (world.counters().held == 1).then_some(()));
    let got = world.client().get("/");
    assert_eq!((got.status, got.field("retry-after").as_deref()), (503, Some("3")));
    assert_eq!(world.counted(1).failed, 0);
}
