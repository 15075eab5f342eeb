//! Folds what becomes of stored releases: marked, kept, forgotten. Runs nothing and moves no traffic.

use model::{Release, ReleaseNo};

use super::Folded;
use crate::{App, StandbyState};

/// Of a removed app only its numbers stay, so that none is ever used twice.
pub(super) fn forget_if_removed(app: &mut App) {
    if app.is_removed() {
        app.releases.clear();
        app.deaths.clear();
        app.receipts.clear();
        app.remembered.clear();
    }
}

/// Another release becomes the standby; the one before is not on offer any more.
pub(super) fn sync(app: &mut App, to: ReleaseNo, release: Option<&Release>) -> Folded {
    if app.rollout.is_some() || app.live.is_none_or(|live| live == to) {
        return Err("a rollout is under way, or it is live itself");
    }
    match release {
        Some(release) if release.no != to || to.0 != app.last_release + 1 => {
            return Err("the release's number does not follow the last one");
        }
        None if !app.releases.contains_key(&to) => return Err("the release is not stored"),
        Some(_) | None => {}
    }
    if let Some(release) = release {
        app.last_release = to.0;
        app.releases.insert(to, release.clone());
    }
    app.standby = Some(StandbyState { release: to, until: None });
    prune(app);
    Ok(())
}

/// Forgets the oldest releases that nothing refers to.
pub(super) fn prune(app: &mut App) {
    let needed: alloc::collections::BTreeSet<ReleaseNo> =
        app.on_offer().chain(app.instances.values().map(|i| i.release)).collect();
    let spare: alloc::vec::Vec<ReleaseNo> =
        app.releases.keys().filter(|no| !needed.contains(no)).copied().collect();
    let surplus = spare.len().saturating_sub(App::RELEASES);
    for no in &spare[..surplus] {
        app.releases.remove(no);
    }
    let stored = &app.releases;
    app.deaths.retain(|no, _| stored.contains_key(no));
}

pub(super) fn mark_bad(app: &mut App, release: ReleaseNo, cause: &crate::Cause) {
    use alloc::string::ToString;
    let text = cause.to_string();
    let first = text.split(['\n', ';']).next().unwrap_or_default();
    if let Some(Release { bad, .. }) = app.releases.get_mut(&release) {
        *bad = Some(first.into());
    }
}
