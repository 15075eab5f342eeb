//! Everything that is counted, apart from the tables: sums can be made without blocking a new snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{AppCounters, AppName, InstanceId, Millis, ReleaseNo};

use crate::instance::InstanceState;
use crate::stats::{AppStats, ReleaseStats};

/// Everything that is counted.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) instances: Vec<(InstanceId, Arc<InstanceState>)>,
    pub(crate) apps: Vec<(AppName, Arc<AppStats>)>,
    pub(crate) releases: Vec<((AppName, ReleaseNo), Arc<ReleaseStats>)>,
}

impl Counted {
    /// Returns, for each instance with requests in flight, their number and how long the instance has
    /// made no progress. `now_ms` is by the proxy's clock.
    pub(crate) fn in_flight(
        &self,
        now_ms: u64,
    ) -> (BTreeMap<InstanceId, u32>, BTreeMap<InstanceId, Millis>) {
        let (mut in_flight, mut quiet) = (BTreeMap::new(), BTreeMap::new());
        for (id, instance) in &self.instances {
            let count = instance.in_flight();
            if count > 0 {
                in_flight.insert(id.clone(), count);
                quiet.insert(id.clone(), instance.quiet(now_ms));
            }
        }
        (in_flight, quiet)
    }

    /// Returns the sums so far, by app. `now_ms` is by the proxy's clock.
    pub(crate) fn sums(&self, now_ms: u64) -> BTreeMap<AppName, AppCounters> {
        let sums = |stats: &AppStats| AppCounters {
            requests: stats.sum(|cells| &cells.requests),
            failed: stats.sum(|cells| &cells.failed),
            client_aborted: stats.sum(|cells| &cells.client_aborted),
            retried: stats.sum(|cells| &cells.retried),
            held: stats.sum(|cells| &cells.held),
            diverted: stats.sum(|cells| &cells.diverted),
            ..AppCounters::default()
        };
        let apps = self.apps.iter().map(|(app, stats)| (app.clone(), sums(stats)));
        let mut counters: BTreeMap<_, _> = apps.collect();
        for ((app, release), stats) in &self.releases {
            if let Some(counters) = counters.get_mut(app) {
                counters.answers.insert(*release, stats.sum(|cells| &cells.answers));
                counters.faults.insert(*release, stats.sum(|cells| &cells.faults));
                let broken_off = stats.sum(|cells| &cells.broken_off);
                counters.broken_off.insert(*release, broken_off);
                counters.app_5xx.insert(*release, stats.sum_class(5));
                counters.bad.insert(*release, stats.bad());
                counters.askers.insert(*release, stats.askers(now_ms));
            }
        }
        counters
    }
}
