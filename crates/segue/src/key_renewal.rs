//! Renews the keys of users' cookies in time, while the server runs, for all proxies of its fleet.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use proxy::Proxy;

use crate::cookie_keys::CookieKeys;
use crate::fleet::Desk;

/// The time between two looks at the age of the keys.
const LOOK: Duration = Duration::from_secs(600);

/// Renews the keys of users' cookies in time, for all proxies, until the server ends.
pub async fn run(path: PathBuf, mut keys: CookieKeys, own: Proxy, fleet: Option<Arc<Desk>>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let path = path.clone();
        let looked = tokio::task::spawn_blocking(move || CookieKeys::load_or_renew(&path)).await;
        match looked {
            Ok(Ok(newer)) if newer != keys => {
                own.set_affinity_keys(&newer.to_proxy());
                fleet.iter().for_each(|desk| desk.use_keys(newer.to_text()));
                keys = newer;
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the keys of users' cookies are not renewed"),
            // A panic on that thread has been printed already.
            Err(_) => return,
        }
    }
}
