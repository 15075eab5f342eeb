//! The requests really forwarded, compared with the counts of proxies and control. Each request counts once,
//! and counts never fall.

use std::collections::{BTreeMap, BTreeSet};

use control::Engine;
use model::{AppCounters, AppName};

use crate::violation::Wrong;

/// The requests as they were forwarded.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// By proxy and number of its process, then by app.
    passed: BTreeMap<(usize, u64), BTreeMap<AppName, u64>>,
    /// The counts of this control at the last check.
    before: BTreeMap<AppName, u64>,
    /// Removed apps, whose counts are forgotten.
    removed: BTreeSet<AppName>,
}

impl Counts {
    /// Records that a process of a proxy has forwarded or answered a request.
    pub fn passed(&mut self, process: (usize, u64), app: &AppName) {
        *self.passed.entry(process).or_default().entry(app.clone()).or_default() += 1;
    }

    /// Records that the app is removed.
    pub fn removed(&mut self, app: &AppName) {
        self.removed.insert(app.clone());
        self.before.remove(app);
    }

    /// Records that another control begins to count.
    pub fn restarted(&mut self) {
        self.before.clear();
    }

    /// Checks that a scrape shows all requests since the process began, regardless of earlier scrapes.
    pub fn check_scrape(
        &self,
        process: (usize, u64),
        scraped: &BTreeMap<AppName, AppCounters>,
    ) -> Option<Wrong> {
        let nothing = BTreeMap::new();
        let passed = self.passed.get(&process).unwrap_or(&nothing);
        let shown = |app| scraped.get(app).map_or(0, |counters| counters.requests);
        let wrong = passed.iter().find(|(app, requests)| shown(app) != **requests);
        wrong.map(|(app, requests)| {
            let what = format!("{requests} requests to {app} were passed on, {} shown", shown(app));
            ("counts", what)
        })
    }

    /// Checks control's counts: never above the forwarded requests, and never below earlier counts.
    pub fn check(&mut self, engine: &Engine) -> Option<Wrong> {
        for app in engine.apps().map(|app| &app.name) {
            let counted = engine.counted_requests(app);
            let all = self.passed.values().filter_map(|apps| apps.get(app)).sum();
            if counted > all {
                let what = format!("{counted} requests to {app} were counted of {all}");
                return Some(("counts", what));
            }
            let before = self.before.insert(app.clone(), counted).unwrap_or(0);
            if counted < before && !self.removed.contains(app) {
                let what = format!("{counted} requests to {app} were counted after {before}");
                return Some(("counts", what));
            }
        }
        None
    }

    /// Checks, at rest, that all requests forwarded by the present processes were counted.
    pub fn check_quiet(
        &self,
        engine: &Engine,
        processes: impl Iterator<Item = (usize, u64)>,
    ) -> Option<Wrong> {
        let mut now = BTreeMap::<&AppName, u64>::new();
        let of_now = processes.filter_map(|process| self.passed.get(&process)).flatten();
        for (app, requests) in of_now.filter(|(app, _)| !self.removed.contains(*app)) {
            *now.entry(app).or_default() += requests;
        }
        let lost = now.iter().find(|(app, requests)| engine.counted_requests(app) < **requests);
        lost.map(|(app, requests)| {
            let counted = engine.counted_requests(app);
            ("counts", format!("{counted} requests to {app} were counted, {requests} passed on"))
        })
    }
}
