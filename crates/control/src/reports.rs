//! What the proxies have reported and control has not read. Never grows: one report per proxy.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Mutex, PoisonError};

use model::{ProxyId, TrafficReport};

/// The newest report of each proxy that control has not read. A newer one takes the place of an older
/// one, and none of the older one's gaps is lost.
#[derive(Debug, Default)]
pub(crate) struct Reports(Mutex<BTreeMap<ProxyId, TrafficReport>>);

impl Reports {
    /// Tells whether there was none before.
    pub fn put(&self, mut report: TrafficReport) -> bool {
        let mut reports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = reports.is_empty();
        match reports.entry(report.proxy) {
            Entry::Vacant(none) => {
                none.insert(report);
            }
            Entry::Occupied(mut unread) if unread.get().number <= report.number => {
                report.take_gaps(unread.get());
                unread.insert(report);
            }
            Entry::Occupied(mut unread) => unread.get_mut().take_gaps(&report),
        }
        was_empty
    }

    /// All that there are.
    pub fn take(&self) -> BTreeMap<ProxyId, TrafficReport> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::Routing;
    use model::{AppCounters, AppName, Generation};

    fn web() -> AppName {
        "web".parse().unwrap()
    }

    fn report(number: u64, requests: u64, max_gap_ms: Option<u64>) -> TrafficReport {
        let counters = AppCounters { requests, max_gap_ms, ..AppCounters::default() };
        TrafficReport {
            proxy: ProxyId(0),
            number,
            acknowledged: Generation::default(),
            in_flight: BTreeMap::new(),
            quiet: BTreeMap::new(),
            counters: [(web(), counters)].into(),
        }
    }

    #[test]
    fn a_newer_report_takes_the_place_of_an_older_one_and_no_gap_is_lost() {
        let reports = Reports::default();
        assert!(reports.put(report(1, 10, Some(700))));
        assert!(!reports.put(report(3, 30, Some(20))));
        assert!(!reports.put(report(2, 20, Some(40))));
        let read = reports.take().remove(&ProxyId(0)).expect("a report");
        let counters = &read.counters[&web()];
        assert_eq!((read.number, counters.requests, counters.max_gap_ms), (3, 30, Some(700)));
        assert!(reports.take().is_empty());
        assert!(reports.put(report(4, 40, None)));
    }

    #[test]
    fn counters_never_step_back_when_an_older_report_is_read_last() {
        let mut routing = Routing::new(1, &[ProxyId(0)]);
        routing.report(report(5, 50, None));
        routing.report(report(4, 40, Some(900)));
        let counters = routing.counters(&web()).expect("counted");
        assert_eq!((counters.requests, counters.max_gap_ms), (50, Some(900)));
    }
}
