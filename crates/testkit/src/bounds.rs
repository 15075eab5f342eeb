//! I9: what control keeps is bounded.

use std::collections::{BTreeMap, BTreeSet};

use control::Engine;
use model::AppName;
use rollout::App;

use crate::violation::Wrong;

/// Checks that the data kept for an app is bounded, and so is the number of apps, including removed ones.
pub fn check(engine: &Engine, apps: &BTreeMap<&AppName, &App>) -> Option<Wrong> {
    let wrong = |what: String| Some(("I9", what));
    let resting = engine.resting_ports();
    if resting.iter().collect::<BTreeSet<_>>().len() < resting.len() {
        return wrong("a port rests twice".into());
    }
    if apps.len() > 2 * Engine::APPS + Engine::CHECKPOINT as usize {
        return wrong(format!("{} apps are kept", apps.len()));
    }
    let keeps_more = |app: &&&App| {
        let surplus = app.releases.len().saturating_sub(2 * usize::from(App::KEPT) + 5);
        let replicas = app.releases.keys().map(|no| usize::from(app.replicas(*no))).max();
        // Live, candidate, standby, and draining instances: a few times a whole release.
        let instances = 100 + 4 * replicas.unwrap_or(0);
        let told = engine.told_count(&app.name);
        let is_told_of_gone = told > app.instances.len() + app.works.len();
        is_told_of_gone
            || surplus > 0
            || app.receipts.len() > App::RECEIPTS
            || app.instances.len() > instances
    };
    let app = apps.values().find(keeps_more)?;
    wrong(format!("{} keeps more than it may", app.name))
}
