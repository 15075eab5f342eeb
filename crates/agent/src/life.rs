//! The life of one instance, from the first command to its last report. Whatever it is asked after
//! that, it answers with the same report again.

use std::sync::{Arc, PoisonError};

use model::{Expect, HostReport, InstanceId, Launch, Millis};
use tokio::sync::{mpsc, oneshot};

use crate::attach::{Link, end_hung, reach};
use crate::probe::{self, LastHealth};
use crate::protocol::Event;
use crate::runfolder::RunFolder;
use crate::start::{Begun, begin};
use crate::stop::{self, Stopping};
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
            Some(Ask::Stop(grace)) => {
                stop::stop(&RunFolder::at(&world.layout.run(&id)), grace).await;
                break finish(&world, &id, None).await;
            }
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
                    stop::tell(&folder, &mut link, grace).await;
                }
            },
        }
    }
    prober.end().await;
    Some(finish(world, &launch.id, Some(&launch.address)).await)
}
