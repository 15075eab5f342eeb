//! State reported by the proxies: their tables, requests in flight, and counters. Reports may be lost,
//! repeated or late, and a proxy may die and restart.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use model::{
    Abilities, AppCounters, AppName, Askers, Generation, InFlight, InstanceId, Millis, ProxyId,
    ReleaseNo, TrafficReport,
};
use rollout::Bug;

type Counters = BTreeMap<AppName, AppCounters>;

/// The member proxies.
#[derive(Clone, Debug)]
pub(crate) struct Proxies {
    members: BTreeMap<ProxyId, Member>,
    /// The longest availability gap of each app since its last rollout began.
    gaps: BTreeMap<AppName, u64>,
}

/// One proxy.
#[derive(Clone, Debug, Default)]
struct Member {
    abilities: Abilities,
    newest: Option<TrafficReport>,
    /// The last report read from the previous process, which may still send late reports.
    before: Option<TrafficReport>,
    /// Counts of all its processes since control began.
    counted: Counters,
}

/// The effect of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReportNews {
    /// The report contains nothing new.
    None,
    /// The proxy's state has changed.
    State,
    /// Another process of the proxy has started.
    BegunAnew,
}

impl Proxies {
    /// Returns the proxies that must acknowledge, with nothing known of them yet.
    pub fn new(members: &[ProxyId]) -> Self {
        let members = members.iter().map(|id| (*id, Member::default())).collect();
        Self { members, gaps: BTreeMap::new() }
    }

    /// Sets what a member proxy can do. Until this is called, the proxy can do everything.
    pub fn set_abilities(&mut self, id: ProxyId, abilities: Abilities) {
        if let Some(member) = self.members.get_mut(&id) {
            member.abilities = abilities;
        }
    }

    /// Returns the first proxy that cannot do something, and what it cannot do.
    pub fn lacking(
        &self,
        lacks: impl Fn(&Abilities) -> Option<&'static str>,
    ) -> Option<(ProxyId, &'static str)> {
        self.members.iter().find_map(|(id, member)| Some((*id, lacks(&member.abilities)?)))
    }

    /// Returns whether every proxy counts the requests that it forwards.
    pub fn count_all(&self) -> bool {
        self.members.values().all(|member| member.abilities.counts)
    }

    /// Returns whether there is only one proxy.
    pub fn is_one(&self) -> bool {
        self.members.len() == 1
    }

    /// Returns the apps for which a report differs from the newest one of its proxy. Returns `None` if
    /// these may be any apps.
    pub fn moved(&self, report: &TrafficReport) -> Option<BTreeSet<AppName>> {
        let before = self.members.get(&report.proxy).and_then(|member| member.newest.as_ref())?;
        let (InFlight::Counted(was), InFlight::Counted(is)) =
            (&before.in_flight, &report.in_flight)
        else {
            return None;
        };
        let nothing = Counters::new();
        let was_counted = before.counters.as_ref().unwrap_or(&nothing);
        let is_counted = report.counters.as_ref().unwrap_or(&nothing);
        let counters = differing(was_counted, is_counted).cloned();
        let in_flight = differing(was, is).map(|id| id.app.clone());
        let quiet = differing(&before.quiet, &report.quiet).map(|id| id.app.clone());
        Some(counters.chain(in_flight).chain(quiet).collect())
    }

