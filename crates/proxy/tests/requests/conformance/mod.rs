//! What the RFCs demand of whoever stands between a client and an app, as two tables: requests
//! (`requests.rs`) and answers (`answers.rs`), each line with the section it rests on. Everything goes
//! through a real proxy; behind each request stands another, which tells where the first one ended.

mod answers;
mod requests;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::*;
use answers::{ANSWERS, Becomes};
use requests::{Outcome, REQUESTS};

/// Stands behind each request: whoever sees its end elsewhere never answers it, or answers twice.
const NEXT: &str = "GET /next HTTP/1.1\r\nHost: next\r\nConnection: close\r\n\r\n";
const NEXT_SEEN: &str = "GET /next | host: next";

/// An app that answers with the request as it saw it, on one line. Counts whole requests.
fn mirror(whole: Arc<AtomicUsize>) -> SocketAddr {
    upstream(move |_, mut stream| {
        while let Some(head) = read_head(&mut stream) {
            let Ok((body, trailers)) = read_body(&head, &mut stream) else { return };
            whole.fetch_add(1, Ordering::SeqCst);
            let text = seen(&head, &body, &trailers);
            let length = text.len();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            let body = if head.starts_with("HEAD ") { "" } else { &text };
            if stream.get_mut().write_all((answer + body).as_bytes()).is_err() {
                return;
            }
        }
    })
}

/// `METHOD target | name: value | … | body | trailer: value`, without what every app is told.
fn seen(head: &str, body: &[u8], trailers: &str) -> String {
    let mut lines = head.lines();
    let first = lines.next().unwrap_or_default();
    let mut parts = vec![first.strip_suffix(" HTTP/1.1").unwrap_or("not in HTTP/1.1").to_owned()];
    let told = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto"];
    for line in lines.chain(["\n"]).chain(trailers.lines()).filter(|line| !line.is_empty()) {
        match line.split_once(": ") {
            _ if line == "\n" && body.is_empty() => {}
            _ if line == "\n" => parts.push(String::from_utf8_lossy(body).into_owned()),
            Some((name, value)) => {
                let name = name.to_ascii_lowercase();
                if !told.contains(&name.as_str())
                    && !matches!(name.as_str(), "x-real-ip" | "x-segue-hops")
                {
                    parts.push(format!("{name}: {value}"));
                }
            }
            None => parts.push(line.to_owned()),
        }
    }
    parts.join(" | ")
}

/// All that comes back until the connection ends.
fn everything(world: &World, bytes: &[u8]) -> String {
    let mut client = world.client();
    // A refusal, and the end with it, may come before all is sent.
    let _ = client.stream.get_mut().write_all(bytes);
    let _ = client.stream.get_ref().shutdown(Shutdown::Write);
    let mut got = Vec::new();
    client.stream.read_to_end(&mut got).expect("an end in good order");
    String::from_utf8(got).expect("text")
}

/// The answers in `text`: status, head and body of each.
fn split(mut text: &str) -> Vec<(u16, String, String)> {
    let mut all = Vec::new();
    while let Some((head, rest)) = text.split_once("\r\n\r\n") {
        let head = format!("{head}\r\n\r\n");
        let status = head.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or_default();
        let length = field(&head, "content-length").and_then(|text| text.parse().ok());
        let (body, rest) = rest.split_at(length.unwrap_or(0));
        all.push((status, head, body.to_owned()));
        text = rest;
    }
    all
}

#[test]
fn requests_are_read_as_the_rfc_has_it_or_refused() {
    let whole = Arc::new(AtomicUsize::new(0));
    let world = World::new(&one(1, 1, mirror(Arc::clone(&whole))));
    for case in REQUESTS {
        let (name, section) = (case.name, case.section);
        let bytes = [case.bytes.as_bytes(), NEXT.as_bytes()].concat();
        let before = whole.load(Ordering::SeqCst);
        let text = everything(&world, &bytes);
        let told = split(&text);
        let passed = whole.load(Ordering::SeqCst) - before;
        match case.outcome {
            Outcome::Refused(status) => {
                let statuses: Vec<_> = told.iter().map(|(status, _, _)| *status).collect();
                assert_eq!(statuses, [status], "{name} ({section}): {text}");
                assert_eq!(field(&text, "connection").as_deref(), Some("close"), "{name}");
                assert!(field(&text, "date").is_some(), "{name}: {text}");
                assert_eq!(passed, 0, "{name} ({section}): the app got a whole request");
            }
            Outcome::Seen(expected) => {
                let bodies: Vec<_> = told.iter().map(|(_, _, body)| body.as_str()).collect();
                assert_eq!(bodies, [expected, NEXT_SEEN], "{name} ({section}): {text}");
            }
            Outcome::Ours(status) => {
                let statuses: Vec<_> = told.iter().map(|(status, _, _)| *status).collect();
                assert_eq!(statuses, [status, 200], "{name} ({section}): {text}");
                assert!(field(&text, "allow").is_some(), "{name}: {text}");
                assert_eq!(passed, 1, "{name} ({section}): only the next one goes on");
            }
            Outcome::Last(expected) => {
                let bodies: Vec<_> = told.iter().map(|(_, _, body)| body.as_str()).collect();
                assert_eq!(bodies, [expected], "{name} ({section}): {text}");
                assert_eq!(field(&text, "connection").as_deref(), Some("close"), "{name}");
            }
        }
        // Whatever it was, the next connection is served.
        assert_eq!(world.client().get("/").text(), "GET / | host: a", "after {name}");
    }
}

