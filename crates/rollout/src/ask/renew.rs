//! `restart`, and a deploy of the live release: the release stays, and its instances are renewed.

use alloc::format;
use alloc::vec::Vec;

use model::{Label, ReleaseNo};

use super::batch::FactBatch;
use super::checks;
use super::{Answer, Desk};
use crate::reach::required;
use crate::readiness::ready;
use crate::{Cause, Phase, RolloutKind};

/// Replaces every instance of the live release, one after the other.
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
    let rollout = batch.start(RolloutKind::Restart, live, None, None, Vec::new(), desk.now)?;
    if batch.app.rollout.as_ref().is_some_and(|rollout| rollout.closed) {
        checks::check_heard(desk)?;
        checks::check_proxies(desk, &batch)?;
    }
    let note = format!("restarting {}", app.label(live));
    Ok(batch.accepted(Some(rollout), Some(live), note))
}

/// Accepts a deploy of the release that is live in `batch`. If the release is complete, nothing more is
/// done. Otherwise its missing instances are started, without the pause that its deaths require.
pub(super) fn is_live(desk: &Desk, mut batch: FactBatch, live: ReleaseNo, again: Again) -> Answer {
    let label = desk.app.label(live);
    let up = ready(&batch.app, desk.seen, live);
    let wanted = required(&batch.app, desk.seen, live, batch.app.replicas(live));
    if up >= wanted {
        let note = match again {
            Again::Still => format!("{label} is already live"),
            Again::Back => format!("{label} is live again"),
        };
        return Ok(batch.accepted(None, Some(live), note));
    }
    checks::can_start(desk, live)?;
    // A settling rollout is decided. Its draining instances continue to drain.
    batch.end_rollout(Cause::RolledBack, desk.seen, desk.now)?;
    let rollout = batch.start(RolloutKind::Start, live, None, None, Vec::new(), desk.now)?;
    let s = if wanted == 1 { "" } else { "s" };
    let note =
        format!("{label} is live with {up} of {wanted} instance{s} up: starting what it lacks");
    Ok(batch.accepted(Some(rollout), Some(live), note))
}

/// Returns the release with this label if it is live and stays so.
pub(super) fn settled_on(desk: &Desk, label: &Label) -> Option<ReleaseNo> {
    let app = desk.app;
    let settled = app.rollout.as_ref().is_none_or(|r| r.phase == Phase::Settling);
    let stored = app.labelled(label).map(|release| release.no);
    stored.filter(|no| settled && app.live == Some(*no))
}

/// Since when the requested release is live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// The release was already live.
    Still,
    /// The rollout that was to replace the release has just been ended.
    Back,
}
