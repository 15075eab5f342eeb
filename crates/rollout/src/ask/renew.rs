//! `restart`, and a deploy of what is live already: the live release stays, its instances are renewed.

use alloc::format;

use model::{Label, ReleaseNo};

use super::batch::FactBatch;
use super::checks;
use super::{Answer, Desk};
use crate::readiness::ready;
use crate::{Cause, Phase, RolloutKind};

/// Every instance of the live release is replaced, one after the other.
pub(super) fn restart(desk: &Desk) -> Answer {
    let app = desk.app;
    let Some(live) = app.live else {
        return Err(desk.refused("no release is live", "deploy one first"));
    };
    if let Some(rollout) = &app.rollout {
        let (id, label, phase) = (rollout.id, app.label(rollout.to), rollout.phase.name());
        let why = format!("rollout {id} of {label} is under way ({phase})");
        return Err(desk.refused(&why, "wait for its end, or abort it with `segue abort`"));
    }
    checks::can_start(desk, live)?;
    let mut batch = FactBatch::new(app);
    let rollout = batch.start(RolloutKind::Restart, live, None, None, desk.now)?;
    let note = format!("restarting {}", app.label(live));
    Ok(batch.accepted(Some(rollout), Some(live), note))
}

/// The release that was asked for is live in `batch`: that is all there is to do if it is whole;
/// otherwise what it lacks is started, without the pause that its deaths ask for.
pub(super) fn is_live(desk: &Desk, mut batch: FactBatch, live: ReleaseNo, again: Again) -> Answer {
    let label = desk.app.label(live);
    let (up, wanted) = (ready(&batch.app, desk.seen, live), batch.app.replicas(live));
    if up >= wanted {
        let note = match again {
            Again::Still => format!("{label} is already live"),
            Again::Back => format!("{label} is live again"),
        };
        return Ok(batch.accepted(None, Some(live), note));
    }
    checks::can_start(desk, live)?;
    // What still settles is decided; what still drains goes on draining.
    batch.end_rollout(Cause::RolledBack, desk.seen, desk.now)?;
    let rollout = batch.start(RolloutKind::Start, live, None, None, desk.now)?;
    let s = if wanted == 1 { "" } else { "s" };
    let note =
        format!("{label} is live with {up} of {wanted} instance{s} up: starting what it lacks");
    Ok(batch.accepted(Some(rollout), Some(live), note))
}

/// The release with that label, if it is live and stays so.
pub(super) fn settled_on(desk: &Desk, label: &Label) -> Option<ReleaseNo> {
    let app = desk.app;
    let settled = app.rollout.as_ref().is_none_or(|r| r.phase == Phase::Settling);
    let stored = app.labelled(label).map(|release| release.no);
    stored.filter(|no| settled && app.live == Some(*no))
}

/// Since when a release that is asked for is live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// The release was live before.
    Still,
    /// The rollout that was to replace it has just been ended.
    Back,
}
