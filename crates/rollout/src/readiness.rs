//! Determines whether a warm way back exists, and if not, why.

use model::{Health, NotReady, Outcome, Readiness, ReleaseNo, Share, Stage};

use crate::{App, InstanceSeen, Observed, Phase, RolloutKind};

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
    match whole(app, seen, back) {
        Ok(()) => Readiness::Ready { to: back, label: release.label.clone() },
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

/// Checks that all instances that the release should have are Serving and Up.
pub(crate) fn whole(app: &App, seen: &Observed, release: ReleaseNo) -> Result<(), NotReady> {
    let (ready, wanted) = (ready(app, seen, release), app.replicas(release));
    if ready >= wanted.max(1) {
        return Ok(());
    }
    let died = app.deaths.get(&release).and_then(|deaths| deaths.exit);
    Err(NotReady::NotWhole { release, ready, wanted, died })
}

/// Counts the instances of [`ready`] that are not too busy to answer their probes.
pub(crate) fn at_ease(app: &App, seen: &Observed, release: ReleaseNo) -> u16 {
    count(app, seen, release, |seen| seen.busy.is_none())
}

/// Counts the instances of the release that are Serving, Up, and have a process.
pub(crate) fn ready(app: &App, seen: &Observed, release: ReleaseNo) -> u16 {
    count(app, seen, release, |_| true)
}

fn count(
    app: &App,
    seen: &Observed,
    release: ReleaseNo,
    counts: impl Fn(&InstanceSeen) -> bool,
) -> u16 {
    let is_ready = |(number, instance): &(u64, &crate::Instance)| {
        let seen = seen.instance(*number);
        let well = seen.health == Health::Up && !seen.process.has_ended() && counts(seen);
        instance.stage == Stage::Serving && well
    };
    u16::try_from(app.instances_of(release).filter(is_ready).count()).unwrap_or(u16::MAX)
}
