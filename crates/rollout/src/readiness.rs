//! Determines whether a warm way back exists, and if not, why.

use model::{Health, NotReady, Outcome, Readiness, ReleaseNo, Share, Stage};

use crate::reach::{away, is_here, missing_hosts, required};
use crate::reachable::unreached;
use crate::{App, Instance, InstanceSeen, Observed, Phase, RolloutKind};

/// Returns whether `rollback` would work at once.
pub fn readiness(app: &App, seen: &Observed) -> Readiness {
    let Some(live) = app.live else { return Readiness::NotReady(NotReady::NothingServed) };
    let Some(back) = way_back(app) else {
        let why = match previous(app, live) {
            Some(release) => NotReady::NotKept { release: Some(release) },
            None => NotReady::NoPrevious,
        };
        return Readiness::NotReady(why);
    };
    let Some(release) = app.releases.get(&back) else {
        return Readiness::NotReady(NotReady::NotKept { release: Some(back) });
    };
    if let Some(why) = &release.bad {
        let why = why.clone();
        return Readiness::NotReady(NotReady::MarkedBad { release: back, why });
    }
    match can_take_over(app, seen, live, back) {
        Ok(()) => {
            let (label, without) = (release.label.clone(), missing_hosts(app, seen, back));
            Readiness::Ready { to: back, label, without }
        }
        Err(why) => Readiness::NotReady(why),
    }
}

/// Returns the release that was live before, if it is still stored.
fn previous(app: &App, live: ReleaseNo) -> Option<ReleaseNo> {
    let completed = app.receipts.iter().rev().filter(|r| r.outcome == Outcome::Completed);
    let before = completed.filter_map(|receipt| app.labelled(receipt.from.as_ref()?));
    before.map(|release| release.no).find(|no| *no != live)
}

/// Returns the release that a rollback would go to.
pub(crate) fn way_back(app: &App) -> Option<ReleaseNo> {
    let standby = app.standby.map(|standby| standby.release);
    match &app.rollout {
        Some(r) if r.kind == RolloutKind::Deploy && r.share > Share::NONE => match r.phase {
            Phase::Settling | Phase::Reverting { .. } => standby,
            Phase::Starting
            | Phase::Ready
            | Phase::Switching
            | Phase::Holding
            | Phase::Watching => r.from,
        },
        Some(_) | None => standby,
    }
}

/// Checks that the release can take over from `live` at once. All of its instances on hosts that are here
/// are Serving and Up, and they are at least as large a part of it as those of `live` are of `live`.
pub(crate) fn can_take_over(
    app: &App,
    seen: &Observed,
    live: ReleaseNo,
    back: ReleaseNo,
) -> Result<(), NotReady> {
    let (up, of_live) = (ready(app, seen, back), ready(app, seen, live));
    let (all, all_of_live) = (app.replicas(back), app.replicas(live));
    let part = u32::from(up) * u32::from(all_of_live);
    let is_smaller = part < u32::from(of_live) * u32::from(all);
    if up >= all.max(1) || (is_up_where_heard(app, seen, back) && !is_smaller) {
        return Ok(());
    }
    Err(not_whole(app, seen, back, all))
}

/// Returns whether the release has instances that are Serving and Up, and lacks only those on hosts that
/// are not heard.
pub(crate) fn is_up_where_heard(app: &App, seen: &Observed, release: ReleaseNo) -> bool {
    let up = ready(app, seen, release);
    up > 0 && up + away(app, seen, release) >= app.replicas(release)
}

/// Checks that all instances that the release should have are Serving and Up. Instances on lost hosts are
/// not waited for.
pub(crate) fn whole(app: &App, seen: &Observed, release: ReleaseNo) -> Result<(), NotReady> {
    let wanted = required(app, seen, release, app.replicas(release)).max(1);
    if ready(app, seen, release) >= wanted {
        return Ok(());
    }
    Err(not_whole(app, seen, release, wanted))
}

fn not_whole(app: &App, seen: &Observed, release: ReleaseNo, wanted: u16) -> NotReady {
    let ready = ready(app, seen, release);
    let died = app.deaths.get(&release).and_then(|deaths| deaths.exit);
    NotReady::NotWhole { release, ready, wanted, died }
}

/// Counts the instances of [`ready`] that are not too busy to answer their probes.
pub(crate) fn at_ease(app: &App, seen: &Observed, release: ReleaseNo) -> u16 {
    count(app, seen, release, |_, seen| seen.busy.is_none())
}

/// Counts the instances of [`at_ease`] that every proxy reaches.
pub(crate) fn in_reach(app: &App, seen: &Observed, release: ReleaseNo) -> u16 {
    count(app, seen, release, |instance, of_it| {
        of_it.busy.is_none() && unreached(app, seen, instance).is_none()
    })
}

/// Counts the instances of the release that are Serving, Up, have a process, and whose hosts are here.
pub(crate) fn ready(app: &App, seen: &Observed, release: ReleaseNo) -> u16 {
    count(app, seen, release, |_, _| true)
}

fn count(
    app: &App,
    seen: &Observed,
    release: ReleaseNo,
    counts: impl Fn((u64, &Instance), &InstanceSeen) -> bool,
) -> u16 {
    let is_ready = |(number, instance): &(u64, &Instance)| {
        let of_it = seen.instance(*number);
        let well = of_it.health == Health::Up && !of_it.process.has_ended();
        let is_meant = instance.stage == Stage::Serving && is_here(app, seen, instance);
        well && is_meant && counts((*number, instance), of_it)
    };
    u16::try_from(app.instances_of(release).filter(is_ready).count()).unwrap_or(u16::MAX)
}
