//! Scrapes of the metrics while snapshots are swapped under load.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::common::*;

/// Releases that take the place of one another.
const SWITCHES: u64 = 40;

/// The counters of a scrape: each series with its value.
fn counters(metrics: &str) -> BTreeMap<&str, u64> {
    let is_counter = |line: &&str| {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        ["_total", "_bucket", "_count"].iter().any(|end| name.ends_with(end))
    };
    let samples = metrics.lines().filter(|line| !line.starts_with('#')).filter(is_counter);
    samples
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series, value.parse().unwrap())
        })
        .collect()
}

/// Ends the threads of the story, also when it fails.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn requests(metrics: &str) -> u64 {
    let all = counters(metrics).into_iter();
    all.filter(|(series, _)| series.starts_with("segue_requests_total")).map(|(_, n)| n).sum()
}

/// Scrapes until it is told to stop. Each counter of a scrape is at least what it was in the one before, and
/// no more requests are counted than were sent. Returns how often it scraped.
fn scrape(proxy: &proxy::Proxy, sent: &AtomicU64, stop: &AtomicBool) -> u64 {
    let (mut before, mut scrapes) = (proxy.metrics(), 1);
    while !stop.load(Ordering::Acquire) {
        let now = proxy.metrics();
        let sent = sent.load(Ordering::Acquire);
        assert!(requests(&now) <= sent, "{} counted of {sent}", requests(&now));
        let values = counters(&now);
        for (series, value) in counters(&before) {
            let now = values.get(series).copied();
            assert!(now >= Some(value), "{series} was {value} and is {now:?}");
        }
        (before, scrapes) = (now, scrapes + 1);
    }
    scrapes
}

#[test]
fn scrapes_while_releases_are_switched_count_each_request_once_and_disturb_nothing() {
    let world = World::new(&snapshot(1, &[(1, 10_000, &[(1, saying("ok"))])]));
    let (sent, answered) = (AtomicU64::new(0), AtomicU64::new(0));
    let stop = AtomicBool::new(false);
    let clients = [(); 3].map(|()| world.client());
    let (proxy, reports) = (&world.proxy, &world.reports);
    let mut numbers = Vec::new();
    std::thread::scope(|scope| {
        let stops = SetAtEnd(&stop);
        for mut client in clients {
            let (sent, answered, stop) = (&sent, &answered, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Acquire) {
                    sent.fetch_add(1, Ordering::AcqRel);
                    assert_eq!(client.get("/").status, 200);
                    answered.fetch_add(1, Ordering::AcqRel);
                }
            });
        }
        let scrapers = [(); 2].map(|()| scope.spawn(|| scrape(proxy, &sent, &stop)));
        for number in 2..=SWITCHES {
            let release = u32::try_from(number).unwrap();
            let next = snapshot(number, &[(release, 10_000, &[(number, saying("ok"))])]);
            proxy.publish(&next).expect("newer");
            loop {
                let report = reports.recv_timeout(PATIENCE).expect("the switch is acknowledged");
                numbers.push(report.seq);
                if report.acknowledged >= next.generation {
                    break;
                }
            }
            let least = answered.load(Ordering::Acquire) + 6;
            eventually("requests between switches", || {
                (answered.load(Ordering::Acquire) >= least).then_some(())
            });
        }
        drop(stops);
        for scraper in scrapers {
            assert!(scraper.join().expect("no counter went back") > SWITCHES);
        }
    });
    let all = answered.load(Ordering::Acquire);
    eventually("all requests are counted", || (requests(&proxy.metrics()) >= all).then_some(()));
    assert_eq!(requests(&proxy.metrics()), all);
    numbers.extend(reports.try_iter().map(|report| report.seq));
    let is_next = |pair: &[u64]| pair[1] == pair[0] + 1;
    assert!(numbers.windows(2).all(is_next), "a scrape took a report: {numbers:?}");
    let counted = world.counted(all);
    assert_eq!((counted.requests, counted.failed, counted.retried), (all, 0, 0));
}
