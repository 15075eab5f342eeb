//! What the access log says of a request: how far it came, who ended it, and where its time went.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use model::{AppLimits, Millis, Snapshot};
use serde_json::Value;

use crate::common::*;

/// What is logged until the proxy has drained.
fn logged(initial: &Snapshot, story: impl FnOnce(&World)) -> Vec<Value> {
    let folder = tempfile::tempdir().expect("a folder");
    let path: PathBuf = folder.path().join("access.log");
    let mut config = config();
    config.access_log = Some(path.clone());
    // One worker's lines stand in the order in which the requests ended.
    config.workers = 1;
    let world = World::of(initial, config);
    story(&world);
    world.proxy.drain(Duration::ZERO);
    world.proxy.join();
    let text = std::fs::read_to_string(&path).expect("a log");
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// Behaves as the path says. Tells of each request that comes.
fn obliging() -> (SocketAddr, Receiver<()>) {
    let (arrived, arrivals) = channel();
    let arrived = Mutex::new(arrived);
    let at = upstream(move |_, mut stream| {
        while let Some(head) = read_head(&mut stream) {
            // Not every story listens.
            let _ = arrived.lock().expect("no panic").send(());
            let (text, more) = match head.split([' ', '?']).nth(1).unwrap_or_default() {
                "/late" => {
                    // it waits: the answer is to take its time
                    std::thread::sleep(Duration::from_millis(60));
                    ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true)
                }
                "/half" => ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", false),
                "/gone" => ("", false),
                "/never" => {
                    let _ = stream.read(&mut [0]);
                    ("", false)
                }
                _ => ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true),
            };
            if stream.get_mut().write_all(text.as_bytes()).is_err() || !more {
                return;
            }
        }
    });
    (at, arrivals)
}

fn told(line: &Value, keys: [&str; 4]) -> String {
    keys.map(|key| line[key].to_string()).join(" ")
}

#[test]
fn a_request_that_was_answered_says_where_its_time_went() {
    let (at, _arrivals) = obliging();
    let lines = logged(&one(1, 1, at), |world| {
        let mut client = world.client();
        assert_eq!(client.get("/late?secret=1").text(), "ok");
        assert_eq!(client.get("/again").text(), "ok");
    });
    assert_eq!(lines.len(), 2, "{lines:?}");
    let line = &lines[0];
    assert_eq!(told(line, ["end", "phase", "status", "path"]), r#""done" "answered" 200 "/late""#);
    let wanted = r#""web" 1 "web-1" 1"#;
    assert_eq!(told(line, ["app", "release", "instance", "attempts"]), wanted);
    let [answering, all, waiting, connecting] =
        ["Tr", "Ta", "Tw", "Tc"].map(|name| line[name].as_u64().expect("a time"));
    assert!(answering >= 59, "{line}");
    assert!(all >= waiting + connecting + answering, "{line}");
    assert!(line["TR"].is_u64() && line["held_ms"] == 0, "{line}");
}

#[test]
fn a_request_that_came_to_nothing_says_who_ended_it_and_how_far_it_came() {
    let limits = AppLimits { first_byte: Millis(1_000), ..AppLimits::default() };
    let (at, arrivals) = obliging();
    let lines = logged(&limited(one(1, 1, at), limits), |world| {
        let mut client = world.client();
        client.send("GET /half HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(client.try_receive(true).is_err());
        let mut client = world.client();
        client.send("POST /gone HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(client.receive().status, 502);
        client.send("POST /never HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(client.receive().status, 504);
        arrivals.try_iter().for_each(drop);
        client.send("POST /never HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n");
        arrivals.recv_timeout(PATIENCE).expect("the request");
        client.reset();
        eventually("it is counted", || (world.counters().client_aborted == 1).then_some(()));
    });
    let told: Vec<String> =
        lines.iter().map(|line| told(line, ["path", "end", "phase", "status"])).collect();
    assert_eq!(
        told,
        [
            r#""/half" "upstream" "answered" 200"#,
            r#""/gone" "upstream" "answering" 502"#,
            r#""/never" "timeout" "answering" 504"#,
            r#""/never" "client" "answering" 0"#,
        ]
    );
}

#[test]
fn a_request_that_nobody_can_take_waits_and_is_ended_by_the_proxy() {
    let mut nobody = snapshot(1, &[(1, 10_000, &[])]);
    nobody.apps[0].route.hold = Millis(50);
    let lines = logged(&nobody, |world| {
        assert_eq!(world.client().get("/").status, 503);
    });
    let line = &lines[0];
    assert_eq!((&line["end"], &line["phase"]), (&Value::from("proxy"), &Value::from("waiting")));
    assert!(line["Ta"].as_u64() >= Some(50) && line["Tc"].is_null(), "{line}");
}
