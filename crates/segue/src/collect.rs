//! Deletes what uploads have left behind: files and values of deploys that were refused or never asked
//! for. Nothing of a release that control knows goes, and nothing at all while control does not know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use agent::Agent;
use model::{AppName, AppView, Digest};
use server::Engine;

/// How often, and how old something has to be.
const EVERY: Duration = Duration::from_secs(15 * 60);

/// Goes on until it is dropped.
pub async fn run(engine: Arc<dyn Engine>, agent: Arc<Agent>) {
    loop {
        tokio::time::sleep(EVERY).await;
        if engine.read_only().is_some() {
            continue;
        }
        let apps = engine.apps();
        let (content, secrets) = (agent.content(), agent.secrets());
        let work = move || {
            content.collect(&files(&apps), EVERY)?;
            secrets.collect(&values(&apps), EVERY)
        };
        let collected = tokio::task::spawn_blocking(work).await;
        if let Ok(Err(error)) = collected {
            tracing::warn!(%error, "what uploads left behind is not deleted; it is tried again");
        }
    }
}

/// The lists of files that releases have, by app.
fn files(apps: &[Arc<AppView>]) -> BTreeMap<AppName, BTreeSet<Digest>> {
    let lists = |view: &Arc<AppView>| {
        let digests = view.releases.iter().filter_map(|release| release.content);
        (view.app.clone(), digests.collect())
    };
    apps.iter().map(lists).collect()
}

/// The values of variables that releases have, by app.
fn values(apps: &[Arc<AppView>]) -> BTreeMap<AppName, BTreeSet<Digest>> {
    let values = |view: &Arc<AppView>| {
        let digests = view.releases.iter().flat_map(|release| release.spec.run.env.values());
        (view.app.clone(), digests.copied().collect())
    };
    apps.iter().map(values).collect()
}
