//! Hundreds of requests that readers are known to take differently go through the proxy to servers of
//! different makers, with a tap between: proxy and origin must never disagree on where a request ends.
//!
//! Three readers are compared. What the proxy wrote is read by one that takes only the one plain
//! spelling (`wire.rs`); the origin's app says what it was asked; the client reads what comes back.

mod family;
mod judge;
mod tap;
mod wire;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use model::AppLimits;

use crate::common::origins::{Maker, Origin};
use crate::common::{PATIENCE, World, limited, one};
use family::{Case, family, number_in};
use judge::{Finding, judge};
use tap::Tap;
use wire::{Answer, Reading, answers};

/// Clients at a time: enough that connections to the origin are shared and used again.
const CLIENTS: usize = 4;

/// Sends all cases, each on a connection of its own; what came back, by case.
fn send_all(cases: &[Case], to: SocketAddr) -> Vec<Vec<Answer>> {
    let mut heard: Vec<(usize, Vec<Answer>)> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                scope.spawn(move || {
                    let mine = cases.iter().enumerate().skip(client).step_by(CLIENTS);
                    mine.map(|(number, case)| (number, send(&case.bytes, to))).collect::<Vec<_>>()
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().expect("no panic")).collect()
    });
    heard.sort_by_key(|(number, _)| *number);
    heard.into_iter().map(|(_, answers)| answers).collect()
}

fn send(bytes: &[u8], to: SocketAddr) -> Vec<Answer> {
    let mut stream = TcpStream::connect(to).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    // A refusal may come, and the end with it, before all is sent.
    let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut got = Vec::new();
    if let Err(error) = stream.read_to_end(&mut got) {
        assert_eq!(
            error.kind(),
            std::io::ErrorKind::ConnectionReset,
            "after {}",
            bytes.escape_ascii()
        );
    }
    answers(&got, |at| at == 0 && bytes.starts_with(b"HEAD "))
}

/// All that is wrong, a line each.
fn complaints(cases: &[Case], heard: &[Vec<Answer>], findings: &[Finding]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (target, why) in findings.iter().flat_map(|finding| &finding.disagreements) {
        let name = number_in(target).and_then(|at| cases.get(at)).map(|case| &case.name);
        wrong.push(format!("{name:?} {target}: {why}"));
    }
    let mut given: BTreeMap<usize, Vec<_>> = BTreeMap::new();
    for (_, answer) in findings.iter().flat_map(|finding| &finding.served) {
        let seen = answer.as_ref().and_then(|answer| answer.seen.clone());
        if let Some((number, seen)) = seen.and_then(|seen| Some((number_in(&seen.path)?, seen))) {
            given.entry(number).or_default().push(seen);
        }
    }
    for (number, (case, heard)) in cases.iter().zip(heard).enumerate() {
        let mut heard: Vec<_> = heard.iter().filter_map(|answer| answer.seen.clone()).collect();
        heard.retain(|seen| number_in(&seen.path).is_some());
        let mut given = given.remove(&number).unwrap_or_default();
        heard.sort();
        given.sort();
        if heard != given {
            wrong.push(format!(
                "{:?}: the client heard {heard:?}, the origin said {given:?}",
                case.name
            ));
        }
    }
    wrong
}

fn agree(maker: Maker) {
    let origin = Origin::start(maker);
    let tap = Tap::before(origin.at);
    let first_byte = model::Millis::from_secs(15);
    let limits = AppLimits { first_byte, ..AppLimits::default() };
    let world = World::new(&limited(one(1, 1, tap.at), limits));
    let cases = family();
    let heard = send_all(&cases, world.at);
    drop(world);
    let recorded = tap.finish();
    let findings: Vec<_> = recorded.iter().map(|it| judge(it, Reading::Plain)).collect();
    let wrong = complaints(&cases, &heard, &findings);
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    let served = || findings.iter().flat_map(|finding| &finding.served);
    let asked = served().filter(|(_, answer)| answer.as_ref().is_some_and(|it| it.seen.is_some()));
    let (sent, asked) = (served().count(), asked.count());
    // Whoever answers little would agree with everybody.
    assert!(sent > cases.len() / 3, "only {sent} requests of {} cases were forwarded", cases.len());
    assert!(asked * 3 > sent * 2, "the app was asked only {asked} of {sent}: {}", origin.said());
    // Connections were used again, or nobody could have been given another's answer.
    assert!(recorded.len() < sent, "{} connections for {sent} requests", recorded.len());
}

#[test]
fn nginx_and_the_proxy_agree() {
    agree(Maker::Nginx);
}

#[test]
fn apache_and_the_proxy_agree() {
    agree(Maker::Apache);
}

#[test]
fn lighttpd_and_the_proxy_agree() {
    agree(Maker::Lighttpd);
}

#[test]
fn haproxy_and_the_proxy_agree() {
    agree(Maker::Haproxy);
}

#[test]
fn node_and_the_proxy_agree() {
    agree(Maker::Node);
}

#[test]
fn gunicorn_and_the_proxy_agree() {
    agree(Maker::Gunicorn);
}

#[test]
fn waitress_and_the_proxy_agree() {
    agree(Maker::Waitress);
}

#[test]
fn uvicorn_and_the_proxy_agree() {
    agree(Maker::Uvicorn);
}

#[test]
fn uvicorn_with_httptools_and_the_proxy_agree() {
    agree(Maker::UvicornHttptools);
}

#[test]
fn hypercorn_and_the_proxy_agree() {
    agree(Maker::Hypercorn);
}

/// The test of the test. What is forwarded as it came, by somebody who believes `Content-Length`
/// before `Transfer-Encoding`, is another request to a server that does not.
#[test]
fn a_careless_forwarder_is_found_out() {
    let origin = Origin::start(Maker::Waitress);
    let tap = Tap::before(origin.at);
    let mut cases = family();
    cases.retain(|case| {
        case.name.contains("Transfer-Encoding: chunked") && case.name.contains("Content-Length: ")
    });
    send_all(&cases, tap.at);
    let recorded = tap.finish();
    let findings = recorded.iter().map(|it| judge(it, Reading::Careless));
    let mut wrong = findings.flat_map(|finding| finding.disagreements);
    let hidden = wrong.find(|(_, why)| why.contains("the origin saw") && why.contains("/inside"));
    assert!(hidden.is_some(), "nobody noticed the request inside another's body");
}