    /// Takes a report. Counts of a process are added once, in whatever order its reports arrive.
    pub fn report(&mut self, report: TrafficReport) -> ReportNews {
        let Some(member) = self.members.get_mut(&report.proxy) else { return ReportNews::None };
        let newest_epoch = member.newest.as_ref().map(|newest| newest.epoch);
        let believes_all = Bug::BelievesLateReports.is_planted();
        let of_before = newest_epoch.is_some_and(|newest| report.epoch < newest) && !believes_all;
        let known = if of_before { &member.before } else { &member.newest };
        let known = known.as_ref().filter(|known| known.epoch == report.epoch);
        // Processes before the last two are no longer known. Their counts may have been added already.
        let is_too_old = of_before && known.is_none();
        let is_old = is_too_old || known.is_some_and(|known| report.seq <= known.seq);
        if is_old && !believes_all {
            if let Some(counters) = report.counters.filter(|_| Bug::CountsTwice.is_planted()) {
                add(&mut member.counted, None, &counters);
            }
            return ReportNews::None;
        }
        let read = known.map_or(0, |known| known.seq);
        for (app, gaps) in &report.gaps {
            if let Some(longest) = gaps.iter().filter(|gap| gap.seq > read).map(|gap| gap.ms).max()
            {
                let known = self.gaps.entry(app.clone()).or_default();
                *known = longest.max(*known);
            }
        }
        let before = known.and_then(|known| known.counters.as_ref());
        if let Some(counters) = &report.counters {
            add(&mut member.counted, before, counters);
        }
        if of_before {
            member.before = Some(report);
            return ReportNews::None;
        }
        let has_begun = newest_epoch != Some(report.epoch);
        let newest = member.newest.replace(report);
        if !has_begun {
            return ReportNews::State;
        }
        member.before = newest;
        if member.before.is_some() { ReportNews::BegunAnew } else { ReportNews::State }
    }

    /// Returns the latest snapshot that every worker of every proxy holds, or has gone beyond.
    pub fn acknowledged(&self) -> Generation {
        self.least(|report| report.acknowledged)
    }

    /// Returns the latest snapshot for which every proxy has prepared a table, or has gone beyond.
    pub fn prepared(&self) -> Generation {
        self.least(|report| report.prepared)
    }

    fn least(&self, of: impl Fn(&TrafficReport) -> Generation) -> Generation {
        let newest = self.members.values().map(|member| member.newest.as_ref());
        // A proxy that has not reported may hold any snapshot.
        newest.map(|report| report.map_or(Generation::default(), &of)).min().unwrap_or_default()
    }

    /// Returns the number of requests in flight on one instance over all proxies. Also returns whether
    /// there may be more because some proxy cannot tell.
    pub fn in_flight(&self, id: &InstanceId) -> (u32, bool) {
        let on = |report: &TrafficReport| report.in_flight.on(id);
        self.reports().map(on).fold((0, false), |(sum, uncounted), on| match on {
            Some(count) => (sum + count, uncounted),
            None => (sum, true),
        })
    }

    /// Returns how long nothing has moved on the instance, according to the proxy with the latest
    /// movement. Returns `None` if no proxy has anything in flight on it.
    pub fn quiet(&self, id: &InstanceId) -> Option<Millis> {
        self.reports().filter_map(|report| report.quiet.get(id)).min().copied()
    }

    fn reports(&self) -> impl Iterator<Item = &TrafficReport> {
        self.members.values().filter_map(|member| member.newest.as_ref())
    }

    /// Returns what the proxies have counted for one app, except the gap.
    pub fn counted(&self, app: &AppName) -> Option<Cow<'_, AppCounters>> {
        let mut of_app = self.members.values().filter_map(|member| member.counted.get(app));
        let first = Cow::Borrowed(of_app.next()?);
        Some(of_app.fold(first, |sum, more| Cow::Owned(plus(sum.into_owned(), more.clone()))))
    }

    /// Returns what the proxies have counted for one app.
    pub fn counters(&self, app: &AppName) -> Option<AppCounters> {
        let max_gap_ms = self.gaps.get(app).copied();
        let counted = self.counted(app)?.into_owned();
        Some(AppCounters { max_gap_ms, ..counted })
    }

    /// Returns how many requests to one app the proxies have counted.
    pub fn requests(&self, app: &AppName) -> u64 {
        let of_app = self.members.values().filter_map(|member| member.counted.get(app));
        of_app.map(|counters| counters.requests).sum()
    }

    /// Restarts the measurement of the longest gap.
    pub fn forget_gap(&mut self, app: &AppName) {
        self.gaps.remove(app);
    }

    /// Forgets an app that is in no table any more: nobody asks for its counts.
    pub fn forget(&mut self, app: &AppName) {
        self.gaps.remove(app);
        for member in self.members.values_mut() {
            member.counted.remove(app);
        }
    }
}

