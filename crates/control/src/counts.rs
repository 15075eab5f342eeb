//! Sums what proxies count. Each process of a proxy counts from zero.

use std::collections::BTreeMap;

use model::{AppCounters, AppName, Askers, ReleaseNo};

/// Counts by app.
pub(crate) type Counters = BTreeMap<AppName, AppCounters>;

/// Returns the keys whose values differ between two maps.
pub(crate) fn differing<'a, K: Ord, V: PartialEq>(
    a: &'a BTreeMap<K, V>,
    b: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = &'a K> {
    let gone = a.keys().filter(|key| !b.contains_key(*key));
    b.iter().filter(|(key, value)| a.get(*key) != Some(*value)).map(|(key, _)| key).chain(gone)
}

/// Adds what a process has counted between two of its reports. `before` is `None` at its beginning.
pub(crate) fn add(counted: &mut Counters, before: Option<&Counters>, now: &Counters) {
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

/// Adds counts. A proxy may lie: a sum that is too large stays at the end of its range.
pub(crate) fn plus(a: AppCounters, b: AppCounters) -> AppCounters {
    let both = |mut a: BTreeMap<ReleaseNo, u64>, b: BTreeMap<ReleaseNo, u64>| {
        for (release, n) in b {
            let sum = a.entry(release).or_default();
            *sum = sum.saturating_add(n);
        }
        a
    };
    AppCounters {
        requests: a.requests.saturating_add(b.requests),
        failed: a.failed.saturating_add(b.failed),
        answers: both(a.answers, b.answers),
        faults: both(a.faults, b.faults),
        broken_off: both(a.broken_off, b.broken_off),
        app_5xx: both(a.app_5xx, b.app_5xx),
        bad: both(a.bad, b.bad),
        askers: together(a.askers, b.askers),
        client_aborted: a.client_aborted.saturating_add(b.client_aborted),
        retried: a.retried.saturating_add(b.retried),
        held: a.held.saturating_add(b.held),
        diverted: a.diverted.saturating_add(b.diverted),
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
