//! Folds events of stored releases: marked, kept, forgotten. Runs nothing and moves no traffic.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use model::{Release, ReleaseNo, Service, Timestamp};

use super::Folded;
use crate::{App, Cause, Rollout, RolloutKind, StandbyState};

/// Forgets a removed app except for its numbers, so that none of them is ever used again.
pub(super) fn forget_if_removed(app: &mut App) {
    if app.is_removed() {
        app.releases.clear();
        app.deaths.clear();
        app.receipts.clear();
        app.remembered.clear();
        app.remembered_works.clear();
    }
}

/// Makes another release the standby. The former standby is no longer on offer.
pub(super) fn sync(
    app: &mut App,
    to: ReleaseNo,
    release: Option<&Release>,
    keep: Option<u16>,
) -> Folded {
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
    prune(app, keep);
    Ok(())
}

/// Records that the release has a share of the traffic, or had one until now.
pub(super) fn served(app: &mut App, release: ReleaseNo, at: Timestamp) {
    if let Some(release) = app.releases.get_mut(&release) {
        release.service = Service::Served { last: at };
    }
}

/// Records, at the end of a rollout, which release had users by it and which still has never had any.
pub(super) fn tried(app: &mut App, rollout: &Rollout, at: Timestamp) {
    if rollout.went_live {
        let both = [rollout.from, Some(rollout.to)];
        both.into_iter().flatten().for_each(|no| served(app, no, at));
        return;
    }
    let last_words = rollout.cause().map(Cause::last_words).unwrap_or_default().to_vec();
    if let Some(release) = app.releases.get_mut(&rollout.to)
        && rollout.kind == RolloutKind::Deploy
    {
        match release.service {
            Service::Served { .. } => {}
            // A release that an earlier version stored may have served.
            Service::Unknown if release.created != rollout.started => {}
            Service::Unknown | Service::Never { .. } => {
                release.service = Service::Never { last_words };
            }
        }
    }
}

/// Forgets releases that nothing refers to. Releases that never had users are counted separately. Of
/// the others, those go first that have had no users for the longest time. Without `keep`, the oldest
/// go first, as in earlier versions.
pub(super) fn prune(app: &mut App, keep: Option<u16>) {
    let running = app.instances.values().map(|instance| instance.release);
    let working = app.works.values().map(|work| work.release);
    let needed: BTreeSet<ReleaseNo> = app.on_offer().chain(running).chain(working).collect();
    let spare = app.releases.values().filter(|release| !needed.contains(&release.no));
    let last = |release: &Release| match release.service {
        Service::Served { last } if keep.is_some() => last,
        Service::Served { .. } | Service::Unknown | Service::Never { .. } => Timestamp(0),
    };
    let apart = |release: &&Release| keep.is_none() || release.service.keeps_files();
    let (worthy, others): (Vec<&Release>, Vec<&Release>) = spare.partition(apart);
    let most = keep.map_or(App::RELEASES, usize::from);
    let surplus: Vec<ReleaseNo> = [worthy, others]
        .into_iter()
        .flat_map(|mut spare| {
            spare.sort_by_key(|release| (last(release), release.no));
            let surplus = spare.len().saturating_sub(most);
            spare.into_iter().take(surplus).map(|release| release.no)
        })
        .collect();
    surplus.iter().for_each(|no| drop(app.releases.remove(no)));
    let stored = &app.releases;
    app.deaths.retain(|no, _| stored.contains_key(no));
}

pub(super) fn mark_bad(app: &mut App, release: ReleaseNo, cause: &Cause) {
    use alloc::string::ToString;
    let text = cause.to_string();
    let first = text.split(['\n', ';']).next().unwrap_or_default();
    if let Some(Release { bad, .. }) = app.releases.get_mut(&release) {
        *bad = Some(first.into());
    }
}
