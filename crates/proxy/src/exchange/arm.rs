//! The release that a request belongs to, and what is counted against the release. Never chooses one.

use std::sync::Arc;

use model::ReleaseNo;

use crate::instance::InstanceState;
use crate::stats::{AppStats, ReleaseStats};
use crate::turn::Turn;

/// The arm of a request: the release to whose instances the request goes.
#[derive(Debug, Default)]
pub(super) struct ChosenArm {
    /// The release that the request keeps while a release of that number exists (I5).
    kept: Option<ReleaseNo>,
    /// The release whose instance had the request last.
    release: Option<Arc<ReleaseStats>>,
    /// The release that this request was last counted against. A request counts once, however often it is
    /// tried.
    faulted: Option<ReleaseNo>,
    /// The status of the answer, once it has begun.
    status: Option<u16>,
}

impl ChosenArm {
    pub(super) fn kept(&self) -> Option<ReleaseNo> {
        self.kept
    }

    /// Keeps the release for further attempts: the request goes to one of its instances.
    #[inline]
    pub(super) fn keep(&mut self, release: Arc<ReleaseStats>) {
        self.kept = Some(release.release);
        self.release = Some(release);
    }

    /// Forgets the kept release: the request belongs to another app now.
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

    /// Counts a failure against an instance and its release. Ejects the instance if it failed too often
    /// and others can take its traffic.
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

/// Ejects an instance for a while, if others can take its traffic.
fn eject(instance: &Arc<InstanceState>, app: Option<&Arc<AppStats>>, turn: &Turn<'_, '_>) {
    let table = turn.worker.table.borrow();
    let Some(entry) = app.and_then(|app| table.app(app.key)) else { return };
    let arm = entry.arms.iter().find(|arm| arm.instances.iter().any(|i| i.key == instance.key));
    // Requests that were already on their way when the instance was ejected say nothing new about it.
    if let Some(arm) = arm.filter(|_| !instance.is_ejected(turn.now_ms)) {
        let resting = arm.instances.iter().filter(|i| i.is_ejected(turn.now_ms)).count();
        if balance::may_eject(arm.instances.len(), resting) {
            instance.eject(turn.now_ms);
        }
    }
}
