//! Tells a shim to stop and waits until it has ended. A shim that does not stop in time is killed.

use std::time::Duration;

use model::Millis;
use tokio::time::Instant;

use crate::disk::on_disk;
use crate::protocol::{ShimEvent, ShimRequest};
use crate::runfolder::RunFolder;
use crate::shim_client::{ShimConnection, connect, kill_unresponsive};
use crate::unresponsive_shim::{AFTER_GRACE, ANSWER_TIMEOUT};

/// Stops an instance that no task supervises. The instance may run, may have ended, or may never have been
/// started. Returns once no shim runs; the result is true if a shim was told to stop.
pub(crate) async fn stop(folder: &RunFolder, grace: Millis) -> bool {
    leave_tombstone(folder).await;
    let mut was_told = false;
    // A shim that is just starting either finds the tombstone or opens its socket.
    while let Some(mut shim) = connect(folder).await {
        let mut stopping = Some(Stopping::told(None, grace));
        was_told |= tell(folder, &mut shim, grace).await;
        loop {
            tokio::select! {
                event = shim.next() => match event {
                    Some(ShimEvent::Exited { .. }) | None => break,
                    Some(ShimEvent::Hello { .. } | ShimEvent::Status { .. } | ShimEvent::Unknown) => {
                        stopping.iter_mut().for_each(Stopping::answered);
                    }
                },
                () = Stopping::overdue(&mut stopping) => kill_unresponsive(folder).await,
            }
        }
    }
    was_told
}

/// Tells a shim to stop. Returns whether the request could be sent; if the shim is gone, the connection ends
/// next.
pub(crate) async fn tell(folder: &RunFolder, shim: &mut ShimConnection, grace: Millis) -> bool {
    leave_tombstone(folder).await;
    shim.send(&ShimRequest::Stop { grace_ms: grace.0 }).await.is_ok()
}

/// Leaves a tombstone, after which a late start is refused. If the disk is too full even for an empty file,
/// the stop continues without a tombstone.
async fn leave_tombstone(folder: &RunFolder) {
    let folder = folder.clone();
    let left = on_disk(move || {
        let left = folder.create().and_then(|()| folder.tombstone());
        left.map_err(|e| (folder, e))
    });
    if let Some(Err((folder, e))) = left.await {
        tracing::warn!("cannot leave a tombstone in {}: {e}", folder.path().display());
    }
}

/// The deadlines of a shim that was told to stop.
#[derive(Clone, Copy)]
pub(crate) struct Stopping {
    /// The time by which the shim must have confirmed the request; `None` once it has.
    answer_by: Option<Instant>,
    /// The time by which the instance's process tree must have ended.
    end_by: Instant,
}

impl Stopping {
    /// Returns the deadlines after a first or a repeated request to stop. A repeated request never extends
    /// them.
    pub fn told(before: Option<Self>, grace: Millis) -> Self {
        let now = Instant::now();
        // The shim limits the grace period. Here only an overflow has to be avoided.
        let grace = grace.to_duration().min(Duration::from_secs(24 * 60 * 60));
        let end_by = now + grace + AFTER_GRACE;
        match before {
            Some(before) => Self { end_by: before.end_by.min(end_by), ..before },
            None => Self { answer_by: Some(now + ANSWER_TIMEOUT), end_by },
        }
    }

    pub fn answered(&mut self) {
        self.answer_by = None;
    }

    /// Returns when the shim has missed a deadline. Never returns if the shim was not told to stop.
    pub async fn overdue(stopping: &mut Option<Self>) {
        let Some(stopping) = stopping else { return std::future::pending().await };
        let by = stopping.answer_by.unwrap_or(stopping.end_by).min(stopping.end_by);
        tokio::time::sleep_until(by).await;
        // Killing the shim takes a moment. If it did not help, it is repeated.
        *stopping = Self { answer_by: None, end_by: Instant::now() + ANSWER_TIMEOUT };
    }
}