#[test]
fn what_is_too_long_is_refused_before_it_is_whole() {
    let whole = Arc::new(AtomicUsize::new(0));
    let world = World::new(&one(1, 1, mirror(Arc::clone(&whole))));
    let long = "a".repeat(60_000);
    for (name, bytes, status) in [
        ("target (RFC 9110, 15.5.15)", format!("GET /{long}"), 414),
        ("method (RFC 9112, 3.1)", long.clone(), 400),
        ("field name (RFC 6585, 5)", format!("GET / HTTP/1.1\r\nHost: a\r\n{long}"), 431),
        ("field value (RFC 6585, 5)", format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}"), 431),
        (
            "fields (RFC 6585, 5)",
            format!("GET / HTTP/1.1\r\nHost: a\r\n{}", "X: y\r\n".repeat(9_000)),
            431,
        ),
        (
            "chunk extension (RFC 9112, 7.1.1)",
            format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;{long}"),
            400,
        ),
        (
            "trailers (RFC 9112, 7.1.2)",
            format!(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: {long}"
            ),
            400,
        ),
    ] {
        let text = everything(&world, bytes.as_bytes());
        let statuses: Vec<_> = split(&text).iter().map(|(status, _, _)| *status).collect();
        assert_eq!(statuses, [status], "{name}: {text}");
        assert_eq!(world.client().get("/").text(), "GET / | host: a", "after {name}");
    }
    // RFC 9112, 3: at least 8000 bytes of request line.
    let target = format!("/{}", "a".repeat(8_000));
    let expected = format!("GET {target} | host: a");
    assert_eq!(world.client().get(&target).text(), expected);
}

#[test]
fn answers_are_passed_on_as_the_rfc_has_it() {
    for case in ANSWERS {
        let (name, section) = (case.name, case.section);
        let world = World::new(&one(1, 1, answering(|_| case.bytes.to_owned())));
        let text = everything(&world, case.request.as_bytes());
        let undated = without_date(&text);
        match case.becomes {
            Becomes::Exactly(expected) => {
                assert_eq!(undated, expected, "{name} ({section})");
                let dates = text.matches("Date: ").count();
                let starts = |line: &&str| line.starts_with("HTTP/1.1 ");
                let interim = |line: &&str| line.starts_with("HTTP/1.1 1");
                let finals = text.lines().filter(starts).filter(|line| !interim(line)).count();
                assert_eq!(dates, finals, "{name}: each final answer is dated, once: {text}");
            }
            Becomes::BadGateway => {
                assert!(text.starts_with("HTTP/1.1 502 "), "{name} ({section}): {text}");
            }
        }
    }
}

/// The text without the lines that hang on the hour.
fn without_date(text: &str) -> String {
    text.split_inclusive('\n').filter(|line| !line.starts_with("Date: ")).collect()
}

#[test]
fn an_answer_s_own_date_is_passed_on_and_a_missing_one_is_that_of_its_coming() {
    let old = "Sun, 06 Nov 1994 08:49:37 GMT";
    let at = answering(move |seen| {
        let date =
            if seen.head.contains("/old") { format!("Date: {old}\r\n") } else { String::new() };
        format!("HTTP/1.1 200 OK\r\n{date}Content-Length: 0\r\n\r\n")
    });
    let world = World::new(&one(1, 1, at));
    let mut client = world.client();
    assert_eq!(client.get("/old").field("date").as_deref(), Some(old));
    let date = client.get("/new").field("date").expect("a date");
    let told = httpdate::parse_http_date(&date).expect("a date of the form that the RFC gives it");
    let age = told.elapsed().unwrap_or_default();
    assert!(age < PATIENCE, "{date}");
}
