//! Reports of the proxies that control has not read. Bounded by two reports per proxy.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use model::{ProxyId, TrafficReport};

/// The newest unread report of each process of a proxy. It contains everything that an older one
/// contained. Of more than two processes, the oldest is dropped.
#[derive(Debug, Default)]
pub(crate) struct Reports(Mutex<BTreeMap<(ProxyId, u64), TrafficReport>>);

impl Reports {
    /// Stores a report. Returns whether there was none before.
    pub fn put(&self, report: TrafficReport) -> bool {
        let mut reports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = reports.is_empty();
        let (proxy, key) = (report.proxy.clone(), (report.proxy.clone(), report.epoch));
        if reports.get(&key).is_none_or(|unread| unread.seq < report.seq) {
            reports.insert(key, report);
        }
        let of_proxy = reports.range((proxy.clone(), 0)..=(proxy, u64::MAX));
        let of_proxy: Vec<_> = of_proxy.map(|(key, _)| key.clone()).collect();
        if let [oldest, _, _] = &of_proxy[..] {
            reports.remove(oldest);
        }
        was_empty
    }

    /// Takes all reports, those of an earlier process first.
    pub fn take(&self) -> impl Iterator<Item = TrafficReport> + use<> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{AppCounters, Generation, InFlight};

    fn report(epoch: u64, seq: u64) -> TrafficReport {
        let counters = AppCounters { requests: seq * 10, ..AppCounters::default() };
        TrafficReport {
            proxy: ProxyId::local(),
            epoch,
            seq,
            prepared: Generation::default(),
            acknowledged: Generation::default(),
            in_flight: InFlight::Counted(BTreeMap::new()),
            quiet: BTreeMap::new(),
            counters: Some([("web".parse().unwrap(), counters)].into()),
            gaps: BTreeMap::new(),
            reached: BTreeMap::new(),
        }
    }

    #[test]
    fn a_newer_report_takes_the_place_of_an_older_one_of_its_process() {
        let reports = Reports::default();
        let read = || reports.take().map(|r| (r.epoch, r.seq)).collect::<Vec<_>>();
        assert!(reports.put(report(7, 1)));
        assert!(!reports.put(report(7, 3)));
        assert!(!reports.put(report(7, 2)));
        assert_eq!(read(), [(7, 3)]);
        assert_eq!(read(), []);
        assert!(reports.put(report(7, 4)));
        assert!(!reports.put(report(8, 1)), "what the process before has counted is not lost");
        assert_eq!(read(), [(7, 4), (8, 1)]);
        for epoch in 8..100 {
            reports.put(report(epoch, 1));
        }
        assert_eq!(read(), [(98, 1), (99, 1)]);
    }
}
