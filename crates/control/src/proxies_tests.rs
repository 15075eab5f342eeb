//! Reports of proxies: lost, doubled, late, of one process or another.

use std::collections::BTreeMap;

use model::{
    Abilities, AppCounters, AppName, Gap, Generation, InFlight, InstanceId, ProxyHello, ProxyId,
    ProxyLink, ReleaseNo, Timestamp, TrafficReport,
};

use crate::proxies::{Proxies, ReportNews};

fn web() -> AppName {
    "web".parse().unwrap()
}

fn id(number: u32) -> ProxyId {
    format!("p{number}").parse().unwrap()
}

/// Returns a report with this many requests since the process began. Each gap comes with the number
/// of the report that told it.
fn report(proxy: u32, epoch: u64, seq: u64, requests: u64, gaps: &[(u64, u64)]) -> TrafficReport {
    let answers = [(ReleaseNo(1), requests)].into();
    let counters = AppCounters { requests, answers, ..AppCounters::default() };
    let generation = Generation { term: 1, counter: seq };
    let gaps: Vec<_> = gaps.iter().map(|(seq, ms)| Gap { seq: *seq, ms: *ms }).collect();
    TrafficReport {
        proxy: id(proxy),
        epoch,
        seq,
        prepared: generation,
        acknowledged: generation,
        in_flight: InFlight::Counted(BTreeMap::new()),
        quiet: BTreeMap::new(),
        counters: Some([(web(), counters)].into()),
        gaps: [(web(), gaps)].into(),
        reached: BTreeMap::new(),
    }
}

fn counted(proxies: &Proxies) -> (u64, Option<u64>, Option<u64>) {
    let sum = proxies.counters(&web()).unwrap_or_default();
    (sum.requests, sum.answers.get(&ReleaseNo(1)).copied(), sum.max_gap_ms)
}

#[test]
fn reports_that_are_lost_doubled_or_late_change_no_sum() {
    let mut proxies = Proxies::new(&[id(0)]);
    assert_eq!(proxies.report(report(0, 7, 1, 10, &[])), ReportNews::State);
    assert_eq!(proxies.report(report(0, 7, 5, 50, &[(2, 900), (5, 1)])), ReportNews::State);
    assert_eq!(
        counted(&proxies),
        (50, Some(50), Some(900)),
        "the second was lost, its gap was not"
    );
    proxies.forget_gap(&web());
    for late in [2, 4, 5] {
        assert_eq!(proxies.report(report(0, 7, late, late * 10, &[(2, 900)])), ReportNews::None);
    }
    assert_eq!(proxies.report(report(0, 7, 6, 60, &[(2, 900), (6, 3)])), ReportNews::State);
    assert_eq!(counted(&proxies), (60, Some(60), Some(3)), "each gap is told once");
}

#[test]
fn what_a_process_has_counted_stays_when_another_takes_its_place() {
    let mut proxies = Proxies::new(&[id(0), id(1)]);
    proxies.report(report(1, 1, 1, 1_000, &[]));
    proxies.report(report(0, 7, 90, 100, &[]));
    assert_eq!(proxies.report(report(0, 8, 1, 2, &[(1, 40)])), ReportNews::BegunAnew);
    assert_eq!(counted(&proxies), (1_102, Some(1_102), Some(40)));
    // The last report of the previous process arrives late.
    let late = report(0, 7, 91, 105, &[(91, 70)]);
    assert_eq!(proxies.report(late.clone()), ReportNews::None);
    assert_eq!(proxies.report(late), ReportNews::None);
    assert_eq!(counted(&proxies), (1_107, Some(1_107), Some(70)));
    assert_eq!(proxies.acknowledged(), Generation { term: 1, counter: 1 }, "it holds less");
    assert_eq!(proxies.report(report(0, 6, 400, 999, &[])), ReportNews::None, "nobody knows it");
    assert_eq!(proxies.report(report(9, 1, 1, 999, &[])), ReportNews::None, "it is no member");
    assert_eq!(counted(&proxies), (1_107, Some(1_107), Some(70)));
}

#[test]
fn a_process_with_an_earlier_clock_is_heard_once_it_has_connected() {
    let mut proxies = Proxies::new(&[]);
    proxies.set_members(&[(id(1), model::ProxyDuty::Active)].into(), Timestamp(0));
    let hello = |epoch| ProxyLink::Up(ProxyHello { abilities: Abilities::default(), epoch });
    proxies.link(&id(1), hello(50), Timestamp(1));
    proxies.report(report(1, 50, 9, 100, &[]));
    proxies.link(&id(1), hello(20), Timestamp(2));
    assert_eq!(proxies.report(report(1, 50, 10, 110, &[])), ReportNews::None, "it is dead");
    assert_eq!(proxies.report(report(1, 20, 1, 5, &[])), ReportNews::BegunAnew);
    assert_eq!(proxies.report(report(1, 20, 2, 6, &[])), ReportNews::State);
    assert_eq!(proxies.report(report(1, 50, 11, 112, &[])), ReportNews::None);
    assert_eq!(counted(&proxies).0, 118);
}

#[test]
fn a_proxy_that_cannot_say_what_is_in_flight_is_not_one_that_has_nothing() {
    let mut proxies = Proxies::new(&[id(0), id(1)]);
    let instance = InstanceId { app: web(), number: 3 };
    let in_flight = InFlight::Counted([(instance.clone(), 2)].into());
    proxies.report(TrafficReport { in_flight, ..report(0, 1, 1, 0, &[]) });
    assert_eq!(proxies.in_flight(&instance), (2, false));
    let unknown = || TrafficReport { in_flight: InFlight::Unknown, ..report(1, 1, 1, 0, &[]) };
    proxies.report(unknown());
    assert_eq!(proxies.in_flight(&instance), (2, true));
    let without = TrafficReport { counters: None, seq: 2, ..unknown() };
    assert_eq!(proxies.report(without), ReportNews::State);
}

#[test]
fn a_proxy_that_claims_more_than_there_can_be_makes_no_sum_small() {
    let mut proxies = Proxies::new(&[id(0), id(1)]);
    let instance = InstanceId { app: web(), number: 3 };
    for (proxy, requests, busy) in [(0, u64::MAX, u32::MAX), (1, 7, 1)] {
        let in_flight = InFlight::Counted([(instance.clone(), busy)].into());
        proxies.report(TrafficReport { in_flight, ..report(proxy, 1, 1, requests, &[]) });
    }
    assert_eq!(counted(&proxies), (u64::MAX, Some(u64::MAX), None));
    assert_eq!(proxies.in_flight(&instance), (u32::MAX, false), "it is not idle");
}
