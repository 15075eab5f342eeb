//! Telling a shim to stop, and waiting until it has. A shim that does not do so in time is ended.

use std::time::Duration;

use model::Millis;
use tokio::time::Instant;

use crate::attach::{Link, end_hung, reach};
use crate::disk::on_disk;
use crate::hung::{LAST, PATIENCE};
use crate::protocol::{Event, Request};
use crate::runfolder::RunFolder;

/// Stops an instance that nobody attends: it may run, have run, or never have been started. Returns once no
/// shim is there; whether one was told.
pub(crate) async fn stop(folder: &RunFolder, grace: Millis) -> bool {
    leave_tombstone(folder).await;
    let mut was_told = false;
    // A shim that is just starting finds the tombstone, or opens its door.
    while let Some(mut link) = reach(folder).await {
        let mut stopping = Some(Stopping::told(None, grace));
        was_told |= tell(folder, &mut link, grace).await;
        loop {
            tokio::select! {
                event = link.next() => match event {
                    Some(Event::Exited { .. }) | None => break,
                    Some(Event::Hello { .. } | Event::Status { .. } | Event::Unknown) => {
                        stopping.iter_mut().for_each(Stopping::answered);
                    }
                },
                () = Stopping::overdue(&mut stopping) => end_hung(folder).await,
            }
        }
    }
    was_told
}

/// Tells a shim to stop; whether it could be told. If it is gone, the end of the connection follows.
pub(crate) async fn tell(folder: &RunFolder, link: &mut Link, grace: Millis) -> bool {
    leave_tombstone(folder).await;
    link.send(&Request::Stop { grace_ms: grace.0 }).await.is_ok()
}

/// From now on a late start is refused. On a disk that is too full even for an empty file the stop
/// goes on without it.
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

/// How long the shim of an instance that was told to stop is waited for.
#[derive(Clone, Copy)]
pub(crate) struct Stopping {
    /// When the shim must have confirmed the order; `None` once it has.
    answer_by: Option<Instant>,
    /// When the instance's process tree must have ended.
    end_by: Instant,
}

impl Stopping {
    /// Told to stop, for the first time or again: what is said again prolongs nothing.
    pub fn told(before: Option<Self>, grace: Millis) -> Self {
        let now = Instant::now();
        // A grace without end is cut by the shim; here it need only not overflow.
        let grace = grace.to_duration().min(Duration::from_secs(24 * 60 * 60));
        let end_by = now + grace + LAST;
        match before {
            Some(before) => Self { end_by: before.end_by.min(end_by), ..before },
            None => Self { answer_by: Some(now + PATIENCE), end_by },
        }
    }

    pub fn answered(&mut self) {
        self.answer_by = None;
    }

    /// When the shim has not done in time what it has to. Never, if it was told nothing.
    pub async fn overdue(stopping: &mut Option<Self>) {
        let Some(stopping) = stopping else { return std::future::pending().await };
        let by = stopping.answer_by.unwrap_or(stopping.end_by).min(stopping.end_by);
        tokio::time::sleep_until(by).await;
        // Ending it takes a moment; if it did not help, it is tried again.
        *stopping = Self { answer_by: None, end_by: Instant::now() + PATIENCE };
    }
}
