//! Renews the keys of users' cookies in time, while the server runs, for all proxies of its fleet. A new key seals
//! cookies only once every proxy opens them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proxy::Proxy;

use crate::cookie_keys::{CookieKeys, NextKey};
use crate::fleet::Desk;

/// The time between two looks at the keys.
const LOOK: Duration = Duration::from_secs(600);
/// The time for which this process has given a new key to all proxies before it seals cookies. Proxies that were not
/// heard for a moment have it by then, too.
const OPENS_FIRST: Duration = Duration::from_secs(3_600);

/// Renews the keys of users' cookies in time, for all proxies, until the server ends.
pub async fn run(path: PathBuf, mut keys: CookieKeys, own: Proxy, fleet: Option<Arc<Desk>>) {
    let mut given = Instant::now();
    loop {
        tokio::time::sleep(LOOK).await;
        let all_use = fleet.as_ref().is_none_or(|desk| desk.all_use(keys.fingerprint()));
        let next_key = next_key(given.elapsed(), all_use);
        let path = path.clone();
        let load = move || CookieKeys::load_or_renew(&path, next_key);
        match tokio::task::spawn_blocking(load).await {
            Ok(Ok(newer)) if newer != keys => {
                own.set_affinity_keys(&newer.to_proxy());
                fleet.iter().for_each(|desk| desk.use_keys(newer.to_text()));
                (keys, given) = (newer, Instant::now());
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the keys of users' cookies are not renewed"),
            // A panic on that thread has been printed already.
            Err(_) => return,
        }
    }
}

/// Returns what a new key may do that has been given to proxies for this time, and that all of them use or not.
fn next_key(given: Duration, all_use: bool) -> NextKey {
    if given >= OPENS_FIRST && all_use { NextKey::MaySeal } else { NextKey::OnlyOpens }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_seals_after_an_hour_in_which_it_was_given_and_only_if_all_proxies_use_it() {
        let almost = OPENS_FIRST - Duration::from_millis(1);
        assert_eq!(next_key(almost, true), NextKey::OnlyOpens);
        assert_eq!(next_key(OPENS_FIRST, false), NextKey::OnlyOpens);
        assert_eq!(next_key(OPENS_FIRST, true), NextKey::MaySeal);
    }
}
