//! The release that a request belongs to, and what is counted against it. Never chooses it.

use std::sync::Arc;

use model::ReleaseNo;

use crate::instance::InstanceState;
use crate::stats::{AppStats, ReleaseStats};
use crate::turn::Turn;

/// The arm of a request: the release whose instances it goes to.
#[derive(Debug, Default)]
pub(super) struct ChosenArm {
    /// The release that the request keeps while there is one of that number (I5).
    kept: Option<ReleaseNo>,
    /// The one that had the request last.
    release: Option<Arc<ReleaseStats>>,
    /// The release that this request was last counted against: once, however often it is tried.
    faulted: Option<ReleaseNo>,
    /// The status of its answer, once that has begun.
    status: Option<u16>,
}

impl ChosenArm {
    pub(super) fn kept(&self) -> Option<ReleaseNo> {
        self.kept
    }

    /// The request goes to an instance of this release.
    #[inline]
    pub(super) fn keep(&mut self, release: Arc<ReleaseStats>) {
        self.kept = Some(release.release);
        self.release = Some(release);
    }

    /// The request belongs to another app now.
    pub(super) fn changes_app(&mut self) {
        self.kept = None;
    }

    /// Counts an answer of the release.
    #[inline]
    pub(super) fn answered(&mut self, status: u16, turn: &Turn<'_, '_>) {
        self.status = Some(status);
        if let Some(release) = &self.release {
            let cells = turn.worker.cells(release);
            cells.answered(status, turn.caller.whence.ip, turn.now_ms);
        }
    }

    /// Counts the request against the release: once, however often it is tried.
    pub(super) fn failed(&mut self, turn: &Turn<'_, '_>) {
        let Some(release) = &self.release else { return };
        if self.faulted.replace(release.release) != Some(release.release) {
            let (cells, client) = (turn.worker.cells(release), turn.caller.whence.ip);
            match self.status {
                None => cells.failed(client, turn.now_ms),
                Some(status) => cells.broke_off(status, client, turn.now_ms),
            }
        }
    }

    /// Counts a failure against an instance and its release; the instance rests if it failed too
    /// often and others can stand in.
    pub(super) fn blame(
        &mut self,
        instance: &Arc<InstanceState>,
        app: Option<&Arc<AppStats>>,
        turn: &Turn<'_, '_>,
    ) {
        self.failed(turn);
        if instance.failed() {
            eject(instance, app, turn);
        }
    }
}

/// Lets an instance rest, if others can stand in.
fn eject(instance: &Arc<InstanceState>, app: Option<&Arc<AppStats>>, turn: &Turn<'_, '_>) {
    let table = turn.worker.table.borrow();
    let Some(entry) = app.and_then(|app| table.app(app.key)) else { return };
    let arm = entry.arms.iter().find(|arm| arm.instances.iter().any(|i| i.key == instance.key));
    // Those that were on their way when it began to rest say nothing new.
    if let Some(arm) = arm.filter(|_| !instance.is_ejected(turn.now_ms)) {
        let resting = arm.instances.iter().filter(|i| i.is_ejected(turn.now_ms)).count();
        if balance::may_eject(arm.instances.len(), resting) {
            instance.eject(turn.now_ms);
        }
    }
}