/// Returns the keys whose values differ between two maps.
fn differing<'a, K: Ord, V: PartialEq>(
    a: &'a BTreeMap<K, V>,
    b: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = &'a K> {
    let gone = a.keys().filter(|key| !b.contains_key(*key));
    b.iter().filter(|(key, value)| a.get(*key) != Some(*value)).map(|(key, _)| key).chain(gone)
}

/// Adds what a process has counted between two of its reports. `before` is `None` at its beginning.
fn add(counted: &mut Counters, before: Option<&Counters>, now: &Counters) {
    for (app, now) in now {
        let before = before.and_then(|before| before.get(app));
        if before == Some(now) {
            continue;
        }
        // A proxy forgets an app that was gone for long. Its counts then begin anew.
        let since = before.filter(|before| before.requests <= now.requests);
        let more = since.map_or_else(|| now.clone(), |before| between(before, now));
        let sum = counted.entry(app.clone()).or_default();
        *sum = AppCounters { askers: now.askers.clone(), ..plus(std::mem::take(sum), more) };
    }
}

fn plus(a: AppCounters, b: AppCounters) -> AppCounters {
    let both = |mut a: BTreeMap<ReleaseNo, u64>, b: BTreeMap<ReleaseNo, u64>| {
        for (release, n) in b {
            *a.entry(release).or_default() += n;
        }
        a
    };
    AppCounters {
        requests: a.requests + b.requests,
        failed: a.failed + b.failed,
        answers: both(a.answers, b.answers),
        faults: both(a.faults, b.faults),
        broken_off: both(a.broken_off, b.broken_off),
        app_5xx: both(a.app_5xx, b.app_5xx),
        bad: both(a.bad, b.bad),
        askers: together(a.askers, b.askers),
        client_aborted: a.client_aborted + b.client_aborted,
        retried: a.retried + b.retried,
        held: a.held + b.held,
        diverted: a.diverted + b.diverted,
        max_gap_ms: a.max_gap_ms.max(b.max_gap_ms),
    }
}

fn together(
    mut a: BTreeMap<ReleaseNo, Askers>,
    b: BTreeMap<ReleaseNo, Askers>,
) -> BTreeMap<ReleaseNo, Askers> {
    for (release, askers) in b {
        a.entry(release).or_default().add(&askers);
    }
    a
}

