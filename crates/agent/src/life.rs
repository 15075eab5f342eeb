//! The life of one instance, from the first command to its last report. Whatever it is asked after
//! that, it answers with the same report again.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use model::{Expect, HostReport, InstanceId, Launch, Millis};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::attach::{Link, end_hung, reach};
use crate::disk::on_disk;
use crate::hung::{LAST, PATIENCE};
use crate::probe::{self, LastHealth};
use crate::protocol::{Event, Request};
use crate::runfolder::RunFolder;
use crate::start::{Begun, begin};
use crate::survivors::finish;
use crate::world::World;

/// What a task is asked.
#[derive(Debug)]
pub(crate) enum Ask {
    Run(Box<Launch>, Expect),
    Stop(Millis),
    /// Its folder is to be deleted: tell when the instance has ended.
    Leave(oneshot::Sender<()>),
}

/// One instance, for as long as somebody may ask for it.
pub(crate) async fn live(world: Arc<World>, id: InstanceId, mut asks: mpsc::Receiver<Ask>) {
    let mut leave = None;
    let last = loop {
        match asks.recv().await {
            None => return,
            Some(Ask::Leave(tell)) => leave = Some(tell),
            Some(Ask::Run(launch, expect)) => match begin(&world, &launch, expect).await {
                Begun::Running(link) => {
                    match attend(&world, &launch, expect, link, &mut asks, &mut leave).await {
                        Some(last) => break last,
                        None => return,
                    }
                }
                Begun::Over(last) => break last,
            },
            Some(Ask::Stop(grace)) => break stop(&world, &id, grace).await,
        }
    };
    (world.report)(last.clone());
    loop {
        if let Some(tell) = leave.take() {
            // Whoever waited may be gone.
            let _ = tell.send(());
            return;
        }
        match asks.recv().await {
            None => return,
            Some(Ask::Leave(tell)) => leave = Some(tell),
            Some(Ask::Run(..) | Ask::Stop(_)) => (world.report)(last.clone()),
        }
    }
}

/// A running instance: probes it, and waits for its end. `None` if the agent itself ends.
async fn attend(
    world: &Arc<World>,
    launch: &Launch,
    expect: Expect,
    mut link: Link,
    asks: &mut mpsc::Receiver<Ask>,
    leave: &mut Option<oneshot::Sender<()>>,
) -> Option<HostReport> {
    let folder = RunFolder::at(&world.layout.run(&launch.id));
    let running = HostReport::Running { id: launch.id.clone(), pid: link.pid() };
    (world.report)(running.clone());
    let health = LastHealth::default();
    let prober = probe::start(Arc::clone(world), launch.clone(), expect, Arc::clone(&health));
    let mut stopping = None::<Stopping>;
    loop {
        tokio::select! {
            event = link.next() => match event {
                Some(Event::Hello { .. } | Event::Status { .. } | Event::Unknown) => {
                    stopping.iter_mut().for_each(Stopping::answered);
                }
                Some(Event::Exited { .. }) => break,
                // Cut off: the shim is gone, or only the connection.
                None => match reach(&folder).await {
                    Some(again) => link = again,
                    None => break,
                },
            },
            () = Stopping::overdue(&mut stopping) => end_hung(&folder).await,
            ask = asks.recv() => match ask {
                None => return None,
                Some(Ask::Leave(tell)) => *leave = Some(tell),
                Some(Ask::Run(..)) => {
                    (world.report)(running.clone());
                    let last = health.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    last.into_iter().for_each(&*world.report);
                }
                Some(Ask::Stop(grace)) => {
                    // A server that goes away refuses probes: that says nothing of its health.
                    prober.abort();
                    stopping = Some(Stopping::told(stopping, grace));
                    tell_to_stop(world, &launch.id, &mut link, grace).await;
                }
            },
        }
    }
    prober.end().await;
    Some(finish(world, &launch.id, Some(&launch.address)).await)
}

/// An instance nobody attends: it may run, have run, or never have been started.
async fn stop(world: &Arc<World>, id: &InstanceId, grace: Millis) -> HostReport {
    let folder = RunFolder::at(&world.layout.run(id));
    leave_tombstone(world, id).await;
    // A shim that is just starting finds the tombstone, or opens its door.
    while let Some(mut link) = reach(&folder).await {
        let mut stopping = Some(Stopping::told(None, grace));
        tell_to_stop(world, id, &mut link, grace).await;
        loop {
            tokio::select! {
                event = link.next() => match event {
                    Some(Event::Exited { .. }) | None => break,
                    Some(Event::Hello { .. } | Event::Status { .. } | Event::Unknown) => {
                        stopping.iter_mut().for_each(Stopping::answered);
                    }
                },
                () = Stopping::overdue(&mut stopping) => end_hung(&folder).await,
            }
        }
    }
    finish(world, id, None).await
}

/// How long the shim of an instance that was told to stop is waited for.
#[derive(Clone, Copy)]
struct Stopping {
    /// It has to say that it has heard.
    answer_by: Option<Instant>,
    /// Its tree has to have ended.
    end_by: Instant,
}

impl Stopping {
    /// Told to stop, for the first time or again: what is said again prolongs nothing.
    fn told(before: Option<Self>, grace: Millis) -> Self {
        let now = Instant::now();
        // A grace without end is cut by the shim; here it need only not overflow.
        let grace = grace.to_duration().min(Duration::from_secs(24 * 60 * 60));
        let end_by = now + grace + LAST;
        match before {
            Some(before) => Self { end_by: before.end_by.min(end_by), ..before },
            None => Self { answer_by: Some(now + PATIENCE), end_by },
        }
    }

    fn answered(&mut self) {
        self.answer_by = None;
    }

    /// When the shim has not done in time what it has to. Never, if it was told nothing.
    async fn overdue(stopping: &mut Option<Self>) {
        let Some(stopping) = stopping else { return std::future::pending().await };
        let by = stopping.answer_by.unwrap_or(stopping.end_by).min(stopping.end_by);
        tokio::time::sleep_until(by).await;
        // Ending it takes a moment; if it did not help, it is tried again.
        *stopping = Self { answer_by: None, end_by: Instant::now() + PATIENCE };
    }
}

async fn tell_to_stop(world: &Arc<World>, id: &InstanceId, link: &mut Link, grace: Millis) {
    leave_tombstone(world, id).await;
    // If the shim is gone, the end of the connection follows.
    let _ = link.send(&Request::Stop { grace_ms: grace.0 }).await;
}

/// From now on a late start is refused. On a disk that is too full even for an empty file the stop
/// goes on without it.
async fn leave_tombstone(world: &Arc<World>, id: &InstanceId) {
    let folder = RunFolder::at(&world.layout.run(id));
    let left = on_disk(move || folder.create().and_then(|()| folder.tombstone())).await;
    if let Some(Err(e)) = left {
        tracing::warn!(instance = %id, "cannot leave a tombstone: {e}");
    }
}
