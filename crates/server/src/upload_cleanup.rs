//! Deletes files and values of uploads whose deploy was refused or never requested. Never deletes anything of
//! a release that the engine knows. Deletes nothing while the engine is not available.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::{AppName, AppView, in_full};
use store::{InUse, ReleaseStore};

use crate::ApiEngine;

/// The time between two cleanups, and the least age of what is deleted.
const EVERY: Duration = Duration::from_secs(15 * 60);

/// Deletes unused uploads periodically until the future is dropped.
pub async fn collect_uploads(engine: Arc<dyn ApiEngine>, store: Arc<ReleaseStore>) {
    loop {
        tokio::time::sleep(EVERY).await;
        if engine.read_only().is_some() {
            continue;
        }
        let (in_use, store) = (in_use(&engine.apps()), Arc::clone(&store));
        let collected = tokio::task::spawn_blocking(move || store.collect(&in_use, EVERY)).await;
        if let Ok(Err(error)) = collected {
            let why = in_full(&error);
            tracing::warn!("what uploads left behind is not deleted; it is tried again: {why}");
        }
    }
}

/// Returns the files and values that releases use, by app.
fn in_use(apps: &[Arc<AppView>]) -> BTreeMap<AppName, InUse> {
    let of = |view: &Arc<AppView>| {
        let manifests = view.releases.iter().filter_map(|release| release.content).collect();
        let values = view.releases.iter().flat_map(|release| release.spec.run.env.values());
        (view.app.clone(), InUse { manifests, values: values.copied().collect() })
    };
    apps.iter().map(of).collect()
}