/// Returns what was counted from `start` to `end`.
pub(crate) fn between(start: &AppCounters, end: &AppCounters) -> AppCounters {
    let grown = |start: &BTreeMap<ReleaseNo, u64>, end: &BTreeMap<ReleaseNo, u64>| {
        let since = |(release, n): (&ReleaseNo, &u64)| {
            (*release, n.saturating_sub(start.get(release).copied().unwrap_or(0)))
        };
        end.iter().map(since).filter(|(_, n)| *n > 0).collect()
    };
    AppCounters {
        requests: end.requests.saturating_sub(start.requests),
        failed: end.failed.saturating_sub(start.failed),
        answers: grown(&start.answers, &end.answers),
        faults: grown(&start.faults, &end.faults),
        broken_off: grown(&start.broken_off, &end.broken_off),
        app_5xx: grown(&start.app_5xx, &end.app_5xx),
        bad: grown(&start.bad, &end.bad),
        // Clients are counted per minute, not per rollout.
        askers: BTreeMap::new(),
        client_aborted: end.client_aborted.saturating_sub(start.client_aborted),
        retried: end.retried.saturating_sub(start.retried),
        held: end.held.saturating_sub(start.held),
        diverted: end.diverted.saturating_sub(start.diverted),
        max_gap_ms: end.max_gap_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Gap;

    fn web() -> AppName {
        "web".parse().unwrap()
    }

    /// Returns a report with this many requests since the process began. Each gap comes with the number
    /// of the report that told it.
    fn report(
        proxy: u32,
        epoch: u64,
        seq: u64,
        requests: u64,
        gaps: &[(u64, u64)],
    ) -> TrafficReport {
        let answers = [(ReleaseNo(1), requests)].into();
        let counters = AppCounters { requests, answers, ..AppCounters::default() };
        let generation = Generation { term: 1, counter: seq };
        let gaps: Vec<_> = gaps.iter().map(|(seq, ms)| Gap { seq: *seq, ms: *ms }).collect();
        TrafficReport {
            proxy: ProxyId(proxy),
            epoch,
            seq,
            prepared: generation,
            acknowledged: generation,
            in_flight: InFlight::Counted(BTreeMap::new()),
            quiet: BTreeMap::new(),
            counters: Some([(web(), counters)].into()),
            gaps: [(web(), gaps)].into(),
        }
    }

    fn counted(proxies: &Proxies) -> (u64, Option<u64>, Option<u64>) {
        let sum = proxies.counters(&web()).unwrap_or_default();
        (sum.requests, sum.answers.get(&ReleaseNo(1)).copied(), sum.max_gap_ms)
    }

    #[test]
    fn reports_that_are_lost_doubled_or_late_change_no_sum() {
        let mut proxies = Proxies::new(&[ProxyId(0)]);
        assert_eq!(proxies.report(report(0, 7, 1, 10, &[])), ReportNews::State);
        assert_eq!(proxies.report(report(0, 7, 5, 50, &[(2, 900), (5, 1)])), ReportNews::State);
        assert_eq!(
            counted(&proxies),
            (50, Some(50), Some(900)),
            "the second was lost, its gap was not"
        );
        proxies.forget_gap(&web());
        for late in [2, 4, 5] {
            assert_eq!(
                proxies.report(report(0, 7, late, late * 10, &[(2, 900)])),
                ReportNews::None
            );
        }
        assert_eq!(proxies.report(report(0, 7, 6, 60, &[(2, 900), (6, 3)])), ReportNews::State);
        assert_eq!(counted(&proxies), (60, Some(60), Some(3)), "each gap is told once");
    }

    #[test]
    fn what_a_process_has_counted_stays_when_another_takes_its_place() {
        let mut proxies = Proxies::new(&[ProxyId(0), ProxyId(1)]);
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
        assert_eq!(
            proxies.report(report(0, 6, 400, 999, &[])),
            ReportNews::None,
            "nobody knows it"
        );
        assert_eq!(proxies.report(report(9, 1, 1, 999, &[])), ReportNews::None, "it is no member");
        assert_eq!(counted(&proxies), (1_107, Some(1_107), Some(70)));
    }

    #[test]
    fn a_proxy_that_cannot_say_what_is_in_flight_is_not_one_that_has_nothing() {
        let mut proxies = Proxies::new(&[ProxyId(0), ProxyId(1)]);
        let id = InstanceId { app: web(), number: 3 };
        let in_flight = InFlight::Counted([(id.clone(), 2)].into());
        proxies.report(TrafficReport { in_flight, ..report(0, 1, 1, 0, &[]) });
        assert_eq!(proxies.in_flight(&id), (2, false));
        let unknown = || TrafficReport { in_flight: InFlight::Unknown, ..report(1, 1, 1, 0, &[]) };
        proxies.report(unknown());
        assert_eq!(proxies.in_flight(&id), (2, true));
        let without = TrafficReport { counters: None, seq: 2, ..unknown() };
        assert_eq!(proxies.report(without), ReportNews::State);
    }
}
